"""The registry with all transitions in it, for tools and tests; a Lambda takes `control_of`."""

from chalicelib.handlers import channels, confirmations, devices, invitations
from chalicelib.handlers.registry import control

__all__ = ["channels", "confirmations", "control", "devices", "invitations"]
