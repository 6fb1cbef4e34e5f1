"""The one registry that all handlers register in."""

from chalicelib.docstate import Control

control = Control()
