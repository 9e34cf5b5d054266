import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tench.data.table import PIECES_AT_ONCE
from tench.input.order import Order

SMALL = list(itertools.product(range(13), range(1, 15), range(1, 5)))
"""(rows, batch size, world size)"""


def whole_step(num_rows: int, batch_size: int, world_size: int, epoch: int, step: int, *, drop_last: bool) -> list[int]:
    """The rows of a step, rank by rank."""
    orders = [
        Order(num_rows=num_rows, batch_size=batch_size, rank=rank, world_size=world_size, drop_last=drop_last, seed=3)
        for rank in range(world_size)
    ]
    return [row for order in orders for row in order.rows(epoch, step).tolist()]


def epoch_of(order: Order, epoch: int = 0) -> list[int]:
    return [row for step in range(order.steps_per_epoch) for row in order.rows(epoch, step).tolist()]


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_row_comes_once_per_epoch_for_every_batch_size_and_world_size(shuffle: bool) -> None:
    for num_rows, batch_size, world_size in SMALL:
        seen: list[int] = []
        for rank in range(world_size):
            order = Order(
                num_rows=num_rows,
                batch_size=batch_size,
                rank=rank,
                world_size=world_size,
                drop_last=False,
                shuffle=shuffle,
            )
            seen += epoch_of(order)
        assert sorted(seen) == list(range(num_rows)), (num_rows, batch_size, world_size)


