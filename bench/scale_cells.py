"""Which cell an owner belongs to, if there were several: by the first digits of the owner's id.

Not part of the product yet: docs/scale.md says what is missing.
"""

from collections.abc import Mapping, Sequence

# Two hex digits of a SHA-256: every slot has as many owners as any other.
DIGITS = 2
SLOTS = [f"{number:0{DIGITS}x}" for number in range(16**DIGITS)]

# {slot: the cell's name}; the one thing that routes, and small enough to be copied anywhere.
Cells = Mapping[str, str]


def cell_of(owner: str, cells: Cells) -> str:
    """The cell of an owner's id (32 hex digits)."""
    return cells[owner[:DIGITS]]


def spread(names: Sequence[str]) -> Cells:
    """All slots over so many cells, in ranges; none has more than one slot above another."""
    return {slot: names[number * len(names) // len(SLOTS)] for number, slot in enumerate(SLOTS)}


def split(cells: Cells, old: str, new: str) -> Cells:
    """The same, with the upper half of one cell's slots in a new one. No other owner moves."""
    slots = [slot for slot in SLOTS if cells[slot] == old]
    moving = set(slots[(len(slots) + 1) // 2 :])
    return {slot: new if slot in moving else cell for slot, cell in cells.items()}
