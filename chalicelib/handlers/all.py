"""The registry with all transitions, for local programs and tests. A Lambda uses `registry_for`."""

from chalicelib.handlers import channels, confirmations, devices, invitations
from chalicelib.handlers.registry import registry

__all__ = ["channels", "confirmations", "devices", "invitations", "registry"]
