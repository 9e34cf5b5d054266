import io
import json
import logging
import tarfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import images_of, reloaded, tree_of
from tests.support.errors import error_of

from tench.data.files.tree import open_tree
from tench.data.formats import parquet_images
from tench.data.formats.wordnet import imagenet, names_of
from tench.data.layouts import folder, parquet
from tench.data.limits import Limits
from tench.data.source import open_source
from tench.data.table import Dataset
from tench.errors import TenchError

GOLDEN = Path(__file__).parents[3] / "../shared/golden/records/images"
TENCH, GOLDFISH, SHARK = "n01440764", "n01443537", "n01484850"
IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def image(number: int, size: int = 300) -> bytes:
    """Bytes that begin alike, as image files do."""
    return b"\xff\xd8\xff\xe0\0\x10JFIF" + np.random.default_rng(number).bytes(size)


def metadata(names: Sequence[str]) -> dict[str, str]:
    """The metadata that Hugging Face's datasets write into the schema."""
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def write(
    file: Path,
    images: Sequence[bytes | None],
    paths: Sequence[str | None] | None,
    labels: Sequence[Any],
    names: Sequence[str] | None = None,
    **options: Any,
) -> Path:
    """A file as Hugging Face writes it; without paths, the images are plain binary."""
    column: pa.Array = pa.array(images, pa.binary())
    if paths is not None:
        column = pa.array([{"bytes": b, "path": path} for b, path in zip(images, paths, strict=True)], IMAGE)
    data = pa.table({"image": column, "label": pa.array(labels)})
    if names is not None:
        data = data.replace_schema_metadata(metadata(names))
    file.parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(data, file, **options)
    return file


def read(path: Path) -> Dataset:
    tree = tree_of(path)
    assert parquet.recognise(tree)
    return reloaded(parquet.read(tree), parquet.NAME, path)


def listing(dataset: Dataset, split: str = "train") -> dict[str, tuple[str | None, bytes]]:
    return images_of(dataset)[split]


def refusal(path: Path) -> str:
    return error_of(parquet.read)(tree_of(path))


def imagenet_1k(path: Path, **options: Any) -> Path:
    """Hugging Face's ILSVRC/imagenet-1k with five images, and the names of all classes."""
    names = names_of(imagenet())
    write(
        path / "data/train-00000-of-00002.parquet",
        [image(0), image(1)],
        [f"{TENCH}_10026_{TENCH}.JPEG", f"{SHARK}_5_{SHARK}.JPEG"],
        [0, 2],
        names,
        **options,
    )
    write(path / "data/train-00001-of-00002.parquet", [image(2)], [f"{TENCH}_7_{TENCH}.JPEG"], [0], names, **options)
    val = [f"ILSVRC2012_val_00000001_{imagenet()[65]}.JPEG"]
    write(path / "data/validation-00000-of-00001.parquet", [image(3)], val, [65], names, **options)
    write(
        path / "data/test-00000-of-00001.parquet", [image(4)], ["ILSVRC2012_test_00000001.JPEG"], [-1], names, **options
    )
    return path


@pytest.mark.parametrize("options", [{}, {"compression": "none"}, {"compression": "zstd"}], ids=str)
def test_imagenet_is_read_as_published_on_hugging_face(tmp_path: Path, options: dict[str, Any]) -> None:
    dataset = read(imagenet_1k(tmp_path / "set", **options))
    assert list(dataset.splits) == ["train", "val", "test"]
    assert dataset.classes.ids == imagenet()
    assert dataset.classes.names[0] == "tench, Tinca tinca"
    assert not dataset.classes.numbered
    assert listing(dataset) == {
        f"{TENCH}/{TENCH}_10026.JPEG": (TENCH, image(0)),
        f"{TENCH}/{TENCH}_7.JPEG": (TENCH, image(2)),
        f"{SHARK}/{SHARK}_5.JPEG": (SHARK, image(1)),
    }
    assert listing(dataset, "val") == {"n01751748/ILSVRC2012_val_00000001.JPEG": ("n01751748", image(3))}
    assert listing(dataset, "test") == {"ILSVRC2012_test_00000001.JPEG": (None, image(4))}
    assert dataset.notes == ("Images: column image; labels: column label.",)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"needs the photographs in {GOLDEN}")
