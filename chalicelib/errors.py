"""What adapters, handlers and the core must all know of an error, and nothing else."""


class NoEffect(Exception):
    """Raised by an adapter when its call surely changed nothing in the world.

    An unsafe transition that ends in such an error may be run again at once: its claim is released.
    After any other error the claim is kept until its lease ends (docs/claims.md).
    """


class StillConflicting(Exception):
    """Other writers changed the document each time that it was about to be saved."""
