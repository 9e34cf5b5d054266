"""Class folders: paths, the list of classes next to them, and links to images that are already files."""

import os
from pathlib import Path
from typing import get_args

import pytest
from tests.data.photos import dataset, encoded, part

from tench.data.images.encode import Encoding
from tench.data.prepare.planning import Link, PrepareOptions
from tench.data.prepare.prepare import prepare
from tench.data.prepare.writers import Content
from tench.data.prepare.writers.folder import FolderWriter
from tench.data.source import open_source
from tench.data.table import Classes

CONTENT = Content(
    classes=Classes.of(["dog", "big cat", "ant"], ["Canis", "big cat", "ant, or emmet"]),
    names={"train": ["big cat/1.jpg"], "val": ["dog/2.jpg"], "test": ["3.jpg"]},
    labels={"train": [1], "val": [0], "test": [-1]},
)
NUMBERED = Content(
    classes=Classes.numbered_to(11),
    names={"train": [f"{number}/{number:05}.jpg" for number in range(11)]},
    labels={"train": list(range(11))},
)


def test_images_are_in_the_folder_of_their_split_and_class() -> None:
    folder = FolderWriter(CONTENT)
    assert folder.path("train", "big cat/1.jpg") == "train/big cat/1.jpg"
    assert folder.path("test", "3.jpg") == "test/3.jpg"


def test_classes_are_listed_in_their_order_with_their_names() -> None:
    assert FolderWriter(CONTENT).files_beside() == {"classes.txt": "dog\tCanis\nbig cat\nant\tant, or emmet\n"}


def test_numbered_classes_are_listed_in_the_order_of_numbers() -> None:
    assert FolderWriter(NUMBERED).files_beside() == {
        "classes.txt": "0\t0\n1\t1\n2\t2\n3\t3\n4\t4\n5\t5\n6\t6\n7\t7\n8\t8\n9\t9\n10\t10\n"
    }


def test_each_class_has_a_folder_in_the_first_split_whether_or_not_it_has_images() -> None:
    assert FolderWriter(CONTENT).folders() == ["train/dog", "train/big cat", "train/ant"]
    val = Content(classes=CONTENT.classes, names={"val": ["dog/2.jpg"]}, labels={"val": [0]})
    assert FolderWriter(val).folders() == ["val/dog", "val/big cat", "val/ant"]


def inode(path: Path) -> int:
    return path.stat(follow_symlinks=False).st_ino


@pytest.mark.parametrize("link", get_args(Link))
def test_links_are_of_the_requested_kind(photo_folder: Path, tmp_path: Path, link: Link) -> None:
    prepare(photo_folder, tmp_path / "set", to="folder", options=PrepareOptions(link=link), threads=1)
    originals = sorted(path for path in photo_folder.rglob("*") if path.is_file())
    assert len(originals) == 24
    for original in originals:
        path = tmp_path / "set" / original.relative_to(photo_folder)
        assert path.read_bytes() == original.read_bytes()
        assert path.is_symlink() == (link == "symbolic")
        if link == "symbolic":
            assert os.readlink(path) == os.path.realpath(original)
        else:
            assert (inode(path) == inode(original)) == (link == "hard")


def test_symbolic_links_do_not_point_to_other_links(photo_folder: Path, tmp_path: Path) -> None:
    options = PrepareOptions(link="symbolic")
    prepare(photo_folder, tmp_path / "one", "folder", options=options, threads=1)
    prepare(tmp_path / "one", tmp_path / "two", "folder", options=options, threads=1)
    assert os.readlink(tmp_path / "two/val/roof/6.jpg") == os.path.realpath(photo_folder / "val/roof/6.jpg")


@pytest.mark.parametrize("options", [PrepareOptions(encoding=Encoding("png")), PrepareOptions(bad="skip")])
def test_a_decoded_image_becomes_a_file_of_its_own(photo_folder: Path, tmp_path: Path, options: PrepareOptions) -> None:
    before = {path: path.read_bytes() for path in photo_folder.rglob("*") if path.is_file()}
    prepare(photo_folder, tmp_path / "set", "folder", options=options, threads=1)
    written = [path for path in (tmp_path / "set").rglob("*") if path.is_file()]
    assert not {inode(path) for path in written} & {inode(path) for path in before}
    assert before == {path: path.read_bytes() for path in before}


def test_images_inside_a_container_become_files(tmp_path: Path) -> None:
    images = [
        (f"{name}/{number}.jpg", label, encoded(part(9 + number, 8)))
        for number in range(2)
        for label, name in enumerate(("dog", "cat"))
    ]
    source = dataset(tmp_path / "source", Classes.of(["dog", "cat"]), {"train": images})
    prepare(source, tmp_path / "set", "folder", threads=1)
    assert {key: (tmp_path / "set/train" / key).read_bytes() for key, _, _ in images} == {
        key: data for key, _, data in images
    }


def test_folders_are_read_back_as_the_same_dataset(photo_folder: Path, tmp_path: Path) -> None:
    source = open_source(photo_folder)
    prepare(source, tmp_path / "set", "folder", threads=1)
    found = open_source(tmp_path / "set")
    assert (found.layout, found.fingerprint, found.classes) == ("folder", source.fingerprint, source.classes)


def test_numbered_classes_keep_their_order_as_folders(tmp_path: Path) -> None:
    images = [(f"{number:05}.jpg", number, encoded(part(9 + number, 8))) for number in range(11)]
    source = dataset(tmp_path / "source", Classes.numbered_to(11), {"train": images})
    prepare(source, tmp_path / "set", "folder", threads=1)
    found = open_source(tmp_path / "set")
    assert found.classes.ids == tuple(str(number) for number in range(11))
    table = found.splits["train"]
    assert {table.read(row): label for row, label in enumerate(table.labels.tolist())} == {
        data: label for _, label, data in images
    }


def test_a_validation_set_alone_keeps_the_classes_it_has_no_images_of(tmp_path: Path) -> None:
    images = [("dog/1.jpg", 0, encoded(part(9, 8))), ("ant/1.jpg", 2, encoded(part(10, 8)))]
    source = dataset(tmp_path / "source", CONTENT.classes, {"val": images})
    prepare(source, tmp_path / "set", "folder", threads=1)
    assert open_source(tmp_path / "set").classes == CONTENT.classes