def test_photographs_are_the_same_dataset_as_in_class_folders(tmp_path: Path) -> None:
    photos = sorted(GOLDEN.resolve().rglob("*.JPEG"))
    wnids = sorted({photo.parent.name for photo in photos})
    write(
        tmp_path / "set/train-0.parquet",
        [photo.read_bytes() for photo in photos],
        [f"{photo.stem}_{photo.parent.name}.JPEG" for photo in photos],
        [wnids.index(photo.parent.name) for photo in photos],
        row_group_size=7,
    )
    dataset = read(tmp_path / "set")
    loaded = reloaded(folder.read(open_tree(GOLDEN.resolve(), tmp_path)))
    assert dataset.fingerprint == loaded.fingerprint
    assert dataset.classes == loaded.classes
    assert {key: data for key, (_, data) in listing(dataset).items()} == {
        f"{photo.parent.name}/{photo.name}": photo.read_bytes() for photo in photos
    }


ENCODINGS: list[dict[str, Any]] = [
    {"use_dictionary": False},
    {"use_dictionary": False, "data_page_version": "2.0"},
    {"use_dictionary": True, "dictionary_pagesize_limit": 1000},
    {"use_dictionary": True, "row_group_size": 3},
    {"use_dictionary": False, "data_page_size": 100, "write_page_checksum": True},
]


@pytest.mark.parametrize("options", ENCODINGS, ids=str)
@pytest.mark.parametrize("nested", [True, False])
def test_images_in_uncompressed_pages_are_read_in_place(tmp_path: Path, options: dict[str, Any], nested: bool) -> None:
    images = [image(number, 10 + 7 * number) for number in range(200)]
    paths = [f"{number:03}.jpg" for number in range(200)] if nested else None
    labels = [number % 2 for number in range(200)]
    file = write(tmp_path / "x.parquet", images, paths, labels, ["a", "b"], compression="none", **options)
    dataset = read(file)
    rows = dataset.splits["train"]
    assert {rows.shard(row) for row in range(200)} == {str(file)}
    assert not (tmp_path / "spool").exists()
    keys = [f"{'ab'[number % 2]}/{number:03}.jpg" if nested else f"{number:05}" for number in range(200)]
    assert listing(dataset) == {key: ("ab"[number % 2], images[number]) for number, key in enumerate(keys)}


SPOOLED: list[dict[str, Any]] = [
    {},
    {"compression": "zstd"},
    {"compression": "gzip", "row_group_size": 3},
    {"compression": "none", "use_dictionary": False, "column_encoding": {"image.bytes": "DELTA_BYTE_ARRAY"}},
    {"compression": "none", "use_dictionary": False, "column_encoding": {"image.bytes": "DELTA_LENGTH_BYTE_ARRAY"}},
]


