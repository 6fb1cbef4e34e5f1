"""The metrics that code has printed, as CloudWatch reads them."""

import json
from collections.abc import Callable

import pytest

Metric = tuple[str, float, dict[str, str]]
Metrics = Callable[[], list[Metric]]


def printed(capsys: pytest.CaptureFixture[str]) -> list[Metric]:
    """Name, value and dimensions of each.

    Source: CloudWatch's embedded metric format.
    """
    found: list[Metric] = []
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        [directive] = said["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Syncpoint"
        [names] = directive["Dimensions"]
        dimensions = {key: said[key] for key in names}
        found += [(one["Name"], said[one["Name"]][0], dimensions) for one in directive["Metrics"]]
    return found
