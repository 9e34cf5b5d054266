"""NVIDIA DALI on the CPU only: a file reader, a decoder that decodes only the lines of the crop, and a resize."""

from collections.abc import Iterator
from typing import Any

import clock
import numpy as np
from nvidia.dali import fn, pipeline_def, types


@pipeline_def(prefetch_queue_depth=2)
def train_view(folder: str) -> tuple[Any, Any]:
    encoded, labels = fn.readers.file(file_root=folder, random_shuffle=True, name="reader")
    images = fn.decoders.image_random_crop(
        encoded, device="cpu", random_area=list(clock.SCALE), random_aspect_ratio=list(clock.RATIO), num_attempts=10
    )
    images = fn.resize(images, size=[clock.SIZE, clock.SIZE], interp_type=types.INTERP_LINEAR, antialias=True)
    return fn.flip(images, horizontal=fn.random.coin_flip()), labels


def batches(asked: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    pipeline = train_view(asked.data, batch_size=asked.batch_size, num_threads=asked.workers, device_id=None)
    pipeline.build()
    while True:
        images, labels = pipeline.run()
        yield images.as_array(), labels.as_array()


if __name__ == "__main__":
    asked = clock.parser().parse_args()
    packages = ("nvidia-dali-cuda120",)
    clock.measure(asked, batches(asked), filter_="triangular, antialiased", packages=packages)
