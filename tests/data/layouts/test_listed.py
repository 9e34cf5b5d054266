import csv
import dataclasses
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import class_of_each_key, reloaded, tree_of
from tests.support.errors import error_of
from tests.support.files import named, write_folder

from tench.data.formats.wordnet import devkit_order, imagenet
from tench.data.layouts import folder, listed
from tench.data.table import Contents, Dataset

GOLDEN = Path(__file__).parents[3] / "../shared/golden/records"
TENCH, GOLDFISH, SHARK = "n01440764", "n01443537", "n01484850"
# The labels of ImageNet's first validation images in the two orders.
VAL_SORTED = [65, 970, 230, 809, 516, 57, 334, 415, 674, 332, 109, 286]
VAL_DEVKIT = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164, 649, 11]
VAL_WNIDS = ["n01751748", "n09193705", "n02105855", "n04263257", "n03125729"]


def make(path: Path, *files: str) -> Path:
    return write_folder(path, named(files, b"as good as an image: "))


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def read(path: Path) -> Dataset:
    tree = tree_of(path)
    assert listed.recognise(tree)
    return reloaded(listed.read(tree), listed.NAME, path)


def listing(dataset: Dataset, split: str = "train") -> dict[str, str | None]:
    """The class of each key, after checking its bytes."""
    rows = dataset.splits[split]
    for row in range(len(rows)):
        assert rows.read(row).startswith(b"as good as an image: ")
        assert rows.key(row).rpartition("/")[2] in rows.read(row).decode()
    return class_of_each_key(dataset, split)


def refusal(path: Path) -> str:
    assert listed.recognise(tree_of(path))
    return error_of(listed.read)(tree_of(path))


def val_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08}.JPEG"


def nnabla(path: Path) -> Path:
    """Write the lists that NNabla's create_input_files.py writes, and the images that they name."""
    make(path / "train", f"{TENCH}/{TENCH}_10026.JPEG", f"{TENCH}/{TENCH}_99.JPEG", f"{GOLDFISH}/{GOLDFISH}_2.JPEG")
    make(path / "train", *(f"{wnid}/{wnid}_7.JPEG" for wnid in VAL_WNIDS))
    numbers = {wnid: imagenet().index(wnid) for wnid in (TENCH, GOLDFISH, *VAL_WNIDS)}
    images = sorted(found.relative_to(path / "train") for found in (path / "train").rglob("*.JPEG"))
    write(path / "train_label", *(f"{image} {numbers[image.name[:9]]}" for image in images))
    make(path / "val", *(val_name(number) for number in range(1, 6)))
    write(path / "val_label", *(f"{val_name(number)} {VAL_SORTED[number - 1]}" for number in range(1, 6)))
    return path


def test_nnablas_lists_give_wordnet_ids_and_class_folder_keys(tmp_path: Path) -> None:
    dataset = read(nnabla(tmp_path / "set"))
    assert dataset.classes.ids == (TENCH, GOLDFISH, *sorted(VAL_WNIDS))
    assert dataset.classes.names[:2] == ("tench, Tinca tinca", "goldfish, Carassius auratus")
    assert listing(dataset) == {f"{wnid}/{wnid}_7.JPEG": wnid for wnid in VAL_WNIDS} | {
        f"{TENCH}/{TENCH}_10026.JPEG": TENCH,
        f"{TENCH}/{TENCH}_99.JPEG": TENCH,
        f"{GOLDFISH}/{GOLDFISH}_2.JPEG": GOLDFISH,
    }
    assert listing(dataset, "val") == {
        f"{wnid}/{val_name(number)}": wnid for number, wnid in enumerate(VAL_WNIDS, start=1)
    }
    assert dataset.notes == (
        f"{tmp_path}/set/train_label: the class numbers are named after the folders of the images.",
        f"{tmp_path}/set/val_label: its numbers are the positions of the sorted WordNet ids, counted from 0, "
        "judging by the first validation images.",
    )


def test_nnablas_lists_and_the_class_folders_are_the_same_dataset(tmp_path: Path) -> None:
    path = nnabla(tmp_path / "set")
    from_lists = read(path)
    for number, wnid in enumerate(VAL_WNIDS, start=1):
        (path / "val" / wnid).mkdir()
        (path / "val" / val_name(number)).rename(path / "val" / wnid / val_name(number))
    loaded = reloaded(folder.read(tree_of(path)))
    assert loaded.fingerprint == from_lists.fingerprint
    assert loaded.classes == from_lists.classes


def test_apm5s_lists_in_the_devkits_order_give_the_same_classes(tmp_path: Path) -> None:
    path = nnabla(tmp_path / "set")
    number = {wnid: devkit_order().index(wnid) for wnid in (TENCH, GOLDFISH, *VAL_WNIDS)}
    lines = (path / "train_label").read_text().split()[::2]
    (path / "train_label").unlink()
    (path / "val_label").unlink()
    write(path / "train_label.txt", *(f"{name} {number[name[:9]]}" for name in lines))
    write(path / "validation_label.txt", *(f"{val_name(at)} {VAL_DEVKIT[at - 1] - 1}" for at in range(1, 6)))
    dataset = read(path)
    assert number[TENCH] == 448
    assert dataset.classes.ids == tuple(sorted(number, key=number.__getitem__))
    assert set(listing(dataset, "val").items()) == {
        (f"{wnid}/{val_name(at)}", wnid) for at, wnid in enumerate(VAL_WNIDS, start=1)
    }
    assert "its numbers are ILSVRC2012_ID - 1, the order of the development kit counted from 0" in dataset.notes[1]


