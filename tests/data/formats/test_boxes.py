import contextlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data import miniature
from tests.data.miniature import annotation, tar_bytes, write
from tests.support.errors import error_of

from tench.compat import import_torchvision
from tench.data import table
from tench.data.files import gzip_index, tree
from tench.data.files.gzip_index import IndexedGzip
from tench.data.files.tree import open_tree
from tench.data.formats import boxes
from tench.data.layouts import ilsvrc, kaggle
from tench.data.table import Classes, Contents, Rows
from tench.errors import TenchError

TRUTH = miniature.TRAIN_BOXES | miniature.val_boxes()
"""The boxes of every image that has boxes or an annotation."""
WHAT_BECAME = (
    "train has 7 boxes in 7 of its 21 images.",
    "val has 12 boxes in 12 of its 12 images.",
    "test has 0 boxes in 0 of its 3 images.",
    "1 annotation without a matching image here.",
    "Corrected 3 boxes that were reversed or extended beyond the image.",
    "Dropped 3 boxes: 2 empty, 1 around an object of another class than the image's.",
)


def images(folder: Path) -> Contents:
    """The miniature's images, as archives in a folder, read without boxes."""
    miniature.train_tar(folder)
    miniature.val_tar(folder)
    miniature.archive_of_test(folder)
    write(folder, {"synset_labels.txt": miniature.synsets()})
    return ilsvrc.read(open_tree(folder, folder / "no spool"))


def attached(folder: Path, contents: Contents) -> tuple[dict[str, list[list[float]]], list[str]]:
    """The boxes of all images by key, and the notes on them."""
    found = boxes.attach(open_tree(folder, folder / "no spool"), contents)
    dataset = table.made(found, source=str(folder), layout="any")
    by_key = {}
    for rows in dataset.splits.values():
        for row in range(len(rows)):
            of_row = rows.boxes(row)
            assert of_row is not None
            by_key[rows.key(row)] = [[round(side, 6) for side in box] for box in of_row]
    assert found.notes[: len(contents.notes)] == list(contents.notes)
    return by_key, list(found.notes[len(contents.notes) :])


def everything() -> dict[str, list[list[float]]]:
    return {key: TRUTH.get(key, []) for split in miniature.photographs().values() for key in split}


refusal = error_of(attached)


def test_boxes_come_from_the_archives_next_to_the_images_by_the_stated_rules(tmp_path: Path) -> None:
    contents = images(tmp_path)
    train, val = miniature.bbox_train(tmp_path), miniature.bbox_val(tmp_path)
    by_key, notes = attached(tmp_path, contents)
    assert by_key == everything()
    assert notes == [f"Boxes are from {train}, {val}.", *WHAT_BECAME]


