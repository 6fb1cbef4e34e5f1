"""The registry of the cloud's transitions; importing it registers them all."""

from chalicelib.docstate import Control

control = Control()

from chalicelib.handlers import confirms, devices  # noqa: E402, F401
