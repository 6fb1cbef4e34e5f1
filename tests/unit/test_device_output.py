"""What a device prints: lines and JSON that no terminal obeys, and a log that ends no agent."""

import ast
import json
import os
import re
import stat
import sys
import unicodedata
from datetime import datetime
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.system import ROOT
from syncpoint_device import log, output
from syncpoint_device.__main__ import main
from syncpoint_device.errors import DeviceError
from syncpoint_device.log import AgentLog, Problem, Recovery

# C0, C1, DEL, bidi controls, separators, a half of a pair; and letters, flags and emoji.
EVIL = "\x1b[2J\x9b31m\x07\r\n\x7f\u202e\u2066\u2028\ud800"
TEXTS = st.text(st.one_of(st.sampled_from(EVIL + "é👨\u200d👩"), st.characters()), max_size=40)


class Screen(StringIO):
    """A terminal that shows letters of all scripts."""

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()

    def has_only_what_is_shown(self) -> bool:
        unwanted = {"Cc", "Cf", "Cs", "Zl", "Zp"}
        text = self.getvalue().replace("\n", "").replace("\u200d", "").replace("\u200c", "")
        return unwanted.isdisjoint(map(unicodedata.category, text))


def screen_of(monkeypatch: pytest.MonkeyPatch, name: str = "stdout") -> Screen:
    screen = Screen()
    monkeypatch.setattr(sys, name, screen)
    return screen


@given(TEXTS)
def test_whatever_is_printed_is_shown_and_not_obeyed(text: str) -> None:
    for as_json in (False, True):
        with pytest.MonkeyPatch.context() as monkeypatch:
            out, err = screen_of(monkeypatch), screen_of(monkeypatch, "stderr")
            output.print_result({text: text}, text.replace("\n", ""), as_json=as_json)
            output.print_error("failed", text, as_json=as_json)
            agent_log = AgentLog(as_json=as_json, is_quiet=False, file=None)
            agent_log.say(text, text)
        assert out.has_only_what_is_shown()
        assert err.has_only_what_is_shown()
        assert (len(out.lines), len(err.lines)) == (2, 1)
        if as_json:
            assert json.loads(out.lines[0]) == {text: text}
            assert json.loads(out.lines[1])["what"] == text
            assert json.loads(err.getvalue()) == {"error": {"code": "failed", "message": text}}
            assert (out.getvalue() + err.getvalue()).isascii()


@pytest.mark.parametrize("words", [[EVIL], ["status", EVIL], ["undo", "x", EVIL]])
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_what_is_typed_wrongly_is_not_obeyed_either(
    words: list[str], option: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    err = screen_of(monkeypatch, "stderr")
    assert main([*option, *words]) == 2
    assert err.has_only_what_is_shown()
    if option:
        assert json.loads(err.getvalue())["error"]["code"] == "usage"


def test_a_defect_is_told_and_its_text_is_not_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError(EVIL)

    err = screen_of(monkeypatch, "stderr")
    monkeypatch.setattr("syncpoint_device.__main__._status", fail)
    assert main(["--home", str(tmp_path), "status"]) == 1
    assert err.has_only_what_is_shown()
    assert err.lines[-1].startswith("error: RuntimeError: \\x1b[2J")


def test_nothing_is_printed_but_by_the_two_modules_that_escape() -> None:
    """A third one must escape what it prints, too, and be in the test above."""
    printing = {
        path.name
        for path in (ROOT / "syncpoint_device").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write")
    }
    assert printing == {"output.py", "__main__.py"}


def codes(kind: type[DeviceError] = DeviceError) -> set[str]:
    """The codes of an error and of all that are a kind of it."""
    return {kind.code}.union(*(codes(each) for each in kind.__subclasses__()))


def test_the_codes_of_errors_are_those_that_are_documented() -> None:
    page = (ROOT / "docs/device.md").read_text(encoding="utf-8")
    table = page.partition("### Which codes do errors have?")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert documented == sorted(documented)
    source = (ROOT / "syncpoint_device/__main__.py").read_text(encoding="utf-8")
    others = set(re.findall(r'(?:return|print_error\() ?"(\w+)",', source))
    assert set(documented) == codes() | others


# The agent's log


def test_a_line_has_date_time_offset_and_level(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch)
    agent_log = AgentLog(as_json=False, is_quiet=False, file=None)
    agent_log.say("cloud", "reached again")
    agent_log.say("cloud", Problem("cannot be reached"))
    assert [line[25:] for line in screen.lines] == [
        "  INFO     cloud          reached again",
        "  WARNING  cloud          cannot be reached",
    ]
    moments = [datetime.fromisoformat(line[:25]) for line in screen.lines]
    assert [moment.tzinfo is not None for moment in moments] == [True, True]


def test_a_quiet_agent_prints_problems_and_their_ends_and_the_file_has_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = screen_of(monkeypatch)
    agent_log = AgentLog(as_json=False, is_quiet=True, file=tmp_path / "agent.log")
    agent_log.say("agent", "keeps the channels in sync")
    agent_log.say("cloud", Problem("cannot be reached"))
    agent_log.say("cloud", Recovery("reached again"))
    agent_log.end(RuntimeError("this device was revoked"))
    agent_log.close()
    assert [line.split()[-1] for line in screen.lines] == ["reached", "again"]
    lines = (tmp_path / "agent.log").read_text().splitlines()
    assert [line.split()[2] for line in lines] == ["INFO", "WARNING", "INFO", "ERROR"]
    assert lines[-1].endswith("agent          this device was revoked")


def test_a_log_file_is_for_its_user_only_and_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen_of(monkeypatch)
    monkeypatch.setattr(log, "MAX_FILE_BYTES", 1_000)
    before = os.umask(0)
    agent_log = AgentLog(as_json=False, is_quiet=True, file=tmp_path / "agent.log")
    for number in range(200):
        agent_log.say("cloud", f"line {number:>100}")
    agent_log.close()
    os.umask(before)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["agent.log", *(f"agent.log.{number}" for number in range(1, 6))]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert "line" in (tmp_path / "agent.log").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk to try")
def test_a_full_disk_ends_no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch)
    err = screen_of(monkeypatch, "stderr")
    agent_log = AgentLog(as_json=False, is_quiet=False, file=Path("/dev/full"))
    agent_log.say("cloud", "reached again")
    assert len(screen.lines) == 1
    assert err.getvalue() == ""


def test_an_agent_without_a_screen_logs_into_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    err = screen_of(monkeypatch, "stderr")
    agent_log = AgentLog(as_json=False, is_quiet=False, file=tmp_path / "agent.log")
    agent_log.say("cloud", "reached again")
    agent_log.close()
    assert "reached again" in (tmp_path / "agent.log").read_text()
    assert err.getvalue() == ""
