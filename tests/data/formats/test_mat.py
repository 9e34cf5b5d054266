import contextlib
import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.errors import error_of

from tench.data.formats.mat import read_mat
from tench.data.limits import Limits
from tench.errors import TenchError

WHERE = "labels.mat"


def written(variables: Mapping[str, Any], *, packed: bool = False) -> bytes:
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, dict(variables), do_compression=packed)
    return file.getvalue()


def scipy_reads(data: bytes) -> dict[str, Any]:
    from scipy.io import loadmat

    return {name: value for name, value in loadmat(io.BytesIO(data)).items() if not name.startswith("__")}


def same(ours: Any, theirs: Any) -> bool:
    """Whether a value equals scipy's, which returns every text as an array."""
    if isinstance(ours, str):
        return bool("".join(np.asarray(theirs).ravel().tolist()) == ours)
    if ours.shape != theirs.shape:
        return False
    if ours.dtype.names:
        return bool(
            ours.dtype.names == theirs.dtype.names
            and all(
                same(ours[name][at], theirs[name][at]) for name in ours.dtype.names for at in np.ndindex(ours.shape)
            )
        )
    if ours.dtype == object:
        return all(same(ours[at], theirs[at]) for at in np.ndindex(ours.shape))
    if ours.dtype.kind == "U":
        return bool((ours == theirs).all())
    return bool(ours.dtype == theirs.dtype and (ours == theirs).all())


def refusal(data: bytes, limits: Limits | None = None) -> str:
    return error_of(read_mat)(data, WHERE, *([limits] if limits else []))


def cells(*values: Any) -> Any:
    made = np.empty(len(values), object)
    made[:] = values
    return made


CARS = np.array(
    [(39, 116, 14, "00001.jpg"), (36, 868, 3, "00002.jpg")],
    dtype=[("bbox_x1", object), ("bbox_y1", object), ("class", object), ("fname", object)],
)
EXAMPLES: dict[str, dict[str, Any]] = {
    "svhn": {
        "X": np.arange(4 * 4 * 3 * 5, dtype=np.uint8).reshape(4, 4, 3, 5),
        "y": np.array([[1], [10], [3], [2], [9]]),
    },
    "flowers": {"labels": np.array([[77, 77, 1, 102]], np.uint8)},
    "split": {"trnid": np.arange(5, dtype=np.uint16), "valid": np.arange(2.0), "tstid": np.array([], np.int64)},
    "cars": {"annotations": CARS, "class_names": cells("AM General Hummer SUV 2000", "Acura RL Sedan 2012")},
    "text": {"line": "n01440764", "lines": np.array(["abc", "de "]), "empty": "", "greek": "caf\u00e9 \u03b1\u03b2"},
    "numbers": {
        kind: np.array([[1, 2, 100], [3, 4, 5]], kind)
        for kind in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
    },
    "nested": {"outer": {"inner": {"list": cells("a", np.eye(2), cells("b"))}, "number": 3.5}},
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", EXAMPLES)
def test_variables_match_those_that_scipy_reads(name: str, packed: bool) -> None:
    data = written(EXAMPLES[name], packed=packed)
    ours, theirs = read_mat(data, WHERE), scipy_reads(data)
    assert list(ours) == list(theirs) == list(EXAMPLES[name])
    assert [key for key in ours if not same(ours[key], theirs[key])] == []


def element(order: str, kind: int, data: bytes) -> bytes:
    """An element of a MATLAB file. Compressed ones (kind 15) are not padded, as in MATLAB and scipy."""
    return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8 if kind != 15 else 0)


def matrix(order: str, kind: int, shape: tuple[int, ...], *parts: bytes, name: bytes = b"v", flags: int = 0) -> bytes:
    head = element(order, 6, struct.pack(order + "II", kind | flags, 0))
    head += element(order, 5, struct.pack(f"{order}{len(shape)}i", *shape)) + element(order, 1, name)
    return element(order, 14, head + b"".join(parts))


def mat_file(*variables: bytes, order: str = "<") -> bytes:
    mark = b"IM" if order == "<" else b"MI"
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(order + "H", 0x100) + mark + b"".join(variables)


def test_a_big_endian_file_is_read() -> None:
    numbers = matrix(">", 6, (2, 3), element(">", 9, struct.pack(">6d", 1, 2, 3, 4, 5, 6.5)))
    text = matrix(">", 4, (1, 4), element(">", 4, "caf\u00e9".encode("utf-16-be")), name=b"text")
    small = matrix(">", 9, (1, 1), struct.pack(">HHI", 1, 2, 7 << 24), name=b"small")
    data = mat_file(numbers, text, small, order=">")
    ours, theirs = read_mat(data, WHERE), scipy_reads(data)
    assert ours["v"].tolist() == theirs["v"].tolist() == [[1, 3, 5], [2, 4, 6.5]]
    assert (ours["text"], ours["small"].tolist(), theirs["small"].tolist()) == ("caf\u00e9", [[7]], [[7]])


