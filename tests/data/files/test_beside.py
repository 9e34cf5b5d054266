"""Files next to the data are found by one rule, whatever kind of source was opened."""

import tarfile
from pathlib import Path

import pytest
from tests.support.datasets import tree_of

from tench.data.files.beside import Beside, files_beside, text_beside
from tench.data.files.tree import open_tree
from tench.errors import TenchError


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """train/0.rec and val/0.rec, with classes.txt in the root and in train."""
    for name in ("train/0.rec", "val/0.rec"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"0")
    (tmp_path / "set/classes.txt").write_text("a\nb\n")
    (tmp_path / "set/train/classes.txt").write_text("a\nb\n")
    return tmp_path / "set"


def test_files_are_looked_up_in_the_folders_of_the_data_and_in_the_root(shards: Path) -> None:
    tree = tree_of(shards)
    found = files_beside(tree, ["train/0.rec", "val/0.rec"], "classes.txt")
    assert found == [
        Beside(f"{shards}/classes.txt", "a\nb\n", "classes.txt"),
        Beside(f"{shards}/train/classes.txt", "a\nb\n", "train/classes.txt"),
    ]
    assert [one.name for one in files_beside(tree, ["train/0.rec"], "classes.txt", in_root=False)] == [
        "train/classes.txt"
    ]


@pytest.mark.parametrize("named", ["train/0.rec", "train/*.rec"])
def test_files_next_to_a_named_file_or_pattern_are_looked_up_on_disk(shards: Path, named: str) -> None:
    tree = tree_of(shards / named)
    assert files_beside(tree, ["0.rec"], "classes.txt") == [Beside(f"{shards}/train/classes.txt", "a\nb\n", None)]
    assert f"{shards}/train/classes.txt" in tree.stamp


def test_files_next_to_an_archive_are_looked_up_in_it_and_in_its_folder(shards: Path) -> None:
    with tarfile.open(shards / "all.tar", "w") as archive:
        archive.add(shards / "train", "train")
    (shards / "labels.txt").write_text("c\n")
    tree = tree_of(shards / "all.tar")
    assert list(text_beside(tree, ["train/0.rec"], "labels.txt").values()) == ["c\n"]
    assert [one.name for one in files_beside(tree, ["train/0.rec"], "classes.txt")] == [None, "train/classes.txt"]


def test_an_excluded_file_is_not_read_from_the_disk(shards: Path) -> None:
    from tench.data.options import SourceOptions

    tree = open_tree(shards, shards.parent / "spool", SourceOptions(exclude=("classes.txt",)))
    assert files_beside(tree, ["train/0.rec"], "classes.txt") == []


def test_files_that_differ_are_refused_and_empty_ones_are_ignored(shards: Path) -> None:
    (shards / "val/classes.txt").write_text(" \n")
    assert text_beside(tree_of(shards), ["train/0.rec", "val/0.rec"], "classes.txt") == {
        f"{shards}/classes.txt": "a\nb\n"
    }
    (shards / "val/classes.txt").write_text("b\na\n")
    with pytest.raises(TenchError) as error:
        text_beside(tree_of(shards), ["train/0.rec", "val/0.rec"], "classes.txt")
    where = " and ".join(f"{shards}/{folder}classes.txt" for folder in ("", "train/", "val/"))
    assert str(error.value) == f"{where} list the classes differently. Keep the right one."


def test_a_sparse_file_of_many_gigabytes_is_refused_unread(shards: Path) -> None:
    with (shards / "classes.txt").open("wb") as file:
        file.truncate(20 * 2**30)
    with pytest.raises(TenchError) as error:
        files_beside(tree_of(shards), ["val/0.rec"], "classes.txt")
    assert str(error.value) == (
        f"{shards}/classes.txt: the file has 21,474,836,480 bytes, but a list next to the data may have at most "
        f"134,217,728. "
        f"The file is damaged or is something else. Replace it, or move it out of the dataset."
    )
