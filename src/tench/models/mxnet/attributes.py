"""The attributes of an operator in a symbol graph, which are texts: "(3, 3)", "True", "0.9"."""

import ast
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from tench.errors import TenchError
from tench.models.mxnet.graph import Node
from tench.plain import shown

_MAX_LENGTH = 1000
_MAX_NUMBER = 1e30
_FLAGS = {"true": True, "1": True, "false": False, "0": False}

T = TypeVar("T")


class GraphError(TenchError):
    """A graph cannot be a PyTorch network. The message names the node; the caller adds the file."""


class Attributes:
    """Typed access to a node's attributes. Each method raises GraphError naming the node and the attribute."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def refuse(self, reason: str) -> NoReturn:
        """Raise the error that says why the node cannot be used."""
        raise GraphError(f"node {shown(self.node.name)} ({shown(self.node.op)}) {reason}")

    def text(self, name: str, default: T) -> str | T:
        """The text of an attribute; if it is missing or None, the default."""
        value = self.node.attrs.get(name, "None")
        return default if value == "None" else value

    def choice(self, name: str, known: Sequence[str], default: str) -> str:
        value = self.text(name, default)
        if value not in known:
            self.refuse(f"has {name}={shown(value)}, which is not supported. Supported: {', '.join(known)}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        text = self.text(name, str(default)).lower()
        if text not in _FLAGS:
            self.refuse(f"has {name}={shown(text)}, but it should be True or False")
        return _FLAGS[text]

    def number(self, name: str, default: float | None = None) -> float:
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_NUMBER:
            self.refuse(f"has {name}={shown(value)}, but it should be a number")
        return float(value)

    def integer(self, name: str, default: int | None = None, *, low: int = -(2**31), high: int = 2**31 - 1) -> int:
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(f"has {name}={shown(value)}, but it should be an integer from {low:,} to {high:,}")
        return value

    def integers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """A list of integers; a single integer is a list of one."""
        value = self._value(name, default)
        values = (value,) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(values, list | tuple) or not all(type(one) is int and abs(one) < 2**31 for one in values):
            self.refuse(f"has {name}={shown(value)}, but it should be a list of integers")
        return tuple(values)

    def pair(self, name: str, default: int | None = None, *, low: int = 0) -> tuple[int, int]:
        """(height, width). An empty list is the default."""
        values = self.integers(name, None if default is None else (default, default))
        if not values and default is not None:
            values = (default, default)
        if len(values) != 2 or min(values) < low:
            self.refuse(f"has {name}={shown(values)}, but it should be two integers of at least {low}")
        return values[0], values[1]

    def optional_integer(self, name: str) -> int | None:
        return None if self.text(name, None) is None else self.integer(name)

    def _value(self, name: str, default: Any) -> Any:
        text = self.text(name, None)
        if text is None:
            if default is None:
                self.refuse(f"lacks the attribute {name}")
            return default
        if len(text) > _MAX_LENGTH:
            self.refuse(f"has {name}={shown(text)}, which is too long")
        try:
            return ast.literal_eval(text.replace("L", "") if text.strip("()[], -0123456789L") == "" else text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            self.refuse(f"has {name}={shown(text)}, which is not a number or a list of numbers")
