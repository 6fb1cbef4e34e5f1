"""Read the rows of a large JSON answer one by one, while they arrive. No I/O.

CouchDB answers a request for many documents with one object that has one list of rows:
``{"results": [{…}, {…}], "last_seq": …}``. To parse it as a whole takes thirty times its bytes of
memory, and one document that cannot be parsed hides all others. So a `RowReader` finds the ends of
each row by its brackets, and each row is parsed by itself. Of a row that cannot be read, it keeps
the id and the seq.

docs/decisions/0037-rows-are-read-one-by-one.md says why no library does this.
"""

import codecs
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from chalicelib.domain.documents import JsonDict

# A larger row is not parsed: as Python objects it takes thirty times its size. What a device may
# write into a control database has less than a tenth of this (design/owner_control.js).
MAX_ROW_SIZE = 1_048_576

# The largest answer without its rows, and the largest row without the lists and objects in it.
_MAX_OUTLINE_SIZE = 65_536

# Rows are looked for in blocks of this size, whatever the size of the parts that arrive.
_BLOCK_SIZE = 262_144

# The patterns are possessive, so that a text whose end is in the next block is given up at once.
_INSIDE = r'(?:[^"\\]++|\\.)*+"'
_NO_BRACKET = rf'(?:[^"{{}}\[\]]++|"{_INSIDE})*+'
_NEXT_BRACKET = re.compile(rf"{_NO_BRACKET}([{{}}\[\]])", re.DOTALL)
_DEEP_BRACKETS = re.compile(rf"{_NO_BRACKET}(?:((?:[{{\[]{_NO_BRACKET})++)|([}}\]]++))", re.DOTALL)
_TEXT = re.compile(rf'"{_INSIDE}', re.DOTALL)
_END_OF_TEXT = re.compile(_INSIDE, re.DOTALL)
_CLOSED_TEXTS = re.compile(rf'(?:[^"]++|"{_INSIDE})*+', re.DOTALL)
_BEFORE_ROW = re.compile(r"[\s,]*+(?=\{)")

# How deep the brackets are: 1 is the answer, 2 its list, 3 a row.
_LIST, _ROW = 2, 3


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read.

    Attributes
    ----------
    doc_id, seq : str
        Empty if they cannot be read either.
    reason : str
        What is wrong with the row.
    """

    doc_id: str
    seq: str
    reason: str

    def __str__(self) -> str:
        return f"{self.doc_id[:80] or 'its id cannot be read'}: {self.reason}"


@dataclass(frozen=True)
class Rows:
    """The rows of an answer.

    Attributes
    ----------
    good : list of dict
        The rows that can be read, in order.
    bad : list of BadRow
        The rows that cannot be read.
    last_seq : str
        The last seq in a row, of either kind; empty if no row has one.
    rest : dict
        The answer without its rows; empty if the answer was not read to its end.
    is_whole : bool
        Whether the answer was read to its end.
    """

    good: list[JsonDict]
    bad: list[BadRow]
    last_seq: str
    rest: JsonDict
    is_whole: bool


def never() -> bool:
    """Return that the time is not over."""
    return False


def read_rows(
    parts: Iterable[bytes],
    *,
    max_size: float = math.inf,
    is_over: Callable[[], bool] = never,
    max_row_size: int = MAX_ROW_SIZE,
    block_size: int = _BLOCK_SIZE,
) -> Rows:
    """Read the rows of an answer; stop early if they are enough.

    Parameters
    ----------
    parts : iterable of bytes
        The answer, in parts of any length.
    max_size : float
        After so many characters of good rows, no further row is read.
    is_over : callable
        Whether the time is over. It is asked after each row; if so, no further row is read.
    max_row_size : int
        A row of more characters is not parsed.
    block_size : int
        Parts are joined until they have so many bytes.

    Raises
    ------
    ValueError
        If the answer is not an object with at most one list of rows, or ends early.
    """
    reader = RowReader(max_row_size)
    good: list[JsonDict] = []
    bad: list[BadRow] = []
    last_seq = ""
    for block in _blocks(parts, block_size):
        for row in reader.feed(block):
            if isinstance(row, BadRow):
                bad.append(row)
                seq = row.seq
            else:
                good.append(row)
                seq = _text(row.get("seq"))
            last_seq = seq or last_seq
            # Without a seq, the next request could not continue after this row.
            if seq and (reader.good_size >= max_size or is_over()):
                return Rows(good, bad, last_seq, {}, is_whole=False)
    return Rows(good, bad, last_seq, reader.finish(), is_whole=True)


def _blocks(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Join small parts: CouchDB sends one for each few rows."""
    block = bytearray()
    for part in parts:
        block += part
        if len(block) >= size:
            yield bytes(block)
            block.clear()
    yield bytes(block)


