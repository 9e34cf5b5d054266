"""Measure what a helper process for each loader thread gains: images per second with and without helpers.

    python benchmarks/input/partner.py

Prints the rows of the first table in partner.md. The second table was measured with py-spy, once without and once with
--gil, on a loader with one thread.
"""

import itertools
import statistics
import time
from collections.abc import Iterator

from tench.data.source import open_source
from tench.input.loader import Batch, Loader
from tench.input.order import Order
from tench.input.views import EvalView

REPEATS, SECONDS = 5, 2.5
SOURCES = {
    "photographs, 400 x 500 to 224": ("synthetic:images=512,size=400x500", 224),
    "JPEG, 64 x 64 to 32": ("synthetic:images=2000,size=64", 32),
    "raw pixels, 32 x 32": ("synthetic:images=5000,size=32,format=pixels", 32),
}


def rate(source: str, size: int, threads: int, processes: bool) -> float:
    """Images per second of a loader, after three warm-up batches."""
    table = open_source(source).splits["train"]
    order = Order(num_rows=len(table), batch_size=64)
    view = EvalView(size=size, resize=size)
    with Loader(table, view, order, channels=3, threads=threads, processes=processes) as loader:

        def endless() -> Iterator[Batch]:
            for epoch in itertools.count():
                yield from loader.batches(epoch)

        batches = endless()
        for _ in range(3):
            next(batches)
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            count += len(next(batches).rows)
        return count / (time.perf_counter() - start)


def main() -> None:
    for name, (source, size) in SOURCES.items():
        for threads in (2, 9, 16):
            cells = []
            for processes in (False, True):
                rates = [rate(source, size, threads, processes) for _ in range(REPEATS)]
                cells.append(f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})")
            print(f"| {name} | {threads} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