@pytest.mark.parametrize("options", SPOOLED, ids=str)
def test_all_other_images_are_copied_once_and_the_size_is_logged(
    tmp_path: Path, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    images = [image(number, 10 + 7 * number) for number in range(100)]
    names = [f"{number:03}.jpg" for number in range(100)]
    file = write(tmp_path / "x.parquet", images, names, [number % 2 for number in range(100)], ["a", "b"], **options)
    with caplog.at_level(logging.INFO, logger="tench"):
        dataset = read(file)
    rows = dataset.splits["train"]
    (copy,) = (tmp_path / "spool").glob("x.parquet.*.images")
    assert {rows.shard(row) for row in range(100)} == {str(copy)}
    assert listing(dataset) == {
        f"{'ab'[number % 2]}/{number:03}.jpg": ("ab"[number % 2], images[number]) for number in range(100)
    }
    assert copy.read_bytes() == b"".join(images)
    metadata = pa.parquet.ParquetFile(file).metadata
    size = sum(metadata.row_group(n).column(0).total_uncompressed_size for n in range(metadata.num_row_groups))
    why = "compressed" if options.get("compression") != "none" else "not in one piece each"
    assert caplog.messages == [
        f"{file}: the images of 1 file are {why}. Copying {size / 1e6:.1f} MB once to {tmp_path}/spool."
    ]


def test_the_same_image_in_two_rows_can_be_read_from_both(tmp_path: Path) -> None:
    images = [image(1), image(2), image(1)]
    for dictionary in (True, False):
        file = write(tmp_path / "x.parquet", images, None, [0, 1, 1], compression="none", use_dictionary=dictionary)
        assert [data for _, data in listing(read(file)).values()] == images


def test_an_image_that_contains_the_beginning_of_the_next_is_read_correctly(tmp_path: Path) -> None:
    second = image(2)
    first = len(second).to_bytes(4, "little") + second[:40] + image(1)
    third = second[:60]
    file = write(
        tmp_path / "x.parquet", [first, second, third], None, [0, 1, 1], compression="none", use_dictionary=False
    )
    dataset = read(file)
    assert dataset.splits["train"].shard(0) == str(file)
    assert [data for _, data in listing(dataset).values()] == [first, second, third]


@settings(max_examples=30, deadline=None)
@given(
    images=st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=150),
    use_dictionary=st.booleans(),
    compression=st.sampled_from(["none", "snappy"]),
    row_group_size=st.integers(1, 200),
)
def test_any_bytes_of_images_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    images: list[bytes],
    use_dictionary: bool,
    compression: str,
    row_group_size: int,
) -> None:
    file = write(
        tmp_path_factory.mktemp("any") / "x.parquet",
        images,
        None,
        [number % 2 for number in range(len(images))],
        compression=compression,
        use_dictionary=use_dictionary,
        row_group_size=row_group_size,
    )
    assert [data for _, data in listing(read(file)).values()] == images


def test_a_file_in_an_archive_is_read_in_place(tmp_path: Path) -> None:
    file = write(
        tmp_path / "train.parquet", [image(1), image(2)], ["1.jpg", "2.jpg"], [0, 1], ["a", "b"], compression="none"
    )
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(__file__, "first")
        tar.add(file, "data/train.parquet")
    dataset = read(tmp_path / "set.tar")
    assert dataset.splits["train"].shard(0) == f"{tmp_path}/set.tar"
    assert listing(dataset) == {"a/1.jpg": ("a", image(1)), "b/2.jpg": ("b", image(2))}


