"""Devices as unit and integration tests have them: a profile, made without asking anybody."""

from chalicelib.domain.documents import JsonDict
from syncpoint_device.home import Profile
from tests.kit.basics import a_device, an_address

# What no command may ever show.
PASSWORD = "the-devices-own-secret"
ADMIN_PASSWORD = "the-administrators-secret"
COUCH = f"http://admin:{ADMIN_PASSWORD}@127.0.0.1:5984"
REGISTRATIONS = "https://sync.example.com/api/registrations"
CLOUD = "http://couch.example"
PHOTOS: JsonDict = {"_id": "channel-1", "type": "channel", "state": "ready", "name": "Photos"}


def a_profile(
    *,
    owner: str | None = None,
    name: str = "phone",
    registrations: str = REGISTRATIONS,
    couch: str = COUCH,
    prefix: str = "",
    cloud: str = "",
    control_db: str = "",
    is_revoked: bool = False,
    is_active: bool | None = None,
) -> Profile:
    """A device that has begun to register; one that its cloud knows if `cloud` is given."""
    doc: JsonDict = a_device(owner or an_address(), name).doc
    return Profile(
        doc,
        PASSWORD,
        registrations,
        couch,
        prefix,
        cloud,
        control_db,
        is_revoked=is_revoked,
        is_active=bool(cloud) if is_active is None else is_active,
    )
