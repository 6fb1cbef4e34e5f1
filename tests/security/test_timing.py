"""What comparing tells by the time that it takes: looked at by what is compared, not by a watch."""

import ast
import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.domain.device_codes import plain_device_code, same_device_code
from chalicelib.domain.link_tokens import LinkKeys
from local.system import ROOT
from syncpoint_device.registration import NewDevice
from tests.kit.basics import a_device, an_address
from tests.kit.cases.attacks import forged_codes
from tests.kit.cloud.site import Site
from tests.kit.tokens import MAC_LENGTH

Pair = tuple[bytes, bytes]
KEYS = [bytes([number]) * 32 for number in range(1, 4)]
# What nobody may compare but by `identity.same`.
SECRETS = {"mac", "device_code", "confirm_code", "answer_code", "digest", "derived_key"}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """Every two values that the standard library's constant-time comparison was given."""
    pairs: list[Pair] = []
    compare = hmac.compare_digest

    def recording(one: bytes, other: bytes) -> bool:
        pairs.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recording)
    return pairs


def test_each_wrong_mac_is_compared_whole_with_that_of_every_key(compared: list[Pair]) -> None:
    links = LinkKeys(KEYS, "test")
    good = links.sign("device-1", 0)
    macs = [LinkKeys([key], "test").sign("device-1", 0)[-MAC_LENGTH:].encode() for key in KEYS]
    for index in range(MAC_LENGTH):
        at = len(good) - MAC_LENGTH + index
        wrong = good[:at] + ("a" if good[at] != "a" else "b") + good[at + 1 :]
        assert links.verify(wrong) is None
        assert compared == [(mac, wrong[-MAC_LENGTH:].encode()) for mac in macs]
        compared.clear()


@pytest.mark.parametrize("signer", range(len(KEYS)))
def test_whichever_key_fits_all_are_tried(compared: list[Pair], signer: int) -> None:
    code = LinkKeys([KEYS[signer]], "test").sign("device-1", 0)
    assert LinkKeys(KEYS, "test").verify(code) is not None
    assert len(compared) == len(KEYS)


def test_what_is_not_compared_has_not_the_form_of_a_code(compared: list[Pair]) -> None:
    """The form is no secret; of the rest, nothing is looked at but by comparing it whole."""
    links = LinkKeys(KEYS, "test")
    code, other = links.sign(f"device-{'1' * 32}", 0), links.sign(f"device-{'2' * 32}", 0)
    for name, forged in forged_codes(code, other).items():
        compared.clear()
        assert links.verify(forged) is None, name
        assert len(compared) in (0, len(KEYS)), name
        assert {len(value) for pair in compared for value in pair} <= {MAC_LENGTH}, name


def test_a_device_code_is_compared_whole_wherever_it_differs(compared: list[Pair]) -> None:
    right = "ABCD-EFGH"
    for index in (0, 1, 3, 5, 8):
        wrong = right[:index] + "9" + right[index + 1 :]
        assert not same_device_code(wrong, right)
    plain = plain_device_code(right).encode()
    assert [pair[1] for pair in compared] == [plain] * 5
    assert {len(pair[0]) for pair in compared} == {len(plain)}


def test_the_page_compares_each_guess_whole_with_the_device_code(
    site: Site, compared: list[Pair]
) -> None:
    device: NewDevice = a_device(owner=an_address())
    site.steps.register(device)
    path, right = f"/confirm/{site.steps.code()}", plain_device_code(device.device_code)
    for guess in (f"{right[:-1]}0", f"0{right[1:]}", "0" * len(right), "0" * 4):
        compared.clear()
        assert site.post(path, f"device_code={guess}".encode()).status_code == 403
        assert (guess.encode(), right.encode()) in compared


def comparisons(tree: ast.AST) -> Iterator[ast.Compare]:
    """Comparisons for equality, or by `in`, that have a secret's name on one side."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and not all(
            isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops
        ):
            sides = [node.left, *node.comparators]
            if any(names_of(side) & SECRETS for side in sides):
                yield node


def names_of(side: ast.expr) -> set[str]:
    """The name, attribute or key that a side of a comparison is."""
    match side:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return {name}
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return {name}
        case ast.Call(args=[ast.Constant(value=str(name)), *_]):
            return {name}  # doc.get("device_code")
        case _:
            return set()


SOURCES = sorted((ROOT / "chalicelib").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_secret_is_compared_by_an_operator(path: Path) -> None:
    found = [node.lineno for node in comparisons(ast.parse(path.read_text(encoding="utf-8")))]
    assert found == []


@pytest.mark.parametrize(
    "text", ["mac == x", 'x != doc["device_code"]', 'doc.get("device_code") == x', "a.mac in x"]
)
def test_such_a_comparison_would_be_found(text: str) -> None:
    assert len(list(comparisons(ast.parse(text)))) == 1
