"""Names of databases, roles and documents that follow from an owner or a channel. No I/O."""

import hashlib
import re


def owner_role(owner_id: str) -> str:
    """The one role that all logins of an owner's devices have."""
    return f"owner-{owner_id}"


def owner_control_db(control_db: str, owner_id: str) -> str:
    """The name of an owner's own control database."""
    return f"{control_db}-{owner_id}"


def owner_id_of_database(control_db: str, db: str) -> str | None:
    """The owner whose control database `db` is; None if it is nobody's."""
    owner_id = db.removeprefix(f"{control_db}-")
    return owner_id if owner_id != db and is_owner_id(owner_id) else None


def is_owner_id(text: str) -> bool:
    """Whether a text has the form of an owner's id."""
    return re.fullmatch(r"[0-9a-f]{32}", text, re.ASCII) is not None


def channel_db(owner_id: str, channel_id: str) -> str:
    """The name of a channel's database.

    The owner is in it, so that nobody comes by another's database by giving a channel its id.
    """
    name = f"{owner_id}/{channel_id}".encode("utf-8", "surrogatepass")
    return f"db-{hashlib.sha256(name).hexdigest()[:32]}"


def subscription_id(channel_id: str, owner_id: str) -> str:
    """The well-known id of an owner's subscription: all devices of the owner find the same one."""
    return f"{channel_id}-sub-{owner_id}"


def confirm_id(device_id: str, generation: int) -> str:
    """The well-known id of a registration's confirmation: a second click conflicts with it."""
    return f"confirm-{device_id}-{generation}"
