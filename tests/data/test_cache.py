"""A saved table is used only if it is intact; otherwise its source is read again."""

import logging
from collections.abc import Callable
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from PIL import Image

from tench.data.cache import cache_folder
from tench.data.source import open_source
from tench.data.table import Dataset, load
from tench.errors import TenchError
from tench.files import complete_file, remove_parts


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        folder = tmp_path / "photos" / "train" / name
        folder.mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), number).save(folder / f"{name}{number}.png")
    return tmp_path / "photos"


def saved_table(source: Path) -> Path:
    open_source(source)
    (saved,) = (cache_folder() / "tables").glob("*.arrow")
    return saved


def contents(dataset: Dataset) -> object:
    table = dataset.splits["train"]
    return dataset.classes, dataset.stamp, table.keys(), table.labels.tolist(), table.lengths.tolist()


def test_every_flipped_bit_of_a_saved_table_is_noticed(photos: Path, tmp_path: Path) -> None:
    whole = saved_table(photos).read_bytes()
    damaged = tmp_path / "damaged"
    random = Random(0)
    for at in range(len(whole)):
        content = bytearray(whole)
        content[at] ^= 1 << random.randrange(8)
        damaged.write_bytes(content)
        assert load(damaged) is None, f"bit of byte {at}"


def test_every_truncated_table_is_noticed(photos: Path, tmp_path: Path) -> None:
    whole = saved_table(photos).read_bytes()
    damaged = tmp_path / "damaged"
    for length in [*range(64), *range(64, len(whole), 13), len(whole) - 1]:
        damaged.write_bytes(whole[:length])
        assert load(damaged) is None, f"the first {length} bytes"


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "zeroed": lambda whole: bytes(len(whole)),
    "cut": lambda whole: whole[:-300],
    "longer": lambda whole: whole + bytes(64),
    "twice": lambda whole: whole + whole,
    "text": lambda whole: whole.replace(b"cat0", b"ca\xff0"),
    "path": lambda whole: whole.replace(b"/photos/", b"/phot\0s/"),
    "footer": lambda whole: whole[:-60] + bytes(20) + whole[-40:],
    "another file": lambda whole: b"\x89PNG\r\n\x1a\n" * 100,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_table_is_rebuilt_with_one_line_in_the_log(
    photos: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    saved = saved_table(photos)
    expected = contents(open_source(photos))
    whole = saved.read_bytes()
    saved.write_bytes(damage(whole))
    caplog.clear()
    with caplog.at_level(logging.INFO, "tench"):
        assert contents(open_source(photos)) == expected
    assert caplog.messages == [
        f"The saved table of {photos} is damaged or of another version. Rebuilding it.",
        f"Reading {photos} ...",
    ]
    caplog.clear()
    assert contents(open_source(photos)) == expected
    assert caplog.messages == []
    assert saved.read_bytes() == whole


def test_an_old_table_without_a_checksum_is_rebuilt(photos: Path) -> None:
    saved = saved_table(photos)
    expected = contents(open_source(photos))
    whole = saved.read_bytes()
    arrow = whole[: whole.rindex(b"ARROW1") + 6]
    assert pa.ipc.open_file(pa.py_buffer(arrow)).read_all().num_rows == 8
    saved.write_bytes(arrow)
    assert load(saved) is None
    assert contents(open_source(photos)) == expected


def test_an_open_table_outlives_its_file(photos: Path) -> None:
    saved = saved_table(photos)
    dataset = open_source(photos)
    expected = contents(dataset)
    saved.unlink()
    assert contents(dataset) == expected


def test_only_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    mine = [".results.part", ".a.12345678.part.txt", "a.12345678.part", ".a.1234567g.part", ".a.123456789.part"]
    for name in [*mine, ".a.png.12345678.part", ".b.12345678.part"]:
        (tmp_path / name).write_text("")
    (tmp_path / ".folder.12345678.part").mkdir()
    (tmp_path / ".link.12345678.part").symlink_to(tmp_path / "elsewhere")
    remove_parts(tmp_path, ["a.png"])
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {*mine, ".b.12345678.part", ".folder.12345678.part", ".link.12345678.part"}
    remove_parts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*mine, ".folder.12345678.part", ".link.12345678.part"}
    remove_parts(tmp_path / "missing")


def test_the_leftovers_removed_are_the_temporary_files_of_complete_file(tmp_path: Path) -> None:
    with complete_file(tmp_path / "a.png") as part:
        part.write_text("x")
        remove_parts(tmp_path, ["a.png"])
        assert not part.exists()
        part.write_text("x")


def test_without_a_home_folder_the_error_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(TenchError) as refused:
        cache_folder()
    assert str(refused.value) == (
        "There is no folder for the cache: HOME is not set, and this user has no home folder. Set TENCH_CACHE to a "
        "writable folder."
    )
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/tench")