class RowReader:
    """Finds the rows in the blocks of an answer. It keeps at most one row in memory.

    Attributes
    ----------
    good_size : int
        The number of characters of all rows that could be read.
    """

    def __init__(self, max_row_size: int = MAX_ROW_SIZE) -> None:
        self.good_size = 0
        self._max_row_size = max_row_size
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._depth = 0
        self._is_in_text = False
        self._is_in_list = False
        self._pending = ""
        self._kept = 0  # up to there the text of this block was kept
        self._rest = _Text(_MAX_OUTLINE_SIZE)
        self._row = _Text(max_row_size)
        self._outline = _Text(_MAX_OUTLINE_SIZE)

    def feed(self, block: bytes) -> Iterator[JsonDict | BadRow]:
        """Take the next block of the answer; yield the rows that end in it.

        Raises
        ------
        ValueError
            If the answer without its rows is too large.
        """
        text = self._pending + self._decoder.decode(block)
        self._pending, self._kept = "", 0
        position = 0
        if self._is_in_text and (end := _END_OF_TEXT.match(text)):
            self._is_in_text = False
            position = end.end()
        passed = -1
        while not self._is_in_text and passed != position:
            passed = position
            row, position = self._step(text, position)
            if row is not None:
                yield row
        self._keep_rest(text, position)

    def _step(self, text: str, position: int) -> tuple[JsonDict | BadRow | None, int]:
        """Pass a row or a bracket; return the row if one ends there, and the new position.

        The position stays if no bracket follows in this text.
        """
        if self._is_in_list and self._depth == _LIST:
            row, end = self._whole_row(text, position)
            if row is not None:
                self._kept = end
                return row, end
        if self._depth > _ROW + 1:
            return None, self._pass_deep(text, position)
        found = _NEXT_BRACKET.match(text, position)
        if found is None:
            return None, position
        is_opening = found[1] in "{["
        depth = self._depth + is_opening  # of what is in the brackets
        is_row = self._is_in_list and depth == _ROW
        # A row has its own brackets; all others belong to what is around them.
        split = found.end() - (is_opening == is_row)
        self._keep(text[self._kept : split], depth - is_opening)
        self._kept = split
        self._depth = depth - (not is_opening)
        if is_opening and depth == _LIST:
            self._is_in_list = found[1] == "["
        is_end = is_row and not is_opening
        return self._take_row() if is_end else None, found.end()

    def _keep_rest(self, text: str, position: int) -> None:
        """Keep what remains of a block after its last bracket."""
        if not self._is_in_text and (closed := _CLOSED_TEXTS.match(text, position)):
            self._is_in_text = closed.end() < len(text)
        if self._is_in_text and (len(text) - len(text.rstrip("\\"))) % 2:
            text, self._pending = text[:-1], "\\"  # what it escapes is in the next block
        self._keep(text[self._kept :], self._depth)

    def _whole_row(self, text: str, position: int) -> tuple[JsonDict | None, int]:
        """Parse the row at a position; return it and its end, or None if it is not all there."""
        before = _BEFORE_ROW.match(text, position)
        if before is None:
            return None, position
        try:
            row, end = _DECODER.raw_decode(text, before.end())
        except (ValueError, RecursionError):
            return None, position
        size = end - before.end()
        if size > self._max_row_size:
            return None, position
        self.good_size += size
        return row, end

    def _pass_deep(self, text: str, position: int) -> int:
        """Pass brackets that are deeper than any that is looked for; return the new position."""
        found = _DEEP_BRACKETS.match(text, position)
        if found is None:
            return position
        if found[1] is not None:
            opened = _TEXT.sub("", found[1])
            self._depth += opened.count("{") + opened.count("[")
            return found.end()
        closed = min(len(found[2]), self._depth - _ROW - 1)
        self._depth -= closed
        return found.start(2) + closed

    def finish(self) -> JsonDict:
        """Return the answer without its rows.

        Raises
        ------
        ValueError
            If the answer is not an object, or has ended early.
        """
        try:
            rest = _DECODER.decode(self._rest.take())
        except RecursionError as exc:
            raise ValueError("the answer is nested too deeply") from exc
        if not isinstance(rest, dict):
            raise ValueError("the answer is not an object")  # noqa: TRY004 - as for any other text
        return rest

    def _keep(self, text: str, depth: int) -> None:
        """Keep a piece of the answer: of a row, or of what is around the rows."""
        if not self._is_in_list or depth < _LIST:
            self._rest.add(text)
            if self._rest.is_too_large:
                raise ValueError(f"more than {_MAX_OUTLINE_SIZE:,} characters are in no row")
        elif depth >= _ROW:
            self._row.add(text)
            if depth == _ROW:
                self._outline.add(text)

    def _take_row(self) -> JsonDict | BadRow:
        is_too_large = self._row.is_too_large
        text, outline = self._row.take(), self._outline.take()
        if is_too_large:
            return _bad_row(outline, f"it has more than {self._max_row_size:,} characters")
        try:
            row = _DECODER.decode(text)
        except (ValueError, RecursionError) as exc:
            return _bad_row(outline, _reason(exc))
        if not isinstance(row, dict):
            return _bad_row(outline, "it is not an object")
        self.good_size += len(text)
        return row


