"""The registry with all transitions in it, for tools and tests; a Lambda takes `control_of`."""

from chalicelib.handlers import channels, confirms, devices, invitations
from chalicelib.handlers.registry import control

__all__ = ["channels", "confirms", "control", "devices", "invitations"]
