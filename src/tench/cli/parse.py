"""A command's options from its dataclass: fields are flags, the docstring is the help."""

import contextlib
import inspect
import sys
from typing import TypeVar

import tyro

from tench.printable import unguarded

Command = TypeVar("Command")


def parse(kind: type[Command], arguments: list[str], default: Command | None = None, *, command: str = "") -> Command:
    """The options of `tench COMMAND`. Ends the process with 2 on a usage error.

    default: an instance with the values of omitted flags. command: by default the dataclass's name.
    """
    with (  # tyro draws on a terminal in colour
        contextlib.redirect_stdout(unguarded(sys.stdout)),
        contextlib.redirect_stderr(unguarded(sys.stderr)),
    ):
        return tyro.cli(
            kind,
            args=arguments,
            prog=f"tench {command or kind.__name__.lower()}",
            description=inspect.getdoc(kind),
            config=(tyro.conf.OmitArgPrefixes,),
            default=tyro.MISSING_NONPROP if default is None else default,
        )