def test_kinds_that_no_dataset_needs_are_left_out() -> None:
    from scipy.sparse import eye

    data = written({"labels": [1, 2], "sparse": eye(3), "complex": np.array([1j]), "cell": cells(1, np.array([1j]))})
    assert list(read_mat(data, WHERE)) == ["labels"]


def test_other_versions_of_the_format_are_refused_with_a_remedy() -> None:
    again = "Load it and save it again: in MATLAB with save('NAME.mat', '-v7'), in Python with scipy.io.savemat."
    for data in (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(600)):
        assert refusal(data) == f"{WHERE} is a MATLAB 7.3 file (HDF5), which is not supported. {again}"
    level_4 = struct.pack("<5i", 0, 1, 1, 0, 2) + b"x\0" + struct.pack("<d", 1) + bytes(200)
    assert refusal(level_4) == f"{WHERE} is a MATLAB 4 file, which is not supported. {again}"
    assert refusal(b"\xff\xd8" * 200) == f"{WHERE} is not a MATLAB file. Copy or download it again."


@pytest.mark.parametrize(
    ("variable", "why"),
    [
        (matrix("<", 1, (2**30, 2**30)), "1,152,921,504,606,846,976 cells in "),
        (matrix("<", 4, (2**30, 1), element("<", 4, b"a\0")), "a text has 1 characters, but the shape (1073741824, 1)"),
        (matrix("<", 6, (2**31 - 1, 5), element("<", 9, bytes(8))), "the variable 'v' has 1 numbers, but the shape"),
        (matrix("<", 6, (-1, -1), element("<", 9, bytes(8))), "a variable has the shape (-1, -1)"),
        (matrix("<", 6, (1,) * 40, element("<", 9, bytes(8))), "a variable has the shape (1, 1, "),
        (matrix("<", 6, (1, 1), element("<", 9, bytes(7))), "7 bytes are not a whole number of 8-byte values"),
        (matrix("<", 6, (1, 1), element("<", 77, bytes(8))), "numbers have the type 77"),
        (matrix("<", 99, (1, 1)), "a variable is of the unknown class 99"),
        (matrix("<", 6, (1, 1)), "a variable ends before all its parts"),
        (matrix("<", 2, (1, 1), element("<", 5, bytes(4)), element("<", 1, b"a")), "the names of a structure's fields"),
        (
            matrix(
                "<",
                2,
                (1, 1),
                element("<", 5, struct.pack("<i", 1)),
                element("<", 1, b"aa"),
                *[element("<", 14, b"")] * 2,
            ),
            "field 'a' occurs more than once",
        ),
        (matrix("<", 1, (1, 1), element("<", 9, bytes(8))), "a cell or field has the type 9"),
        (element("<", 9, bytes(8)), "a variable has the type 9"),
        (element("<", 15, b"no zlib data"), "Error -3 while decompressing data"),
        (element("<", 15, zlib.compress(bytes(100))[:8]), "a compressed variable is truncated"),
        (element("<", 15, zlib.compress(bytes(100))), "a compressed variable differs from its stated size"),
        (struct.pack("<II", 14, 2**32 - 1), "an element of 4,294,967,295 bytes is truncated after 0"),
        (struct.pack("<HHI", 14, 5, 0), "a small element has 5 bytes"),
        (b"\x0e\0\0", "it ends within the tag of an element"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(variable: bytes, why: str) -> None:
    found = refusal(mat_file(variable))
    assert found.startswith(f"{WHERE} is a damaged MATLAB file (")
    assert why in found
    assert found.endswith("). Copy or download it again.")


def test_a_decompression_bomb_is_refused() -> None:
    data = mat_file(element("<", 15, zlib.compress(matrix("<", 9, (10**6, 1), element("<", 2, bytes(10**6))))))
    assert "unpacks to more bytes than a label file" in refusal(data, Limits(member_bytes=10**5))
    assert read_mat(data, WHERE)["v"].shape == (10**6, 1)
    deep = matrix("<", 1, (0, 0))
    for _ in range(40):
        deep = matrix("<", 1, (1, 1), deep)
    assert "its cells and structures are nested more than 32 deep" in refusal(mat_file(deep))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(EXAMPLES)), st.booleans(), st.data())
def test_a_mutated_file_is_read_or_refused(name: str, packed: bool, data: st.DataObject) -> None:
    whole = bytearray(written(EXAMPLES[name], packed=packed))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.sampled_from([0, 1, 2, 14, 15, 127, 128, 255]))
    end = data.draw(st.integers(0, len(whole)))
    for mutated in (bytes(whole), bytes(whole[:end])):
        with contextlib.suppress(TenchError):
            assert isinstance(read_mat(mutated, WHERE, Limits(member_bytes=10**6)), dict)