def test_caffes_lists_are_read(tmp_path: Path) -> None:
    path = nnabla(tmp_path / "set")
    (path / "train_label").rename(path / "train.txt")
    (path / "val_label").rename(path / "val.txt")
    make(path / "test", "ILSVRC2012_test_00000001.JPEG", "ILSVRC2012_test_00000002.JPEG")
    write(path / "test.txt", "ILSVRC2012_test_00000001.JPEG 0", "ILSVRC2012_test_00000002.JPEG 0")
    write(path / "synsets.txt", *imagenet())
    dataset = read(path)
    assert list(dataset.splits) == ["train", "val", "test"]
    assert dataset.splits["test"].labels.tolist() == [-1, -1]
    assert listing(dataset, "test") == {f"ILSVRC2012_test_0000000{at}.JPEG": None for at in (1, 2)}
    assert set(dataset.notes) >= {
        f"{path}/test.txt is not used for labels, because those of ILSVRC2012's test images are not public.",
        "2 of 2 images of test have no label.",
    }


@pytest.mark.parametrize(
    ("labels", "ids", "title"),
    [
        (VAL_SORTED, imagenet(), "the positions of the sorted WordNet ids, counted from 0"),
        ([label + 1 for label in VAL_SORTED], imagenet(), "the positions of the sorted WordNet ids, counted from 1"),
        (VAL_DEVKIT, devkit_order(), "ILSVRC2012_ID, the order of the development kit"),
        ([label - 1 for label in VAL_DEVKIT], devkit_order(), "ILSVRC2012_ID - 1, the order of the development kit"),
    ],
    ids=["sorted", "sorted+1", "ID", "ID-1"],
)
def test_the_first_validation_images_determine_the_numbering(
    tmp_path: Path, labels: list[int], ids: tuple[str, ...], title: str
) -> None:
    make(tmp_path / "set", *(val_name(number) for number in (2, 3, 5, 1000)))
    numbers = [labels[1], labels[2], labels[4], labels[4]]
    lines = [f"{val_name(number)} {label}" for number, label in zip((2, 3, 5, 1000), numbers, strict=True)]
    dataset = read(write(tmp_path / "set/val_label", *lines))
    assert dataset.classes.ids == ids
    assert not dataset.classes.numbered
    assert listing(dataset, "val") == {
        f"{VAL_WNIDS[1]}/{val_name(2)}": VAL_WNIDS[1],
        f"{VAL_WNIDS[2]}/{val_name(3)}": VAL_WNIDS[2],
        f"{VAL_WNIDS[4]}/{val_name(5)}": VAL_WNIDS[4],
        f"{VAL_WNIDS[4]}/{val_name(1000)}": VAL_WNIDS[4],
    }
    assert title in dataset.notes[0]


@pytest.mark.parametrize(("numbers", "labels"), [((1, 2), VAL_SORTED[:2]), ((1, 2, 3), [65, 970, 231])])
def test_too_few_or_contradictory_validation_images_do_not_determine_the_numbering(
    tmp_path: Path, numbers: tuple[int, ...], labels: list[int]
) -> None:
    make(tmp_path / "set", *map(val_name, numbers))
    lines = [f"{val_name(number)} {label}" for number, label in zip(numbers, labels, strict=True)]
    dataset = read(write(tmp_path / "set/val_label", *lines))
    assert dataset.classes.numbered
    assert len(dataset.classes) == 971
    assert dataset.splits["val"].keys() == sorted(map(val_name, numbers))
    assert ("match no known numbering" in dataset.notes[0]) == (len(numbers) == 3)


def test_two_lists_with_different_numberings_are_each_read_by_their_own_and_a_note_says_so(tmp_path: Path) -> None:
    """The samples in NNabla's README mix them: train uses ILSVRC2012_ID - 1, val uses ILSVRC2012_ID."""
    path = nnabla(tmp_path / "set")
    other = devkit_order()[490]
    make(path / "train", f"{other}/{other}_1.JPEG")
    names = [*(path / "train_label").read_text().split()[::2], f"{other}/{other}_1.JPEG"]
    write(path / "train_label", *(f"{name} {devkit_order().index(name[:9])}" for name in names))
    write(path / "val_label", *(f"{val_name(at)} {VAL_DEVKIT[at - 1]}" for at in range(1, 6)))
    dataset = read(path)
    assert listing(dataset, "val") == {f"{wnid}/{val_name(at)}": wnid for at, wnid in enumerate(VAL_WNIDS, start=1)}
    assert dataset.notes[-1] == (
        f"{path}/val_label numbers the classes differently from {path}/train_label: 490 is n01751748 in the first and "
        f"{other} in the second. Each is read by its own numbering."
    )


def test_kaggles_train_list_gives_classes_by_folder(tmp_path: Path) -> None:
    data = tmp_path / "ILSVRC/Data/CLS-LOC/train"
    make(data, f"{SHARK}/{SHARK}_5.JPEG", f"{TENCH}/{TENCH}_1.JPEG", f"{TENCH}/{TENCH}_2.JPEG")
    path = tmp_path / "ILSVRC/ImageSets/CLS-LOC/train_cls.txt"
    write(path, f"{SHARK}/{SHARK}_5 1", f"{TENCH}/{TENCH}_1 2", f"{TENCH}/{TENCH}_2 3")
    dataset = read(path)
    assert dataset.classes.ids == (TENCH, SHARK)
    assert listing(dataset) == {
        f"{SHARK}/{SHARK}_5.JPEG": SHARK,
        f"{TENCH}/{TENCH}_1.JPEG": TENCH,
        f"{TENCH}/{TENCH}_2.JPEG": TENCH,
    }
    assert dataset.notes == (
        f"{path}: its numbers are line numbers, as in Kaggle's lists; the class of an image is its folder.",
    )


