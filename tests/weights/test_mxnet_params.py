"""MXNet's `.params` files, built byte by byte from the description of the format.

The expected values are numpy's own. Source of the layout: src/ndarray/ndarray.cc and include/mxnet/tuple.h of MXNet.
"""

import io
import struct
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.support.errors import error_of
from torch import Tensor

from tench.errors import TenchError
from tench.weights.mxnet_params import read_params
from tench.weights.recognise import is_params

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
CPU, GPU, PINNED, SHARED_MEMORY = 1, 2, 3, 5
CODES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6, "bool": 7}
CODES |= {"int16": 8, "uint16": 9, "uint32": 10, "uint64": 11}
BFLOAT16 = 12
HEADS = ("V0", "V1", "V2", "V3")

Array = npt.NDArray[Any]


def shape_of(sides: Sequence[int]) -> bytes:
    return struct.pack(f"<i{len(sides)}q", len(sides), *sides)


def head(version: str, sides: Sequence[int]) -> bytes:
    """The version and shape of a dense array."""
    if version == "V0":
        return struct.pack(f"<I{len(sides)}I", len(sides), *sides)
    magic = {"V1": V1, "V2": V2, "V3": V3}[version]
    storage = b"" if version == "V1" else struct.pack("<i", 0)
    return struct.pack("<I", magic) + storage + shape_of(sides)


def array_bytes(values: Array, version: str = "V2", *, context: int = CPU, device: int = 0) -> bytes:
    kind = CODES[values.dtype.name]
    return head(version, values.shape) + struct.pack("<iii", context, device, kind) + values.tobytes()


def file_bytes(arrays: Sequence[bytes], names: Sequence[bytes]) -> bytes:
    named = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    start = struct.pack("<QQQ", 0x112, 0, len(arrays))
    return start + b"".join(arrays) + struct.pack("<Q", len(names)) + named


