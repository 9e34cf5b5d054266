"""A result of `tench bench input` to test with."""

from collections.abc import Mapping, Sequence

from tench.bench.result import Result, Row


def made_up(rows: Sequence[Row], shares: Mapping[str, float]) -> Result:
    """Of 100 of 1,000 photographs, on two cores."""
    return Result(
        source="/data/flowers",
        split="train",
        num_images=1000,
        sampled=100,
        view="random-resized-crop",
        image_size=224,
        channels=3,
        batch_size=64,
        cores=2,
        device="cpu",
        is_resident=False,
        cold="dropped",
        rows=rows,
        shares=shares,
    )