@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_only_one_page_of_images_is_in_memory_at_a_time(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [image(number, 50_000) for number in range(1000)]
    options: dict[str, Any] = {"compression": compression, "use_dictionary": False, "write_batch_size": 16}
    file = write(tmp_path / "x.parquet", images, None, [number % 2 for number in range(1000)], None, **options)
    before, during = pa.total_allocated_bytes(), list[int]()
    original = parquet_images._batches

    def watched(*arguments: Any) -> Any:
        for found in original(*arguments):
            during.append(pa.total_allocated_bytes())
            yield found

    monkeypatch.setattr(parquet_images, "_batches", watched)
    tracemalloc.start()
    parquet.read(tree_of(file))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(during) == 16
    assert max(during) - before < 15e6  # memory of Arrow
    assert peak < 25e6  # memory of Python


def test_class_names_in_the_metadata_are_used(tmp_path: Path) -> None:
    names = ["tench, Tinca tinca", "dog", "cat"]
    write(tmp_path / "set/train.parquet", [image(1), image(2)], ["1.jpg", "2.jpg"], [2, 0], names)
    write(tmp_path / "set/test.parquet", [image(3)], ["1.jpg"], [1], names)
    dataset = read(tmp_path / "set")
    assert dataset.classes.ids == tuple(names)
    assert listing(dataset) == {"cat/1.jpg": ("cat", image(1)), f"{names[0]}/2.jpg": (names[0], image(2))}
    assert listing(dataset, "test") == {"dog/1.jpg": ("dog", image(3))}


def test_wordnet_ids_as_class_names_get_readable_names(tmp_path: Path) -> None:
    file = write(tmp_path / "train.parquet", [image(1), image(2)], None, [1, 0], [SHARK, TENCH])
    classes = read(file).classes
    assert (classes.ids, classes.names) == ((SHARK, TENCH), tuple(names_of([SHARK, TENCH])))


def test_a_name_shared_by_two_classes_is_not_an_id(tmp_path: Path) -> None:
    file = write(tmp_path / "train.parquet", [image(1), image(2)], ["1.jpg", "2.jpg"], [0, 1], ["crane", "crane"])
    dataset = read(file)
    assert (dataset.classes.ids, dataset.classes.names) == (("0", "1"), ("crane", "crane"))
    assert dataset.classes.numbered
    assert dataset.splits["train"].keys() == ["1.jpg", "2.jpg"]


def test_numbers_without_names_are_numbered_classes_and_a_note_says_so(tmp_path: Path) -> None:
    dataset = read(write(tmp_path / "x.parquet", [image(1), image(2)], None, [4, 0]))
    assert dataset.classes.ids == ("0", "1", "2", "3", "4")
    assert dataset.classes.numbered
    assert dataset.notes == (
        "Images: column image; labels: column label.",
        "The classes of the files are only numbers.",
        "No name contains a split: all files are train.",
        "The paths of train are not unique, so the keys are numbers, by file and row.",
    )
    assert dataset.splits["train"].keys() == ["00000", "00001"]


def test_other_metadata_is_ignored(tmp_path: Path) -> None:
    for found in ("{", "[]", '{"info": {"features": {"label": {"dtype": "int64"}}}}', '{"info": null}'):
        data = pa.table({"image": [image(1), image(2)], "label": [0, 1]}).replace_schema_metadata(
            {"huggingface": found}
        )
        pa.parquet.write_table(data, tmp_path / "x.parquet")
        assert read(tmp_path / "x.parquet").classes.numbered


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_labels_that_are_names_are_sorted(tmp_path: Path, kind: pa.DataType) -> None:
    labels = pa.array(["dog", "cat", "dog"]).cast(kind)
    data = pa.table({"img": [image(1), image(2), image(3)], "Label": labels})
    pa.parquet.write_table(data, tmp_path / "x.parquet")
    dataset = read(tmp_path / "x.parquet")
    assert dataset.classes.ids == ("cat", "dog")
    assert [name for name, _ in listing(dataset).values()] == ["dog", "cat", "dog"]


def test_a_class_name_that_only_validation_has_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "set/train.parquet", [image(1), image(2)], None, ["a", "b"])
    write(tmp_path / "set/val.parquet", [image(1), image(2)], None, ["a", "c"])
    assert refusal(tmp_path / "set") == (
        f"{tmp_path}/set/val.parquet, row 1 (counted from 0): 'c' is not one of the 2 classes of "
        f"{tmp_path}/set/train.parquet. Both must have the same classes."
    )


def test_wordnet_ids_in_paths_are_the_classes_in_the_order_of_their_labels(tmp_path: Path) -> None:
    paths = [f"x/{SHARK}_5_{SHARK}.JPEG", f"{TENCH}_1_{TENCH}.JPEG"]
    dataset = read(write(tmp_path / "x.parquet", [image(1), image(2)], paths, [0, 1], ["shark", "fish"]))
    assert dataset.classes.ids == (SHARK, TENCH)
    assert set(dataset.splits["train"].keys()) == {f"{SHARK}/{SHARK}_5.JPEG", f"{TENCH}/{TENCH}_1.JPEG"}
    dataset = read(write(tmp_path / "x.parquet", [image(1), image(2)], paths, [3, 7], list("abcdefgh")))
    assert dataset.classes.ids == (SHARK, TENCH)
    assert dataset.splits["train"].labels.tolist() == [1, 0]
    assert "Left out 6 of the 8 classes, which have no images here." in dataset.notes
    assert read(write(tmp_path / "x.parquet", [image(1), image(2)], paths, [3, 7])).classes.ids == (SHARK, TENCH)
    assert read(write(tmp_path / "x.parquet", [image(1), image(2)], paths, [2, 0])).classes.ids == imagenet()


def test_if_not_every_path_ends_in_an_id_paths_are_used_unchanged(tmp_path: Path) -> None:
    paths = [f"{SHARK}_5_{SHARK}.JPEG", f"{TENCH}_1.JPEG"]
    dataset = read(write(tmp_path / "x.parquet", [image(1), image(2)], paths, [0, 1], ["shark", "fish"]))
    assert dataset.splits["train"].keys() == [f"fish/{TENCH}_1.JPEG", f"shark/{SHARK}_5_{SHARK}.JPEG"]