FORMS: dict[str, Callable[[], dict[str, bytes]]] = {
    "beside the folder of classes": lambda: miniature.train_annotations() | miniature.val_annotations(),
    "in a folder of their own": lambda: {
        f"bounding_boxes/{path}": data
        for path, data in (miniature.train_annotations() | miniature.val_annotations()).items()
    },
    "as Kaggle has them": miniature.kaggle_annotations,
    "train unpacked and val not": lambda: {
        **miniature.train_annotations(),
        "ILSVRC2012_bbox_val_v3.tgz": tar_bytes(miniature.val_annotations(), "w:gz"),
    },
    "in archives that are not compressed": lambda: {
        "ILSVRC2012_bbox_train_v2.tar.gz": tar_bytes(miniature.train_annotations()),
        "ILSVRC2012_bbox_val_v3.tar": tar_bytes(miniature.val_annotations()),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_annotations_may_be_unpacked_anywhere_in_the_source(tmp_path: Path, form: str) -> None:
    contents = images(tmp_path)
    write(tmp_path, FORMS[form]())
    by_key, notes = attached(tmp_path, contents)
    assert by_key == everything()
    assert tuple(notes[1:]) == WHAT_BECAME


def test_annotations_unpacked_among_the_images_are_read_and_not_mistaken_for_images(tmp_path: Path) -> None:
    miniature.unpacked_train(tmp_path / "train")
    write(tmp_path / "val", miniature.flat("val"))
    write(tmp_path / "test", miniature.flat("test"))
    write(tmp_path / "train", miniature.train_annotations())
    write(tmp_path, miniature.val_annotations())
    contents = ilsvrc.read(open_tree(tmp_path, tmp_path / "no spool"))
    assert contents.notes == [
        f"The labels of val are from {tmp_path}/val.",
        "val has no images of 1 class: n03126707.",
    ]
    assert attached(tmp_path, contents)[0] == everything()


@pytest.mark.parametrize("source", ["", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"])
def test_kaggles_annotations_are_found_from_any_folder_of_the_tree(tmp_path: Path, source: str) -> None:
    miniature.kaggle(tmp_path)
    contents = kaggle.read(open_tree(tmp_path / source, tmp_path / "no spool"))
    by_key, notes = attached(tmp_path / source, contents)
    assert by_key == everything()
    assert tuple(notes[1:]) == WHAT_BECAME


def test_kaggles_annotations_are_found_in_the_archive_in_the_archive(tmp_path: Path) -> None:
    path = miniature.kaggle_zip(tmp_path / "x.zip", "imagenet_object_localization_patched2019.tar")
    contents = kaggle.read(open_tree(path, tmp_path / "spool"))
    assert boxes.attach(open_tree(path, tmp_path / "spool"), contents).notes[-6:] == list(WHAT_BECAME)


def test_the_index_of_a_big_compressed_archive_of_annotations_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rapidgzip", reason="needs rapidgzip, which indexes big gzip files")
    monkeypatch.setattr(tree, "INDEXED_BYTES", 0)
    path = miniature.kaggle_archive(tmp_path / "imagenet_object_localization_patched2019.tar.gz")
    opened: list[Path] = []

    def open_indexed(shard: Path, index: Path) -> IndexedGzip:
        opened.append(shard)
        return gzip_index.open_indexed(shard, index)

    monkeypatch.setattr(tree, "open_indexed", open_indexed)
    source = open_tree(path, tmp_path / "spool")
    names = [name for name in source.names if name.endswith(".xml")]
    assert dict(boxes.loose(source, names)) == miniature.kaggle_annotations()
    assert opened == [path]


def test_the_first_of_two_annotations_is_used_and_those_of_the_dogs_task_come_last(tmp_path: Path) -> None:
    contents = images(tmp_path)
    again = {"n02092002/n02092002_9.xml": annotation([("n02092002", (0, 0, 1, 1))])}
    more = {"n02092002/n02092002_10026.xml": annotation([("n02092002", (0, 0, 50, 80))])}
    write(tmp_path, {"ILSVRC2012_bbox_train_dogs.tar.gz": tar_bytes(again | more, "w:gz")})
    miniature.bbox_train(tmp_path)
    by_key, notes = attached(tmp_path, contents)
    assert by_key["n02092002/n02092002_9.JPEG"] == [[0.25, 0.25, 0.75, 0.75]]
    assert by_key["n02092002/n02092002_10026.JPEG"] == [[0.0, 0.0, 0.5, 1.0]]
    assert notes[:2] == [
        f"Boxes are from {tmp_path}/ILSVRC2012_bbox_train_v2.tar.gz, {tmp_path}/ILSVRC2012_bbox_train_dogs.tar.gz.",
        "1 annotation for an image that already has one; the first one, in this order, is used.",
    ]


def test_an_image_without_a_label_keeps_boxes_of_all_classes(tmp_path: Path) -> None:
    write(tmp_path, {"val/ILSVRC2012_val_00000001.xml": annotation([("n01440764", (0, 0, 50, 40))])})
    by_key, _ = attached(tmp_path, rows_of("ILSVRC2012_val_00000001.JPEG", -1))
    assert by_key == {"ILSVRC2012_val_00000001.JPEG": [[0.0, 0.0, 0.5, 0.5]]}


def rows_of(key: str, label: int) -> Contents:
    rows = Rows(["x"], np.array([0]), 0, 1, np.array([label]), [key])
    return Contents(Classes.of(["n01440764", "n02100735"]), {"val": rows}, stamp=[])


def test_a_source_without_annotations_is_an_error_that_names_usable_files(tmp_path: Path) -> None:
    contents = images(tmp_path)
    assert refusal(tmp_path, contents) == (
        f"{tmp_path} has no boxes, because it has no annotations. Add one or more of: {boxes.WOULD_DO}."
    )
    for name in ("ILSVRC2012_bbox_train_v2.tar.gz", "ILSVRC2012_bbox_val_v3.tgz", "ILSVRC/Annotations/CLS-LOC"):
        assert name in boxes.WOULD_DO


def test_annotations_that_match_no_image_are_an_error(tmp_path: Path) -> None:
    contents = images(tmp_path)
    write(tmp_path, {"n02100735/n02100735_424242.xml": annotation([])})
    assert refusal(tmp_path, contents) == (
        f"{tmp_path} has 1 annotation, but none has the name of one of its images (the first is "
        f"n02100735_424242.xml). They belong to other images."
    )


def test_a_damaged_annotation_is_an_error_that_names_it_and_its_archive(tmp_path: Path) -> None:
    contents = images(tmp_path)
    files = miniature.train_annotations() | {"n01440764/n01440764_9.xml": b"<annotation>"}
    archive = (
        write(tmp_path, {"ILSVRC2012_bbox_train_v2.tar.gz": tar_bytes(files, "w:gz")})
        / "ILSVRC2012_bbox_train_v2.tar.gz"
    )
    assert refusal(tmp_path, contents) == (
        f"{archive}/n01440764/n01440764_9.xml is not a PASCAL VOC annotation (no element found: line 1, "
        "column 12). Restore the file from its archive, or download that again."
    )


def test_a_truncated_archive_is_an_error(tmp_path: Path) -> None:
    contents = images(tmp_path)
    archive = miniature.bbox_train(tmp_path)
    archive.write_bytes(archive.read_bytes()[:-300])
    assert re.match(rf"{archive} ends at byte [\d,]+ in the middle of the gzip data", refusal(tmp_path, contents))


def test_the_stamp_has_the_containers_of_annotations_but_not_the_single_files(tmp_path: Path) -> None:
    contents = images(tmp_path)
    archive = miniature.bbox_train(tmp_path)
    write(tmp_path, miniature.val_annotations())
    found = boxes.attach(open_tree(tmp_path, tmp_path / "no spool"), contents)
    assert set(found.stamp) == {*contents.stamp, str(archive), str(tmp_path / "val")}
    assert len(found.stamp) == len(set(found.stamp))


# A single annotation.


def test_objects_match_those_that_torchvision_reads() -> None:
    import_torchvision()
    from torchvision.datasets import VOCDetection

    for data in (*miniature.train_annotations().values(), *miniature.val_annotations().values()):
        theirs = VOCDetection.parse_voc_xml(ElementTree.fromstring(data))["annotation"]
        width, height = int(theirs["size"]["width"]), int(theirs["size"]["height"])
        expected = [
            (
                thing["name"],
                tuple(
                    int(thing["bndbox"][side]) / (width if side[0] == "x" else height)
                    for side in ("xmin", "ymin", "xmax", "ymax")
                ),
            )
            for thing in theirs["object"]
        ]
        assert [tuple(thing) for thing in boxes.objects(data, "x.xml")] == expected


SIDES = st.integers(-50, 150)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SIDES, SIDES, SIDES, SIDES), max_size=4), st.integers(1, 100), st.integers(1, 100))
def test_boxes_are_inside_the_image_with_their_sides_in_order(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[int, int, int, int]], width: int, height: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    data = annotation([("n01440764", box) for box in found], size=(width, height))
    write(folder, {"val/ILSVRC2012_val_00000001.xml": data})
    by_key, _ = attached(folder, rows_of("n01440764/ILSVRC2012_val_00000001.JPEG", 0))
    expected = []
    for box in found:  # in whole pixels
        left, right = (min(max(side, 0), width) for side in sorted(box[::2]))
        top, bottom = (min(max(side, 0), height) for side in sorted(box[1::2]))
        if (right - left) * (bottom - top) > 0:
            expected.append([left / width, top / height, right / width, bottom / height])
    assert by_key == {"n01440764/ILSVRC2012_val_00000001.JPEG": [pytest.approx(box, abs=1e-6) for box in expected]}


def broken(change: Callable[[bytes], bytes]) -> str:
    with pytest.raises(TenchError) as error:
        boxes.objects(change(annotation([("n01440764", (1, 2, 3, 4))])), "a/b.xml")
    message = str(error.value)
    assert message.startswith("a/b.xml is not a PASCAL VOC annotation (")
    return message.partition("(")[2].rpartition(")")[0]


def test_an_incomplete_annotation_is_an_error() -> None:
    assert broken(lambda data: data.replace(b"<width>100</width>", b"")) == "<size/width> is missing"
    assert broken(lambda data: data.replace(b"<width>100", b"<width>0")) == "the image's size is 0 x 80"
    assert broken(lambda data: data.replace(b"<xmax>3</xmax>", b"")) == "<xmax> is missing"
    assert broken(lambda data: data.replace(b"<ymin>2", b"<ymin>two")) == "<ymin> is 'two'"
    assert broken(lambda data: data.replace(b"<ymin>2", b"<ymin>nan")) == "<ymin> is 'nan'"
    assert broken(lambda data: data.replace(b"<ymin>2", b"<ymin>1e999")) == "<ymin> is '1e999'"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_a_document_type_is_refused_in_any_encoding(encoding: str) -> None:
    """A document type can declare entities that expand to gigabytes."""
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "{"c" * 99}">]>'
        "<annotation><size><width>&b;</width></size></annotation>"
    )
    assert broken(lambda _: text.encode(encoding)) == "it declares a document type, which no annotation needs"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 600))
def test_any_bytes_are_read_or_refused(noise: bytes, position: int) -> None:
    whole = annotation([("n01440764", (1, 2, 3, 4))])
    for data in (noise, whole[:position] + noise + whole[position:], whole[:position]):
        with contextlib.suppress(TenchError):  # anything else fails the test
            assert isinstance(boxes.objects(data, "x.xml"), list)