class _Text:
    """A text that arrives in pieces; one that becomes too large is dropped."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._pieces: list[str] = []
        self._size = 0

    @property
    def is_too_large(self) -> bool:
        return self._size > self._max_size

    def add(self, piece: str) -> None:
        self._size += len(piece)
        self._pieces.append(piece)
        if self.is_too_large:
            self._pieces.clear()

    def take(self) -> str:
        """Return the text, empty if it was too large, and begin another."""
        text = "".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return text


def _bad_row(outline: str, reason: str) -> BadRow:
    """Describe a row by its outline: the row with empty lists and objects as values."""
    try:
        found = _DECODER.decode(outline)
    except ValueError:
        found = None
    members = found if isinstance(found, dict) else {}
    return BadRow(_text(members.get("id", members.get("_id"))), _text(members.get("seq")), reason)


def _text(value: object) -> str:
    """Return an id or a seq as text; empty if it is neither a text nor an integer."""
    return str(value) if isinstance(value, str | int) else ""


def _reason(exc: Exception) -> str:
    if isinstance(exc, RecursionError):
        return "it is nested too deeply"
    if isinstance(exc, NotFinite):
        return "a number in it is not finite"
    if isinstance(exc, json.JSONDecodeError):
        return "it is not JSON"
    return "a number in it has too many digits"  # sys.set_int_max_str_digits


class NotFinite(ValueError):
    """Raised for a number that JSON cannot represent: JSON knows neither infinity nor NaN."""


def finite(text: str) -> float:
    """Parse a number of JSON; `NotFinite` if it is too large for a float, or no number."""
    value = float(text)
    if not math.isfinite(value):
        raise NotFinite(text[:20])
    return value


_DECODER = json.JSONDecoder(parse_float=finite, parse_constant=finite)