def test_an_incomplete_last_step_is_dropped_unless_it_is_the_only_one() -> None:
    for num_rows, batch_size, _ in SMALL:
        order = Order(num_rows=num_rows, batch_size=batch_size)
        sizes = [len(order.rows(0, step)) for step in range(order.steps_per_epoch)]
        if num_rows >= batch_size:
            assert sizes == [batch_size] * (num_rows // batch_size)
        else:
            assert sizes == ([num_rows] if num_rows else [])
        seen = epoch_of(order)
        assert len(seen) == len(set(seen))


def test_ranks_divide_each_step_as_evenly_as_possible() -> None:
    for num_rows, batch_size, world_size in SMALL:
        one = Order(num_rows=num_rows, batch_size=batch_size, drop_last=False)
        for step in range(one.steps_per_epoch):
            parts = [
                Order(num_rows=num_rows, batch_size=batch_size, drop_last=False, rank=rank, world_size=world_size).rows(
                    0, step
                )
                for rank in range(world_size)
            ]
            assert np.array_equal(np.concatenate(parts), one.rows(0, step))
            sizes = [len(part) for part in parts]
            assert max(sizes) - min(sizes) <= 1
            assert max(sizes) <= -(-batch_size // world_size)


def test_the_steps_of_an_epoch_do_not_depend_on_the_number_of_ranks() -> None:
    for world_size in (1, 2, 3, 5):
        assert [whole_step(23, 6, world_size, 4, step, drop_last=False) for step in range(4)] == [
            whole_step(23, 6, 1, 4, step, drop_last=False) for step in range(4)
        ]


@given(st.integers(1, 200), st.integers(0, 2**63 - 1), st.integers(0, 1000))
def test_the_order_of_an_epoch_is_a_permutation_drawn_by_a_generator_keyed_by_seed_and_epoch(
    num_rows: int, seed: int, epoch: int
) -> None:
    """A resumed run must continue in the same order in every later version."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))
    expected = generator.permutation(num_rows).tolist()
    order = Order(num_rows=num_rows, batch_size=7, seed=seed, drop_last=False)
    assert epoch_of(order, epoch) == expected


def test_the_order_of_a_known_epoch_never_changes() -> None:
    assert epoch_of(Order(num_rows=10, batch_size=4, seed=1, drop_last=False), 2) == [1, 4, 5, 0, 7, 6, 8, 2, 3, 9]


def test_a_different_epoch_or_seed_gives_a_different_order() -> None:
    orders = {
        tuple(epoch_of(Order(num_rows=50, batch_size=8, seed=seed, drop_last=False), epoch))
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(orders) == 16


def test_the_dropped_rows_differ_from_epoch_to_epoch() -> None:
    order = Order(num_rows=10, batch_size=4)
    dropped = {frozenset(range(10)) - frozenset(epoch_of(order, epoch)) for epoch in range(10)}
    assert len(dropped) > 5


def test_every_row_comes_first_equally_often() -> None:
    first = [int(Order(num_rows=4, batch_size=1, seed=seed).rows(0, 0)[0]) for seed in range(2000)]
    counts = np.bincount(first, minlength=4)
    assert np.abs(counts - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


def test_any_step_can_be_reached_without_the_earlier_ones() -> None:
    order = Order(num_rows=100, batch_size=7, seed=9)
    steps = [(epoch, step) for epoch in range(4) for step in range(order.steps_per_epoch)]
    forward = {place: order.rows(*place).tolist() for place in steps}
    backward = {place: Order(num_rows=100, batch_size=7, seed=9).rows(*place).tolist() for place in reversed(steps)}
    assert forward == backward


def test_without_shuffle_rows_come_in_their_order_in_every_epoch() -> None:
    order = Order(num_rows=7, batch_size=3, shuffle=False, drop_last=False)
    for epoch in (0, 5):
        assert [order.rows(epoch, step).tolist() for step in range(3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_rows_are_int64() -> None:
    for shuffle in (True, False):
        assert Order(num_rows=7, batch_size=3, shuffle=shuffle).rows(0, 0).dtype == np.int64


def test_an_empty_table_has_no_steps() -> None:
    for drop_last in (True, False):
        assert Order(num_rows=0, batch_size=3, drop_last=drop_last).steps_per_epoch == 0


PIECES = np.arange(4000)[::-1] // 5
"""800 pieces of five rows each, with the last rows in the first piece."""


def test_in_windows_each_row_comes_once_and_a_window_has_a_fixed_number_of_pieces() -> None:
    order = Order(num_rows=4000, batch_size=7, drop_last=False, pieces=PIECES, seed=1)
    rows = np.array(epoch_of(order, epoch=3))
    assert sorted(rows.tolist()) == list(range(4000))
    window = PIECES_AT_ONCE * 5
    taken = [set(PIECES[rows[start : start + window]].tolist()) for start in range(0, 4000, window)]
    assert [len(pieces) for pieces in taken] == [256, 256, 256, 32]
    assert not set.intersection(*taken)
    first = PIECES[rows[:7]]
    assert len(set(first.tolist())) > 4  # shuffled within a window, not piece by piece


def test_windows_differ_from_epoch_to_epoch_and_are_the_same_for_the_same_seed() -> None:
    def epoch(seed: int, epoch: int) -> list[int]:
        return epoch_of(Order(num_rows=4000, batch_size=64, pieces=PIECES, seed=seed), epoch)

    assert epoch(0, 0) == epoch(0, 0)
    assert len({tuple(epoch(seed, number)) for seed in (0, 1) for number in (0, 1)}) == 4


def test_without_shuffle_rows_come_piece_by_piece() -> None:
    order = Order(num_rows=4000, batch_size=64, shuffle=False, drop_last=False, pieces=PIECES)
    rows = epoch_of(order)
    assert PIECES[rows].tolist() == sorted(PIECES.tolist())
    assert sorted(rows) == list(range(4000))
    assert rows == epoch_of(order, epoch=5)


def test_with_repeats_an_epoch_keeps_its_length_and_each_row_comes_several_times_in_succession() -> None:
    for num_rows, batch_size, _ in SMALL:
        for repeats in (1, 2, 3):
            order = Order(num_rows=num_rows, batch_size=batch_size, drop_last=False, repeats=repeats, seed=5)
            once = epoch_of(Order(num_rows=num_rows, batch_size=batch_size, drop_last=False, seed=5), epoch=2)
            assert order.steps_per_epoch == -(-num_rows // batch_size)
            assert epoch_of(order, epoch=2) == np.repeat(once, repeats)[:num_rows].tolist()


def test_the_repeats_of_a_row_go_to_different_ranks_and_have_different_keys() -> None:
    ranks = [Order(num_rows=48, batch_size=24, repeats=4, rank=rank, world_size=4, seed=2) for rank in range(4)]
    for step in range(2):
        rows = np.stack([order.rows(1, step) for order in ranks])
        assert all(len(set(of_rank)) == 6 for of_rank in rows.tolist())
        assert all(np.array_equal(of_rank, rows[0]) for of_rank in rows)
        keys = np.stack([order.keys(1, step) for order in ranks])
        assert np.array_equal(keys % 48, rows)
        assert np.array_equal(keys // 48, np.broadcast_to([[0], [1], [2], [3]], keys.shape))


def test_without_repeats_the_key_of_a_row_is_its_number() -> None:
    for num_rows, batch_size, world_size in SMALL:
        order = Order(num_rows=num_rows, batch_size=batch_size, rank=world_size - 1, world_size=world_size)
        for step in range(order.steps_per_epoch):
            assert np.array_equal(order.keys(3, step), order.rows(3, step))
