"""AWS clients with timeouts, for the handlers and the poller."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.session import Session

_ATTEMPTS = 2
# SES has no idempotency token, so the SDK must not retry a mail: our claims decide about that.
_SES_ATTEMPTS = 1


def make_client(service: str) -> Any:
    """Make the AWS client of a service. Sends no request."""
    # Imported at the first use, because this import takes most of a cold start.
    from botocore.config import Config

    attempts = _SES_ATTEMPTS if service == "sesv2" else _ATTEMPTS
    return _session().create_client(
        service,
        config=Config(
            connect_timeout=2,
            read_timeout=5,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            # On one machine and in tests, several threads use one client.
            max_pool_connections=32,
        ),
    )


@cache
def _session() -> "Session":
    """Return a botocore session.

    Its clients are those of boto3.client, but the rest of boto3 need not be imported.
    """
    from botocore.session import get_session

    return get_session()
