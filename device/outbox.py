"""The database in which a registration waits until the replicator has delivered it."""

from chalicelib.domain.documents import JsonDict, generation_of
from device.databases import OUTBOX, Device


def fill(device: Device) -> JsonDict:
    """Put the registration in, as the device's file has it, and let it be replicated.

    Returns
    -------
    dict
        The document in the outbox.
    """
    wanted = device.profile.doc

    def change(doc: JsonDict) -> JsonDict:
        is_older = "type" not in doc or generation_of(doc) < generation_of(wanted)
        return {**doc, **wanted} if is_older else doc

    device.outbox.create()
    doc = device.outbox.update(device.profile.device_id, change, default={})
    device.replications.keep(OUTBOX, device.to_registrations())
    return doc


def empty(device: Device) -> None:
    """The registration has arrived: nothing of it need stay here."""
    device.replications.keep(OUTBOX, [])
    device.outbox.delete()