def test_kaggles_val_list_is_refused_and_the_file_with_the_labels_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "val.txt", *(f"ILSVRC2012_val_{number:08} {number}" for number in (1, 2, 3)))
    assert refusal(path) == (
        f"{path}: its numbers are line numbers, not labels, as in Kaggle's val.txt and test.txt. The labels of the "
        "validation images are in LOC_val_solution.csv, next to the folder ILSVRC. Pass the folder that contains "
        "both."
    )


def test_mxnets_lists_keep_all_labels_and_the_first_is_the_class(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "c/1.png", "d/2.png", "c/3.png")
    write(path / "x_train.lst", "4\t1.000000\t0.5\tc/1.png", "0\t0.000000\t7\td/2.png")
    write(path / "x_val.lst", "9\t1.000000\t-3\tc/3.png")
    dataset = read(path)
    assert dataset.classes.ids == ("d", "c")
    assert listing(dataset) == {"c/1.png": "c", "d/2.png": "d"}
    assert [dataset.splits["train"].label_sets()[row] for row in (0, 1)] == [[1, 0.5], [0, 7]]
    assert dataset.splits["val"].label_sets()[0] == [1, -3]
    assert "2 images of train with several labels: the first is the class." in dataset.notes


def test_mxnets_lists_next_to_their_record_files_are_left_to_another_layout(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "c/1.png", "d/2.png", "x_train.rec")
    write(path / "x_train.lst", "4\t1.000000\tc/1.png", "0\t0.000000\td/2.png")
    assert not listed.recognise(tree_of(path))
    assert listing(read(path / "x_train.lst")) == {"c/1.png": "c", "d/2.png": "d"}


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"needs files that MXNet wrote, in {GOLDEN}")
@pytest.mark.parametrize(
    ("name", "split"), [("passthrough", "train"), ("resized_train", "train"), ("resized_val", "val")]
)
def test_lists_that_mxnets_im2rec_wrote_name_the_photographs(tmp_path: Path, name: str, split: str) -> None:
    images = GOLDEN.resolve() / "images"
    path = tmp_path / f"{name}.lst"
    lines = (GOLDEN / f"mxnet/{name}.lst").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    path.write_text("".join(f"{number}\t{label}\t{images}/{image}\n" for number, label, image in rows))
    dataset = read(path)
    number = {image.split("/")[0]: int(float(label)) for _, label, image in rows}
    assert len(rows) == {"passthrough": 24, "resized_train": 18, "resized_val": 6}[name]
    assert dataset.classes.ids == tuple(sorted(number, key=number.__getitem__)) == tuple(sorted(number))
    found = dataset.splits[split]
    keys = found.keys()
    assert keys == sorted(image for _, _, image in rows)
    assert [dataset.classes.ids[label] for label in found.labels] == [key.split("/")[0] for key in keys]
    assert [found.read(row) for row in range(len(found))] == [(images / key).read_bytes() for key in keys]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_of_every_form_give_the_same_dataset(tmp_path: Path, form: str) -> None:
    path = make(tmp_path / "set", "images/1.jpg", "images/2.jpg", "images/3.jpg")
    rows = {"train": [("images/1.jpg", "dog"), ("images/3.jpg", "cat")], "val": [("images/2.jpg", "cat")]}
    for split, pairs in rows.items():
        file = path / f"{split}.{form}"
        if form == "parquet":
            columns = {"file_name": [name for name, _ in pairs], "label": [label for _, label in pairs]}
            pa.parquet.write_table(pa.table(columns), file)
        elif form == "jsonl":
            write(file, *(json.dumps({"file_name": name, "label": label}) for name, label in pairs))
        else:
            with file.open("w", newline="") as stream:
                csv.writer(stream, delimiter="\t" if form == "tsv" else ",").writerows([("file_name", "label"), *pairs])
    dataset = read(path)
    assert dataset.classes.ids == ("cat", "dog")
    assert listing(dataset) == {"dog/1.jpg": "dog", "cat/3.jpg": "cat"}
    assert listing(dataset, "val") == {"cat/2.jpg": "cat"}
    assert dataset.notes == tuple(f"{path}/{split}.{form}: the labels come from column 'label'." for split in rows)


def test_huggingfaces_image_folders_have_metadata_in_each_split_or_at_the_top(tmp_path: Path) -> None:
    path = make(tmp_path / "a", "train/1.png", "train/x/2.png", "test/1.png")
    write(path / "train/metadata.csv", "file_name,label", "1.png,cat", "x/2.png,dog")
    write(path / "test/metadata.jsonl", '{"file_name": "1.png", "label": "dog"}')
    one = read(path)
    assert listing(one) == {"cat/1.png": "cat", "dog/2.png": "dog"}
    assert listing(one, "test") == {"dog/1.png": "dog"}
    path = make(tmp_path / "b", "train/1.png", "train/x/2.png", "test/1.png")
    write(path / "metadata.csv", "file_name,label", "train/1.png,cat", "train/x/2.png,dog", "test/1.png,dog")
    assert [listing(read(path), split) for split in ("train", "test")] == [listing(one), listing(one, "test")]


