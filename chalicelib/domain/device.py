"""A device's registration, checked field by field. No I/O."""

import re
from dataclasses import dataclass

from chalicelib.domain import addresses, credentials, device_codes, fields
from chalicelib.domain.documents import JsonDict, Rejected

DEVICE_NAME_LENGTH = 80
DEFAULT_NAME = "a device without a name"

# A device makes an id of the form `device-<uuid4 hex>`. This module accepts any id that can be a
# login's name, because only the cloud writes into the control database. The registrations endpoint
# is open to everybody and accepts only that form.
_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True)
class CheckedDevice:
    """A registration whose fields were all checked.

    Attributes
    ----------
    address : str
        The normalised address: the mail is sent to it, and it is the name of the owner's OAuth
        login.
    owner_id : str
        The owner's id (32 hex digits), computed from that address.
    name : str
        The owner's name for the device.
    """

    device_id: str
    address: str
    owner_id: str
    name: str
    device_code: str
    credentials: JsonDict


def parse_device(doc: JsonDict, device_auth: str, *, is_mailed: bool = False) -> CheckedDevice:
    """Read and check a device document in state ``new`` or later.

    Parameters
    ----------
    device_auth : str
        ``login`` or ``oauth1``: which credentials it must have.
    is_mailed : bool
        Whether a mail was sent to the owner. Then only the address is not checked again.

    Raises
    ------
    Rejected
        If a field is missing or wrong; the reason names the field.
    """
    device_id = doc.get("_id")
    if not isinstance(device_id, str) or not _DEVICE_ID.fullmatch(device_id):
        raise Rejected("_id must be letters, digits, _ and -, at most 128 of them")
    fields.check_generation(doc)
    fields.check_time(doc, "created_at")
    address = (fields.known_address if is_mailed else fields.mail_address)(doc, "owner")
    device_code = _device_code(doc)
    return CheckedDevice(
        device_id=device_id,
        address=address,
        owner_id=addresses.owner_id_of(address),
        name=_name(doc, device_code),
        device_code=device_code,
        credentials=_credentials(doc, device_auth),
    )


def _name(doc: JsonDict, device_code: str) -> str:
    """Return the device's name, which the mail shows.

    It must not contain the device code. Otherwise somebody who has only the mail could confirm.
    """
    if "name" not in doc:
        return DEFAULT_NAME
    name = fields.text(doc, "name", 1, DEVICE_NAME_LENGTH)
    if device_codes.plain_device_code(device_code) in device_codes.plain_device_code(name):
        raise Rejected("name must not have the device_code in it: the mail shows the name")
    return name


def _device_code(doc: JsonDict) -> str:
    lengths = device_codes.DEVICE_CODE_LENGTHS
    device_code = fields.text(doc, "device_code", lengths.start, lengths.stop - 1)
    if len(device_codes.plain_device_code(device_code)) not in lengths:
        shortest, longest = lengths.start, lengths.stop - 1
        raise Rejected(f"device_code must have {shortest} to {longest} letters and digits")
    return device_code


def _credentials(doc: JsonDict, device_auth: str) -> JsonDict:
    try:
        if device_auth == "oauth1":
            return credentials.check_oauth(doc.get("oauth_creds"))
        return credentials.check_login(doc.get("credentials"))
    except credentials.InvalidCredentials as exc:
        raise Rejected(str(exc)) from exc
