"""What the adapters and the core must both know of an error, and nothing else."""


class NoEffect(Exception):
    """Raised by an adapter when its call surely changed nothing in the world.

    An unsafe transition that ends in such an error may be run again at once: its claim is released.
    After any other error the claim is kept until its lease ends (docs/claims.md).
    """