def test_metadata_without_labels_is_not_a_list_and_the_folders_are_read(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/cat/1.png", "train/dog/1.png")
    write(path / "train/metadata.jsonl", '{"text": "a cat"}')
    assert not listed.recognise(tree_of(path))


def test_a_column_gives_the_split_of_each_image(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    write(path / "all.csv", "path,label,Split", "1.jpg,a,train", "2.jpg,b,train", "3.jpg,a,Validation", "4.jpg,,test")
    dataset = read(path / "all.csv")
    assert {split: listing(dataset, split) for split in dataset.splits} == {
        "train": {"a/1.jpg": "a", "b/2.jpg": "b"},
        "val": {"a/3.jpg": "a"},
        "test": {"4.jpg": None},
    }
    write(path / "all.csv", "path,label,split", "1.jpg,a,train", "2.jpg,b,fold 1")
    assert refusal(path / "all.csv") == (
        f"{path}/all.csv, line 3: 'fold 1' in column 'split' is not a split (train, val or test). Correct it, or name "
        f"the value for val: --split-from split='fold 1'"
    )


def test_a_single_list_is_the_split_in_its_name_or_else_train_and_a_note_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/2.jpg")
    for name, split in (
        ("my-val.txt", "val"),
        ("caltech101_train.txt", "train"),
        ("Test_label", "test"),
        ("train_val.txt", "train"),
    ):
        assert list(read(write(path / name, "a/1.jpg 0", "b/2.jpg 1")).splits) == [split]
        (path / name).unlink()
    for name in ("images.txt", "train_test.txt"):
        dataset = read(write(path / name, "a/1.jpg 0", "b/2.jpg 1"))
        assert list(dataset.splits) == ["train"]
        assert f"{path}/{name} names no split, so its images are train." in dataset.notes


def test_several_lists_can_be_named_by_a_pattern(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/2.jpg", "a/3.jpg")
    write(path / "lists/train.txt", "../a/1.jpg 0", "../b/2.jpg 1")
    write(path / "lists/val.txt", "../a/3.jpg 0")
    dataset = read(path / "lists/{train,val}.txt")
    assert listing(dataset) == {"a/1.jpg": "a", "b/2.jpg": "b"}
    assert listing(dataset, "val") == {"a/3.jpg": "a"}


@pytest.mark.parametrize("base", ["", "val/", "validation/", "images/"])
def test_images_are_searched_for_next_to_the_list_and_in_folders_of_its_split(tmp_path: Path, base: str) -> None:
    path = make(tmp_path / "set", f"{base}a/1.jpg", f"{base}b/2.jpg", "train/b/2.jpg", "other/a/1.jpg")
    write(path / "val_label", "a/1.jpg 0", "b/2.jpg 1")
    for source in (path, path / "val_label"):
        dataset = read(source)
        rows = dataset.splits["val"]
        assert [rows.shard(row) for row in range(2)] == [f"{path}/{base}a/1.jpg", f"{path}/{base}b/2.jpg"]
        assert rows.keys() == ["a/1.jpg", "b/2.jpg"]


def test_one_folder_is_used_for_all_images_of_a_list(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "train/a/1.jpg", "train/b/2.jpg", "train/b/3.jpg")
    write(path / "train.txt", "a/1.jpg 0", "b/2.jpg 1", "b/3.jpg 1")
    rows = read(path).splits["train"]
    assert {rows.shard(row) for row in range(3)} == {
        f"{path}/train/{name}" for name in ("a/1.jpg", "b/2.jpg", "b/3.jpg")
    }


def test_absolute_paths_and_paths_that_lead_up_are_used_unchanged(tmp_path: Path) -> None:
    path = make(tmp_path / "elsewhere", "cat/1.jpg", "dog/2.jpg", "dog/deep/3.jpg")
    write(tmp_path / "lists/train.txt", f"{path}/cat/1.jpg 0", "../elsewhere/dog/2.jpg 1", f"{path}/dog/deep/3.jpg 1")
    for source in (tmp_path / "lists", tmp_path / "lists/train.txt"):
        dataset = read(source)
        assert dataset.classes.numbered
        assert listing(dataset) == {"cat/1.jpg": "0", "dog/2.jpg": "1", "dog/deep/3.jpg": "1"}
    write(tmp_path / "lists/train.txt", f"{path}/cat/1.jpg 0", "../elsewhere/dog/2.jpg 1")
    assert listing(read(tmp_path / "lists")) == {"cat/1.jpg": "cat", "dog/2.jpg": "dog"}


def test_a_list_in_an_archive_can_only_name_images_of_the_archive(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/a/1.jpg", "train/b/2.jpg")
    write(path / "train.txt", "a/1.jpg 0", "b/2.jpg 1")
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(path, "set")
    dataset = read(tmp_path / "set.tar")
    assert listing(dataset) == {"a/1.jpg": "a", "b/2.jpg": "b"}
    assert dataset.splits["train"].shard(0) == f"{tmp_path}/set.tar"
    write(path / "train.txt", f"{path}/train/a/1.jpg 0", f"{path}/train/b/2.jpg 1")
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(path, "set")
    assert read(tmp_path / "set.tar").fingerprint == dataset.fingerprint  # paths on the machine that made the archive
    write(path / "train.txt", f"{path}/train/a/7.jpg 0", f"{path}/train/b/8.jpg 1")
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(path, "set")
    assert "2 of the 2 images of the list are missing" in refusal(tmp_path / "set.tar")


def test_missing_images_are_one_error_with_count_line_and_path(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/2.jpg", "a/3.jpg/x.jpg")
    write(path / "train.txt", "a/1.jpg 0", "", "b/9.jpg 1", "a/3.jpg 0", "b/2.jpg 1")
    for source, searched in ((path, "the whole source"), (path / "train.txt", "the folder of the list and below it")):
        assert refusal(source) == (
            f"{path}/train.txt, line 3: there is no image {path}/b/9.jpg; 2 of the 4 images of the list are missing. "
            f"They were searched for in {searched}, with and without their suffix. Add the images, remove them from "
            "the list, or pass their folder with --images FOLDER."
        )
    write(path / "train.txt", "a/1.jpg 0", "a/3.jpg 1")
    assert (
        f"line 2: there is no image {path}/a/3.jpg; 1 of the 2 images of the list are missing. This path is a folder."
        in refusal(path)
    )


def test_a_missing_image_of_mxnets_list_may_be_in_the_record_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x.lst", "4\t1.000000\tc/1.png", "0\t0.000000\td/2.png")
    make(tmp_path, "x.rec")
    assert "The images may be in x.rec; if so, pass that file." in refusal(path)


def test_images_in_no_list_are_counted(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/2.jpg", "b/3.jpg", "b/notes.txt")
    write(path / "train.txt", "a/1.jpg 0", "b/2.jpg 1")
    assert "Left out 1 image file that no list names, such as b/3.jpg." in read(path).notes


def test_numbers_are_matched_with_the_folder_or_the_one_above_or_the_file_name(tmp_path: Path) -> None:
    path = make(tmp_path / "a", "cat/images/1.jpg", "dog/images/2.jpg")
    assert read(write(path / "train.txt", "cat/images/1.jpg 5", "dog/images/2.jpg 3")).classes.ids == ("dog", "cat")
    path = make(tmp_path / "b", f"{TENCH}_1.JPEG", f"{SHARK}_7.JPEG", f"{SHARK}_8.JPEG")
    dataset = read(write(path / "train.txt", f"{TENCH}_1.JPEG 1", f"{SHARK}_7.JPEG 0", f"{SHARK}_8.JPEG 0"))
    assert dataset.classes.ids == (SHARK, TENCH)
    assert dataset.splits["train"].keys() == [
        f"{TENCH}/{TENCH}_1.JPEG",
        f"{SHARK}/{SHARK}_7.JPEG",
        f"{SHARK}/{SHARK}_8.JPEG",
    ]


def test_a_number_with_two_folders_makes_all_classes_numbers_with_a_note(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "cat/1.jpg", "dog/2.jpg", "dog/3.jpg")
    dataset = read(write(path / "train.txt", "cat/1.jpg 0", "dog/2.jpg 1", "dog/3.jpg 0"))
    assert dataset.classes.numbered
    assert listing(dataset) == {"cat/1.jpg": "0", "dog/2.jpg": "1", "dog/3.jpg": "0"}
    assert dataset.notes[0] == (
        f"{path}/train.txt has as many numbers as folders, but 0 is in 'cat' in line 1 and in 'dog' in line 3. The "
        "folders do not define the classes."
    )


def test_flat_lists_use_the_numbering_of_the_train_list(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/cat/1.jpg", "train/dog/2.jpg", "val/7.jpg", "val/8.jpg")
    write(path / "train.txt", "cat/1.jpg 7", "dog/2.jpg 2")
    write(path / "val.txt", "7.jpg 7", "8.jpg 2")
    dataset = read(path)
    assert dataset.classes.ids == ("dog", "cat")
    assert listing(dataset, "val") == {"cat/7.jpg": "cat", "dog/8.jpg": "dog"}
    write(path / "val.txt", "7.jpg 7", "8.jpg 3")
    assert refusal(path) == (
        f"{path}/val.txt, line 2: the label 3 is not one of the 2 classes of {path}/train.txt. This affects 1 label. "
        "Both must have the same classes."
    )


def test_folders_that_are_not_classes_of_train_are_not_taken_for_classes(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/cat/1.jpg", "train/dog/2.jpg", "val/batch1/7.jpg", "val/batch2/8.jpg")
    write(path / "train.txt", "cat/1.jpg 7", "dog/2.jpg 2")
    write(path / "val.txt", "batch1/7.jpg 7", "batch2/8.jpg 2")
    assert listing(read(path), "val") == {"cat/7.jpg": "cat", "dog/8.jpg": "dog"}


def test_a_train_list_without_evidence_uses_the_numbering_of_the_validation_list(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/1.jpg", "train/2.jpg", *(f"val/{val_name(number)}" for number in (1, 2, 3)))
    write(path / "train.txt", "1.jpg 0", "2.jpg 970")
    write(path / "val.txt", *(f"{val_name(number)} {VAL_SORTED[number - 1]}" for number in (1, 2, 3)))
    dataset = read(path)
    assert dataset.classes.ids == imagenet()
    assert listing(dataset) == {f"{TENCH}/1.jpg": TENCH, f"{VAL_WNIDS[1]}/2.jpg": VAL_WNIDS[1]}


def test_a_class_that_only_the_validation_list_has_is_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg", "3.jpg")
    write(path / "train.csv", "path,label", "1.jpg,cat", "2.jpg,dog")
    write(path / "val.csv", "path,label", "3.jpg,eel")
    assert refusal(path) == (
        f"{path}/val.csv, line 2: the label eel is not one of the 2 classes of {path}/train.csv. This affects 1 "
        "label. Both must have the same classes."
    )
    path = nnabla(tmp_path / "other")
    write(
        path / "val_label",
        *(f"{val_name(number)} {VAL_SORTED[number - 1]}" for number in (1, 2, 3)),
        f"{val_name(20)} 5",
    )
    assert f"{path}/val_label, line 4: the label 5 (n01496331) is not one of the 7 classes" in refusal(path)


def test_class_names_in_one_list_and_numbers_in_another_are_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg", "3.jpg")
    for train, val in ((("cat", "dog"), "1"), (("0", "1"), "cat")):
        write(path / "train.csv", "path,label", f"1.jpg,{train[0]}", f"2.jpg,{train[1]}")
        write(path / "val.csv", "path,label", f"3.jpg,{val}")
        assert "and nothing links the numbers to classes. Write both with the same kind of label." in refusal(path)


def test_names_used_only_as_second_labels_are_classes_too(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg")
    write(path / "train.csv", "path,labels", "1.jpg,b;c", "2.jpg,a")
    dataset = read(path)
    assert dataset.classes.ids == ("a", "b", "c")
    assert listing(dataset) == {"b/1.jpg": "b", "a/2.jpg": "a"}
    assert dataset.splits["train"].label_sets()[:2] == [[0], [1, 2]]


def test_numbers_without_names_are_numbered_classes_and_paths_are_the_keys(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/1.jpg", "train/2.jpg", "val/1.jpg")
    write(path / "train.txt", "train/1.jpg 0", "train/2.jpg 4")
    write(path / "val.txt", "val/1.jpg 2")
    dataset = read(path)
    assert dataset.classes.numbered
    assert dataset.classes.ids == ("0", "1", "2", "3", "4")
    assert (dataset.splits["train"].keys(), dataset.splits["val"].keys()) == (["1.jpg", "2.jpg"], ["1.jpg"])
    assert dataset.notes == ("The classes of the lists are only numbers.",)


def test_numbers_from_1_are_shifted_to_begin_at_0_with_a_note(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg", "3.jpg")
    write(path / "train.csv", "path,label", "1.jpg,1", '2.jpg,"[3, 1]"', "3.jpg,2")
    dataset = read(path)
    assert dataset.classes.ids == ("0", "1", "2")
    assert dataset.splits["train"].labels.tolist() == [0, 2, 1]
    assert dataset.splits["train"].label_sets()[1] == [2, 0]
    assert "The labels start at 1, so 1 was subtracted from each." in dataset.notes
    write(path / "train.csv", "path,label", "1.jpg,1", "2.jpg,3", "3.jpg,3")
    assert read(path).splits["train"].labels.tolist() == [1, 3, 3]


CLASS_FILES = {
    "label_wordnetid.csv": f"0,{TENCH}\r\n1,{GOLDFISH}\r\n2,{SHARK}\r\n",
    "synsets.txt": f"{TENCH}\n{GOLDFISH}\n{SHARK}\n",
    "synset_words.txt": f"{TENCH} tench, Tinca tinca\n{GOLDFISH} goldfish\n{SHARK} great white shark\n",
    "imagenet_class_index.json": json.dumps(
        {"0": [TENCH, "tench"], "1": [GOLDFISH, "goldfish"], "2": [SHARK, "shark"]}
    ),
    "classes.txt": "0 n01440764\n1 n01443537\n2 n01484850\n",
}


@pytest.mark.parametrize("name", CLASS_FILES)
def test_a_file_next_to_the_lists_gives_wordnet_ids_to_numbers(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg", "3.jpg")
    write(path / "train.txt", "1.jpg 2", "2.jpg 0", "3.jpg 0")
    (path / name).write_bytes(CLASS_FILES[name].encode())
    for source in (path, path / "train.txt"):
        dataset = read(source)
        assert dataset.classes.ids == (TENCH, GOLDFISH, SHARK)
        assert dataset.classes.names[0].startswith("tench")
        assert listing(dataset) == {f"{SHARK}/1.jpg": SHARK, f"{TENCH}/2.jpg": TENCH, f"{TENCH}/3.jpg": TENCH}
        assert f"The classes are those of {path}/{name}." in dataset.notes


@pytest.mark.parametrize(("name", "text", "ids"), [
    ("caltech_categories.csv", "0,ant\n1,bee\n2,cow\n", ("ant", "bee", "cow")),
    ("classes.txt", "ant\nbee\ncow eye\n\n", ("ant", "bee", "cow eye")),
    ("labels.txt", "0: ant\n1: bee\n2: cow\n", ("ant", "bee", "cow")),
])  # fmt: skip
def test_a_file_of_unique_names_makes_them_ids(tmp_path: Path, name: str, text: str, ids: tuple[str, ...]) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg")
    write(path / "caltech_train.txt", "1.jpg 2", "2.jpg 0")
    (path / name).write_text(text)
    dataset = read(path)
    assert dataset.classes.ids == ids
    assert not dataset.classes.numbered
    assert set(dataset.splits["train"].keys()) == {f"{ids[2]}/1.jpg", f"{ids[0]}/2.jpg"}


@pytest.mark.parametrize(("name", "text"), [
    ("label_words.csv", '0,"tench, Tinca tinca"\n1,crane\n2,crane\n'),
    ("label_to_content.json", '{"0": "tench, Tinca tinca", "1": "crane", "2": "crane"}'),
])  # fmt: skip
def test_words_without_ids_are_names_and_the_classes_stay_numbered(tmp_path: Path, name: str, text: str) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg")
    write(path / "train.txt", "1.jpg 2", "2.jpg 0")
    (path / name).write_text(text)
    for other in ("crane", "eel"):
        (path / name).write_text(text[::-1].replace("enarc", other[::-1], 1)[::-1])
        classes = read(path).classes
        assert (classes.ids, classes.names) == (("0", "1", "2"), ("tench, Tinca tinca", "crane", other))
        assert classes.numbered


def test_if_files_of_class_names_contradict_each_other_neither_is_used(tmp_path: Path) -> None:
    """Apm5's project has two such files, in the two orders of ImageNet."""
    path = make(tmp_path / "set", "1.jpg", "2.jpg")
    write(path / "train.txt", "1.jpg 2", "2.jpg 0")
    (path / "imagenet_class_index.json").write_text(CLASS_FILES["imagenet_class_index.json"])
    (path / "label_to_content.json").write_text('{"0": "kit_fox", "1": "English_setter", "2": "Siberian_husky"}')
    dataset = read(path)
    assert dataset.classes.numbered
    assert dataset.classes.names == ("0", "1", "2")
    assert dataset.notes[0] == (
        f"{path}/imagenet_class_index.json and {path}/label_to_content.json contradict each other: class 0 is 'tench' "
        "or 'kit_fox'. Neither is used. Remove the one that does not belong to this list."
    )
    (path / "label_to_content.json").write_text('{"0": "tench", "1": "golden_fish", "2": "shark, great"}')
    assert read(path).classes.ids == (TENCH, GOLDFISH, SHARK)
    (path / "imagenet_class_index.json").unlink()
    write(path / "synsets.txt", SHARK, TENCH, GOLDFISH)
    (path / "label_to_content.json").write_text('{"0": "Great_white_shark", "1": "tench", "2": "gold", "3": "eel"}')
    assert read(path).classes.ids == (SHARK, TENCH, GOLDFISH)
    write(path / "synsets.txt", SHARK, TENCH, GOLDFISH, "n01491361")
    assert read(path).classes.ids == (SHARK, TENCH, GOLDFISH, "n01491361")  # half of the lines agree


def test_a_label_beyond_the_named_classes_is_an_error_that_names_line_and_file(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg", "3.jpg")
    write(path / "train.txt", "1.jpg 1", "2.jpg 0", "3.jpg 3")
    write(path / "classes.txt", "ant", "bee", "cow")
    assert refusal(path) == (
        f"{path}/train.txt, line 3: the label 3 is not among the 3 classes of {path}/classes.txt. Correct the list, "
        "or remove that file to use numbers without names."
    )
    write(path / "train.txt", "1.jpg 1", "2.jpg 2", "3.jpg 3")
    assert read(path).splits["train"].labels.tolist() == [0, 1, 2]


def test_a_number_too_large_for_a_class_is_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg")
    write(path / "train.txt", "1.jpg 1", "2.jpg 1600000000")
    assert refusal(path) == (
        f"{path}/train.txt, line 2: the label 1600000000 is too large for a class. Correct the list."
    )


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("label_wordnetid.csv", "0,a\n2,b\n", "must have lines `index,class` with indices 0, 1, 2, ... Correct or"),
    ("label_words.csv", "a\nb\n", "must have lines `index,class`"),
    ("imagenet_class_index.json", '{"0": ["a"]}', "must be JSON such as"),
    ("label_to_content.json", '{"1": "a"}', "must be JSON such as"),
    ("label_to_content.json", "[", "must be JSON such as"),
    ("classes.txt", "ant\n\nbee\n", "line 2 is empty, but each line is a class, in order."),
    ("labels.txt", "1: ant\n2: bee\n", "line 1 has the number 1, but its position is 0. Sort the lines"),
])  # fmt: skip
def test_a_damaged_file_of_class_names_is_an_error(tmp_path: Path, name: str, text: str, expected: str) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg")
    write(path / "train.txt", "1.jpg 1", "2.jpg 0")
    (path / name).write_text(text)
    assert refusal(path).startswith(f"{path}/{name}{', ' if name.endswith('txt') else ' '}{expected}")


def test_an_image_list_named_labels_is_not_taken_for_class_names(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg")
    assert read(write(path / "labels.txt", "1.jpg 1", "", "2.jpg 0")).classes.numbered


def test_a_labels_file_that_does_not_list_classes_is_ignored_with_a_note(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg")
    write(path / "train.txt", "1.jpg 1", "2.jpg 0")
    write(path / "labels.txt", "0", "1", "1", "0")
    dataset = read(path)
    assert dataset.classes.numbered
    assert f"{path}/labels.txt is not used, because it is not a list of different classes." in dataset.notes


@pytest.mark.parametrize(("lines", "expected"), [
    (["1.jpg 0", "2.jpg"], "train.txt, line 2: '2.jpg' has no label; 1 of 2 images have none. Only images"),
    (["1.jpg 0", "2.jpg -1"], "train.txt, line 2: '2.jpg' has no label; 1 of 2 images have none."),
    (["path,text", "1.jpg,0"], "train.txt, line 2: '1.jpg' has no label; 1 of 1 images have none. Its columns are"),
    (["1.jpg 1", "2.jpg 1"], "train.txt: all images have the class '0'. At least two are needed."),
])  # fmt: skip
def test_images_without_labels_or_of_one_class_are_an_error(tmp_path: Path, lines: list[str], expected: str) -> None:
    path = make(tmp_path / "set", "1.jpg", "2.jpg")
    assert refusal(write(path / "train.txt", *lines)).startswith(f"{path}/{expected}")


def test_images_of_the_test_split_need_no_labels(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/2.jpg", "test/3.jpg", "test/4.jpg")
    write(path / "train.txt", "a/1.jpg 0", "b/2.jpg 1")
    for lines in (("3.jpg", "4.jpg"), ("3.jpg -1", "4.jpg -1"), ("path", "3.jpg", "4.jpg")):
        write(path / "test.txt", *lines)
        assert listing(read(path), "test") == {"3.jpg": None, "4.jpg": None}
    write(path / "test.txt", "3.jpg 1", "4.jpg -1")
    assert listing(read(path), "test") == {"b/3.jpg": "b", "4.jpg": None}
    assert refusal(write(path / "other/test.txt", "../test/3.jpg")).startswith(f"{path}/other/test.txt has no labels.")


def test_two_lists_of_one_split_are_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/2.jpg")
    write(path / "train.txt", "a/1.jpg 0", "b/2.jpg 1")
    write(path / "train.csv", "path,label", "a/1.jpg,0", "b/2.jpg,1")
    assert refusal(path) == (
        f"{path}: train.csv and train.txt both list images of the split 'train'. Leave one out, for example with "
        f"--exclude 'train.txt', or pass the lists to use, for example as the pattern '{{train,val}}.txt'."
    )
    assert list(read(path / "train.txt").splits) == ["train"]


def test_an_empty_list_is_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/2.jpg")
    write(path / "train.txt", "a/1.jpg 0", "b/2.jpg 1")
    (path / "val.txt").write_text("")
    assert refusal(path).startswith(f"{path}/val.txt is empty.")
    (path / "val.csv").write_text("\n")
    assert refusal(path / "val.csv").startswith(f"{path}/val.csv is empty.")


def test_a_file_that_is_not_a_list_is_left_out_and_a_note_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/2.jpg")
    write(path / "train.txt", "a/1.jpg 0", "b/2.jpg 1")
    write(path / "how_to_train", "Train it well")
    dataset = read(path)
    assert list(dataset.splits) == ["train"]
    assert dataset.notes[0] == f"{path}/how_to_train is not used, because it names none of the images."


def test_a_table_with_unknown_columns_is_an_error_that_shows_them(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", "id,breed", "1,cat")
    assert refusal(path) == (
        f"{path}: none of its columns names images; it begins with 'id,breed'. A list has lines of a path and a "
        "label, or a header with a column of paths (path, file_name, image, ...) above rows that name images next to "
        "it. If the images are elsewhere, pass --images FOLDER."
    )


def test_other_files_are_not_recognised(tmp_path: Path) -> None:
    make(tmp_path / "set", "train/a/1.jpg", "train/b/2.jpg")
    write(tmp_path / "set/train.txt", "Train it well, version 2.0")
    write(tmp_path / "set/validation", "1 2 3")
    (tmp_path / "set/test").write_bytes(bytes(range(256)))
    assert not listed.recognise(tree_of(tmp_path / "set"))
    for name in ("train.txt", "validation", "test", "train/a/1.jpg"):
        assert not listed.recognise(tree_of(tmp_path / "set" / name))


def test_lists_next_to_archives_of_other_images_are_left_to_another_layout(tmp_path: Path) -> None:
    path = write(tmp_path / "set/val.txt", f"{val_name(1)} 65", f"{val_name(2)} 970").parent
    with tarfile.open(path / "ILSVRC2012_img_val.tar", "w") as tar:
        tar.add(__file__, val_name(1))
    assert not listed.recognise(tree_of(path))
    make(path, f"val/{val_name(1)}", f"val/{val_name(2)}")
    assert listed.recognise(tree_of(path))


def test_the_stamp_contains_the_lists_the_names_and_the_folders_of_the_images(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "images/1.jpg", "images/2.jpg", "more/2.jpg", "unused/3.jpg")
    write(path / "lists/train.txt", "../images/1.jpg 1", "../images/2.jpg 0", "../more/2.jpg 0")
    write(path / "lists/classes.txt", "ant", "bee")
    contents: Contents = listed.read(tree_of(path / "lists/train.txt"))
    lists = path / "lists"
    assert {os.path.normpath(found) for found in contents.stamp} == {
        f"{lists}/train.txt",
        f"{lists}/classes.txt",
        f"{path}/images",
        f"{path}/more",
    }


def test_the_rows_of_a_list_of_photographs_have_their_bytes(photo_folder: Path, tmp_path: Path) -> None:
    images = sorted(photo_folder.glob("*/*/*.*"))
    rows = [(image, image.parent.name, image.parent.parent.name) for image in images]
    path = write(tmp_path / "all.csv", "path,label,split", *(f"{image},{name},{split}" for image, name, split in rows))
    dataset = read(path)
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {"train": 18, "val": 6}
    for split, found in dataset.splits.items():
        files = [photo_folder / split / key for key in sorted(found.keys())]
        assert [found.read(row) for row in range(len(found))] == [file.read_bytes() for file in files]


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text("ab\u00e9\U0001f41f 1(.-", min_size=1, max_size=4).filter(lambda s: s.strip(" ") == s != "."),
        st.integers(0, 5),
        min_size=2,
        max_size=8,
    ).filter(lambda labels: len(set(labels.values())) > 1)
)
def test_any_names_and_numbers_are_read_back(tmp_path_factory: pytest.TempPathFactory, labels: dict[str, int]) -> None:
    path = tmp_path_factory.mktemp("any") / "set"
    make(path, *(f"x{name}.jpg" for name in labels))
    write(path / "train.txt", *(f"x{name}.jpg {label}" for name, label in labels.items()))
    write(path / "classes.txt", *"abcdef")
    dataset = read(path / "train.txt")
    assert listing(dataset) == {f"{'abcdef'[label]}/x{name}.jpg": "abcdef"[label] for name, label in labels.items()}
    assert np.array_equal(np.sort(dataset.splits["train"].labels), np.sort(list(labels.values())))


def test_a_folder_and_a_list_of_it_give_the_same_rows(tmp_path: Path) -> None:
    path = nnabla(tmp_path / "set")
    one, other = read(path), read(path / "{train,val}_label")
    assert one.fingerprint == other.fingerprint
    assert one.classes == other.classes
    assert dataclasses.asdict(one.classes) == dataclasses.asdict(other.classes)


def test_a_list_that_is_too_large_is_an_error_before_it_is_read(tmp_path: Path) -> None:
    path = write(make(tmp_path, "cat/1.jpg") / "list.csv", "path,label", "cat/1.jpg,0")
    with path.open("r+b") as file:
        file.truncate(20 * 10**9)
    assert f"{path}: the file has 20,000,000,000 bytes" in refusal(path)


def test_a_list_may_name_files_in_either_unicode_form(tmp_path: Path) -> None:
    """macOS stores "\u00e9" in a file name as two characters, but a list made on another system has it as one."""
    make(tmp_path, "cafe\u0301/1.jpg", "the\u0301/2.jpg")
    path = write(tmp_path / "list.txt", "caf\u00e9/1.jpg 0", "th\u00e9/2.jpg 1")
    assert listing(read(path)) == {"caf\u00e9/1.jpg": "caf\u00e9", "th\u00e9/2.jpg": "th\u00e9"}
