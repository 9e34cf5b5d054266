import os
from pathlib import Path

import pytest
from tests.support.errors import error_of

from tench.data.limits import LIMITS, Limits


def refusal(path: Path, limits: Limits = LIMITS, at_most: int | None = None) -> str:
    return error_of(limits.read_file)(path, "a class list", at_most)


def test_a_small_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(b"cat\ndog\n")
    assert LIMITS.read_file(tmp_path / "classes.txt", "a class list") == b"cat\ndog\n"
    assert LIMITS.read_file(str(tmp_path / "classes.txt"), "a class list", 8) == b"cat\ndog\n"


def test_a_file_larger_than_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "classes.txt").open("wb") as file:
        file.truncate(20 * 10**9)
    assert refusal(tmp_path / "classes.txt") == (
        f"{tmp_path}/classes.txt: the file has 20,000,000,000 bytes, but a class list may have at most 268,435,456. "
        f"The file is "
        f"damaged or is something else. Replace it, or move it out of the dataset."
    )
    assert "at most 16,777,216" in refusal(tmp_path / "classes.txt", at_most=LIMITS.classes_bytes)
    assert "at most 10" in refusal(tmp_path / "classes.txt", Limits(member_bytes=10))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc, whose files say that they are empty")
def test_a_file_with_more_bytes_than_its_stated_size_is_refused() -> None:
    assert "/proc/self/maps: the file has 101 bytes, but a class list may have at most 100." in refusal(
        Path("/proc/self/maps"), at_most=100
    )


def test_a_pipe_a_folder_and_a_missing_file_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    assert (
        refusal(tmp_path / "pipe") == f"{tmp_path}/pipe: expected a file, found a named pipe. Pass a file or a folder."
    )
    assert refusal(tmp_path) == f"{tmp_path}: expected a file, found a folder. Pass a file or a folder."
    assert refusal(tmp_path / "missing") == f"{tmp_path}/missing: cannot be read (No such file or directory)."
    assert refusal(tmp_path / "link") == (
        f"{tmp_path}/link: cannot be read (No such file or directory). It is a link: restore its target, or remove it."
    )
