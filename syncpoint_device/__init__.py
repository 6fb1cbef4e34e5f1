"""The agent and the commands that run on a person's device (docs/device.md)."""

__version__ = "0.8.0"
