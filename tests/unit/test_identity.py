"""Owners, addresses, the code in a link, the code on a device's screen."""

import base64
import hashlib
import hmac
import json
import string
import unicodedata
from random import Random

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from chalicelib.domain import constant_time
from chalicelib.domain.addresses import (
    ADDRESS_LENGTH,
    InvalidAddress,
    mail_address,
    normalise_address,
    owner_id_of,
)
from chalicelib.domain.constant_time import same
from chalicelib.domain.device_codes import plain_device_code, same_device_code
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.invitation import guest_and_channel
from chalicelib.domain.link_tokens import InvitationRef, LinkKeys, LinkToken
from chalicelib.domain.names import (
    channel_db,
    confirm_id,
    owner_control_db,
    owner_id_of_database,
    owner_role,
    subscription_id,
)
from chalicelib.handlers.all import registry
from tests.kit.cases.devices import any_text
from tests.kit.tokens import LONGEST_TOKEN, MAC_LENGTH, put_together, take_apart

KEY, NEWER_KEY, OTHER_KEY = b"k" * 32, b"n" * 32, b"o" * 32
LINKS = LinkKeys([KEY], "confirm test control")
DEVICE_ID = "device-0123456789abcdef0123456789abcdef"

# Arbitrary text as JSON may bring it: lone surrogates, newlines and all.
device_ids = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=60)
generations = st.integers(0, 10**9 - 1)
invitation_ids = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=128)
subjects = device_ids | invitation_ids.map(
    lambda doc_id: InvitationRef("0a" * 16, "0b" * 16, doc_id).subject
)


# Owners


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("ada@example.com", id="plain"),
        pytest.param("  ada@example.com\n", id="to be trimmed"),
        pytest.param("Ada@Example.COM", id="in mixed case"),
        pytest.param("ＡＤＡ@example.com", id="in fullwidth letters"),
        pytest.param("\u00a0ａda@EXAMPLE.com\u3000", id="all at once"),
    ],
)
def test_all_spellings_of_an_address_have_one_owner(address: str) -> None:
    by_hand = hashlib.sha256(b"ada@example.com").hexdigest()[:32]
    assert owner_id_of(address) == by_hand == "b5fc85e55755f9e0d030a10ab4429b6b"


def test_composed_and_decomposed_letters_have_one_owner() -> None:
    by_hand = hashlib.sha256("ad\u00e8le@example.com".encode()).hexdigest()[:32]
    assert (
        owner_id_of("ade\u0300le@example.com") == owner_id_of("AD\u00c8LE@example.com") == by_hand
    )


def test_different_addresses_have_different_owners() -> None:
    addresses = ["ada@example.com", "ada@example.org", "ada.l@example.com", "a.da@example.com"]
    assert len({owner_id_of(address) for address in addresses}) == len(addresses)


@pytest.mark.parametrize("email", ["ADA@example.com", " ada@example.com", "ada@Example.com"])
def test_an_invitation_in_another_spelling_is_for_the_same_guest(email: str) -> None:
    doc = {"channel": "notes", "email": "ada@example.com"}
    assert guest_and_channel({**doc, "email": email}) == guest_and_channel(doc)
    for changes in ({"channel": "photos"}, {"email": "ben@example.com"}, {"channel": None}):
        assert guest_and_channel({**doc, **changes}) != guest_and_channel(doc)


@given(
    st.dictionaries(
        st.sampled_from(["channel", "email"]),
        any_text
        | st.integers()
        | st.none()
        | st.lists(any_text)
        | st.dictionaries(any_text, any_text),
    )
)
def test_an_invitation_that_nobody_has_checked_has_a_key_too(doc: JsonDict) -> None:
    transition = registry.transition("invitation", "new")
    assert transition.idempotency_key(doc) == transition.idempotency_key(dict(doc))
    json.dumps(guest_and_channel(doc)).encode()


