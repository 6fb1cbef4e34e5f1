"""One mailbox has one owner, in Python and in JavaScript; addresses.json has the cases."""

import hashlib
import json
import subprocess
import unicodedata
from collections.abc import Iterator
from typing import Any

import email_validator
import idna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from idna import uts46data

from chalicelib.domain import fields
from chalicelib.domain.addresses import (
    InvalidAddress,
    mail_address,
    normalise_address,
    owner_id_of,
    shown_address,
)
from chalicelib.domain.documents import Rejected
from local.couchdb_process import find_node
from local.system import ROOT

CASES: dict[str, list[dict[str, str]]] = json.loads(
    (ROOT / "tests/kit/cases/addresses.json").read_text(encoding="utf-8")
)
ACCEPTED, REFUSED = CASES["accepted"], CASES["refused"]


def name_of(case: dict[str, str]) -> str:
    return case["what"]


def sent_to(address: str) -> str | None:
    """The address that SES gets, after all checks of a document's field; None if it is refused."""
    try:
        return fields.mail_address({"owner": address}, "owner")
    except Rejected:
        return None


@pytest.mark.parametrize("case", ACCEPTED, ids=name_of)
def test_an_owner_is_computed_from_the_address_that_mail_goes_to(case: dict[str, str]) -> None:
    assert mail_address(case["typed"]) == case["address"]
    assert owner_id_of(case["typed"]) == owner_id_of(case["address"]) == case["owner"]
    assert case["owner"] == hashlib.sha256(case["address"].encode()).hexdigest()[:32]


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_an_address_that_can_be_read_in_two_ways_is_refused(case: dict[str, str]) -> None:
    with pytest.raises(InvalidAddress) as refused:
        mail_address(case["typed"])
    assert str(refused.value) not in ("", "None")


def invisible_characters() -> Iterator[str]:
    """Those that browsers leave out of a domain (UTS 46), and those that show nothing."""
    starts, statuses = uts46data.uts46_starts, uts46data.uts46_statuses
    ends = [*starts[1:], 0x110000]
    for start, end, status in zip(starts, ends, statuses, strict=True):
        if bytes([status]) == b"I":
            yield from map(chr, range(start, end))
    yield from map(chr, [0x200C, 0x200D, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0])


@pytest.mark.parametrize("domain", ["exam{}ple.com", "b\u00fc{}cher.example", "{}example.com"])
def test_no_invisible_character_makes_another_spelling_of_a_domain(domain: str) -> None:
    characters = list(invisible_characters())
    assert len(characters) > 267
    taken = [each for each in characters if sent_to(f"ada@{domain.format(each)}") is not None]
    assert taken == []


# A letter stands for each of its lookalikes, which browsers read as the letter or leave out.
LETTERS = {
    "a": ["a", "A", "\uff41", "\u24d0", "\U0001d41a", "a\u00ad", "a\ufe0f", "a\u034f"],
    "e": ["e", "E", "\uff45", "e\u200b", "e\u200c", "e\u200d"],
    "k": ["k", "\u212a", "\uff4b"],
    "i": ["i", "I", "\u0131", "\u0130", "\u2170"],
    "u": ["\u00fc", "\u00dc", "u\u0308", "U\u0308", "u"],
    "s": ["s", "S", "\u017f", "\u00df", "\u1e9e", "ss", "SS"],
    "g": ["\u03c3", "\u03c2", "\u03a3"],
    ".": [".", "\u3002", "\uff0e", "\uff61", "..", "."],
}


def spellings(letters: str) -> st.SearchStrategy[str]:
    """Texts that look, or sound, like this one."""
    parts = [st.sampled_from(LETTERS.get(letter, [letter])) for letter in letters]
    return st.tuples(*parts).map("".join)


def puny(domain: str) -> str:
    """The domain with its labels in punycode, where they have one."""
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
        for label in domain.split(".")
    )


domains = st.sampled_from(["ku.is", "gu.is", "usi.de", "a.ke"]).flatmap(spellings)
local_parts = st.sampled_from(["ka", "i", "es"]).flatmap(spellings)
addresses = st.builds("{}@{}".format, local_parts, domains | domains.map(puny))