@pytest.fixture
def params(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes a file and returns its path."""

    def write(content: bytes) -> Path:
        path = tmp_path / "net-0001.params"
        path.write_bytes(content)
        return path

    return write


Write = Callable[[bytes], Path]
VALUES = np.random.default_rng(3).standard_normal((2, 3, 4)).astype("float32")


@pytest.mark.parametrize("version", HEADS)
def test_each_version_of_an_arrays_head_is_read(params: Write, version: str) -> None:
    found = read_params(params(file_bytes([array_bytes(VALUES, version)], [b"arg:w"])))
    assert list(found) == ["arg:w"]
    assert found["arg:w"].dtype == torch.float32
    np.testing.assert_array_equal(found["arg:w"].numpy(), VALUES)


def test_a_file_may_mix_the_versions_and_keeps_its_order(params: Write) -> None:
    arrays = [VALUES + number for number in range(4)]
    heads = [array_bytes(values, version) for values, version in zip(arrays, HEADS, strict=True)]
    found = read_params(params(file_bytes(heads, [b"d", b"a", b"c", b"b"])))
    assert list(found) == ["d", "a", "c", "b"]
    for tensor, expected in zip(found.values(), arrays, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), expected)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_are_read_as_fp32(params: Write, kind: str) -> None:
    values = np.array([0, -1.5, 3.14159, 6e-5, 6e4, np.inf, -np.inf, np.nan], kind)
    found = read_params(params(file_bytes([array_bytes(values)], [b"w"])))["w"]
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), values.astype("float32"))


def test_an_fp64_value_that_fp32_cannot_hold_becomes_infinite_without_a_warning(params: Write) -> None:
    found = read_params(params(file_bytes([array_bytes(np.array([1e300, -1e300, 1e-300]))], [b"w"])))["w"]
    assert found.tolist() == [np.inf, -np.inf, 0]


@pytest.mark.parametrize("sides", [(), (3,), (3, 1)])
def test_bfloat16_is_read_as_the_upper_half_of_fp32(params: Write, sides: tuple[int, ...]) -> None:
    expected = np.array([-1.5, 0.15625, 2.0**100], "float32")[: max(sides, default=1)].reshape(sides)
    upper = (expected.view("uint32") >> 16).astype("uint16")
    array = head("V3", sides) + struct.pack("<iii", CPU, 0, BFLOAT16) + upper.tobytes()
    found = read_params(params(file_bytes([array], [b"w"])))["w"]
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"])
def test_whole_numbers_keep_their_values(params: Write, kind: str) -> None:
    limits = np.iinfo(kind) if kind != "bool" else None
    largest = min(int(limits.max), 2**63 - 1) if limits else 1
    values = np.array([[limits.min if limits else 0, 0], [1, largest]], kind)
    found = read_params(params(file_bytes([array_bytes(values)], [b"w"])))["w"]
    assert found.tolist() == values.tolist()


@pytest.mark.parametrize("context", [CPU, GPU, PINNED, SHARED_MEMORY])
def test_arrays_of_any_device_are_read_to_the_cpu(params: Write, context: int) -> None:
    array = array_bytes(VALUES, context=context, device=7)
    found = read_params(params(file_bytes([array], [b"w"])))["w"]
    assert found.device.type == "cpu"
    np.testing.assert_array_equal(found.numpy(), VALUES)


def test_an_array_without_dimensions_is_empty_before_version_3_and_one_number_from_then_on(params: Write) -> None:
    one = head("V3", ()) + struct.pack("<iii", CPU, 0, 0) + struct.pack("<f", 2.5)
    unknown = struct.pack("<Iii", V3, 0, -1)
    arrays = [head("V0", ()), head("V1", ()), head("V2", ()), one, unknown]
    found = read_params(params(file_bytes(arrays, [b"a", b"b", b"c", b"d", b"e"])))
    assert [tuple(tensor.shape) for tensor in found.values()] == [(0,), (0,), (0,), (), (0,)]
    assert found["d"].item() == 2.5


def test_an_array_with_an_empty_side_has_no_values(params: Write) -> None:
    found = read_params(params(file_bytes([array_bytes(VALUES[:0]), array_bytes(VALUES)], [b"none", b"w"])))
    assert tuple(found["none"].shape) == (0, 3, 4)
    np.testing.assert_array_equal(found["w"].numpy(), VALUES)


def test_a_file_without_arrays_has_none(params: Write) -> None:
    assert read_params(params(file_bytes([], []))) == {}


def test_the_tensors_can_be_changed(params: Write) -> None:
    found = read_params(params(file_bytes([array_bytes(VALUES)], [b"w"])))["w"]
    found += 1
    np.testing.assert_array_equal(found.numpy(), VALUES + 1)


def test_names_may_have_any_characters(params: Write) -> None:
    names = ["", "arg:größe/層 1\n\t\0", "a" * 10_000]
    content = file_bytes([array_bytes(VALUES)] * 3, [name.encode() for name in names])
    assert list(read_params(params(content))) == names


def test_a_params_file_is_recognised_by_its_start(params: Write) -> None:
    content = file_bytes([array_bytes(VALUES)], [b"w"])
    assert is_params(params(content))
    assert is_params(params(content[:16]))
    for other in (b"", content[:15], b"PK\x03\x04" + content[4:], content[1:], b"\x89HDF\r\n\x1a\n" + content):
        assert not is_params(params(other)), other[:20]


# Damage


SMALL = file_bytes(
    [array_bytes(np.arange(6, dtype="float32").reshape(2, 3), version) for version in HEADS]
    + [array_bytes(np.arange(3, dtype="float16"))],
    [b"arg:a", b"arg:b", b"aux:c", b"d", b"\xc3\xa9"],
)


def outcome(path: Path) -> tuple[dict[str, Tensor] | None, str]:
    """(arrays, "") or (None, the error)."""
    try:
        return read_params(path), ""
    except TenchError as error:
        return None, str(error)


def test_a_file_cut_at_any_byte_is_an_error_that_names_the_file(params: Write) -> None:
    assert len(read_params(params(SMALL))) == 5
    for length in range(len(SMALL)):
        path = params(SMALL[:length])
        message = error_of(read_params)(path)
        assert str(path) in message, f"cut at byte {length}"
        assert "copy it again" in message or "not an MXNet parameter file" in message, f"cut at byte {length}"


def test_any_changed_byte_gives_arrays_or_an_error_that_names_the_file(params: Write) -> None:
    num_errors = 0
    for at in range(len(SMALL)):
        for value in {0, 1, 0x7F, 0x80, 0xFF, SMALL[at] ^ 1} - {SMALL[at]}:
            path = params(SMALL[:at] + bytes([value]) + SMALL[at + 1 :])
            found, message = outcome(path)
            if found is None:
                assert str(path) in message
                num_errors += 1
            else:
                assert len(found) == 5, f"byte {at} set to {value}"
    assert num_errors > 100


def test_an_error_tells_where_the_file_ends(params: Write) -> None:
    content = file_bytes([array_bytes(VALUES)], [b"w"])
    start = 24 + len(head("V2", VALUES.shape)) + 12
    path = params(content[: start + 40])
    assert error_of(read_params)(path) == (
        f"{path} ends too early: array 0 of shape (2, 3, 4) at byte {start} needs 96 bytes, but only 40 follow. "
        "It may have been truncated while copying; copy it again."
    )


def test_other_files_are_refused(params: Write) -> None:
    path = params(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert error_of(read_params)(path) == (f"{path} is not an MXNet parameter file: it does not start with 0x112.")
    reserved = params(struct.pack("<QQQQ", 0x112, 1, 0, 0))
    assert "it does not start with 0x112" in error_of(read_params)(reserved)


def test_bytes_after_the_last_name_are_an_error(params: Write) -> None:
    path = params(SMALL + bytes(1234))
    assert error_of(read_params)(path) == (f"{path} has 1,234 bytes after its last name. It is damaged; copy it again.")


def test_arrays_without_names_are_an_error(params: Write) -> None:
    path = params(file_bytes([array_bytes(VALUES)] * 2, []))
    assert error_of(read_params)(path) == (
        f"{path} has 2 arrays and no names, so they cannot be assigned to a network."
    )
    assert "2 arrays and 1 names" in error_of(read_params)(params(file_bytes([array_bytes(VALUES)] * 2, [b"w"])))


def test_two_arrays_with_the_same_name_are_an_error(params: Write) -> None:
    path = params(file_bytes([array_bytes(VALUES)] * 3, [b"arg:w", b"arg:b", b"arg:w"]))
    assert error_of(read_params)(path) == f"{path} has two arrays named 'arg:w'. Save the parameters again."


def test_a_name_that_is_not_utf8_is_an_error(params: Write) -> None:
    path = params(file_bytes([array_bytes(VALUES)], [b"arg:\xff"]))
    message = error_of(read_params)(path)
    assert message.startswith(f"{path}: a name is not UTF-8 (")
    assert "copy it again" in message


@pytest.mark.parametrize(("storage", "num_aux"), [(1, 1), (2, 2)])
def test_a_sparse_array_is_refused_with_its_number(params: Write, storage: int, num_aux: int) -> None:
    aux = b"".join(struct.pack("<i", CODES["int64"]) + shape_of((2,)) for _ in range(num_aux))
    sparse = struct.pack("<Ii", V2, storage) + shape_of((2, 3)) + shape_of((5, 3)) + struct.pack("<iii", CPU, 0, 0)
    sparse += aux + bytes(24) + bytes(16) * num_aux
    path = params(file_bytes([array_bytes(VALUES), sparse], [b"w", b"s"]))
    assert error_of(read_params)(path) == (
        f"{path}: array 1 is sparse, which is not supported. Save it with tostype('default')."
    )


@pytest.mark.parametrize("kind", [-1, 13, 2**31 - 1])
def test_an_unknown_type_is_refused_with_its_number(params: Write, kind: int) -> None:
    array = head("V2", (1,)) + struct.pack("<iii", CPU, 0, kind) + bytes(8)
    path = params(file_bytes([array], [b"w"]))
    assert f"{path}: array 0 has the unknown type {kind}." in error_of(read_params)(path)


def test_an_unknown_version_is_refused(params: Write) -> None:
    path = params(file_bytes([struct.pack("<I", 0xF993FACB) + bytes(100)], [b"w"]))
    message = error_of(read_params)(path)
    assert message.startswith(f"{path}: array 0 starts with 0xf993facb, which is no known version of the format.")


LIES = {
    "a count of arrays": struct.pack("<QQQ", 0x112, 0, 2**62) + bytes(64),
    "the largest count of arrays": struct.pack("<QQQ", 0x112, 0, 2**64 - 1) + bytes(64),
    "a count of names": struct.pack("<QQQ", 0x112, 0, 1) + array_bytes(VALUES) + struct.pack("<Q", 2**63),
    "the length of a name": struct.pack("<QQQ", 0x112, 0, 1) + array_bytes(VALUES) + struct.pack("<QQ", 1, 2**63),
    "a side": file_bytes([head("V2", (2**40,)) + struct.pack("<iii", CPU, 0, 0)], [b"w"]),
    "a negative side": file_bytes([head("V2", (-1, 5)) + struct.pack("<iii", CPU, 0, 0)], [b"w"]),
    "two negative sides": file_bytes([head("V2", (-2, -3)) + struct.pack("<iii", CPU, 0, 0) + bytes(24)], [b"w"]),
    "sides whose product overflows": file_bytes(
        [head("V2", (2**32, 2**32, 4)) + struct.pack("<iii", CPU, 0, 0) + bytes(64)], [b"w"]
    ),
    "sides of an old array": file_bytes([head("V0", (2**32 - 1,) * 4) + struct.pack("<iii", CPU, 0, 0)], [b"w"]),
    "a number of dimensions": file_bytes([struct.pack("<Iii", V2, 0, 2**31 - 1) + bytes(64)], [b"w"]),
    "a large side next to an empty one": file_bytes(
        [head("V2", (2**62, 0, 2**62)) + struct.pack("<iii", CPU, 0, 0)], [b"w"]
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_number_that_does_not_fit_the_file_allocates_nothing(params: Write, lie: str) -> None:
    path = params(LIES[lie])
    tracemalloc.start()
    try:
        message = error_of(read_params)(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(path) in message
    assert len(message) < 500
    assert peak < 2**20


# NumPy's archives, which MXNet 2 writes


def npz(arrays: dict[str, Array], *, compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    save: Callable[..., None] = np.savez_compressed if compressed else np.savez
    save(buffer, **arrays)
    return buffer.getvalue()


def test_an_npz_archive_is_read_too(params: Write) -> None:
    arrays: dict[str, Array] = {
        "features.0.weight": VALUES.astype("float16"),
        "scale": np.array(0.5),
        "counter": np.array([70_000], "uint32"),
    }
    found = read_params(params(npz(arrays)))
    assert list(found) == list(arrays)
    assert [tensor.dtype for tensor in found.values()] == [torch.float32, torch.float32, torch.int64]
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name].numpy(), values)


def test_an_npz_archive_with_pickled_objects_is_refused(params: Write) -> None:
    path = params(npz({"w": np.array([{"a": 1}], object)}))
    message = error_of(read_params)(path)
    assert message.startswith(f"{path} is not a complete .npz archive of arrays (")


def test_an_npz_archive_cut_at_any_byte_is_an_error_that_names_the_file(params: Write) -> None:
    content = npz({"w": np.arange(3, dtype="float32")})
    for length in range(4, len(content), 3):
        path = params(content[:length])
        assert str(path) in error_of(read_params)(path), f"cut at byte {length}"


@pytest.mark.parametrize("compressed", [False, True])
def test_any_changed_byte_of_an_npz_archive_gives_arrays_or_an_error_that_names_the_file(
    params: Write, compressed: bool
) -> None:
    content = npz({"w": np.arange(40, dtype="float32")}, compressed=compressed)
    for at in range(4, len(content)):
        for value in {0, 0xFF, content[at] ^ 1} - {content[at]}:
            path = params(content[:at] + bytes([value]) + content[at + 1 :])
            found, message = outcome(path)
            assert str(path) in message if found is None else len(found) <= 1, f"byte {at} set to {value}"
