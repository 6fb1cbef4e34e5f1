"""The rules of the registrations endpoint: new device documents, and resends of them. No I/O."""

import ipaddress
import json
import re
from dataclasses import dataclass

from chalicelib.domain.constant_time import same
from chalicelib.domain.device import parse_device
from chalicelib.domain.documents import JsonDict, Rejected, generation_of

DB_NAME = "registrations"
UNKNOWN_NETWORK = "unknown"

# In these states a device may ask for another mail. `error` includes a failed activation.
RESEND_STATES = ("new", "confirming", "expired", "undeliverable", "error")

# A sender can choose the last bits of an address, so only its first bits count.
_PREFIX_BITS = {4: 24, 6: 48}

_DEVICE_ID = re.compile(r"device-[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}")

# A replicator adds these fields to every document. They are neither read nor stored.
_REPLICATION_FIELDS = {"_rev", "_revisions"}
_CREDENTIALS = {
    "login": (
        "credentials",
        {"password_scheme", "pbkdf2_prf", "salt", "iterations", "derived_key"},
    ),
    "oauth1": ("oauth_creds", {"consumer_key", "consumer_secret", "token", "token_secret"}),
}
_FIELDS = {"_id", "type", "state", "owner", "name", "device_code", "generation", "created_at"}

# A device must not change these fields when it asks again.
_FIXED = ("owner", "name", "device_code", "created_at", "credentials", "oauth_creds")


@dataclass(frozen=True)
class MailRequest:
    """A device's request for a mail.

    Attributes
    ----------
    doc : dict
        The document to store if the device is new: known fields only, no ``_rev``.
    address : str
        The address that the mail goes to.
    """

    doc: JsonDict
    address: str


def is_device_id(doc_id: object) -> bool:
    """Return whether an id has the form ``device-<uuid4 hex>``; no other form is accepted."""
    return isinstance(doc_id, str) and _DEVICE_ID.fullmatch(doc_id) is not None


def network_of(source_ip: object) -> str:
    """Return the network of an IP address: IPv4's /24, IPv6's /48; "unknown" for any other text.

    An IPv4 address that is written as IPv6 (``::ffff:192.0.2.1``) counts as IPv4.
    """
    try:
        address = ipaddress.ip_address(str(source_ip))
    except ValueError:
        return UNKNOWN_NETWORK
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    prefix = (int(address), _PREFIX_BITS[address.version])
    if isinstance(address, ipaddress.IPv4Address):
        return str(ipaddress.IPv4Network(prefix, strict=False))
    return str(ipaddress.IPv6Network(prefix, strict=False))


def parse_registration(doc: object, device_auth: str, network: str) -> MailRequest:
    """Read and check a document from a replicator.

    Parameters
    ----------
    doc : object
        Any JSON value.
    device_auth : str
        ``login`` or ``oauth1``: which credentials it must have.
    network : str
        The network that it comes from. It is stored in the document, so that the mail is counted
        against that network.

    Raises
    ------
    Rejected
        If it is not a new device document with known fields only; the reason names the field.
    """
    if not isinstance(doc, dict):
        raise Rejected("a document must be an object")
    credentials, subfields = _CREDENTIALS[device_auth]
    _refuse_unknown(doc, _REPLICATION_FIELDS | _FIELDS | {credentials}, only_reserved=True)
    if not is_device_id(doc.get("_id")):
        raise Rejected("_id must be device- and the 32 hex digits of a random UUID (version 4)")
    if doc.get("type") != "device":
        raise Rejected('type must be "device": the registrations endpoint takes registrations only')
    if doc.get("state") != "new":
        raise Rejected('state must be "new": all other states are for the cloud to write')
    _refuse_unknown(doc, _REPLICATION_FIELDS | _FIELDS | {credentials})
    checked = parse_device(doc, device_auth)
    _refuse_unknown(doc[credentials], subfields, within=f"{credentials}.")
    kept = {name: value for name, value in doc.items() if name not in _REPLICATION_FIELDS}
    if "generation" in kept:
        kept["generation"] = generation_of(doc)
    return MailRequest(
        {**kept, credentials: checked.credentials, "network": network}, checked.address
    )


def merge_request(stored: JsonDict | None, wanted: JsonDict) -> JsonDict:
    """Return the document to store after `wanted` arrived; `stored` itself if nothing changes.

    Parameters
    ----------
    stored : dict or None
        The stored document with that id; None if there is none.
    wanted : dict
        The `doc` of a `MailRequest`.

    Raises
    ------
    Rejected
        If the id belongs to another document, or the device may not ask again.
    """
    if stored is None:
        return wanted
    if stored.get("type") != "device":
        raise Rejected("_id belongs to another document; register with a new one")
    if not same(_fixed(stored), _fixed(wanted)):
        raise Rejected("_id is registered with other fields; register with a new _id")
    if generation_of(wanted) <= generation_of(stored):
        return stored
    if stored.get("state") not in RESEND_STATES:
        raise Rejected(
            f"generation must not be raised any more: the device is {stored.get('state')}"
        )
    asked_again = {name: wanted[name] for name in ("state", "generation", "network")}
    return {**stored, **asked_again}


def _fixed(doc: JsonDict) -> str:
    return json.dumps({name: doc.get(name) for name in _FIXED}, sort_keys=True)


def _refuse_unknown(
    doc: JsonDict, known: set[str], *, only_reserved: bool = False, within: str = ""
) -> None:
    for name in doc:
        if name not in known and (name.startswith("_") or not only_reserved):
            shown = ascii(within + name[:60])
            raise Rejected(f"{shown} is no field of a registration; leave it out")
