"""What the device remembers of the cloud, for the time in which the cloud cannot be reached."""

from datetime import datetime

from chalicelib.domain.documents import JsonDict, timestamp
from syncpoint_device.home import CLOUD_NOTE, Home
from syncpoint_device.progress import Notes

# What is remembered of a comparison.
_REMEMBERED = ("to_receive", "bytes_to_receive", "is_estimate")


class Known:
    """The device's note on the cloud. The agent and `status` write it; it may be lost.

    Parameters
    ----------
    home : Home or None
        Without one, nothing is remembered.

    Attributes
    ----------
    reached_at : str or None
        When the cloud was last reached.
    positions : dict
        Up to where databases were compared; see `syncpoint_device.progress`.
    refused : dict
        What the cloud lacks of channels; see `syncpoint_device.channel_refusals`.
    compared : dict
        By the name of a database, what waited in the cloud, and when that was known (`as_of`).
    """

    def __init__(self, home: Home | None) -> None:
        self._home = home
        note = {} if home is None else home.note(CLOUD_NOTE)
        reached_at = note.get("reached_at")
        self.reached_at = reached_at if isinstance(reached_at, str) else None
        self.positions: Notes = _dicts(note.get("positions"))
        self.refused: Notes = _dicts(note.get("refused"))
        self.compared: dict[str, JsonDict] = _dicts(note.get("compared"))

    def reach(self, now: datetime) -> None:
        """Remember that the cloud was reached."""
        self.reached_at = timestamp(now)

    def remember(self, database: str, comparison: JsonDict, now: datetime) -> None:
        """Remember what waits in the cloud for a database."""
        kept = {name: comparison[name] for name in _REMEMBERED if name in comparison}
        self.compared[database] = {**kept, "as_of": timestamp(now)}

    def refused_of(self, database: str) -> set[str]:
        """Return the ids of a channel's documents that the cloud has refused."""
        found = self.refused.get(database, {}).get("refused")
        return set(found) if isinstance(found, dict) else set()

    def save(self) -> None:
        """Write the note."""
        if self._home is not None:
            note = {
                "reached_at": self.reached_at,
                "positions": self.positions,
                "refused": self.refused,
                "compared": self.compared,
            }
            self._home.write_note(CLOUD_NOTE, note)


def _dicts(value: object) -> dict[str, JsonDict]:
    """Return the dicts in a dict; empty if it is none, because people can edit a file."""
    if not isinstance(value, dict):
        return {}
    return {name: one for name, one in value.items() if isinstance(one, dict)}
