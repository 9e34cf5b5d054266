"""The layouts a source can have: one module each, with three things.

- `NAME`: what `tench info` calls it.
- `recognise(path) -> bool`: whether this path is such a source, by its content; quick, and without error.
- `read(path, spool) -> Contents`: its table; TenchError when it is one but broken. `spool` is a folder of ours,
  in the cache, for bytes that cannot be addressed where they are.

A source that is no path has a name instead: its module has `NAME` and `read(text, spool)`.
"""

from pathlib import Path
from typing import Protocol

from tench.data.layouts import cifar, digits, folder, mnist, synthetic
from tench.data.table import Contents


class Layout(Protocol):
    NAME: str

    def recognise(self, path: Path) -> bool: ...

    def read(self, path: Path, spool: Path) -> Contents: ...


class Named(Protocol):
    NAME: str

    def read(self, text: str, spool: Path) -> Contents: ...


LAYOUTS: tuple[Layout, ...] = (mnist, cifar, folder)
"""In the order they are asked whether they recognise a path; folder last, for it takes any folder."""

NAMED: dict[str, Named] = {digits.NAME: digits, synthetic.NAME: synthetic}
"""Sources that are no path, by the word before any colon."""
