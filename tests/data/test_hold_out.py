import hashlib
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tench.data.hold_out import held_out
from tench.errors import UsageError

LABELLED_KEYS = st.dictionaries(st.text(max_size=8), st.integers(-1, 4), max_size=60)
FRACTIONS = st.floats(0.01, 0.99)


def test_the_images_of_each_class_with_the_smallest_hashes_are_held_out() -> None:
    keys = [f"{index:05}" for index in range(100)]
    labels = np.arange(100) % 2
    expected = set()
    for label in (0, 1):
        of_class = [key for key, of in zip(keys, labels, strict=True) if of == label]
        expected |= set(sorted(of_class, key=lambda key: hashlib.sha256(key.encode()).hexdigest())[:10])
    held = held_out(keys, labels, 0.2)
    assert {key for key, is_held in zip(keys, held, strict=True) if is_held} == expected


def test_the_split_of_known_keys_never_changes() -> None:
    held = held_out([f"{index:05}" for index in range(20)], np.zeros(20, int), 0.25)
    assert np.flatnonzero(held).tolist() == [2, 6, 9, 14, 15]  # those with the smallest `printf 00000 | sha256sum` etc.


@given(LABELLED_KEYS, FRACTIONS)
def test_a_rounded_share_of_each_class_is_held_out_but_at_least_one_and_never_all(
    labelled: dict[str, int], fraction: float
) -> None:
    labels = np.array(list(labelled.values()), int)
    held = held_out(list(labelled), labels, fraction)
    assert held.dtype == np.bool_
    for label in set(labelled.values()):
        count = int((labels == label).sum())
        share = min(max(round(fraction * count), 1), count - 1)
        assert int(held[labels == label].sum()) == share


@given(LABELLED_KEYS, FRACTIONS, st.randoms())
def test_the_order_of_the_rows_does_not_matter(labelled: dict[str, int], fraction: float, random: Random) -> None:
    keys = list(labelled)
    shuffled = sorted(keys, key=lambda _: random.random())

    def chosen(order: list[str]) -> set[str]:
        held = held_out(order, np.array([labelled[key] for key in order], int), fraction)
        return {key for key, is_held in zip(order, held, strict=True) if is_held}

    assert chosen(keys) == chosen(shuffled)


def test_the_held_out_images_of_a_class_do_not_depend_on_the_other_classes() -> None:
    keys = [f"{index:05}" for index in range(60)]
    labels = np.arange(60) % 3
    alone = held_out(keys[::3], labels[::3], 0.3)
    assert (held_out(keys, labels, 0.3)[::3] == alone).all()


def test_a_class_with_one_image_keeps_it_for_training() -> None:
    held = held_out(["a", "b", "c"], np.array([0, 1, 1]), 0.9)
    assert not held[0]
    assert held.sum() == 1


def test_nothing_is_held_out_of_an_empty_set() -> None:
    assert held_out([], np.array([], int), 0.5).tolist() == []


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 20.0, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match=r"^The fraction to hold out must be greater than 0 and less than 1, got "):
        held_out(["a", "b"], np.array([0, 0]), fraction)


def test_different_numbers_of_keys_and_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 keys but 3 labels"):
        held_out(["a", "b"], np.array([0, 0, 0]), 0.5)
