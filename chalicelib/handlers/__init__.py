"""The cloud's transitions: one module for each type of document. Its import registers them."""

from importlib import import_module

from chalicelib.engine.docstate import Registry

MODULES = {
    "channel": "chalicelib.handlers.channels",
    "confirm": "chalicelib.handlers.confirmations",
    "device": "chalicelib.handlers.devices",
    "invitation": "chalicelib.handlers.invitations",
}


def registry_for(doc_type: str) -> Registry:
    """Return the registry, with the transitions of one type registered.

    A Lambda needs only one type, and starts faster without the others.

    Parameters
    ----------
    doc_type : str
        One of `MODULES`. For all transitions, use `chalicelib.handlers.all.registry`.
    """
    import_module(MODULES[doc_type])
    from chalicelib.handlers.registry import registry

    return registry
