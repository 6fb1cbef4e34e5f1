"""Which ports the local system takes: devices that registered know those of the last run."""

import argparse
import logging
import socket
from pathlib import Path

import pytest

from local.data_folder import Ports, find_obstacle, port_number
from local.errors import LocalError

PARTS = ("api", "outbox", "couch")
LAST = {"api": 18000, "outbox": 18025, "couch": 15984}


def ports(folder: Path, *in_use: int) -> Ports:
    return Ports(folder, lambda port: "is in use" if port in in_use else None)


def urls(taken: dict[str, int]) -> dict[str, str]:
    return {part: f"http://admin:secret@127.0.0.1:{port}" for part, port in taken.items()}


def chosen(one: Ports) -> dict[str, int]:
    return {part: one.choose(part, None) for part in PARTS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with which the system ran before."""
    ports(tmp_path).keep(**urls(LAST))
    return tmp_path


def test_the_first_run_takes_free_ones(tmp_path: Path) -> None:
    assert chosen(ports(tmp_path)) == dict.fromkeys(PARTS, 0)


def test_the_next_run_takes_those_of_the_last(folder: Path) -> None:
    assert chosen(ports(folder)) == LAST


def test_an_option_wins_and_is_remembered(folder: Path) -> None:
    one = ports(folder)
    assert (one.choose("api", 8000), one.choose("couch", 0)) == (8000, 0)
    one.keep(**urls(LAST | {"api": 8000}))
    assert chosen(ports(folder)) == LAST | {"api": 8000}


def test_one_that_is_in_use_is_told_and_only_left_for_this_time(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    one = ports(folder, LAST["couch"])
    assert chosen(one) == LAST | {"couch": 0}
    [line] = caplog.messages
    assert line.startswith("port 15984, which the couch had in the last run, is in use. ")
    one.keep(**urls(LAST | {"couch": 40000}))
    assert chosen(ports(folder)) == LAST


def test_one_that_was_asked_for_and_is_in_use_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"^--outbox-port 18025 is in use; choose"):
        ports(tmp_path, 18025).choose("outbox", 18025)


def test_one_port_is_not_for_two(tmp_path: Path) -> None:
    one = ports(tmp_path)
    one.choose("api", 8000)
    with pytest.raises(LocalError, match=r"^--outbox-port 8000 is in use; choose"):
        one.choose("outbox", 8000)


@pytest.mark.parametrize("text", ["65536", "99999", "-5", "a", "1.5", "", "\N{SUPERSCRIPT TWO}"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a port is a number from 0 to 65535"):
        port_number(text)


def test_all_others_are_ports() -> None:
    assert [port_number(text) for text in ("0", "8000", "65535")] == [0, 8000, 65535]


def test_a_file_that_was_not_written_whole_is_none(folder: Path) -> None:
    (folder / "ports.json").write_text('{"api": 18')
    assert chosen(ports(folder)) == dict.fromkeys(PARTS, 0)


@pytest.mark.io
def test_a_port_is_in_use_while_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert find_obstacle(taken.getsockname()[1]) == "is in use"
    assert find_obstacle(0) is None