@settings(max_examples=1000)
@given(addresses, addresses)
def test_two_addresses_have_one_owner_if_and_only_if_they_are_one_mailbox(
    one: str, other: str
) -> None:
    mailboxes = sent_to(one), sent_to(other)
    if None not in mailboxes:
        assert (owner_id_of(one) == owner_id_of(other)) == (mailboxes[0] == mailboxes[1])


letters = st.characters(categories=["Ll", "Lu", "Lo", "Lm", "Mn", "Mc", "Nd"]) | st.sampled_from(
    "abcxyz019-"
)
any_domains = st.lists(st.text(letters, min_size=1, max_size=6), min_size=1, max_size=3).map(
    lambda labels: ".".join([*labels, "example"])
)


@settings(max_examples=500)
@given(any_domains)
def test_an_accepted_domain_is_read_back_from_its_ascii_form(domain: str) -> None:
    address = sent_to(f"ada@{domain}")
    if address is None:
        return
    assert sent_to(address) == address
    valid = email_validator.validate_email(address, check_deliverability=False)
    assert valid.ascii_email == address
    typed = unicodedata.normalize("NFC", unicodedata.normalize("NFC", domain).lower())
    ascii_domain = address.partition("@")[2]
    assert typed == ascii_domain or typed == idna.decode(ascii_domain)


ascii_texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@given(st.builds("{}@{}".format, ascii_texts, ascii_texts).filter(lambda text: "xn--" not in text))
def test_an_ascii_address_has_the_owner_that_it_always_had(address: str) -> None:
    assert normalise_address(f" {address}\n") == address.lower()
    assert owner_id_of(address) == hashlib.sha256(address.lower().encode()).hexdigest()[:32]


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_has_an_owner_id_and_normalising_it_again_changes_nothing(text: str) -> None:
    address = normalise_address(f"ada@{text}")
    assert normalise_address(address) == address
    assert len(owner_id_of(text)) == 32


# What people see


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada@Example.com", "Ada@Example.com"),
        ("ada@b\u00fccher.example", "ada@b\u00fccher.example (ada@xn--bcher-kva.example)"),
        ("Ada@XN--BCHER-KVA.example", "ada@b\u00fccher.example (ada@xn--bcher-kva.example)"),
        ("ada@\u0430pple.example", "ada@\u0430pple.example (ada@xn--pple-43d.example)"),
        ("xn--ada@example.com", "xn--ada@example.com"),
        ("ada@xn--a.example", "ada@xn--a.example"),
        ("ada@exam\u00adple.com", "ada@exam\u00adple.com"),
        ("somebody", "somebody"),
        ("", ""),
    ],
)
def test_an_address_that_is_not_ascii_is_shown_in_both_forms(address: str, shown: str) -> None:
    assert shown_address(address) == shown


# In JavaScript


def owner_ids_in_javascript(typed: list[str]) -> list[str]:
    """What docs/owner_id.mjs computes, in one run of Node.js."""
    script = (
        "import { ownerIdOf } from './docs/owner_id.mjs';"
        "import { readFileSync } from 'node:fs';"
        "const ids = JSON.parse(readFileSync(0, 'utf8')).map(ownerIdOf);"
        "console.log(JSON.stringify(await Promise.all(ids)));"
    )
    command = [find_node(), "--input-type=module", "--eval", script]
    done = subprocess.run(
        command, cwd=ROOT, input=json.dumps(typed), capture_output=True, text=True, check=True
    )
    ids: list[str] = json.loads(done.stdout)
    return ids


@pytest.mark.io
def test_javascript_computes_the_same_owner_ids() -> None:
    ids = owner_ids_in_javascript([case["typed"] for case in ACCEPTED])
    assert ids == [case["owner"] for case in ACCEPTED]


@pytest.mark.io
@settings(max_examples=5)
@given(st.lists(st.builds("ada@{}".format, any_domains) | addresses, min_size=100, max_size=200))
def test_javascript_computes_the_owner_id_of_any_accepted_address(typed: list[Any]) -> None:
    accepted = [address for address in typed if sent_to(address) is not None]
    assert owner_ids_in_javascript(accepted) == [owner_id_of(address) for address in accepted]
