"""The check after writing reports every difference between a destination and its plan."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from tests.data.photos import dataset, encoded, part

from tench.data.prepare.planning import LayoutName, plan
from tench.data.prepare.prepare import prepare, write
from tench.data.prepare.verify import compare_files, compare_tables
from tench.data.prepare.writers import Content
from tench.data.table import Classes, Dataset
from tench.errors import TenchError

LAYOUTS: Sequence[LayoutName] = ("webdataset", "tfrecord", "recordio", "folder", "list")
CLASSES = Classes.of(["dog", "cat", "ant"])
NAMES = {
    "train": ["ant/1.jpg", "ant/2.jpg", "cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"],
    "val": ["ant/3.jpg", "dog/3.jpg"],
}


def source(folder: Path, names: Mapping[str, Sequence[str]] = NAMES, classes: Classes = CLASSES) -> Dataset:
    images = [encoded(part(9 + number, 8)) for number in range(6)]
    return dataset(
        folder,
        classes,
        {
            split: [
                (name, classes.ids.index(name.partition("/")[0]), data)
                for name, data in zip(of_split, images, strict=False)
            ]
            for split, of_split in names.items()
        },
    )


def written(folder: Path, to: LayoutName, given: Dataset | None = None) -> tuple[Path, Content]:
    """Write a correct destination. Returns its path and its planned content."""
    made = plan(given or source(folder / "source"), folder / "set", to, threads=1)
    write(made, threads=1)
    return made.dest, made.content


def difference(dest: Path, to: LayoutName, content: Content) -> str:
    """The part of the error message that describes the difference."""
    with pytest.raises(TenchError) as caught:
        compare_tables(dest, to, content)
    start = f"{dest}: verification after writing failed: "
    end = f". Something has changed the folder since it was written. Remove {dest} and prepare it again."
    text = str(caught.value)
    assert text.startswith(start)
    assert text.endswith(end)
    return text.removeprefix(start).removesuffix(end)


def with_names(content: Content, **of_split: Mapping[str, int]) -> Content:
    """The same content with other names and labels in some splits."""
    return dataclasses.replace(
        content,
        names=dict(content.names) | {split: list(labels) for split, labels in of_split.items()},
        labels=dict(content.labels) | {split: list(labels.values()) for split, labels in of_split.items()},
    )


@pytest.mark.parametrize("to", LAYOUTS)
def test_an_unchanged_destination_passes(tmp_path: Path, to: LayoutName) -> None:
    compare_tables(*_with(written(tmp_path, to), to))


def _with(pair: tuple[Path, Content], to: LayoutName) -> tuple[Path, LayoutName, Content]:
    return pair[0], to, pair[1]


@pytest.mark.parametrize("to", LAYOUTS)
def test_a_missing_image_is_reported_with_its_class(tmp_path: Path, to: LayoutName) -> None:
    dest, content = written(tmp_path, to)
    train = dict(zip(content.names["train"], content.labels["train"], strict=True))
    more = with_names(content, train=train | {"cat/3.jpg": 1})
    assert difference(dest, to, more) == "train has 6 images, not 7: cat has 1 fewer"


@pytest.mark.parametrize("to", LAYOUTS)
def test_extra_images_are_reported_with_their_classes(tmp_path: Path, to: LayoutName) -> None:
    dest, content = written(tmp_path, to)
    train = dict(zip(content.names["train"], content.labels["train"], strict=True))
    del train["ant/1.jpg"], train["dog/1.jpg"], train["dog/2.jpg"]
    assert difference(dest, to, with_names(content, train=train)) == (
        "train has 6 images, not 3: dog has 2 more, ant has 1 more"
    )


@pytest.mark.parametrize("to", LAYOUTS)
def test_images_of_the_wrong_class_are_reported(tmp_path: Path, to: LayoutName) -> None:
    dest, content = written(tmp_path, to)
    labels = dict(zip(content.names["val"], content.labels["val"], strict=True))
    changed = with_names(content, val=labels | {"dog/3.jpg": 1})
    assert difference(dest, to, changed) == "val has 2 images with other labels: dog has 1 more, cat has 1 fewer"


@pytest.mark.parametrize("to", LAYOUTS)
def test_two_swapped_labels_are_reported_by_name(tmp_path: Path, to: LayoutName) -> None:
    dest, content = written(tmp_path, to)
    labels = dict(zip(content.names["val"], content.labels["val"], strict=True))
    exchanged = {"ant/3.jpg": labels["dog/3.jpg"], "dog/3.jpg": labels["ant/3.jpg"]}
    assert difference(dest, to, with_names(content, val=exchanged)) == (
        "val has 2 images with different names or labels: ant/3.jpg, dog/3.jpg"
    )


@pytest.mark.parametrize("to", LAYOUTS)
def test_a_different_name_is_reported(tmp_path: Path, to: LayoutName) -> None:
    dest, content = written(tmp_path, to)
    labels = dict(zip(content.names["train"], content.labels["train"], strict=True))
    renamed = {name.replace("cat/2", "cat/9"): label for name, label in labels.items()}
    assert difference(dest, to, with_names(content, train=renamed)) == (
        "train has 1 image with different names or labels: cat/9.jpg"
    )


@pytest.mark.parametrize("to", [to for to in LAYOUTS if to != "list"])  # a list takes the classes from the paths
def test_classes_in_another_order_are_reported(tmp_path: Path, to: LayoutName) -> None:
    dest, content = written(tmp_path, to)
    (dest / "classes.txt").write_text("cat\nant\ndog\n")
    assert difference(dest, to, content) == "the classes are cat, ant, dog; they should be dog, cat, ant"


@pytest.mark.parametrize("to", LAYOUTS)
def test_a_missing_split_is_reported(tmp_path: Path, to: LayoutName) -> None:
    dest, content = written(tmp_path, to)
    more = dataclasses.replace(
        content, names=dict(content.names) | {"test": ["1.jpg"]}, labels=dict(content.labels) | {"test": [-1]}
    )
    assert difference(dest, to, more) == "the split test is missing"


def test_a_folder_that_lost_an_image_has_one_fewer(tmp_path: Path) -> None:
    dest, content = written(tmp_path, "folder")
    (dest / "train/ant/2.jpg").unlink()
    assert difference(dest, "folder", content) == "train has 5 images, not 6: ant has 1 fewer"


def test_a_folder_that_gained_an_image_has_one_more(tmp_path: Path) -> None:
    dest, content = written(tmp_path, "folder")
    shutil.copy(dest / "train/ant/2.jpg", dest / "val/ant/2.jpg")
    assert difference(dest, "folder", content) == "val has 3 images, not 2: ant has 1 more"


def test_an_image_without_a_label_is_reported_as_no_class(tmp_path: Path) -> None:
    dest, content = written(tmp_path, "recordio")
    labels = dict(zip(content.names["val"], content.labels["val"], strict=True))
    unlabelled = with_names(content, val=labels | {"dog/3.jpg": -1})
    assert (
        difference(dest, "recordio", unlabelled)
        == "val has 2 images with other labels: (no label) has 1 fewer, dog has 1 more"
    )


def test_the_first_of_many_differences_and_their_number_are_reported(tmp_path: Path) -> None:
    classes = Classes.of([f"c{number}" for number in range(8)])
    names = {"train": [f"c{number}/{image}.jpg" for number in range(8) for image in range(2)]}
    images = [encoded(part(9, 8, number)) for number in range(16)]
    rows = [(name, number // 2, images[number]) for number, name in enumerate(names["train"])]
    dest, content = written(tmp_path, "webdataset", dataset(tmp_path / "source", classes, {"train": rows}))
    one_each = {f"c{number}/0.jpg": number for number in range(8)}
    assert difference(dest, "webdataset", with_names(content, train=one_each)) == (
        "train has 16 images, not 8: c0 has 1 more, c1 has 1 more, c2 has 1 more, c3 has 1 more, c4 has 1 more, ... (8 "
        "in all)"
    )


@pytest.mark.parametrize("to", LAYOUTS)
def test_the_last_numbered_classes_may_have_no_images(tmp_path: Path, to: LayoutName) -> None:
    rows = [(f"{number}.jpg", number % 2, encoded(part(9, 8))) for number in range(4)]
    given = dataset(tmp_path / "source", Classes.numbered_to(4), {"train": rows})
    prepare(given, tmp_path / "set", to, threads=1)


@pytest.mark.parametrize("to", ["tfrecord", "recordio"])
def test_records_without_a_label_may_be_among_others(tmp_path: Path, to: LayoutName) -> None:
    rows = [(f"{number}.jpg", label, encoded(part(9, 8))) for number, label in enumerate((0, 1, -1))]
    given = dataset(tmp_path / "source", Classes.numbered_to(2), {"train": rows})
    assert prepare(given, tmp_path / "set", to, threads=1).images == {"train": 3}


def test_a_label_beyond_the_numbered_classes_is_reported(tmp_path: Path) -> None:
    rows = [(f"{number}.jpg", number, encoded(part(9, 8))) for number in range(4)]
    given = dataset(tmp_path / "source", Classes.numbered_to(4), {"train": rows})
    dest, content = written(tmp_path, "webdataset", given)
    fewer = dataclasses.replace(content, classes=Classes.numbered_to(3), labels={"train": [0, 1, 2, 2]})
    assert difference(dest, "webdataset", fewer) == (
        "train has 4 images with other labels: 2 has 1 fewer, class 3, which should not exist, has 1 more"
    )


def test_an_error_from_the_reader_is_passed_on(tmp_path: Path) -> None:
    dest, content = written(tmp_path, "webdataset")
    shard = dest / "train-00000-of-00001.tar"
    shard.write_bytes(shard.read_bytes()[:3000])
    with pytest.raises(TenchError, match="truncated"):
        compare_tables(dest, "webdataset", content)


# Files.


def test_the_bytes_of_all_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "in/b").write_bytes(b"12345")
    (tmp_path / "c").write_bytes(b"not asked for")
    assert compare_files(tmp_path, ["a", "in/b"]) == 8
    assert compare_files(tmp_path, []) == 0


def test_missing_or_empty_files_are_reported(tmp_path: Path) -> None:
    damages: list[tuple[str, Callable[[Path], object]]] = [
        ("b", Path.unlink),
        ("d", lambda path: path.write_bytes(b"")),
    ]
    for name in "abcde":
        (tmp_path / name).write_bytes(b"1")
    for name, damage in damages:
        damage(tmp_path / name)
    with pytest.raises(TenchError) as caught:
        compare_files(tmp_path, list("abcde"))
    assert str(caught.value) == (
        f"{tmp_path}: verification after writing failed: 2 files are missing or empty: b, d. Something has "
        f"changed the folder since it was written. Remove {tmp_path} and prepare it again."
    )
