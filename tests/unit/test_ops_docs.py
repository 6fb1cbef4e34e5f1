"""What docs/deploy.md has an operator type is what there is."""

import json
import os
import re
import shlex
import subprocess
import sys
from types import ModuleType
from typing import Any, cast

import pytest
from samtranslator.yaml_helper import yaml_parse

from chalicelib.aws.suppressions import Suppressions
from chalicelib.domain.addresses import owner_id_of
from local.system import ROOT
from ops import deploy, destroy, doctor, front, package, redrive, reread, upgrade
from ops.tools import real_tools

TEXT = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_table_that_was_kept_is_imported_as_the_template_has_it() -> None:
    [recipe] = re.findall(r"<<'END'\n(.*?)END\n", TEXT, re.DOTALL)
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    wanted = json.dumps(yaml_parse(template)["Resources"]["Table"]["Properties"])
    stages = wanted.replace('{"Fn::Sub": "syncpoint-${Stage}"}', '"syncpoint-dev"')
    assert yaml_parse(recipe)["Resources"]["Table"]["Properties"] == json.loads(stages)


@pytest.mark.io
def test_a_suppression_is_lifted_by_the_key_that_it_has() -> None:
    [(code, address)] = re.findall(r"^HASH=\$\(\.venv/bin/python -c '(.*)' (\S+)\)$", TEXT, re.M)
    done = subprocess.run(
        [sys.executable, "-c", code, address.upper()],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    [key] = re.findall(
        r"^aws dynamodb delete-item --table-name syncpoint-dev --key (.*)$", TEXT, re.M
    )
    client = Keys()
    Suppressions(cast(Any, client), "syncpoint-dev").holds(owner_id_of(address))
    assert json.loads(key.replace("'$HASH'", done.stdout.strip()).strip("'")) == client.asked


class Keys:
    """A table that remembers what it was asked for."""

    asked: object = None

    def get_item(self, Key: object, **_: object) -> dict[str, object]:  # noqa: N803
        self.asked = Key
        return {}


def commands() -> list[str]:
    """The `make` commands of the page, whether in a line of text or of their own."""
    return re.findall(r"^make .*$", TEXT, re.MULTILINE) + re.findall(r"`(make [^`]*)`", TEXT)


def test_the_commands_and_their_variables_are_those_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    variables = set(re.findall(r"\b([A-Z_]+)\)", MAKEFILE))
    assert len(commands()) > 10
    for command in commands():
        assert command.split()[1] in targets, command
        assert set(re.findall(r"([A-Z_]+)=", command)) <= variables, command


@pytest.mark.io
@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ([], ["dev"]),
        (["ALARM_ADDRESS=", "POLL_WINDOW=0"], ["dev", "--alarm-address", "", "--poll-window", "0"]),
        (["POLLER_CONCURRENCY=2"], ["dev", "--poller-concurrency", "2"]),
        (["ALARM_ADDRESS=a@example.com"], ["dev", "--alarm-address", "a@example.com"]),
    ],
)
def test_what_is_said_is_handed_on_though_it_is_empty_or_0(
    said: list[str], arguments: list[str]
) -> None:
    make = ["make", "--dry-run", "VENV=/", "--old-file=//.dev", "deploy", *said]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        make, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert shlex.split(done.stdout.replace("\\\n", ""))[3:] == arguments


def test_the_modules_say_how_they_are_run() -> None:
    for module in (deploy, destroy, front, redrive, reread):
        name = module.__name__
        assert f"`python -m {name} STAGE" in (module.__doc__ or "")
        assert f"-m {name} $(STAGE)" in MAKEFILE


@pytest.mark.parametrize(
    "module", [deploy, destroy, doctor, front, package, redrive, reread, upgrade]
)
def test_help_says_what_a_command_is_for(
    module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        module.main(["--help"], real_tools())
    assert end.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith(f"usage: python -m {module.__name__} ")
    assert (module.__doc__ or "").partition("\n")[0] in printed
    assert "the name of a stage in .chalice/config.json" in printed
