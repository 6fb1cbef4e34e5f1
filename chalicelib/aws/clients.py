"""AWS clients with time limits, for the handlers and the poller."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.session import Session

_ATTEMPTS = 2
# SES has no idempotency token: only we know when to send again.
_SES_ATTEMPTS = 1


def make_client(service: str) -> Any:
    """Make the AWS client of a service. Sends no request."""
    # Imported at the first use: it is most of a cold start.
    from botocore.config import Config

    attempts = _SES_ATTEMPTS if service == "sesv2" else _ATTEMPTS
    return _session().create_client(
        service,
        config=Config(
            connect_timeout=2,
            read_timeout=5,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            # Pumps, tests and Lambdas with a batch use one client from several threads.
            max_pool_connections=32,
        ),
    )


@cache
def _session() -> "Session":
    """Make the clients that boto3.client does, and import nothing else of boto3."""
    from botocore.session import get_session

    return get_session()
