"""MXNet: ImageRecordIter over a record file, with its own threads and augmenter.

It decodes with at most half of the cores minus one, and at least one thread, whatever is requested.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clock
import mxnet as mx

INTERPOLATIONS = {"bilinear": 1, "area": 3}


def batches(asked: Any) -> Iterator[tuple[Any, Any]]:
    (file,) = Path(asked.data).glob("*.rec")
    size = sum(1 for _ in file.with_suffix(".idx").open())
    records = mx.io.ImageRecordIter(
        path_imgrec=";".join([str(file)] * -(-clock.images_to_come(asked) // size)),
        data_shape=(3, clock.SIZE, clock.SIZE),
        batch_size=asked.batch_size,
        preprocess_threads=asked.workers,
        shuffle=True,
        dtype="uint8",
        random_resized_crop=True,
        min_random_area=clock.SCALE[0],
        max_random_area=clock.SCALE[1],
        min_aspect_ratio=clock.RATIO[0],
        max_aspect_ratio=clock.RATIO[1],
        inter_method=INTERPOLATIONS[asked.interpolation],
        rand_mirror=True,
        ctx="cpu",
    )
    for batch in records:
        (images,), (labels,) = batch.data, batch.label
        images.wait_to_read()
        yield images, labels


if __name__ == "__main__":
    parser = clock.parser()
    parser.add_argument("--interpolation", choices=INTERPOLATIONS, default="bilinear")
    asked = parser.parse_args()
    filter_ = "area, antialiased" if asked.interpolation == "area" else "bilinear, not antialiased"
    clock.measure(asked, batches(asked), filter_=filter_, packages=("mxnet", "opencv-python-headless"))
