"""The docs say what the code says."""

import json
import re
import tomllib
from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path

from chalicelib.domain.channel import CHANNEL_NAME_LENGTH, MAX_MEMBERS
from chalicelib.settings import Count, Settings
from docs.generate import BLOCKS, PAGES, rendered
from local.system import ROOT, LocalSystem, Options
from syncpoint_device.__main__ import make_parser

DECISIONS = ROOT / "docs/decisions"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
ANCHORED = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")


def test_the_generated_parts_are_up_to_date() -> None:
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    old = [page.name for page, text in texts.items() if text != rendered(text)]
    assert old == [], "run `make docs`"


def test_every_generated_part_has_its_place() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"<!-- generated: (\w+) -->", text)) == set(BLOCKS)


def test_links_between_pages_and_to_files_lead_somewhere() -> None:
    broken = [
        f"{page.name}: {link}"
        for page in [*PAGES, ROOT / "tests/README.md"]
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if not re.match(r"https?:", link) and not (page.parent / link).exists()
    ]
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_to_a_heading_name_one_that_is_there() -> None:
    broken = [
        f"{page.name}: {link}#{anchor}"
        for page in [*PAGES, ROOT / "tests/README.md"]
        for link, anchor in ANCHORED.findall(page.read_text(encoding="utf-8"))
        if not re.match(r"https?:", link)
        and anchor not in anchors(page.parent / link if link else page)
    ]
    assert broken == []


def test_the_page_of_the_agent_links_to_no_file_that_its_readers_lack() -> None:
    """They have the wheel and this page, and no repository."""
    text = (ROOT / "docs/device.md").read_text(encoding="utf-8")
    assert LINK.findall(text) == []


def test_the_page_of_the_agent_lists_its_commands() -> None:
    text = (ROOT / "docs/device.md").read_text(encoding="utf-8")
    table = text.partition("### Commands")[2].partition("\n- ")[0]
    cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    listed = {name for cell in cells for name in re.findall(r"`([a-z]+(?: [a-z]+)?)", cell)}
    assert listed == commands_of(make_parser())


def test_the_page_of_the_agent_has_the_limits_of_the_cloud() -> None:
    text = " ".join((ROOT / "docs/device.md").read_text(encoding="utf-8").split())
    of = {v.name: int(v.default or 0) for v in Settings.variables() if isinstance(v.parse, Count)}
    for sentence in (
        f"at most {of['MAILS_PER_ADDRESS_HOUR']} mails in an hour, "
        f"and {of['MAILS_PER_ADDRESS_DAY']} in a day",
        f"invite {of['MAILS_PER_OWNER_HOUR']} times in an hour, "
        f"and {of['MAILS_PER_OWNER_DAY']} times in a day",
        f"create {of['CHANNELS_PER_OWNER_HOUR']} channels in an hour, "
        f"and {of['CHANNELS_PER_OWNER_DAY']} in a day",
        f"works for {of['CONFIRM_TTL_SECONDS'] // 3600} hours",
        f"works for {of['INVITATION_TTL_SECONDS'] // 86400} days",
        f"room for {MAX_MEMBERS} members",
        f"have 1 to {CHANNEL_NAME_LENGTH} characters",
    ):
        assert sentence in text


def commands_of(parser: ArgumentParser) -> set[str]:
    """The commands of a parser, ``status`` and ``channel create``."""
    found = set()
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for name, command in action.choices.items():
                below = commands_of(command)
                found |= {f"{name} {one}" for one in below} or {name}
    return found


def test_the_index_of_decisions_lists_each_record_with_its_date_and_status() -> None:
    heads = re.compile(r"# (.+)\n\n- Date: (\S+).*\n- Status: (.+)\n")
    rows = []
    for record in sorted(DECISIONS.glob("[0-9]*.md")):
        head = heads.match(record.read_text(encoding="utf-8"))
        assert head, record.name
        title, date, status = head.groups()
        rows.append(f"| {record.name[:4]} | [{title}]({record.name}) | {date} | {status} |")
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \d.*$", index, re.MULTILINE) == rows


def test_the_readmes_name_only_commands_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    texts = [(ROOT / page).read_text("utf-8") for page in ("README.md", "tests/README.md")]
    named = set(re.findall(r"`make ([a-z0-9-]+)", "".join(texts)))
    assert named - targets == set()


def test_the_page_of_the_tests_names_all_markers_and_helpers() -> None:
    page = (ROOT / "tests/README.md").read_text(encoding="utf-8")
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]
    markers = {line.partition(":")[0] for line in options["ini_options"]["markers"]}
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) >= markers
    modules = {
        path for path in (ROOT / "tests/kit").rglob("[a-z]*.py") if "fakes" not in path.parts
    }
    assert {path.stem for path in modules if not re.search(rf"\.{path.stem}`", page)} == set()


def test_the_documented_line_of_json_is_the_one_that_is_printed() -> None:
    text = (ROOT / "docs/local.md").read_text(encoding="utf-8")
    [documented] = re.findall(r'^\{"ready".*\}$', text, re.MULTILINE)
    assert set(json.loads(documented)) == set(json.loads(LocalSystem(Options()).ready_line()))


def test_no_file_names_a_path_of_one_machine() -> None:
    for page in [*PAGES, ROOT / "Makefile", ROOT / ".ci/run"]:
        assert not re.search(r"/(home|Users|root|work)/", page.read_text(encoding="utf-8"))
