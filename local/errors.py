"""What goes wrong on one machine, in words for whoever typed the command."""


class LocalError(Exception):
    """The local system cannot start or go on; the message says why and what to do."""
