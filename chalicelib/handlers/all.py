"""The registry with all transitions in it, for tools and tests; a Lambda takes `registry_for`."""

from chalicelib.handlers import channels, confirmations, devices, invitations
from chalicelib.handlers.registry import registry

__all__ = ["channels", "confirmations", "devices", "invitations", "registry"]
