"""The command `trust`: make the device's own CouchDB check certificates."""

from pathlib import Path

from chalicelib.domain.documents import JsonDict
from syncpoint_device.certificates import verify
from syncpoint_device.databases import Device
from syncpoint_device.errors import NothingToDo


def trust(device: Device, ca_file: Path | None) -> JsonDict:
    """Make the device's own CouchDB check certificates, and restart its replications.

    Parameters
    ----------
    ca_file : Path or None
        The certificates of the authorities to trust, as CouchDB's own machine sees the file.

    Returns
    -------
    dict
        ``{couch, ca_file}``: the server's URL, and the file that it uses now; None if it is a
        PouchDB Server.

    Raises
    ------
    DeviceError
        If the configuration cannot be changed, or the server checks no certificates all the same.
    NothingToDo
        If the cloud is on http, so that there is no certificate to check.
    """
    if not device.uses_https:
        raise NothingToDo(
            "this device reaches its cloud by http, so there is no certificate to check; `trust` "
            "is not needed, and nothing was changed"
        )
    file = verify(device.server, ca_file)
    for replication in device.replications.all():
        device.replications.restart(replication)
    return {"couch": device.server.url, "ca_file": file}


def trusted(result: JsonDict) -> str:
    """Say which authorities the device's CouchDB trusts now. The text that `trust` prints."""
    if result["ca_file"] is None:
        return (
            f"{result['couch']} is a PouchDB Server. It checks certificates by itself, so nothing "
            "was changed.\nFor a private CA, start it with NODE_EXTRA_CA_CERTS=FILE. Never start "
            "it with\nNODE_TLS_REJECT_UNAUTHORIZED=0: it would check none."
        )
    return (
        f"The CouchDB at {result['couch']} checks certificates now, against {result['ca_file']}.\n"
        "That file must be on CouchDB's own machine."
    )
