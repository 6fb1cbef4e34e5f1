"""What the bench makes of its figures; nothing is measured here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cold_start, estimate, plots
from bench.__main__ import main
from bench.measure import interleave, quantile, ratios, spread
from bench.report import Finding, Goal, block, rounded, shown, table, with_block
from local.system import ROOT

LOG_LEVEL = "POWERTOOLS_LOG_LEVEL"


def test_contestants_take_turns() -> None:
    ran: list[str] = []

    def run(name: str) -> float:
        ran.append(name)
        return float(len(ran))

    rounds = interleave({"a": lambda: run("a"), "b": lambda: run("b")}, 2, lambda what: None)
    assert ran == ["a", "b", "a", "b"]
    assert rounds == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_it_is_said_which_round_of_how_many_runs() -> None:
    said: list[str] = []
    interleave({"a": lambda: 0.0}, 2, said.append)
    assert said == ["round 1 of 2: a", "round 2 of 2: a"]


def test_a_ratio_is_taken_in_each_round_and_then_its_middle() -> None:
    # The machine was slow for ours in one round and for the floor in another.
    rounds = {"ours": [90.0, 9.0, 80.0], "floor": [100.0, 10.0, 10.0]}
    assert ratios(rounds, "ours", "floor").median == pytest.approx(0.9)  # of medians: 8


def test_contestants_of_different_rounds_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios({"a": [1.0, 2.0], "b": [1.0]}, "b", "a")


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.25, 2.0), (0.5, 3.0), (0.9, 4.6), (1.0, 5.0)]
)
def test_a_quantile_lies_between_its_neighbours_in_proportion(
    share: float, expected: float
) -> None:
    assert quantile([5.0, 1.0, 4.0, 2.0, 3.0], share) == pytest.approx(expected)


def test_a_spread_of_one_figure_is_that_figure() -> None:
    assert spread([7.0]) == spread([7.0, 7.0, 7.0])


def test_a_spread_is_shown_with_its_quartiles() -> None:
    assert shown(spread([9_000.0, 10_000.0, 11_000.0])) == "10,000 (9,500–10,500)"
    assert shown(spread([1.25]), 2) == "1.25 (1.25–1.25)"


def test_a_table_is_aligned() -> None:
    assert table(["name", "n"], [["a", "1,000"]]) == (
        "| name | n     |\n| ---- | ----- |\n| a    | 1,000 |"
    )


PAGE = "# Page\n\n<!-- bench:feed -->\nold\n<!-- /bench:feed -->\n\nmine\n"


def test_a_block_is_put_between_its_marks_and_all_else_stays() -> None:
    page = with_block(PAGE, "feed", r"new \1")
    assert page == PAGE.replace("old", r"new \1")
    assert with_block(page, "feed", "old") == PAGE


def test_a_page_without_the_marks_is_no_place_for_a_block() -> None:
    with pytest.raises(LookupError, match="bench:latency"):
        with_block(PAGE, "latency", "new")


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
def test_without_its_couchdb_the_bench_ends_with_a_line_that_says_so(
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


def test_what_the_bench_runs_logs_no_more_than_its_warnings() -> None:
    script = (
        "from bench.__main__ import load_items, prepare_process; prepare_process(); load_items()\n"
        "from chalicelib.telemetry import logger; print(logger.log_level)"
    )
    for level, expected in ((None, "30"), ("INFO", "20")):
        given = {name: value for name, value in os.environ.items() if name != LOG_LEVEL}
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=given | ({LOG_LEVEL: level} if level else {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.split() == [expected]


def test_a_function_that_is_not_there_is_told_before_anything_is_built(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cold_start.main(["poller", "nope", "neither"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: no function neither, nope; there are: api_handler, channel_")
    assert "[" not in err


def test_a_missed_goal_is_seen() -> None:
    finding = Finding(
        head=["reader"],
        rows=[["poller"]],
        goals=[Goal("a", "≥ 1", "2", is_met=True), Goal("b", "≥ 1", "0", is_met=False)],
        plots={"feed.svg": lambda path: None},
        figures={},
        notes=["a note"],
    )
    text = block(finding, {"commit": "abc"})
    assert "| a    | ≥ 1    | 2     | met        |" in text
    assert "| b    | ≥ 1    | 0     | **missed** |" in text
    assert text.endswith("a note\n\n![feed](plots/feed.svg)\n\nMeasured: commit abc")


def test_figures_are_kept_with_four_digits() -> None:
    kept = rounded({"a": [1234.567, 0.000123451], "b": {"c": 2}, "d": "text"})
    assert kept == {"a": [1235.0, 0.0001235], "b": {"c": 2}, "d": "text"}


def test_the_same_figures_make_the_same_plot(tmp_path: Path) -> None:
    for name in ("first", "again"):
        plots.lines(tmp_path / name, "t", "x", "y", {"a": [(1, 2), (10, 3)]}, log_x=True)
        plots.bars(tmp_path / f"{name}-bars", "t", "y", {"g": {"a": 1, "b": 2}, "h": {"a": 3}})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()
    assert (tmp_path / "first-bars").read_bytes() == (tmp_path / "again-bars").read_bytes()
    assert b"<svg" in (tmp_path / "first").read_bytes()


def test_the_estimate_prints_dollars_and_limits(capsys: pytest.CaptureFixture[str]) -> None:
    assert estimate.main() == 0
    out = capsys.readouterr().out
    assert re.search(r"\| \*\*total\*\* +\| +\d+\.\d\d +\| +\d+\.\d\d +\|", out)
    assert "CouchDB cluster: open databases" in out
