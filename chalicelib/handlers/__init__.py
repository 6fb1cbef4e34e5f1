"""The cloud's transitions; importing this registers them all in `control`."""

from chalicelib.handlers import channels, confirms, devices, invitations
from chalicelib.handlers.registry import control

__all__ = ["channels", "confirms", "control", "devices", "invitations"]
