"""The cloud's transitions; importing this registers them all in `control`."""

from chalicelib.handlers import confirms, devices
from chalicelib.handlers.registry import control

__all__ = ["confirms", "control", "devices"]
