"""The docs say what the code says."""

import json
import re
import tomllib

from docs.generate import BLOCKS, PAGES, rendered
from local.system import ROOT, LocalSystem, Options

DECISIONS = ROOT / "docs/decisions"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


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
