import ctypes
import mmap
import os
import time
from pathlib import Path

import numpy as np
import pytest
from tests.data import photos

from tench.bench.cold import drop, dropped
from tench.data.table import Classes, Dataset, Table


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Six photographs in one file that is entirely in the page cache."""
    images = [(f"{number}", number % 2, photos.encoded(photos.part(300, 200, number))) for number in range(6)]
    dataset: Dataset = photos.dataset(tmp_path / "set", Classes.of(["a", "b"]), {"train": images})
    (tmp_path / "set" / "train.bin").read_bytes()
    return dataset.splits["train"]


def pages_in_memory(path: str) -> int:
    """Which pages of a file are in memory, according to the kernel's mincore."""
    size = os.stat(path).st_size
    with open(path, "rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped:
        buffer = np.frombuffer(mapped, np.uint8)
        there = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        assert ctypes.CDLL(None).mincore(ctypes.c_void_p(buffer.ctypes.data), ctypes.c_size_t(size), there) == 0
        del buffer
        return sum(page & 1 for page in there)


def test_the_bytes_of_all_rows_are_dropped_from_memory_and_unchanged(table: Table) -> None:
    before = [table.read(row) for row in range(len(table))]
    if dropped(table) != "dropped":
        pytest.skip("needs a file system whose files can be dropped from memory, for the tests' temporary folder")
    deadline = time.monotonic() + 60
    drop(table)
    while pages_in_memory(table.shard(0)) and time.monotonic() < deadline:  # a busy kernel may hold a page for a moment
        time.sleep(0.01)
        drop(table)
    assert pages_in_memory(table.shard(0)) == 0
    assert [table.read(row) for row in range(len(table))] == before
    assert pages_in_memory(table.shard(0)) > 0


def test_distant_parts_of_the_file_stay_in_memory(tmp_path: Path) -> None:
    far = bytes(6 * 2**20)
    rows = [("0", 0, photos.encoded(photos.part(300, 200))), ("1", 1, far)]
    table = photos.dataset(tmp_path / "set", Classes.of(["a", "b"]), {"train": rows}).splits["train"]
    if dropped(table.subset(np.array([0]))) != "dropped":
        pytest.skip("needs a file system whose files can be dropped from memory, for the tests' temporary folder")
    Path(table.shard(0)).read_bytes()
    drop(table.subset(np.array([0])))
    gone = -(-os.stat(table.shard(0)).st_size // mmap.PAGESIZE) - pages_in_memory(table.shard(0))
    assert 0 < gone * mmap.PAGESIZE <= 2 * 2**20


def test_dropping_without_effect_is_reported(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fadvise", lambda *_: None)
    assert dropped(table) in ("kept", "unknown")  # None if the file system does not support non-blocking reads


def test_without_the_system_call_the_answer_is_unknown(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)
    assert dropped(table) == "unknown"
