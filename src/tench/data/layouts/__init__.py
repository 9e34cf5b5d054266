"""The layouts a source can have: one module each, with three things.

- `NAME`: what `tench info` calls it.
- `recognise(path) -> bool`: whether this path is such a source, by its content; quick, and without error.
- `read(path, spool) -> Contents`: its table; TenchError when it is one but broken. `spool` is a folder of ours,
  in the cache, for bytes that cannot be addressed where they are.
"""

from pathlib import Path
from typing import Protocol

from tench.data.layouts import cifar, digits, folder, mnist, synthetic
from tench.data.table import Contents


class Layout(Protocol):
    NAME: str

    def recognise(self, path: Path) -> bool: ...

    def read(self, path: Path, spool: Path) -> Contents: ...


__all__ = ["LAYOUTS", "Layout", "digits", "synthetic"]

LAYOUTS: tuple[Layout, ...] = (mnist, cifar, folder)
"""In the order they are asked whether they recognise a path; folder last, for it takes any folder."""
