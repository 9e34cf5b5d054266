"""Standard streams that may be closed or full, or that cannot encode a name.

A daemon or a cron job may have no stdout or stderr. The first file that the program opens would then get the free
descriptor, and a library that prints would write to that file. So closed streams are opened on the null device.
"""

import codecs
import contextlib
import io
import os
import sys

from tench.printable import unguarded


def prepare_streams() -> None:
    """Open closed streams on the null device, and let stdout print file names that are not text.

    Bytes that are not UTF-8 are printed unchanged; characters that the terminal cannot show are escaped.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_null(descriptor)
            mode = "w" if descriptor else "r"
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - never closed
    if isinstance(sys.stdout, io.TextIOWrapper):
        is_utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def discard_output() -> None:
    """Send what is still buffered for stdout to the null device, so that it does not fail again when Python exits."""
    with contextlib.suppress(OSError, ValueError):  # in a test or a notebook, a stream has no descriptor
        _open_null(unguarded(sys.stdout).fileno())


def _open_null(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
