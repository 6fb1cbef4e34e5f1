"""The errors that adapters, handlers and the engine share."""


class NoEffect(Exception):
    """Raised by an adapter when its call certainly changed nothing.

    After this error, the claim of an unsafe transition is released, and a retry may run at once.
    After any other error, the claim is kept until its lease ends (docs/claims.md).
    """


class StillConflicting(Exception):
    """Raised when others changed the document at every attempt to save it; the text names it."""


class Unfinished(Exception):
    """Raised when all is done, but for what somebody else's database did not take.

    The message is tried again like one that failed. After its last try it is deleted, and does not
    become a dead letter. Otherwise guests could fill the dead-letter queue at will.
    """
