"""The one registry that all handlers register in."""

from chalicelib.engine.docstate import Control

control = Control()
