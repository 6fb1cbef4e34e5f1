"""The one registry that all handlers register in."""

from chalicelib.engine.docstate import Registry

registry = Registry()
