"""What would make reading faster: the sample, prepared by `tench prepare` itself into a folder that is gone after.

Measured rather than estimated: how much a smaller image saves depends on the crops that the recipe draws, on the cores,
and on what the images are now.
"""

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tench.data.encode import Encoding
from tench.data.layouts import webdataset
from tench.data.planning import Options
from tench.data.prepare import prepare
from tench.data.table import Dataset, Table, made
from tench.data.tree import open_tree


def encodings(image_size: int) -> dict[str, Encoding]:
    """What is tried, by the options of `tench prepare`: smaller JPEGs, and raw pixels that need no decoding.

    512 and 256 pixels serve views of up to 224; larger views get larger images in the same proportion.
    """
    jpeg, raw = max(512, image_size * 512 // 224), max(256, image_size * 256 // 224)
    return {
        f"--max-side {jpeg} --quality 90": Encoding(max_side=jpeg, quality=90),
        f"--format pixels --max-side {raw}": Encoding(format="pixels", max_side=raw),
    }


@contextmanager
def prepared(dataset: Dataset, table: Table, how: Encoding, threads: int) -> Iterator[Table]:
    """A table of the same images encoded anew, for a `with`. Raises TenchError as `prepare`."""
    with tempfile.TemporaryDirectory(prefix="tench-bench-") as name:
        folder = Path(name)
        part = dataclasses.replace(dataset, splits={"train": table})
        done = prepare(part, folder / "prepared", options=Options(how=how), threads=threads)
        contents = webdataset.read(open_tree(done.dest, folder / "spool"))
        found = made(contents, source=str(done.dest), layout=webdataset.NAME).splits["train"]
        try:
            yield found
        finally:
            found.close()
