"""What saturates, by arithmetic; and how owners spread over cells."""

from collections import Counter

import pytest

from bench.scale import DEVICES, PARTS, Of, Part, by_need, devices_of_a_cluster, needed
from bench.scale_cells import SLOTS, Cells, cell_of, split, spread
from chalicelib.domain.addresses import owner_id_of
from local.system import ROOT

OWNERS = [owner_id_of(f"owner-{number}@example.com") for number in range(20_000)]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_more_devices_never_ask_less_of_a_part(part: Part) -> None:
    demands = [part.demand(devices) for devices in DEVICES]
    assert demands == sorted(demands)
    assert demands[0] > 0
    assert part.limit > 0
    assert part.source


def test_the_connections_that_devices_hold_are_the_first_limit_at_every_size() -> None:
    for devices in DEVICES:
        assert by_need(devices)[0].name == "connections held by continuous replications"


def test_as_many_clusters_as_are_needed_are_enough_and_one_less_is_not() -> None:
    for devices in DEVICES:
        for of in Of:
            count = needed(of, devices)
            worst = max(part.fills(devices) for part in PARTS if part.of is of)
            assert worst <= count
            assert count == 1 or worst > count - 1


def test_a_cluster_is_full_with_the_devices_that_it_has_room_for() -> None:
    room = devices_of_a_cluster()
    assert needed(Of.CLUSTER, room) == 1
    assert needed(Of.CLUSTER, room * 1.01) == 2


def test_the_figures_in_the_text_are_those_that_are_computed() -> None:
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert f"some {round(devices_of_a_cluster(), -4):,} devices" in text
    assert f"{needed(Of.CLUSTER, DEVICES[0])} clusters for a million devices" in text


@pytest.mark.parametrize("count", [1, 2, 3, 10, 256])
def test_owners_spread_evenly_over_cells(count: int) -> None:
    cells = spread([f"cell-{number}" for number in range(count)])
    slots = Counter(cells.values())
    assert max(slots.values()) - min(slots.values()) <= 1
    owners = Counter(cell_of(owner, cells) for owner in OWNERS)
    assert len(owners) == count
    if count <= 10:
        assert max(owners.values()) < 1.15 * len(OWNERS) / count


def test_an_owner_is_always_in_the_same_cell() -> None:
    cells = spread(["a", "b", "c"])
    spellings = ("Ada@example.com ", "ada@example.com")
    assert len({cell_of(owner_id_of(address), cells) for address in spellings}) == 1


def test_splitting_a_cell_moves_half_of_its_owners_and_nobody_elses() -> None:
    before = spread(["a", "b", "c"])
    after = split(before, "b", "d")
    moved = [slot for slot in SLOTS if before[slot] != after[slot]]
    assert {(before[slot], after[slot]) for slot in moved} == {("b", "d")}
    assert len(moved) == Counter(before.values())["b"] // 2


def test_cells_may_be_split_until_each_has_one_slot() -> None:
    cells: Cells = spread(["0"])
    for number in range(1, len(SLOTS)):
        largest = Counter(cells.values()).most_common(1)[0][0]
        cells = split(cells, largest, str(number))
    assert set(Counter(cells.values()).values()) == {1}
