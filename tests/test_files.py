import errno
import os
import stat
from pathlib import Path

import pytest
from safetensors import SafetensorError

from tench.errors import PassingError, TenchError, UsageError
from tench.files import (
    complete_file,
    is_there,
    require_place,
    require_png,
    shell_command,
    user_path,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_only_gets_its_final_name_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with complete_file(path) as part:
        part.write_bytes(b"half")
        assert not path.exists()
        with part.open("ab") as file:
            file.write(b" and half")
        assert part.parent == path.parent
    assert path.read_bytes() == b"half and half"
    assert names(tmp_path) == ["file"]


def test_an_error_leaves_the_old_file_unchanged_and_nothing_else_behind(tmp_path: Path) -> None:
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


def test_text_is_utf_8_in_any_locale(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "Schleie \U0001f41f\n")
    assert (tmp_path / "file").read_bytes() == b"Schleie \xf0\x9f\x90\x9f\n"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_the_umask_decides_who_may_read_a_file(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file", "text")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_file_created_with_private_permissions_gets_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with complete_file(tmp_path / "file") as part:  # safetensors writes a new file with mode 0600
            part.unlink()
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_file_in_an_unreadable_folder_is_not_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").touch()
    assert is_there(tmp_path / "there")
    assert not is_there(tmp_path / "gone")
    assert not is_there(tmp_path / "there" / "below")
    assert not is_there("with\0null")

    def refuse(path: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(PassingError) as refused:
        is_there("/shut/file")
    assert str(refused.value) == "/shut/file: cannot be read (Permission denied)."


def test_two_writers_of_the_same_file_do_not_interfere(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with complete_file(path) as first, complete_file(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the writer whose block ended last
    assert names(tmp_path) == ["file"]


def test_a_folder_of_the_same_name_is_an_error_and_is_kept(tmp_path: Path) -> None:
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


def test_an_unwritable_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/rates: the table cannot be written there: .*file is not writable"):
        require_place(tmp_path / "file/rates", "the table")
    with pytest.raises(UsageError, match="is a folder, so the table cannot be written to it"):
        require_place(tmp_path, "the table")
    with pytest.raises(UsageError, match=r"chart\.svg: the chart is written as PNG. Name a file that ends in \.png"):
        require_png(tmp_path / "chart.svg", "the chart")


def test_a_full_disk_is_recognised_in_the_errors_of_libraries(tmp_path: Path) -> None:
    """safetensors puts the error number into its message; torch raises another error while handling the first."""
    path = tmp_path / "file"
    errors = {
        OSError(errno.ENOSPC, "No space left on device"): "the disk is full",
        OSError(errno.EDQUOT, "Disk quota exceeded"): "the disk quota is used up",
        SafetensorError("I/O error: File too large (os error 27)"): "the file would be too large",
        caused(RuntimeError("unexpected pos 704 vs 598"), OSError(errno.ENOSPC, "")): "the disk is full",
    }
    for error, reason in errors.items():
        with pytest.raises(TenchError) as refused, complete_file(path):
            raise error
        assert str(refused.value) == (
            f"{path}: cannot be written: {reason}. Free some space, or use a larger disk, then run the command again."
        )
    for other in (OSError(errno.EACCES, "Permission denied"), RuntimeError("something else")):
        with pytest.raises(type(other)), complete_file(path):
            raise other
    assert names(tmp_path) == []


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_a_tilde_stands_for_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/runs/x") == tmp_path / "runs/x"
    assert user_path("runs/~") == Path("runs/~")


def test_a_tilde_without_a_home_folder_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        user_path("~nobody-of-that-name/x")
    assert str(refused.value) == (
        "~nobody-of-that-name/x: the home folder is unknown (Could not determine home directory.). Write the path "
        "without ~."
    )


def test_a_command_is_quoted_for_the_shell() -> None:
    assert shell_command("tench", "train", "--run", Path("/data/my run")) == "tench train --run '/data/my run'"