@pytest.mark.parametrize(("wnids", "labels", "more"), [
    ((TENCH, GOLDFISH, SHARK), (0, 1, 1), f"says class {SHARK} with the label 1, but {GOLDFISH} in "),
    ((TENCH, GOLDFISH, TENCH), (0, 1, 2), f"says class {TENCH} with the label 2, but that class has 0. "),
])  # fmt: skip
def test_a_label_that_contradicts_the_path_is_an_error_that_names_the_row(
    tmp_path: Path, wnids: Sequence[str], labels: Sequence[int], more: str
) -> None:
    paths = [f"{wnid}_{number}_{wnid}.JPEG" for number, wnid in enumerate(wnids)]
    file = write(tmp_path / "x.parquet", [image(number) for number in range(3)], paths, labels)
    assert refusal(file).startswith(f"{file}, row 2 (counted from 0): the path {paths[2]} {more}")


def test_a_path_that_contradicts_the_metadata_is_an_error(tmp_path: Path) -> None:
    paths = [f"{TENCH}_1_{TENCH}.JPEG", f"{SHARK}_1_{SHARK}.JPEG"]
    file = write(tmp_path / "x.parquet", [image(1), image(2)], paths, [0, 1], [TENCH, GOLDFISH])
    assert refusal(file) == (
        f"{file}, row 1 (counted from 0): the path {paths[1]} says class {SHARK}, but according to the file's "
        f"metadata the "
        f"label 1 is {GOLDFISH}. Do not use this file until it is clear which is right."
    )


def test_splits_are_recognised_by_a_word_in_the_name_of_the_file_or_its_folder(tmp_path: Path) -> None:
    for name in ("default/train/0000.parquet", "default/train/0001.parquet", "train_and_valid/valid.parquet"):
        write(tmp_path / "set" / name, [image(1), image(2)], None, [0, 1])
    dataset = read(tmp_path / "set")
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {"train": 4, "val": 2}
    write(tmp_path / "set/more.parquet", [image(1), image(2)], None, [0, 1])
    assert refusal(tmp_path / "set") == (
        f"{tmp_path}/set: 1 of the files without a split in the name (train, val or test): more.parquet. "
        "Others have one: default/train/0000.parquet (train), train_and_valid/valid.parquet (val). Leave out those "
        "without a split with --exclude PATTERN, rename them, or pass only the files to use."
    )


def test_paths_that_are_not_unique_or_missing_are_not_keys_and_a_note_says_so(tmp_path: Path) -> None:
    for paths in (["1.jpg", "2.jpg", "1.jpg"], ["1.jpg", None, "3.jpg"]):
        images = [image(number) for number in range(3)]
        dataset = read(write(tmp_path / "train.parquet", images, paths, [0, 1, 0], ["a", "b"]))
        assert listing(dataset) == {f"0000{n}": ("aba"[n], images[n]) for n in range(3)}
        assert dataset.notes[-1] == ("The paths of train are not unique, so the keys are numbers, by file and row.")


@pytest.mark.parametrize("compression", ["none", "snappy"])
@pytest.mark.parametrize("missing", [None, b""])
def test_a_row_without_an_image_is_an_error_that_names_it(
    tmp_path: Path, compression: str, missing: bytes | None
) -> None:
    images = [*(image(number) for number in range(100)), missing, image(0)]
    file = write(
        tmp_path / "x.parquet", images, None, [n % 2 for n in range(102)], compression=compression, row_group_size=30
    )
    assert refusal(file) == (
        f"{file}, row 100 (counted from 0) contains no image in 'image'. Images that are only referred to by path are "
        "not read. Write the file again with the images inside, or remove the row."
    )
    data = pa.table({"image": pa.array([{"bytes": image(1), "path": "a"}, None], IMAGE), "label": [0, 1]})
    pa.parquet.write_table(data, file, compression=compression)
    assert "row 1 (counted from 0) contains no image in 'image.bytes'" in refusal(file)


