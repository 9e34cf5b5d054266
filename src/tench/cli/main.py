"""`tench COMMAND ...`: find the command, run it, turn errors into one clear message and an exit code.

Only the requested command is imported, so that `tench --help` answers immediately.
"""

import importlib
import logging
import sys
from collections.abc import Iterable, Sequence
from traceback import format_exc

from tench.cli.commands import COMMANDS, forms
from tench.cli.streams import discard_output, prepare_streams
from tench.errors import TenchError, UsageError, nearest
from tench.printable import OutputError, guarded, printable

_MAX_MESSAGE = 4000
"""Maximum number of characters in a line of an error."""

_HELP = ("-h", "--help", "--help-all")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 (failed) or 2 (usage)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    prepare_streams()
    traceback = "--traceback" in _before_values(arguments)
    if traceback:
        arguments.remove("--traceback")
    name = " ".join(["tench", *arguments[:1]]) if arguments[:1] and arguments[0] in COMMANDS else "tench"
    with guarded():
        try:
            code = _run(arguments)
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # the reader of our output has closed it: tench models | head
            discard_output()
            return 1
        except OutputError as error:
            discard_output()
            _tell(name, traceback, str(error))
            return 1
        except TenchError as error:
            _tell(name, traceback, *map(str, error.args))
            return 2 if isinstance(error, UsageError) else 1
        except OSError as error:
            _tell(name, traceback, f"{error.filename or 'a file'}: {error.strerror or error}")
            return 1
        except KeyboardInterrupt:
            _tell(name, False, "interrupted.")
            return 130


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in _HELP:
        from tench.cli.help import overview

        return _print(overview())
    command, *rest = arguments
    if command in ("-V", "--version"):
        import tench

        return _print([f"tench {tench.__version__}"])
    if command.startswith("-"):
        raise UsageError(f"unknown option {command[:100]}. Write the command first: tench COMMAND OPTIONS.")
    if command not in COMMANDS:
        raise UsageError(
            f"unknown command {command[:100]!r}.{nearest(command, list(COMMANDS))} Known: {', '.join(COMMANDS)}."
        )
    asked = [word for word in _before_values(rest) if word in _HELP]
    if asked:
        return _print(_help(command, rest, everything="--help-all" in asked))
    log = logging.getLogger("tench")
    if not log.handlers:
        from tench.progress import PlainHandler

        log.addHandler(PlainHandler())
    log.setLevel(logging.INFO)
    result: int = importlib.import_module(f"tench.cli.{command}").run(rest)
    return result


def _before_values(arguments: list[str]) -> list[str]:
    """The arguments before "--", which ends the options."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _help(command: str, rest: list[str], *, everything: bool) -> Iterable[str]:
    """The lines of a command's help; if it has several forms, of the named form."""
    from tench.cli.help import command_help, forms_help

    known = forms(command)
    named = command if command in known else f"{command} {rest[0]}"
    return command_help(named, everything=everything) if named in known else forms_help(command)


def _print(lines: Iterable[str]) -> int:
    for line in lines:
        print(line)
    return 0


def _tell(name: str, traceback: bool, *lines: str) -> None:
    """Print an error of the command, and its traceback if requested."""
    if traceback:
        print(format_exc(), file=sys.stderr)
    shown = "\n".join(printable(_shortened(line)) for line in lines)
    print(f"{name}: {shown}", file=sys.stderr)


def _shortened(line: str) -> str:
    """A message; if it is very long, for example because of a name of thousands of characters, without its middle."""
    half = _MAX_MESSAGE // 2
    return line if len(line) <= _MAX_MESSAGE else f"{line[:half]} ... {line[-half:]}"
