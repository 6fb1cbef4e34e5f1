"""Names that people give: which may be shown, how long they are, and which are the same."""

import unicodedata
from contextlib import nullcontext
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from chalicelib.domain import fields
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.channel import CHANNEL_NAME_LENGTH, parse_channel
from chalicelib.domain.device import DEVICE_NAME_LENGTH, parse_device
from chalicelib.domain.documents import JsonDict, Rejected
from syncpoint_device.channels import is_called
from tests.kit.cases.devices import VALID
from tests.kit.cases.names import NAMES, NameCase

ROOT = Path(__file__).parents[2]
ADA = owner_id_of("ada@example.com")


@pytest.mark.parametrize("case", NAMES, ids=lambda case: case.what)
def test_a_name_has_up_to_eighty_characters_that_may_be_shown(case: NameCase) -> None:
    refused = nullcontext() if case.is_right else pytest.raises(Rejected, match=r"^name must")
    with refused:
        assert parse_channel({"_id": "x", "name": case.name}, "control-x", ADA).name == case.name
    with refused:
        assert parse_device({**VALID, "name": case.name}, "login").name == case.name


def test_the_endpoints_description_has_the_same_limit() -> None:
    """In JSON Schema a length is in characters."""
    described = yaml_parse((ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
    name: JsonDict = described["components"]["schemas"]["Registration"]["properties"]["name"]
    assert name["maxLength"] == DEVICE_NAME_LENGTH == CHANNEL_NAME_LENGTH == 80


def test_no_page_cuts_what_is_typed() -> None:
    """A browser counts the halves of a pair, and cuts off the rest without a word."""
    for page in (ROOT / "chalicelib" / "web" / "templates").glob("*.html"):
        assert "maxlength" not in page.read_text(encoding="utf-8").lower()


COMPOSED = unicodedata.normalize("NFC", "Café Zoë Ångström 가")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def test_names_are_the_same_however_their_letters_are_composed() -> None:
    assert COMPOSED != DECOMPOSED
    assert fields.same_name(COMPOSED, DECOMPOSED)
    assert not fields.same_name("Cafe", "Café")
    assert not fields.same_name("K", "\uff2b")  # a wide letter is another one


def test_a_command_finds_a_document_by_its_name_or_its_id() -> None:
    for name, typed in ((COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), ("Photos", "Photos")):
        assert is_called({"_id": "channel-1", "name": name}, typed)
    assert is_called({"_id": "channel-1", "name": "Photos"}, "channel-1")
    assert not is_called({"_id": "channel-1", "name": "Photos"}, "photos")
    for doc in ({"_id": "device-1"}, {"_id": "device-1", "name": None}):
        assert not is_called(doc, "None")
