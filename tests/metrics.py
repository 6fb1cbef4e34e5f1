"""The metrics that code has printed, as CloudWatch reads them."""

import json

import pytest

from local.aws import STAGE as LOCAL

Metric = tuple[str, float, dict[str, str]]


def printed(capsys: pytest.CaptureFixture[str]) -> list[Metric]:
    """Name, value and dimensions of each, but for those of the local system that runs beside.

    Source: CloudWatch's embedded metric format.
    """
    found: list[Metric] = []
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        if said.get("Stage") == LOCAL:
            continue  # its threads are in this process, and print, too, while metrics are on
        [directive] = said["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Syncpoint"
        [names] = directive["Dimensions"]
        dimensions = {key: said[key] for key in names}
        found += [(one["Name"], said[one["Name"]][0], dimensions) for one in directive["Metrics"]]
    return found
