"""The cloud's transitions: a module for each type of document, whose import registers them."""

from importlib import import_module

from chalicelib.engine.docstate import Registry

MODULES = {
    "channel": "chalicelib.handlers.channels",
    "confirm": "chalicelib.handlers.confirmations",
    "device": "chalicelib.handlers.devices",
    "invitation": "chalicelib.handlers.invitations",
}


def registry_for(doc_type: str) -> Registry:
    """The registry with the transitions of this type in it: a Lambda that starts needs no others.

    Parameters
    ----------
    doc_type : str
        One of `MODULES`; who wants all transitions takes `chalicelib.handlers.all.registry`.
    """
    import_module(MODULES[doc_type])
    from chalicelib.handlers.registry import registry

    return registry
