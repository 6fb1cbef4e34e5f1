"""Names of databases, roles and documents, computed from an owner or a channel. No I/O."""

import hashlib
import re


def owner_role(owner_id: str) -> str:
    """Return the only role of the logins of an owner's devices."""
    return f"owner-{owner_id}"


def owner_control_db(control_db: str, owner_id: str) -> str:
    """Return the name of an owner's own control database."""
    return f"{control_db}-{owner_id}"


def owner_id_of_database(control_db: str, db: str) -> str | None:
    """Return the owner id of an owner's control database; None if `db` is another database."""
    owner_id = db.removeprefix(f"{control_db}-")
    return owner_id if owner_id != db and is_owner_id(owner_id) else None


def is_owner_id(text: str) -> bool:
    """Return whether a text has the form of an owner id."""
    return re.fullmatch(r"[0-9a-f]{32}", text, re.ASCII) is not None


def channel_db(owner_id: str, channel_id: str) -> str:
    """Return the name of a channel's database.

    The name depends on the owner id. So nobody can get the database of another owner's channel by
    using the same channel id.
    """
    name = f"{owner_id}/{channel_id}".encode("utf-8", "surrogatepass")
    return f"db-{hashlib.sha256(name).hexdigest()[:32]}"


def subscription_id(channel_id: str, owner_id: str) -> str:
    """Return the id of an owner's subscription, which is the same on all devices of the owner."""
    return f"{channel_id}-sub-{owner_id}"


def confirm_id(device_id: str, generation: int) -> str:
    """Return the id of a registration's confirm document; a second click conflicts with it."""
    return f"confirm-{device_id}-{generation}"