@pytest.mark.parametrize(("labels", "names", "expected"), [
    ([0, -1], None, "row 1 (counted from 0) has no label; only images of the split test may lack one."),
    ([0, None], None, "row 1 (counted from 0) has no label;"),
    (["a", None], None, "row 1 (counted from 0) has no label;"),
    ([0, 2], ["a", "b"], "row 1 (counted from 0): the label 2 is out of range: there are names for 2 classes."),
    ([0, 1600000000], None, "row 1 (counted from 0): the label 1600000000 is out of range: too large for a class."),
    ([0, -2], None, "row 1 (counted from 0): the label -2 is out of range: it is negative."),
])  # fmt: skip
def test_a_label_that_is_not_a_class_is_an_error_that_names_the_row(
    tmp_path: Path, labels: list[Any], names: list[str] | None, expected: str
) -> None:
    file = write(tmp_path / "train.parquet", [image(1), image(2)], None, labels, names)
    assert refusal(file).startswith(f"{file}, {expected}")
    assert not (tmp_path / "spool").exists()


def test_files_without_labels_without_rows_or_with_one_class_are_an_error(tmp_path: Path) -> None:
    file = write(tmp_path / "test.parquet", [image(1), image(2)], None, [-1, -1])
    assert refusal(file) == f"{file}: the images have no labels, and no other file has labels."
    few = f"{file}: at least two classes are needed, but the images have only these: "
    assert refusal(write(file, [image(1)], None, [0])) == f"{few}0."
    assert refusal(write(file, [image(1)], None, ["cat"])) == f"{few}cat."
    assert refusal(write(file, [image(1)], None, pa.array([None], pa.string()))) == f"{few}none."
    assert "the split 'test' contains no images (files: 1)" in refusal(write(file, [], None, pa.array([], pa.int64())))


@pytest.mark.parametrize(("columns", "expected"), [
    ({"id": [1], "label": [1]}, " has no column of images (binary, or a struct with binary bytes), or has several "
     "and none is called image. Its columns are: id (int64), label (int64)."),
    ({"x": [b"1"], "y": [b"1"], "label": [1]}, " has no column of images ("),
    ({"image": [b"1"], "id": [1]}, " has no column of labels (wnid, synset, label, "),
    ({"image": [b"1"], "label": [1.5]}, ": the labels in column 'label' are double; expected whole numbers or names"),
    ({"image": [b"1"], "label": [[1]]}, ": the labels in column 'label' are list<"),
])  # fmt: skip
def test_missing_columns_are_an_error_that_shows_those_found(
    tmp_path: Path, columns: dict[str, Any], expected: str
) -> None:
    file = tmp_path / "x.parquet"
    pa.parquet.write_table(pa.table(columns), file)
    assert parquet.recognise(tree_of(file))
    assert refusal(file).startswith(f"{file}{expected}")


def test_files_that_do_not_belong_together_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "set/train-0.parquet", [image(1)], None, [0], ["a", "b"])
    write(tmp_path / "set/train-1.parquet", [image(2)], None, [1], ["b", "a"])
    assert refusal(tmp_path / "set").startswith(f"{tmp_path}/set/train-1.parquet: the metadata name other classes than")
    write(tmp_path / "set/train-1.parquet", [image(2)], None, ["a"], ["a", "b"])
    assert refusal(tmp_path / "set").startswith(f"{tmp_path}/set/train-1.parquet has its images in column 'image'")


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    images = [image(number, 3000) for number in range(50)]
    for compression in ("none", "snappy"):
        file = write(tmp_path / "x.parquet", images, None, [n % 2 for n in range(50)], compression=compression)
        data = file.read_bytes()
        for length in (4, 9, len(data) // 2, len(data) - 1):
            file.write_bytes(data[:length])
            assert parquet.recognise(tree_of(file))
            assert refusal(file).startswith(f"{file}: cannot be read as Parquet (")
            assert refusal(file).endswith("It is damaged or truncated. Copy it again.")
        file.write_bytes(b"")
        assert parquet.recognise(tree_of(file))
        assert refusal(file).startswith(f"{file}: cannot be read as Parquet (")


def test_a_flipped_bit_is_an_error_or_leaves_the_images_unchanged(tmp_path: Path) -> None:
    images = [image(number, 100) for number in range(20)]
    file = write(tmp_path / "x.parquet", images, None, [n % 2 for n in range(20)], write_page_checksum=True)
    data = file.read_bytes()
    rng = np.random.default_rng(5)
    refusals = []
    for _ in range(150):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        file.write_bytes(damaged)
        try:
            found = [found for _, found in listing(read(file)).values()]
        except TenchError as error:
            refusals.append(str(error))
        else:
            assert found == images
    assert len(refusals) > 75
    assert all(refusal.startswith(f"{file}") for refusal in refusals)


def test_a_flipped_bit_in_an_image_is_found_if_pages_have_checksums(tmp_path: Path) -> None:
    for compression in ("none", "zstd"):
        images = [image(number, 3000) for number in range(5)]
        file = write(
            tmp_path / "x.parquet", images, None, [0, 1, 0, 1, 0], compression=compression, write_page_checksum=True
        )
        data = bytearray(file.read_bytes())
        data[2000] ^= 1
        file.write_bytes(data)
        assert "damaged or truncated. Copy it again" in refusal(file)


def test_an_image_repeated_without_end_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_images, "_SMALL_BYTES", 1_000_000)
    file = write(tmp_path / "x.parquet", [image(1, 10_000)] * 1000, None, [n % 2 for n in range(1000)])
    assert file.stat().st_size < 50_000
    assert "An image repeated this often is not a dataset, so the file is not copied." in refusal(file)
    assert list((tmp_path / "spool").iterdir()) == []


