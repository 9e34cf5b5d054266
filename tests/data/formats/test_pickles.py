import pickle
import pickletools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.errors import error_of

from tench.data.formats.pickles import as_array, read_pickle
from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError

FILE = "data_batch_1"
BATCH: dict[str, Any] = {
    "data": np.arange(2 * 3072, dtype=np.int64).astype(np.uint8).reshape(2, 3072),
    "labels": [3, 7],
}


def refusal(data: bytes, limits: Limits = LIMITS) -> str:
    return error_of(read_pickle)(FILE, data, limits)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_dictionary_is_the_one_that_pickle_reads(protocol: int) -> None:
    found, _ = read_pickle(FILE, pickle.dumps(BATCH, protocol))
    array = as_array(found["data"])
    assert array is not None
    assert np.array_equal(array, BATCH["data"])
    assert found["labels"] == BATCH["labels"]


def test_a_function_named_in_a_pickle_is_not_called() -> None:
    assert refusal(b"cos\nsystem\n(S'exit 1'\ntR.") == (
        f"{FILE}: this pickle asks for 'os.system', which no file of images needs. Nothing in it was executed. Do not "
        f"open it with other tools; get the file again from a source you trust."
    )


def test_more_opcodes_than_the_limit_are_refused() -> None:
    """One byte of a pickle can create an object of a hundred bytes."""
    assert refusal(b"(" + b"]" * 1000 + b"l.", Limits(opcodes=500)) == (
        f"{FILE} is a damaged pickle (ValueError: more than 500 values). It may have been truncated: unpack the "
        "archive again."
    )


def test_a_class_that_is_named_repeatedly_is_created_once() -> None:
    found, _ = read_pickle(FILE, b"(dS'data'\n(" + b"cnumpy\nndarray\n" * 1000 + b"ls.")
    assert len(set(found["data"])) == 1


@settings(max_examples=300, deadline=None)
@given(st.integers(0, pickle.HIGHEST_PROTOCOL), st.data())
def test_a_mutated_pickle_is_read_or_refused_with_its_name(protocol: int, data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps({"data": np.zeros((2, 12), np.uint8), "labels": [3, 7]}, protocol))
    opcodes = [ord(opcode.code) for opcode in pickletools.opcodes]
    for _ in range(data.draw(st.integers(1, 4))):
        value = data.draw(st.sampled_from([*opcodes, 0, 0x7F, 0xFF]))
        whole[data.draw(st.integers(0, len(whole) - 1))] = value
    try:
        found, _ = read_pickle(FILE, bytes(whole), Limits(opcodes=10_000))
        as_array(found.get("data"))
    except TenchError as error:
        text = str(error)
    else:
        text = FILE
    assert text.startswith(FILE)
    assert len(text) < 500
