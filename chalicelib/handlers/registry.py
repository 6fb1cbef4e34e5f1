"""The registry in which all handlers register their transitions."""

from chalicelib.engine.docstate import Registry

registry = Registry()
