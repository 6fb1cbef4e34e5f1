"""The cloud's transitions: a module for each type of document, whose import registers them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chalicelib.docstate import Control

if TYPE_CHECKING:
    from chalicelib.handlers.registry import control

__all__ = ["control", "control_of"]

TYPES = ("channel", "confirm", "device", "invitation")


def control_of(doc_type: str) -> Control:
    """The registry with the transitions of this type in it: a Lambda that starts needs no others.

    Parameters
    ----------
    doc_type : str
        One of `TYPES`.
    """
    import_module(f"{__name__}.{doc_type}s")
    registry: Control = import_module(f"{__name__}.registry").control
    return registry


def __getattr__(name: str) -> Any:
    """`control`, the registry with all transitions in it, when somebody asks for it.

    Source: https://peps.python.org/pep-0562/
    """
    if name != "control":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for doc_type in TYPES:
        registry = control_of(doc_type)
    return registry
