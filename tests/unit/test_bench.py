"""What the bench makes of its figures; nothing is measured here."""

import os
import re
import subprocess
import sys

import pytest

from bench import cold_start, estimate
from bench.__main__ import NAMES, main
from bench.measure import interleave, quantile, ratios, spread
from bench.report import PAGE as PERFORMANCE
from bench.report import Finding, Goal, at_least, at_most, table, with_block
from local.system import ROOT


def test_contestants_take_turns_and_each_round_is_announced() -> None:
    ran: list[str] = []
    said: list[str] = []

    def run(name: str) -> float:
        ran.append(name)
        return float(len(ran))

    rounds = interleave({"a": lambda: run("a"), "b": lambda: run("b")}, 2, said.append)
    assert ran == ["a", "b", "a", "b"]
    assert rounds == {"a": [1.0, 3.0], "b": [2.0, 4.0]}
    assert said[0] == "round 1 of 2: a"


def test_a_ratio_is_taken_in_each_round_and_then_its_median() -> None:
    # The machine was slow for ours in one round and for the floor in another.
    rounds = {"ours": [90.0, 9.0, 80.0], "floor": [100.0, 10.0, 10.0]}
    assert ratios(rounds, "ours", "floor").median == pytest.approx(0.9)  # of medians: 8


def test_contestants_of_different_rounds_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios({"a": [1.0, 2.0], "b": [1.0]}, "b", "a")


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.25, 2.0), (0.5, 3.0), (0.9, 4.6), (1.0, 5.0)]
)
def test_a_quantile_is_interpolated_between_its_neighbours(share: float, expected: float) -> None:
    assert quantile([5.0, 1.0, 4.0, 2.0, 3.0], share) == pytest.approx(expected)


def test_a_spread_is_shown_with_its_quartiles() -> None:
    assert spread([9_000.0, 10_000.0, 11_000.0]).shown() == "10,000 (9,500–10,500)"
    assert spread([1.25]).shown(2) == "1.25 (1.25–1.25)"


def test_a_table_is_aligned() -> None:
    assert table(["name", "n"], [["a", "1,000"]]) == (
        "| name | n     |\n| ---- | ----- |\n| a    | 1,000 |"
    )


def test_goals_are_limits_from_above_or_below() -> None:
    assert at_most("time", 1.1, 1.1) == Goal("time", "≤ 1.10", "1.10", is_met=True)
    assert at_most("wait", 100, 101.2, " ms") == Goal("wait", "≤ 100 ms", "101 ms", is_met=False)
    assert at_least("rate", 0.7, 0.69) == Goal("rate", "≥ 0.70", "0.69", is_met=False)


def test_a_missed_goal_is_seen() -> None:
    finding = Finding(["reader"], [["poller"]], [at_least("a", 1, 2), at_least("b", 1, 0)])
    text = finding.tables()
    assert "| a    | ≥ 1.00 | 2.00  | met        |" in text
    assert "| b    | ≥ 1.00 | 0.00  | **missed** |" in text


PAGE = "# Page\n\n<!-- bench:feed -->\nold\n<!-- /bench:feed -->\n\nmine\n"


def test_a_block_is_put_between_its_marks_and_all_else_stays() -> None:
    assert with_block(PAGE, "feed", r"new \1") == PAGE.replace("old", r"new \1")


def test_a_page_without_the_marks_takes_no_block() -> None:
    with pytest.raises(LookupError, match="bench:latency"):
        with_block(PAGE, "latency", "new")


def test_the_page_has_a_place_for_each_benchmark() -> None:
    page = PERFORMANCE.read_text(encoding="utf-8")
    for name in NAMES:
        assert with_block(page, name, "new") != page


@pytest.mark.io
@pytest.mark.parametrize(
    ("couchdb_url", "said"),
    [
        (
            "http://admin:pa55@127.0.0.1:9",
            "CouchDB at http://127.0.0.1:9 cannot be reached: is it running?\n",
        ),
        ("http://admin:pa55/@127.0.0.1:9", "COUCHDB_URL must be http(s)://NAME:PASSWORD@"),
    ],
)
def test_without_its_couchdb_the_bench_ends_with_one_line(
    couchdb_url: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COUCHDB_URL", couchdb_url)
    monkeypatch.setattr(sys, "argv", ["bench", "--quick"])
    assert main() == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1
    assert "pa55" not in err


@pytest.mark.io
def test_what_the_bench_runs_logs_warnings_only() -> None:
    script = (
        "from bench.__main__ import prepare_process; prepare_process()\n"
        "import bench.confirmations, chalicelib.telemetry as telemetry\n"
        "print(telemetry.logger.log_level)"
    )
    environ = {name: value for name, value in os.environ.items() if "LOG_LEVEL" not in name}
    command = [sys.executable, "-c", script]
    assert subprocess.check_output(command, cwd=ROOT, env=environ, text=True).split() == ["30"]


def test_an_unknown_function_is_named_before_anything_is_built(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cold_start.main(["poller", "nope", "neither"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: no function neither, nope; there are: api_handler, channel_")
    assert "[" not in err


def test_the_estimate_prints_dollars_and_limits(capsys: pytest.CaptureFixture[str]) -> None:
    assert estimate.main() == 0
    out = capsys.readouterr().out
    assert re.search(r"\| \*\*total\*\* +\| +\d+\.\d\d +\| +\d+\.\d\d +\|", out)
    assert "CouchDB cluster: open databases" in out
    assert re.search(r"\| messages +\| 30,000 +\| 60 runs of the poller", out)
