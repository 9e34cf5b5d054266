import os
import stat
from pathlib import Path

import pytest

from tench.errors import TenchError, UsageError
from tench.files import complete_file, require_place, require_png, write_text


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_under_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with complete_file(path) as part:
        part.write_bytes(b"half")
        assert not path.exists()
        with part.open("ab") as file:
            file.write(b" and half")
        assert part.parent == path.parent
    assert path.read_bytes() == b"half and half"
    assert names(tmp_path) == ["file"]


def test_after_an_error_the_old_file_is_as_it_was_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for before in ([], ["file"]):
        with pytest.raises(ZeroDivisionError), complete_file(path) as part:  # noqa: PT012
            part.write_bytes(b"half")
            raise ZeroDivisionError
        assert names(tmp_path) == before
        path.write_bytes(b"old")
    assert path.read_bytes() == b"old"


def test_a_file_is_flushed_to_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    flushed = []
    flush = os.fsync

    def watched(descriptor: int) -> None:
        flush(descriptor)
        flushed.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(os, "fsync", watched)
    write_text(path, "text")
    assert (path.stat().st_ino, 4, False) in flushed


def test_a_file_that_cannot_be_flushed_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TenchError) as refused:
        write_text(tmp_path / "file", "text")
    assert str(refused.value) == (
        f"{tmp_path / 'file'}: cannot be written: the disk is full. Free some space, or use a larger disk, then run "
        "the command again."
    )
    assert names(tmp_path) == []


def test_folders_above_a_file_are_created(tmp_path: Path) -> None:
    write_text(tmp_path / "a/b/file", "text")
    assert (tmp_path / "a/b/file").read_text() == "text"


def test_text_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "Schleie \U0001f41f\n")
    assert (tmp_path / "file").read_bytes() == b"Schleie \xf0\x9f\x90\x9f\n"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_others_may_read_a_file_as_the_umask_says(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file", "text")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_two_writers_of_the_same_file_do_not_interfere(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with complete_file(path) as first, complete_file(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # whose block ended last
    assert names(tmp_path) == ["file"]


def test_a_folder_in_the_way_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file/inside").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "file", "text")
    assert names(tmp_path) == ["file"]


def test_a_writable_file_is_accepted(tmp_path: Path) -> None:
    require_place(tmp_path / "a/b/file", "the table")
    (tmp_path / "old").write_text("")
    require_png(tmp_path / "new.PNG", "the chart")
    require_place(tmp_path / "old", "the table")
    assert names(tmp_path) == ["old"]


def test_an_unwritable_file_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/rates: the table cannot be written there: .*file is not writable"):
        require_place(tmp_path / "file/rates", "the table")
    with pytest.raises(UsageError, match="is a folder, so the table cannot be written there"):
        require_place(tmp_path, "the table")
    with pytest.raises(UsageError, match=r"chart\.svg: the chart is a PNG. Name a file that ends in \.png"):
        require_png(tmp_path / "chart.svg", "the chart")
