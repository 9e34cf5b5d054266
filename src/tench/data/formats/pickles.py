"""Read a pickled dictionary without executing anything.

A pickle can call any function while it is read. Here each name that numpy's arrays need becomes an inert class that
only stores its arguments; any other name ends the reading. Arrays are assembled and checked afterwards.

The usual restricted unpickler, which allows numpy's own `_reconstruct` and `dtype`, is shorter, but passes any shape,
type and state in the file to numpy's C code: an array of 2**40 entries is allocated before it can be checked. The
opcodes are also scanned once before anything is built, because the unpickler allocates a memo of any size, and hashing
tuples nested a million deep overflows the stack and kills the process.
"""

import functools
import io
import pickle
import pickletools
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError

_LONG_BYTES = 1024
"""Strings of at least this length are addressed in the file."""

_MOST_OBJECTS = 1000
"""The most tuple opcodes that a pickle may have, and the most names; CIFAR's have a handful."""
_KINDS = {
    **dict.fromkeys(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"), "tuples"),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD"), "names"),
}


class _Inert:
    """A stand-in for a class or function of numpy in a pickle: stores its arguments and state without using them."""

    module_and_name = ""
    args: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Never calls what a pickle names: each allowed name becomes an inert class."""

    _ALLOWED = re.compile(
        r"numpy\.(_?core\.multiarray\._reconstruct|_?core\.numeric\._frombuffer|ndarray|dtype)|_codecs\.encode"
    )

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if not self._ALLOWED.fullmatch(wanted):
            raise _ForbiddenError(repr(wanted[:100]))
        return _inert_class(wanted)


@functools.cache
def _inert_class(name: str) -> type[_Inert]:
    return type("_Inert", (_Inert,), {"module_and_name": name})


class _ForbiddenError(Exception):
    pass


def read_pickle(where: str, data: bytes, limits: Limits = LIMITS) -> tuple[dict[str, Any], list[int]]:
    """The dictionary in a pickle, its keys as text, and the ends of its long strings, as byte offsets in the pickle.

    where: the file, for messages. Raises TenchError if the pickle is damaged, names a function, or has more
    opcodes than the limits allow.
    """
    try:
        ends = _scan(data, limits)
        content = _Unpickler(io.BytesIO(data), encoding="latin1").load()  # Python 2's bytes, one character each
    except _ForbiddenError as error:
        raise TenchError(
            f"{where}: this pickle asks for {error}, which no file of images needs. Nothing in it was executed. "
            "Do not open it with other tools; get the file again from a source you trust."
        ) from error
    except Exception as error:  # a damaged or hostile pickle can make the unpickler raise anything
        raise TenchError(
            f"{where} is a damaged pickle ({type(error).__name__}: {ascii(str(error))[1:-1][:200]}). It may have been "
            "truncated: unpack the archive again."
        ) from error
    if not isinstance(content, dict):
        raise TenchError(f"{where} contains a {type(content).__name__}, not a dictionary. Unpack the archive again.")
    return {text: value for key, value in content.items() if (text := as_text(key)) is not None}, ends


def _scan(data: bytes, limits: Limits) -> list[int]:
    """The ends of long strings. Raises ValueError if the opcodes are invalid or too many."""
    ends, was_long = [], False
    seen = {"values": 0, "tuples": 0, "names": 0}
    for opcode, arg, position in pickletools.genops(data):
        kind = _KINDS.get(opcode.name, "values")
        seen[kind] += 1
        if seen[kind] > (most := limits.opcodes if kind == "values" else _MOST_OBJECTS):
            raise ValueError(f"more than {most:,} {kind}")
        if was_long and position is not None:
            ends.append(position)
        was_long = isinstance(arg, str | bytes | bytearray) and len(arg) >= _LONG_BYTES
        # The unpickler would allocate this many entries at once, so a small file could take all memory.
        if "PUT" in opcode.name and isinstance(arg, int) and arg > len(data):
            raise ValueError(f"{opcode.name} {arg} in {len(data)} bytes")
    return ends


def _bytes(value: Any) -> bytes | None:
    """A pickled byte string in any of its forms, or None."""
    if isinstance(value, _Inert) and value.module_and_name == "_codecs.encode" and value.args:
        value = value.args[0]  # how Python 3 writes bytes for Python 2
    if isinstance(value, str):
        try:
            return value.encode("latin1")
        except UnicodeEncodeError:
            return None
    return bytes(value) if isinstance(value, bytes | bytearray) else None


def as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    raw = _bytes(value)
    return None if raw is None else raw.decode("latin1")


def as_array(value: Any) -> npt.NDArray[Any] | None:
    """A pickled numpy array of integers, assembled and checked here; None if it is anything else."""
    try:
        if value.module_and_name.endswith("._reconstruct"):
            _, shape, kind, is_fortran, raw = value.state
            order = "F" if is_fortran else "C"
        elif value.module_and_name.endswith("._frombuffer"):
            raw, kind, shape, order = value.args
        else:
            return None
        name, byte_order = kind.args[0], kind.state[1]
        if not re.fullmatch("[iu][1248]", name) or byte_order not in ("<", ">", "|") or order not in ("C", "F"):
            return None
        if any(size < 0 for size in shape):  # numpy would infer such a size
            return None
        array = np.frombuffer(_bytes(raw) or b"", np.dtype(byte_order + name))
        return array.reshape(tuple(shape), order="F" if order == "F" else "C")
    except (AttributeError, TypeError, ValueError, IndexError, KeyError):  # does not have the form of an array
        return None
