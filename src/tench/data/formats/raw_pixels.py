"""Copy images to the cache if their file stores them in a form that rows cannot address.

The copy is raw pixels, image after image, so it is as fast as any file; the cost is disk space.
"""

import logging
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tench.data.files.spool import spool_path
from tench.data.files.tree import Tree
from tench.data.table import PIXELS_HWC, Rows, numbered_keys
from tench.files import complete_file, require_space

_log = logging.getLogger("tench")


def spooled_rows(
    tree: Tree,
    name: str,
    blocks: Iterable[npt.NDArray[np.uint8]],
    labels: npt.NDArray[np.int32],
    shape: tuple[int, int, int],
    target: str = "",
) -> Rows:
    """Write images to the cache as they arrive, and return their rows.

    name: the file that contains them. blocks: (n, height, width, channels) each, in total one image per label. shape:
    (height, width, channels) of an image. target: the copy's name, if a file has several. Its path is the rows' only
    shard.
    """
    height, width, channels = shape
    count, pixels_per_image = len(labels), height * width * channels
    copy = spool_path(tree, target or name, ".pixels")
    require_space(copy, count * pixels_per_image, tree.place(name))
    _log.info(
        "%s: the images cannot be addressed in place. Copying %.1f MB of pixels once to %s.",
        *(tree.place(name), count * pixels_per_image / 1e6, copy),
    )
    written = 0
    with complete_file(copy) as part, part.open("wb") as sink:
        for block in blocks:
            written += len(block)
            sink.write(np.ascontiguousarray(block).data)
    assert written == count, f"{written} images for {count} labels"
    return Rows(
        shards=[str(copy)],
        shard=np.zeros(count, np.int32),
        offset=np.arange(count) * pixels_per_image,
        length=pixels_per_image,
        label=labels,
        key=numbered_keys(count),
        encoding=PIXELS_HWC,
        height=height,
        width=width,
        channels=channels,
    )
