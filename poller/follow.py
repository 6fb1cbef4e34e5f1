"""The poller's loop: read a page, send it, and only then remember how far it got."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from poller.checkpoint import Checkpoint
from poller.feed import Feed
from poller.messages import messages_for
from poller.sender import Sender

# One wait for changes. The lease is renewed between waits, so it must be well below the lease.
LONGPOLL_S = 15.0


@dataclass
class Summary:
    """What one run did."""

    changes: int = 0
    sent: int = 0


def follow(
    feed: Feed,
    sender: Sender,
    checkpoint: Checkpoint,
    routes: Mapping[str, str],
    left_s: Callable[[], float] | None = None,
) -> Summary:
    """Follow one feed until the window closes; without a window, to the end of what is there.

    Parameters
    ----------
    routes : mapping
        ``{"type/state": queue URL}``.
    left_s : callable, optional
        How many seconds of the window are left.

    Raises
    ------
    LeaseLost
        If another poller took over.
    NotAccepted, CouchError
        If a page could not be sent or read. The seq stands before it, so the next run begins there.
    """
    summary = Summary()
    while True:
        wait_s = min(LONGPOLL_S, left_s()) if left_s else 0.0
        page = feed.read(wait_s)
        summary.changes += len(page.rows)
        summary.sent += sender.send(messages_for(feed.db, page.rows, routes))
        if page.moved:
            checkpoint.save_seq(feed.db, page.last_seq)
        checkpoint.renew()
        if (left_s() <= 0) if left_s else page.is_last:
            return summary