def test_names_made_of_an_owner_are_as_devices_work_them_out() -> None:
    assert owner_role("0a" * 16) == f"owner-{'0a' * 16}"
    assert owner_control_db("control", "0a" * 16) == f"control-{'0a' * 16}"
    assert confirm_id(DEVICE_ID, 3) == f"confirm-{DEVICE_ID}-3"
    assert subscription_id("notes", "0a" * 16) == f"notes-sub-{'0a' * 16}"
    by_hand = hashlib.sha256(f"{'0a' * 16}/notes".encode()).hexdigest()[:32]
    assert channel_db("0a" * 16, "notes") == f"db-{by_hand}"


def test_a_channels_database_is_its_owners_own_whatever_the_channels_id() -> None:
    ids = ["notes", "Notes", "\ud800", "ü", ""]
    names = {
        channel_db(owner, channel_id) for owner in ("0a" * 16, "0b" * 16) for channel_id in ids
    }
    assert len(names) == 2 * len(ids)


@pytest.mark.parametrize(
    ("db", "owner"),
    [
        (f"control-{'0a' * 16}", "0a" * 16),
        ("control", None),
        ("0a" * 16, None),
        (f"control-dev-{'0a' * 16}", None),
        (f"control-{'0A' * 16}", None),
        (f"control-{'0a' * 16}0", None),
        (f"control-{'0a' * 16}\n", None),
        (f"control-{'٠a' * 16}", None),
        (f"other-{'0a' * 16}", None),
    ],
)
def test_the_owner_is_read_from_the_name_of_an_owners_control_database(
    db: str, owner: str | None
) -> None:
    assert owner_id_of_database("control", db) == owner


# What an invitation's link is about


def test_an_invitations_reference_reads_back_from_a_links_subject() -> None:
    ref = InvitationRef("0a" * 16, "0b" * 16, "inv-1")
    assert ref.subject == f"{'0a' * 16}.{'0b' * 16}.inv-1"
    assert InvitationRef.parse(ref.subject) == ref


def test_a_receipt_for_a_guests_answer_is_no_links_subject() -> None:
    ref = InvitationRef("0a" * 16, "0b" * 16, "inv-1")
    assert ref.acceptance == f"accepted.{ref.subject}"
    assert InvitationRef.parse(ref.acceptance) is None


@pytest.mark.parametrize("subject", ["", DEVICE_ID, "a.b", "a.b.c.d"])
def test_another_subject_is_about_no_invitation(subject: str) -> None:
    assert InvitationRef.parse(subject) is None


@given(st.text())
def test_an_owner_is_32_hex_digits_whatever_the_address(address: str) -> None:
    assert len(owner_id_of(address)) == 32
    assert set(owner_id_of(address)) <= set(string.hexdigits.lower())


@given(st.text(string.ascii_letters + string.digits + "._+-@", min_size=1))
def test_normalising_an_ascii_address_twice_is_normalising_it_once(address: str) -> None:
    once = normalise_address(f" {address}\t")
    assert normalise_address(once) == once == address.lower()


# Addresses


