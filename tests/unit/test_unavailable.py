"""What is answered when something that a view needs does not answer."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from chalicelib.aws.rate_limiter import RateLimiterBusy
from chalicelib.couch import Unauthorized, Unavailable
from chalicelib.settings import InvalidSettings
from tests.kit.basics import failing_view

ERRORS = [
    Unavailable(0, "unreachable", "ConnectTimeout"),
    Unauthorized(401, "unauthorized", "Name or password is incorrect."),
    RateLimiterBusy("quota#x"),
    EndpointConnectionError(endpoint_url="http://127.0.0.1:9"),
    ClientError({"Error": {"Code": "ThrottlingException"}}, "GetItem"),
    InvalidSettings("TABLE_NAME is not set"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_page_says_that_nothing_is_lost(error: Exception) -> None:
    response = failing_view(error, "/confirm/{token}")
    assert response.status_code == 503
    assert "Nothing is lost" in response.body
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "unreachable" not in response.body


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("path", ["/registrations", "/registrations/_bulk_docs"])
def test_a_replicator_is_told_to_try_again(path: str, error: Exception) -> None:
    response = failing_view(error, path)
    assert response.status_code == 503
    assert response.body["error"] == "service_unavailable"
    assert response.headers["Cache-Control"] == "no-store"


def test_a_defect_of_ours_is_no_outage() -> None:
    with pytest.raises(KeyError):
        failing_view(KeyError("name"), "/confirm/{token}")
