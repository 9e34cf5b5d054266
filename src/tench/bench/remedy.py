"""Find what would make reading faster, by preparing the sample with `tench prepare` in a temporary folder.

The gain is measured, not estimated, because it depends on the recipe's crops, the cores and the present images.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tench.data import exif
from tench.data.files.tree import open_tree
from tench.data.images import jpegtran
from tench.data.images.encode import Encoding
from tench.data.layouts import webdataset
from tench.data.prepare.planning import PrepareOptions
from tench.data.prepare.prepare import prepare
from tench.data.table import Dataset, Table, made
from tench.errors import UsageError

ADDRESSABLE = "--addressable"
"""The remedy that keeps every pixel."""


def candidates(image_size: int) -> dict[str, PrepareOptions]:
    """The candidates, keyed by their `tench prepare` options: smaller JPEGs, raw pixels that need no decoding and, if
    jpegtran is installed, JPEGs that can be partially decoded.

    512 and 256 pixels are for views of up to 224; larger views get proportionally larger images.
    """
    jpeg, raw = max(512, image_size * 512 // 224), max(256, image_size * 256 // 224)
    found = {
        f"--max-side {jpeg} --quality 90": PrepareOptions(encoding=Encoding(max_side=jpeg, quality=90)),
        f"--format pixels --max-side {raw}": PrepareOptions(encoding=Encoding(format="pixels", max_side=raw)),
    }
    with contextlib.suppress(UsageError):
        jpegtran.program()
        found[ADDRESSABLE] = PrepareOptions(addressable=True)
    return found


@contextlib.contextmanager
def prepared(dataset: Dataset, table: Table, options: PrepareOptions, threads: int) -> Iterator[Table]:
    """A table of the same images prepared with these options, for a `with`. Raises TenchError like `prepare`."""
    with tempfile.TemporaryDirectory(prefix="tench-bench-") as name:
        folder = Path(name)
        part = dataclasses.replace(dataset, splits={"train": table})
        done = prepare(part, folder / "prepared", options=options, threads=threads)
        contents = webdataset.read(open_tree(done.dest, folder / "spool"))
        found = made(contents, source=str(done.dest), layout=webdataset.NAME).splits["train"]
        if exif.is_upright(table):
            found = found.upright()  # JPEGs that are not re-encoded keep their tags
        try:
            yield found
        finally:
            found.close()
