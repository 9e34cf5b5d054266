import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tench.input.draws import Stream, normal, philox, uniforms

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


# Philox4x32-10 in kat_vectors of Random123, the authors' implementation: counter, key, output.
@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_outputs_published_by_its_authors(counter: str, key: str, answer: str) -> None:
    first, second, third, fourth = (np.array([word], np.uint64) for word in words(counter))
    k0, k1 = words(key)
    assert philox((first, second, third, fourth), (k0, k1)).tolist() == [words(answer)]


def scalar_philox(counter: list[int], key: list[int]) -> list[int]:
    """One block, computed with Python integers as in the paper's figure."""
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * counter[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * counter[2], 2**32)
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return counter


@given(seed=U64, epoch=U32, row=st.integers(0, 2**63 - 1))
def test_the_layout_of_counter_and_key_never_changes(seed: int, epoch: int, row: int) -> None:
    """Every later version must draw the same numbers for a run, so the layout is part of the format.

    The counter is the row, the block and the upper half of the seed; the key is its lower half and the epoch.
    """
    blocks = [scalar_philox([row % 2**32, row >> 32, block, seed >> 32], [seed % 2**32, epoch]) for block in range(2)]
    drawn = uniforms(seed, epoch, np.array([row]), 7)
    assert drawn.tolist() == [[word / 2**32 for block in blocks for word in block][:7]]


@given(count=st.integers(0, 30), fewer=st.integers(0, 30), seed=U64)
def test_the_first_numbers_do_not_depend_on_how_many_are_drawn(count: int, fewer: int, seed: int) -> None:
    rows = np.array([3, 2**40])
    fewer = min(fewer, count)
    drawn = uniforms(seed, 1, rows, count)
    assert drawn.shape == (2, count)
    assert np.array_equal(drawn[:, :fewer], uniforms(seed, 1, rows, fewer))


@given(st.lists(st.integers(0, 2**62), max_size=20), st.data())
def test_a_rows_numbers_do_not_depend_on_the_rows_drawn_with_it(rows: list[int], data: st.DataObject) -> None:
    together = uniforms(5, 2, np.array(rows, np.int64), 6)
    assert together.shape == (len(rows), 6)
    for row, numbers in zip(rows, together, strict=True):
        assert np.array_equal(uniforms(5, 2, np.array([row]), 6)[0], numbers)


def sample(seed: int = 0, epoch: int = 0) -> npt.NDArray[np.float64]:
    return uniforms(seed, epoch, np.arange(5000), 23)


def test_numbers_are_uniform_between_0_and_1() -> None:
    drawn = sample()
    assert drawn.dtype == np.float64
    assert drawn.min() >= 0
    assert drawn.max() < 1
    for column in drawn.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-3


def test_the_largest_number_is_below_1() -> None:
    assert (2**32 - 1) * 2.0**-32 < 1
    assert uniforms(0, 0, np.arange(200_000), 4).max() < 1


def test_numbers_of_a_row_of_neighbouring_rows_epochs_and_seeds_are_independent() -> None:
    drawn = sample()
    within = np.asarray(np.corrcoef(drawn.T))[np.triu_indices(23, 1)]
    assert np.abs(within).max() < 5 / np.sqrt(5000)
    for other in (np.roll(drawn, 1, axis=0), sample(epoch=1), sample(seed=1), sample(seed=2**32)):
        assert abs(np.asarray(np.corrcoef(drawn.ravel(), other.ravel()))[0, 1]) < 5 / np.sqrt(drawn.size)


def test_a_different_seed_epoch_or_row_gives_different_numbers() -> None:
    base = {"seed": 7, "epoch": 3, "row": 11}
    changed = [base, base | {"seed": 8}, base | {"seed": 7 + 2**32}, base | {"epoch": 4}, base | {"row": 11 + 2**32}]
    drawn = {uniforms(case["seed"], case["epoch"], np.array([case["row"]]), 1).item() for case in changed}
    assert len(drawn) == 5


def test_normal_numbers_are_quantiles_of_the_normal_distribution() -> None:
    drawn = sample()[:, 0]
    numbers = [normal(uniform) for uniform in drawn.tolist()]
    assert np.allclose(numbers, stats.norm.ppf(drawn + 2.0**-33), rtol=1e-12, atol=1e-12)
    assert stats.kstest(numbers, "norm").pvalue > 1e-4


def test_the_smallest_and_the_largest_uniform_give_finite_normal_numbers() -> None:
    assert normal(0.0) == -normal(1 - 2.0**-32)
    assert 6 < normal(1 - 2.0**-32) < 7


@given(seed=U64, epoch=U32, row=st.integers(0, 2**63 - 1), stream=st.sampled_from(Stream))
def test_a_stream_is_the_upper_byte_of_the_block(seed: int, epoch: int, row: int, stream: Stream) -> None:
    counter = [row % 2**32, row >> 32, stream * 2**24, seed >> 32]
    expected = [word / 2**32 for word in scalar_philox(counter, [seed % 2**32, epoch])]
    assert uniforms(seed, epoch, np.array([row]), 4, stream).tolist() == [expected]


def test_numbers_of_two_streams_are_independent() -> None:
    drawn = [uniforms(0, 0, np.arange(5000), 4, stream).ravel() for stream in Stream]
    correlations = np.asarray(np.corrcoef(drawn))[np.triu_indices(len(drawn), 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(20000)