@pytest.mark.parametrize(
    ("address", "sent_to"),
    [
        pytest.param("ada@example.com", "ada@example.com", id="plain"),
        pytest.param(" Ada@EXAMPLE.com ", "ada@example.com", id="spaces and capitals"),
        pytest.param("ＡＤＡ@example.com", "ada@example.com", id="fullwidth letters"),
        pytest.param("ada+tag@example.com", "ada+tag@example.com", id="a tag"),
        pytest.param("o'neil@example.com", "o'neil@example.com", id="an apostrophe"),
        pytest.param("ada@bücher.example", "ada@xn--bcher-kva.example", id="a foreign domain"),
        pytest.param("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example", id="in punycode"),
        pytest.param("ada@mail.example.co.uk", "ada@mail.example.co.uk", id="many labels"),
        pytest.param("ada@local.test", "ada@local.test", id="a reserved domain"),
        pytest.param(f"{'x' * 64}@example.com", f"{'x' * 64}@example.com", id="a long local part"),
    ],
)
def test_an_address_is_accepted_and_spelled_as_mail_is_sent(address: str, sent_to: str) -> None:
    assert mail_address(address) == sent_to


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("", id="empty"),
        pytest.param("ada", id="no at sign"),
        pytest.param("@example.com", id="no local part"),
        pytest.param("ada@", id="no domain"),
        pytest.param("ada@localhost", id="no dot in the domain"),
        pytest.param("ada@[127.0.0.1]", id="an IP address"),
        pytest.param("a b@example.com", id="a space"),
        pytest.param('"a b"@example.com', id="quotes"),
        pytest.param("Ada <ada@example.com>", id="a display name"),
        pytest.param("ada@example.com, bob@example.com", id="two addresses"),
        pytest.param("ada@bob@example.com", id="two at signs"),
        pytest.param("a..b@example.com", id="two dots"),
        pytest.param(".a@example.com", id="a leading dot"),
        pytest.param("ada@example.com.", id="a trailing dot"),
        pytest.param("ada@-example.com", id="a leading hyphen"),
        pytest.param("ada@exam_ple.com", id="an underscore in the domain"),
        pytest.param(f"ada@{'x' * 64}.com", id="a label too long"),
        pytest.param(f"ada@{'b.' * 130}com", id="too long"),
        pytest.param("ädä@example.com", id="a local part that needs SMTPUTF8"),
        pytest.param("ada@example.com\r\nBcc: eve@example.com", id="a header"),
        pytest.param("ada\u200b@example.com", id="a zero-width space"),
        pytest.param("ada@exam\u00adple.com", id="a soft hyphen"),
        pytest.param("ada@\ud800.com", id="a lone surrogate"),
        pytest.param("ada@xn--a.com", id="bad punycode"),
        pytest.param("ada\x00@example.com", id="a NUL"),
    ],
)
def test_what_is_no_address_is_refused_with_a_reason(address: str) -> None:
    with pytest.raises(InvalidAddress) as refused:
        mail_address(address)
    assert str(refused.value) not in ("", "None")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        pytest.param("=?utf-8?q?ada?=@example.com", "encoded word", id="an encoded word"),
        pytest.param("ada.example.com", "@-sign", id="no at sign"),
        pytest.param(f"ada@{'b.' * 130}com", f"longer than {ADDRESS_LENGTH}", id="too long"),
    ],
)
def test_who_is_refused_an_address_reads_what_is_wrong_with_it(address: str, why: str) -> None:
    with pytest.raises(InvalidAddress, match=why):
        mail_address(address)


def test_an_address_may_be_as_long_as_smtp_carries_and_no_longer() -> None:
    longest = f"{'x' * 64}@{('d' * 61 + '.') * 3}com"
    assert len(longest) == ADDRESS_LENGTH
    assert mail_address(longest) == longest
    with pytest.raises(InvalidAddress):
        mail_address(longest.replace(".com", ".comm"))


@settings(max_examples=300)
@given(any_text | st.builds("{}@{}".format, any_text, any_text))
def test_an_address_is_sent_to_in_ascii_on_one_line_or_refused(address: str) -> None:
    try:
        sent_to = mail_address(address)
    except InvalidAddress:
        return
    assert sent_to.isascii()
    assert sent_to.isprintable()
    assert sent_to.count("@") == 1
    assert len(sent_to.split()) == 1


# The code in a link


@given(device_ids, generations)
def test_a_code_says_what_it_was_signed_for(device_id: str, generation: int) -> None:
    code = LINKS.sign(device_id, generation)
    assert LINKS.verify(code) == LinkToken(device_id, generation)
    assert LINKS.sign(device_id, generation) == code


@pytest.mark.parametrize("device_id", ["a.b", "a.1", "a.1.b", "...", f"{DEVICE_ID}.7"])
def test_an_id_with_dots_is_not_torn_apart(device_id: str) -> None:
    assert LINKS.verify(LINKS.sign(device_id, 12)) == LinkToken(device_id, 12)


