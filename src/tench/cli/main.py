"""`tench COMMAND ...`: find the command, run it, turn errors into one clear message and an exit code.

Only the command that is asked for is imported, so that `tench --help` answers at once.
"""

import codecs
import importlib
import io
import logging
import sys
from collections.abc import Sequence
from traceback import format_exc

from tench.printable import guarded, printable

COMMANDS = {
    "train": "train a classifier (no SOURCE: scikit-learn's handwritten digits)",
    "evaluate": "top-1, top-5 and loss of a run or weights, each image exactly once",
    "predict": "names and probabilities for images",
    "info": "describe a source: layout, splits, counts, classes, sizes",
    "check": "decode every image of a source once and list the bad ones",
    "prepare": "write a source in another layout: webdataset, folder, list, tfrecord, recordio",
    "download": "download a public dataset by name: mnist, cifar10, ..., imagenet",
    "bench": "rates on this machine and what limits them: bench input SOURCE, train, models",
    "models": "the networks known by name, with parameters and GMACs",
    "recipes": "the packaged recipes, or one of them in full",
    "doctor": "the capabilities and limits of this machine",
}

_MAX_MESSAGE = 4000
"""Characters of a line of an error."""

_HELP = """usage: tench COMMAND ...

From the images you hold to a trained, checked image classifier.

commands:
{commands}

See `tench COMMAND --help` for details and an example. Every command takes --traceback (show where an error
came from). First steps: tench train, then tench evaluate RUN and tench predict RUN IMAGE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 (failed) or 2 (usage)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _print_any_name()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        print(_HELP.format(commands="\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())))
        return 0
    if arguments[0] in ("-V", "--version"):
        import tench

        print(f"tench {tench.__version__}")
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        from tench.errors import nearest

        hint = nearest(command, list(COMMANDS))
        print(f"tench: unknown command {command[:100]!r}.{hint} Known: {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    traceback = "--traceback" in rest
    return _run(command, [word for word in rest if word != "--traceback"], traceback)


def _run(command: str, arguments: list[str], traceback: bool) -> int:
    from tench.errors import TenchError, UsageError

    log = logging.getLogger("tench")
    if not log.handlers:
        from tench.progress import PlainHandler

        log.addHandler(PlainHandler())
    log.setLevel(logging.INFO)
    with guarded():
        try:
            result: int = importlib.import_module(f"tench.cli.{command}").run(arguments)
            sys.stdout.flush()
            return result
        except TenchError as error:
            _tell(command, traceback, *map(str, error.args))
            return 2 if isinstance(error, UsageError) else 1
        except BrokenPipeError:  # the reader of our output has seen enough: tench models | head
            sys.stderr.close()
            return 1
        except OSError as error:
            _tell(command, traceback, f"{error.filename or 'a file'}: {error.strerror or error}")
            return 1
        except KeyboardInterrupt:
            _tell(command, False, "interrupted.")
            return 130


def _tell(command: str, traceback: bool, *lines: str) -> None:
    """Print an error of the command, and where it came from if that was asked for."""
    if traceback:
        print(format_exc(), file=sys.stderr)
    shown = "\n".join(printable(_shortened(line)) for line in lines)
    print(f"tench {command}: {shown}", file=sys.stderr)


def _shortened(line: str) -> str:
    """A message without its middle if it is very long, as with a name of thousands of characters in it."""
    half = _MAX_MESSAGE // 2
    return line if len(line) <= _MAX_MESSAGE else f"{line[:half]} ... {line[-half:]}"


def _print_any_name() -> None:
    """Let stdout print file names that are not text as their bytes, and unencodable characters as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        is_utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")