def test_too_little_room_for_the_copy_is_an_error_before_copying_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "x.parquet", [image(1), image(2)], None, [0, 1])
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 500})())
    assert "GB must be copied to" in refusal(file)
    file = write(tmp_path / "x.parquet", [image(1), image(2)], None, [0, 1], compression="none")
    assert len(read(file).splits["train"]) == 2


def test_other_files_are_not_recognised_as_parquet(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/x.txt").write_text("PAR2")
    assert not parquet.recognise(tree_of(tmp_path / "set"))
    assert not parquet.recognise(tree_of(tmp_path / "set/x.txt"))
    pa.parquet.write_table(pa.table({"path": ["a.jpg"], "label": [0]}), tmp_path / "set/train.parquet")
    assert not parquet.recognise(tree_of(tmp_path / "set"))
    assert not parquet.recognise(tree_of(tmp_path / "set/train.parquet"))


def test_the_stamp_contains_the_files_and_the_copies(tmp_path: Path) -> None:
    path = imagenet_1k(tmp_path / "set")
    files = {str(found) for found in path.rglob("*.parquet")}
    stamp = set(parquet.read(tree_of(path)).stamp)
    copies = set(map(str, (tmp_path / "spool").glob("*.parquet.*.images")))
    assert len(copies) == len(files)
    assert stamp == files | copies | {str(path), str(path / "data")}


def test_images_may_be_any_photographs(photo_folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    photos = sorted(photo_folder.glob("train/*/*.*"))
    names = sorted({photo.parent.name for photo in photos})
    labels = [names.index(photo.parent.name) for photo in photos]
    file = write(tmp_path / "train.parquet", [p.read_bytes() for p in photos], [p.name for p in photos], labels, names)
    for key, (_, data) in listing(read(file)).items():
        with Image.open(io.BytesIO(data)) as one, Image.open(photo_folder / "train" / key) as other:
            assert np.array_equal(np.asarray(one), np.asarray(other))


def test_millions_of_rows_that_take_no_space_are_refused(tmp_path: Path) -> None:
    """Equal labels and null images: the file has kilobytes, but a list of its labels would take gigabytes."""
    count = 2_000_000
    nulls = pa.StructArray.from_arrays(
        [pa.nulls(count, pa.binary()), pa.nulls(count, pa.string())], ["bytes", "path"], mask=pa.repeat(True, count)
    )
    file = tmp_path / "train.parquet"
    pa.parquet.write_table(
        pa.table({"image": nulls, "label": pa.repeat(1, count)}), file, compression="zstd", row_group_size=count
    )
    assert refusal(file).startswith(f"{file} has 2,000,000 rows, but its images take ")
    assert refusal(file).endswith("rows of at least one byte are read. It is damaged, or has no images.")
    assert file.stat().st_size < 100_000


def test_a_file_of_more_rows_than_the_limit_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "train.parquet", [image(0), image(1)], ["0.jpg", "1.jpg"], [0, 1])
    with pytest.raises(
        TenchError, match=r"has 2 rows, but its images take .*. At most 1 rows of at least one byte are read"
    ):
        parquet.read(open_tree(file, tmp_path / "spool", limits=Limits(rows=1)))


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}])
def test_a_very_long_path_shared_by_all_rows_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    count = 200
    file = write(tmp_path / "train.parquet", [image(0)] * count, ["x" * 5000] * count, [0, 1] * (count // 2), **options)
    assert refusal(file).startswith(f"{file}: the path 'xxx")
    assert "(5,000 characters) is too long; at most 4,096 characters are read." in refusal(file)


def test_endlessly_nested_metadata_names_no_classes(tmp_path: Path) -> None:
    file = write(tmp_path / "train.parquet", [image(0), image(1)], ["0.jpg", "1.jpg"], [0, 1])
    found = pa.parquet.read_table(file).replace_schema_metadata({"huggingface": "[" * 100_000})
    pa.parquet.write_table(found, file)
    assert read(file).classes.numbered


@pytest.mark.parametrize("name", [b"1.jpg", b"label", b"image"])
def test_a_name_or_path_that_is_not_utf_8_is_refused(tmp_path: Path, name: bytes) -> None:
    file = tmp_path / "train.parquet"
    column = pa.array([{"bytes": image(number), "path": f"{number}.jpg"} for number in range(2)], IMAGE)
    data = pa.table({"image": column, "label": ["cat", "dog"]})
    pa.parquet.write_table(
        data, file, store_schema=False, compression="none", use_dictionary=False, write_statistics=False
    )
    file.write_bytes(file.read_bytes().replace(name, b"\xff\xfe" + name[2:]))
    assert str(file) in refusal(file)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mutated_file_is_read_or_refused_with_its_name(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("mutated") / "train.parquet"
    write(path, [image(0), image(1)], ["0.jpg", "1.jpg"], [0, 1], ["cat", "dog"], compression="none")
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(4, len(whole) - 9))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole)
    try:
        parquet.read(tree_of(path))
    except TenchError as error:
        text = str(error)
    else:
        text = str(path)
    assert str(path) in text
    assert len(text) < 1000


def test_a_list_next_to_the_files_names_numbered_classes(tmp_path: Path) -> None:
    write(tmp_path / "set/train.parquet", [image(1), image(2)], None, [0, 1])
    (tmp_path / "set/classes.txt").write_text("ant\nbee\n")
    dataset = read(tmp_path / "set")
    assert dataset.classes.ids == ("ant", "bee")
    assert f"The class names are from {tmp_path}/set/classes.txt." in dataset.notes


def test_keys_choose_the_columns(tmp_path: Path) -> None:
    columns = pa.table(
        {"left": [image(1), image(2)], "right": [image(3), image(4)], "kind": ["a", "b"], "label": [1, 0]}
    )
    pa.parquet.write_table(columns, tmp_path / "train.parquet")
    path = tmp_path / "train.parquet"
    with pytest.raises(TenchError) as error:
        open_source(path)
    assert str(error.value) == (
        f"{path} has no column of images (binary, or a struct with binary bytes), or has several and none is called "
        f"image. Its columns are: left (binary), right (binary), kind (string), label (int64). Choose one "
        "with --keys image=COLUMN."
    )
    dataset = open_source(path, keys="image=right,label=kind")
    rows = dataset.splits["train"]
    assert {rows.read(row): dataset.classes.ids[rows.labels[row]] for row in range(2)} == {image(3): "a", image(4): "b"}
    assert dataset.notes[0] == "Images: column right; labels: column kind."


def test_images_that_are_far_larger_than_the_file_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", [bytes(2**28), bytes(2**20)], None, [0, 1], compression="zstd")
    packed = file.stat().st_size
    found = refusal(file)
    assert found.startswith(f"{file}: the first {packed:,} bytes unpack to 26")
    assert found.endswith(
        ", more than 100 times as many. Images do not compress this well, so the file is not unpacked."
    )