def test_a_code_is_made_of_its_id_its_generation_and_a_mac() -> None:
    text = f"confirm test control\n{DEVICE_ID}\n3".encode()
    digest = hmac.new(KEY, text, hashlib.sha256).digest()[:16]
    mac = base64.b32encode(digest).decode().rstrip("=").lower()
    assert LINKS.sign(DEVICE_ID, 3) == put_together(DEVICE_ID, 3, mac)
    assert take_apart(LINKS.sign(DEVICE_ID, 3)) == (DEVICE_ID, "3", mac)


@given(subjects, generations)
def test_a_code_has_letters_of_one_case_and_digits(subject: str, generation: int) -> None:
    assert set(LINKS.sign(subject, generation)) <= set("abcdefghijklmnopqrstuvwxyz234567")


def test_the_longest_code_fits_into_a_line_of_a_mail() -> None:
    ref = InvitationRef("0a" * 16, "0b" * 16, "Z" * 128)
    code = LINKS.sign(ref.subject, 10**9 - 1)
    assert LINKS.verify(code) == LinkToken(ref.subject, 10**9 - 1)
    assert len(code) == LONGEST_TOKEN < 998  # RFC 5322, 2.1.1
    assert len(LINKS.sign(DEVICE_ID, 0)) == 92


@settings(max_examples=300)
@given(subjects, generations, st.randoms(use_true_random=False))
def test_a_code_is_the_same_whatever_a_mail_program_does_to_it(
    subject: str, generation: int, random: Random
) -> None:
    """Each character in either case, or percent-encoded with digits in either case."""
    changed = ""
    for character in LINKS.sign(subject, generation):
        letter = random.choice([character, character.upper()])
        encoded = random.choice([f"%{ord(letter):02x}", f"%{ord(letter):02X}"])
        changed += random.choice([letter, encoded])
    assert LINKS.verify(changed) == LinkToken(subject, generation)
    whole = LINKS.sign(subject, generation)
    assert LINKS.verify(whole.upper()) == LinkToken(subject, generation)


def test_only_ascii_letters_have_another_case_in_a_code() -> None:
    codes = [LINKS.sign(DEVICE_ID, generation) for generation in range(20)]
    lookalikes = {"k": "\u212a", "s": "\u017f", "i": "\u0130"}
    for letter, lookalike in lookalikes.items():
        changed = [code.replace(letter, lookalike) for code in codes if letter in code]
        assert changed
        assert {LINKS.verify(code) for code in changed} == {None}


def test_percent_encoding_is_undone_once() -> None:
    twice = "".join(f"%25{ord(letter):x}" for letter in LINKS.sign(DEVICE_ID, 0))
    assert LINKS.verify(twice) is None


def test_a_code_of_another_key_is_refused() -> None:
    assert LINKS.verify(LinkKeys([OTHER_KEY], LINKS.purpose).sign(DEVICE_ID, 0)) is None


def test_after_a_rotation_the_first_key_signs_and_all_verify() -> None:
    rotated = LinkKeys([NEWER_KEY, KEY], LINKS.purpose)
    assert rotated.verify(LINKS.sign(DEVICE_ID, 0)) == LinkToken(DEVICE_ID, 0)
    assert rotated.sign(DEVICE_ID, 0) == LinkKeys([NEWER_KEY], LINKS.purpose).sign(DEVICE_ID, 0)


def test_a_code_of_a_key_that_is_gone_is_refused() -> None:
    assert LinkKeys([NEWER_KEY], LINKS.purpose).verify(LINKS.sign(DEVICE_ID, 0)) is None


def test_without_keys_nothing_is_verified() -> None:
    assert LinkKeys([], LINKS.purpose).verify(LINKS.sign(DEVICE_ID, 0)) is None


@pytest.mark.parametrize("purpose", ["invitation test control", "confirm prod control", ""])
def test_a_code_made_for_another_purpose_is_refused(purpose: str) -> None:
    assert LINKS.verify(LinkKeys([KEY], purpose).sign(DEVICE_ID, 0)) is None


