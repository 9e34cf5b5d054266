"""The user's own code, named `package.module:function`, as a run or recipe stores it.

Importing a module runs it, so nothing is imported just because a file names it. The user must name the code in the
command, pass it from Python, or say that the file can be trusted.

Code that cannot be imported by name (a lambda, an object, a function in a notebook) is stored as `object:NAME`, which
means that it must be passed again.
"""

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tench.errors import TenchError, UsageError, nearest
from tench.machine import is_out_of_memory

_OBJECT = "object"
_WORD = r"[A-Za-z_]\w*"
_NAME = re.compile(rf"{_WORD}(\.{_WORD})*:({_WORD}|<lambda>)(\.{_WORD})*")


def names_code(name: str) -> bool:
    """Whether a value of a recipe names code: `package.module:function` or `object:NAME`."""
    return _NAME.fullmatch(name) is not None


def is_object(name: str) -> bool:
    """Whether the code with this name was passed from Python and cannot be imported."""
    return name.startswith(f"{_OBJECT}:")


def code_name(code: Any) -> str:
    """The name under which a run stores code: `package.module:function` if it can be imported, else `object:NAME`.

    A function of the running script gets the name of the script's module, so that `tench` can import it.
    """
    name = getattr(code, "__qualname__", None)
    if name is None:
        return f"{_OBJECT}:{type(code).__name__}"
    module = sys.modules.get(code.__module__ or "")
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    module_name = _module_name(module)
    if found is not code or module_name is None:
        return f"{_OBJECT}:{name.rpartition('.')[2]}"
    return f"{module_name}:{name}"


def _module_name(module: Any) -> str | None:
    if module is None or module.__name__ != "__main__":
        return None if module is None else module.__name__
    if getattr(module, "__spec__", None) is not None:  # python -m package.module
        return str(module.__spec__.name)
    stem = Path(getattr(module, "__file__", None) or "-").stem
    return stem if stem.isidentifier() else None


def import_from_here() -> None:
    """Make modules in the current directory importable, as `python -m` does."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def import_code(name: str) -> Any:
    """The function or class `package.module:function`.

    Raises UsageError if there is no such module or attribute, or if it is not callable; TenchError if importing the
    module fails.
    """
    module_name, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _failed(name, error) from error
        top = module_name.partition(".")[0]
        raise UsageError(
            f"{name}: there is no module {error.name}. It must be installed or importable from {os.getcwd()}: run the "
            f"command in the folder that contains {top} or {top}.py, or add that folder to PYTHONPATH."
        ) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error
    where = getattr(found, "__file__", None) or module_name
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = sorted(word for word in vars(found) if not word.startswith("_"))
            raise UsageError(f"{name}: {where} has no {part!r}.{nearest(part, known)}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{name} is {type(found).__name__}, not a function.")
    return found


def _failed(name: str, error: BaseException) -> TenchError:
    return TenchError(f"{name}: importing {name.partition(':')[0]} failed: {described(error)}.")


def described(error: BaseException) -> str:
    """An error of the user's code in one line: "NameError: name 'x' is not defined (/home/me/nets.py, line 3)"."""
    text = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": .")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of_user(frame.filename)]
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


_LIBRARIES = (str(Path(__file__).parent), "<frozen", os.path.dirname(os.path.abspath(inspect.__file__)))
"""Tench, importlib, and the standard library with all installed packages below it."""


def _is_of_user(file: str) -> bool:
    return not file.startswith(_LIBRARIES) and f"{os.sep}site-packages{os.sep}" not in file


@contextmanager
def errors_name(name: str, doing: str) -> Iterator[None]:
    """Turn an error that the user's code raises inside into a TenchError that names the code and the line.

    doing: what the code was doing, such as "called with 4 logits". Out-of-memory errors and Ctrl-C are passed on.
    sys.exit() counts as an error, because in the middle of a training it would end the program without a message.
    """
    try:
        yield
    except TenchError:
        raise
    except (Exception, SystemExit, GeneratorExit) as error:
        if is_out_of_memory(error):
            raise
        raise TenchError(f"{name} failed when {doing}: {described(error)}.") from error


def trusted(name: str, where: str, remedy: str, *, trust_code: bool) -> Any:
    """The code that a file names, imported if the caller trusts it.

    where: the file and its key. remedy: how to name or pass the code. Raises UsageError if importing is not allowed, or
    if the code was passed as an object.
    """
    if is_object(name):
        raise UsageError(f"{where} is {name}: it was passed from Python and cannot be imported. {remedy}")
    if not trust_code:
        raise UsageError(
            f"{where} is {name}. That is Python code, which runs when it is imported, so it is only imported if you "
            f"ask for it. {remedy}"
        )
    return import_code(name)
