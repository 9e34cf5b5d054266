"""The text of the error that a call raises."""

from collections.abc import Callable
from typing import ParamSpec

import pytest

from tench.errors import TenchError

P = ParamSpec("P")


def error_of(call: Callable[P, object]) -> Callable[P, str]:
    """Wrap a function so that it must raise TenchError, and return the message.

    >>> refusal = error_of(open_source)
    >>> assert refusal("gone") == "gone: no such file or folder."
    """

    def message(*args: P.args, **kwargs: P.kwargs) -> str:
        with pytest.raises(TenchError) as caught:
            call(*args, **kwargs)
        return str(caught.value)

    return message