@settings(max_examples=400)
@given(st.data())
def test_a_code_with_any_one_character_changed_is_refused(data: st.DataObject) -> None:
    code = LINKS.sign(DEVICE_ID, data.draw(st.sampled_from([0, 1, 9, 10, 120])))
    at = data.draw(st.integers(0, len(code) - 1))
    likely = st.sampled_from(string.ascii_letters + string.digits + "-_.% \n")
    other = data.draw(likely | st.characters(exclude_categories=()))
    assume(other not in (code[at], code[at].upper()))
    assert LINKS.verify(code[:at] + other + code[at + 1 :]) is None


def test_a_code_with_any_one_letter_changed_is_refused_whatever_bits_count() -> None:
    """All of them: base32 has letters at the ends of its parts that decode to the same octets."""
    for code in (LINKS.sign(DEVICE_ID, 0), LINKS.sign(DEVICE_ID, 10), LINKS.sign("x", 0)):
        for at, right in enumerate(code):
            for letter in set("abcdefghijklmnopqrstuvwxyz234567") - {right}:
                assert LINKS.verify(code[:at] + letter + code[at + 1 :]) is None


@given(st.data())
def test_a_code_that_was_cut_short_or_added_to_is_refused(data: st.DataObject) -> None:
    code = LINKS.sign(DEVICE_ID, 1)
    at = data.draw(st.integers(0, len(code)))
    assert LINKS.verify(code[:at] + data.draw(st.text(min_size=1)) + code[at:]) is None
    assert LINKS.verify(code[:at] + code[at + 1 :]) is None or at == len(code)


@pytest.mark.parametrize(
    ("spelling", "generation"),
    [("01", 1), ("-1", 1), ("+1", 1), (" 1", 1), ("1_0", 10), ("1٠", 10), ("١", 1), ("", 0)],
)
def test_a_generation_has_one_spelling(spelling: str, generation: int) -> None:
    mac = take_apart(LINKS.sign(DEVICE_ID, generation))[2]
    assert LINKS.verify(put_together(DEVICE_ID, spelling, mac)) is None


def test_a_mac_is_not_good_for_another_generation_or_device() -> None:
    mac = take_apart(LINKS.sign(DEVICE_ID, 1))[2]
    assert LINKS.verify(put_together(DEVICE_ID, 2, mac)) is None
    assert LINKS.verify(put_together("device-other", 1, mac)) is None


tails = st.text("abcdefghijklmnopqrstuvwxyz234567", max_size=60)
macs = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=MAC_LENGTH, max_size=MAC_LENGTH)
contents = st.binary().map(lambda octets: base64.b32encode(octets).decode().rstrip("=").lower())


@settings(max_examples=300)
@given(
    any_text
    | st.builds("{}{}".format, contents | tails, macs)
    | st.builds(put_together, st.text(), generations, macs)
)
def test_no_text_makes_verifying_raise_and_none_is_verified(code: str) -> None:
    assert LINKS.verify(code) is None


@pytest.mark.parametrize(
    "code", ["", ".", "\ud800", "%", "%ff", "a" * 26, "a" * 27, "a" * 34, "%61" * 40, "." * 5000]
)
def test_an_odd_code_is_refused(code: str) -> None:
    assert LINKS.verify(code) is None


# The code on a device's screen


@pytest.mark.parametrize(
    "typed",
    [
        "ABCD-2345",
        "abcd-2345",
        "ABCD2345",
        " a b c d - 2 3 4 5\n",
        "ＡＢＣＤ２３４５",
        "abcd-٢٣٤٥",
        "ABCD ۲۳۴۵",
        "abcd२३४५",
        "ABCD-๒๓๔๕",
        "ABCD-၂၃၄၅",
        "ABCD-𝟐𝟑𝟒𝟓",
        "ABCD-²③⁴₅",
        "ABCD-2٣४５",
    ],
)
def test_a_device_code_is_the_same_however_it_is_typed(typed: str) -> None:
    assert plain_device_code(typed) == "ABCD2345"
    assert same_device_code("ABCD-2345", typed)
    assert same_device_code(typed, "ABCD-2345")


@pytest.mark.parametrize("typed", ["", "ABCD-2346", "ABCD-234", "ABCD-23455", "5432-DCBA", "ABCD"])
def test_another_device_code_is_not_the_same(typed: str) -> None:
    assert not same_device_code("ABCD-2345", typed)


typed_codes = st.text("ABCabc123 -", max_size=8) | any_text


@settings(max_examples=300)
@given(typed_codes, typed_codes)
def test_two_device_codes_have_one_guess_id_just_if_they_are_the_same(one: str, other: str) -> None:
    equal = LINKS.device_code_ids(DEVICE_ID, one)[0] == LINKS.device_code_ids(DEVICE_ID, other)[0]
    assert equal == same_device_code(one, other)


DIGITS = [
    chr(number) for number in range(0x110000) if unicodedata.decimal(chr(number), None) is not None
]


@given(st.lists(st.sampled_from(DIGITS), min_size=4, max_size=8))
def test_the_digits_of_every_script_are_the_same_code(typed: list[str]) -> None:
    code = "".join(str(unicodedata.decimal(digit)) for digit in typed)
    assert plain_device_code("".join(typed)) == code
    guesses = [LINKS.device_code_ids(DEVICE_ID, each)[0] for each in (code, "".join(typed))]
    assert guesses[0] == guesses[1]


@pytest.mark.parametrize(
    "typed", ["wifi-1i", "WIFI-1I", "W\u0130F\u0130-1\u0130", "w\u0131f\u0131-1\u0131"]
)
def test_the_case_of_a_turkish_i_makes_no_other_code(typed: str) -> None:
    assert plain_device_code(typed) == "WIFI1I"


@pytest.mark.parametrize("typed", ["АВСD-2345", "ΑΒCD-2345", "ABCD-Z3A5", "ABCD-二三四五"])
def test_letters_that_look_alike_are_another_code(typed: str) -> None:
    assert not same_device_code("ABCD-2345", typed)


@given(any_text)
def test_case_never_makes_another_code(code: str) -> None:
    assert same_device_code(code.upper(), code.lower().upper())
    assert same_device_code(code, code.upper())


@given(st.text("ABCDEFGHJKMNPQRSTVWXYZ23456789", min_size=8, max_size=8), st.data())
def test_spaces_dashes_and_case_do_not_make_another_guess(code: str, data: st.DataObject) -> None:
    letters = [data.draw(st.sampled_from([letter, letter.lower()])) for letter in code]
    typed = "".join(letter + data.draw(st.text(" -\t", max_size=2)) for letter in letters)
    assert LINKS.device_code_ids(DEVICE_ID, typed)[0] == LINKS.device_code_ids(DEVICE_ID, code)[0]


def test_a_guess_id_gives_nothing_of_the_code_away() -> None:
    guess_id = LINKS.device_code_ids(DEVICE_ID, "ABCD-2345")[0]
    assert "ABCD" not in guess_id
    assert "2345" not in guess_id
    assert guess_id != LINKS.device_code_ids("device-other", "ABCD-2345")[0]
    assert (
        guess_id != LinkKeys([OTHER_KEY], LINKS.purpose).device_code_ids(DEVICE_ID, "ABCD-2345")[0]
    )


@example("\ud800", "\ud800")
@example("a", "\ud800")
@given(any_text, any_text)
def test_same_is_equality(one: str, other: str) -> None:
    assert same(one, other) == (one == other)
    assert same(one, one)


def test_comparing_takes_as_long_wherever_texts_differ() -> None:
    # Time cannot be measured in a test without doubt, so this looks at what is called: nothing but
    # compare_digest, over both texts as bytes; and that verifying and comparing go through it.
    assert set(same.__code__.co_names) == {"hmac", "compare_digest", "encode"}
    assert vars(constant_time)["hmac"] is hmac
    assert "same" in same_device_code.__code__.co_names
    in_verify = [code for code in LinkKeys.verify.__code__.co_consts if hasattr(code, "co_names")]
    names = set(LinkKeys.verify.__code__.co_names).union(*(code.co_names for code in in_verify))
    assert "same" in names
