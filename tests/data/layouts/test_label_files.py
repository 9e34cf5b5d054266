"""Common arrangements of label files next to their images: read correctly, or refused with the remedy."""

import json
import os
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.photos import encoded, part
from tests.support.errors import error_of

import tench
from tench.data.table import Dataset
from tench.errors import TenchError


class Folder:
    """A source under construction. Each image contains its own name, so no two are equal."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def images(self, *names: str) -> "Folder":
        for name in names:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(b"as good as an image: " + name.encode())
        return self

    def text(self, name: str, *lines: str) -> "Folder":
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return self

    def json(self, name: str, data: Any) -> "Folder":
        return self.text(name, json.dumps(data))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "set").mkdir()
    return Folder(tmp_path / "set")


def truth(dataset: Dataset) -> dict[str, dict[str, str | None]]:
    """By split and file name: the class of each image, after checking its bytes."""
    found: dict[str, dict[str, str | None]] = {}
    for split, rows in dataset.splits.items():
        names = [rows.read(row).decode().removeprefix("as good as an image: ") for row in range(len(rows))]
        classes = [dataset.classes.ids[label] if label >= 0 else None for label in rows.labels]
        found[split] = dict(zip(names, classes, strict=True))
    return found


def opened(folder: Folder, **options: Any) -> tuple[dict[str, dict[str, str | None]], list[str]]:
    dataset = tench.open_source(folder.path, **options)
    assert dataset.layout == "list"
    return truth(dataset), [note.replace(f"{folder.path}/", "") for note in dataset.notes]


def refused(folder: Folder, **options: Any) -> str:
    return (
        error_of(tench.open_source)(folder.path, **options)
        .replace(f"{folder.path}/", "")
        .replace(f"{folder.path}", "SET")
    )


AB = ("a", "b")
EIGHT = [f"images/{number:03}.jpg" for number in range(8)]
LABELS = {name: AB[number % 2] for number, name in enumerate(EIGHT)}


# Where the images are.


@pytest.mark.parametrize("base", ["", "images/", "Img/", "train_images/", "deep/er/photos/"])
@pytest.mark.parametrize(
    "written", ["{}.jpg", "{}", "{}.JPG", "img/{}.jpg", "C:\\data\\img\\{}.jpg", "/home/x/img/{}.png"]
)
def test_images_are_found_by_name_in_any_folder(folder: Folder, base: str, written: str) -> None:
    names = [f"{base}É{number}.jpg" for number in range(6)]
    folder.images(*(unicodedata.normalize("NFD", name) for name in names))
    folder.text("labels.csv", "image,label", *(f"{written.format(f'É{at}')},{AB[at % 2]}" for at in range(6)))
    found, _ = opened(folder)
    expected = {unicodedata.normalize("NFD", name): AB[at % 2] for at, name in enumerate(names)}
    assert found == {"train": expected}


def test_numbers_match_image_names_with_leading_zeros(folder: Folder) -> None:
    folder.images(*(f"img/{number:05}.jpg" for number in range(1, 7)))
    folder.text("labels.csv", "id,label", *(f"{number},{AB[number % 2]}" for number in range(1, 7)))
    found, _ = opened(folder)
    assert found == {"train": {f"img/{number:05}.jpg": AB[number % 2] for number in range(1, 7)}}


def test_images_are_not_taken_from_folders_named_masks_or_thumbnails(folder: Folder) -> None:
    folder.images(*EIGHT, *(name.replace("images/", "masks/").replace("jpg", "png") for name in EIGHT))
    folder.text("labels.csv", "id,label", *(f"{name[7:-4]},{label}" for name, label in LABELS.items()))
    assert opened(folder)[0] == {"train": LABELS}


def test_images_in_two_folders_lead_to_a_question_that_an_option_answers(folder: Folder) -> None:
    folder.images("A/1.jpg", "A/2.jpg", "B/1.jpg", "B/2.jpg").text("labels.csv", "image,label", "1.jpg,x", "2.jpg,y")
    assert refused(folder) == (
        "SET: '1.jpg' of the list matches several files: A/1.jpg, B/1.jpg. Pass the folder that contains the images: "
        "--images A"
    )
    assert opened(folder, images="B")[0] == {"train": {"B/1.jpg": "x", "B/2.jpg": "y"}}
    assert refused(folder, images="C") == (
        "SET has no folder C for --images. Pass a path relative to SET. Its folders: A/, B/."
    )
    assert truth(tench.open_source(folder.path / "labels.csv", images="B")) == {
        "train": {"B/1.jpg": "x", "B/2.jpg": "y"}
    }


def test_two_lines_that_match_one_image_are_an_error(folder: Folder) -> None:
    folder.images("1.jpg", "2.jpg").text("labels.csv", "image,label", "1.jpg,x", "2.jpg,y", "1,x")
    assert refused(folder) == (
        "labels.csv: 1.jpg (line 2) and 1 (line 4) both match the image 1.jpg. Name the folder that contains the "
        "images with --images FOLDER, or correct the list."
    )


def test_a_label_file_in_a_zip_is_read(folder: Folder, tmp_path: Path) -> None:
    folder.images("images/1.jpg", "images/2.jpg").text("labels.csv", "image,label", "1.jpg,x", "2.jpg,y")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(folder.path.rglob("*.*")):
            archive.write(file, f"set/{file.relative_to(folder.path)}")
    assert truth(tench.open_source(tmp_path / "set.zip")) == {"train": {"images/1.jpg": "x", "images/2.jpg": "y"}}


# Datasets from Kaggle and elsewhere.


def test_a_kaggle_competition_has_test_images_without_labels(folder: Folder) -> None:
    train = {f"train_images/{number:012x}.png": str(number % 5) for number in range(10)}
    folder.images(*train, *(f"test_images/{number:012x}.png" for number in (90, 91)))
    folder.text("train.csv", "id_code,diagnosis", *(f"{name[13:-4]},{label}" for name, label in train.items()))
    folder.text("sample_submission.csv", "id_code,diagnosis", f"{90:012x},0", f"{91:012x},0")
    found, notes = opened(folder)
    assert found == {"train": train, "test": {f"test_images/{number:012x}.png": None for number in (90, 91)}}
    assert notes == [
        "train.csv: the labels come from column 'diagnosis'.",
        "The classes of the lists are only numbers.",
        "test_images/ contains 2 images that no list names: read as test, without labels.",
    ]


def test_a_json_file_next_to_a_list_may_name_its_numbered_classes(folder: Folder) -> None:
    folder.images(*EIGHT).text("train.csv", "image_id,label", *(f"{at:03}.jpg,{at % 2}" for at in range(8)))
    folder.json("label_num_to_disease_map.json", {"0": "rust", "1": "healthy"})
    dataset = tench.open_source(folder.path)
    assert dataset.classes.ids == ("rust", "healthy")
    folder.json("label_num_to_disease_map.json", {"1": "rust", "2": "healthy"})
    assert tench.open_source(folder.path).classes.ids == ("rust", "healthy")


def test_a_roboflow_export_has_a_table_in_each_split(folder: Folder) -> None:
    for split in ("train", "valid", "test"):
        folder.images(f"{split}/1.jpg", f"{split}/2.jpg")
        folder.text(f"{split}/_classes.csv", "filename, cat, dog", "1.jpg, 1, 0", "2.jpg, 0, 1")
    found, _ = opened(folder)
    assert found == {
        split: {f"{name}/1.jpg": "cat", f"{name}/2.jpg": "dog"}
        for split, name in (("train", "train"), ("val", "valid"), ("test", "test"))
    }


def test_the_table_of_a_fastai_set_lists_both_splits_and_agrees_with_the_folders(folder: Folder) -> None:
    names = [f"{split}/{digit}/{digit}{at}.png" for split in ("train", "valid") for digit in "37" for at in (1, 2)]
    folder.images(*names).text("labels.csv", "name,label", *(f"{name},{int('/7/' in name)}" for name in names))
    found, notes = opened(folder)
    assert found == {
        split: {name: name.split("/")[1] for name in names if name.startswith(start)}
        for split, start in (("train", "train"), ("val", "valid"))
    }
    assert notes == [
        "labels.csv: the folder of an image names its split (train and val).",
        "labels.csv: the labels come from column 'label'.",
        "labels.csv: the class numbers are named after the folders of the images.",
    ]


def test_gtsrb_has_a_table_in_each_class_folder_and_one_for_test(folder: Folder) -> None:
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    for number in (0, 1, 11):
        names = [f"{number:05}_{at:05}.ppm" for at in range(2)]
        folder.images(*(f"Final_Training/Images/{number:05}/{name}" for name in names))
        lines = (f"{name};29;30;5;6;24;25;{number}" for name in names)
        folder.text(f"Final_Training/Images/{number:05}/GT-{number:05}.csv", header, *lines)
    folder.images("Final_Test/Images/00000.ppm", "Final_Test/Images/00001.ppm")
    folder.text("GT-final_test.csv", header, "00000.ppm;29;30;5;6;24;25;11", "00001.ppm;29;30;5;6;24;25;0")
    found, _ = opened(folder)
    assert found["test"] == {"Final_Test/Images/00000.ppm": "00011", "Final_Test/Images/00001.ppm": "00000"}
    assert {name.split("/")[2] == label for name, label in found["train"].items()} == {True}
    assert len(found["train"]) == 6


def test_class_folders_of_places_may_be_below_folders_of_initial_letters(folder: Folder) -> None:
    names = [f"data_256/{name}" for name in ("a/abbey/1.jpg", "b/bakery/shop/1.jpg", "b/bakery/shop/2.jpg")]
    folder.images(*names, "val_256/9.jpg")
    folder.text("places365_train_standard.txt", "/a/abbey/1.jpg 0", "/b/bakery/shop/1.jpg 7", "/b/bakery/shop/2.jpg 7")
    folder.text("places365_val.txt", "9.jpg 7")
    found, _ = opened(folder)
    assert found == {
        "train": dict(zip(names, ("abbey", "bakery/shop", "bakery/shop"), strict=True)),
        "val": {"val_256/9.jpg": "bakery/shop"},
    }


def test_coco_files_of_two_splits_share_their_categories(folder: Folder) -> None:
    categories = [{"id": 9, "name": "owl"}, {"id": 4, "name": "elk"}, {"id": 6, "name": "yak"}]
    for split, numbers in (("train", (1, 2, 3)), ("val", (5,))):
        folder.images(*(f"{split}2019/{number}.jpg" for number in numbers))
        images = [{"id": number, "file_name": f"{split}2019/{number}.jpg"} for number in numbers]
        annotations = [{"image_id": number, "category_id": (9, 4)[number % 2]} for number in numbers]
        folder.json(f"{split}2019.json", {"images": images, "annotations": annotations, "categories": categories})
    dataset = tench.open_source(folder.path)
    assert dataset.classes.ids == ("owl", "elk", "yak")
    assert truth(dataset) == {
        "train": {"train2019/1.jpg": "elk", "train2019/2.jpg": "owl", "train2019/3.jpg": "elk"},
        "val": {"val2019/5.jpg": "elk"},
    }


def test_lists_without_labels_split_the_images_of_a_table(folder: Folder) -> None:
    labels = ["No Finding", "Edema|Mass", "Edema", "Mass"]
    names = [f"images_00{1 + at % 2}/images/{at:08}_000.png" for at in range(8)]
    folder.images(*names)
    header = "Image Index,Finding Labels,Patient ID,OriginalImage[Width,Height]"
    folder.text("Data_Entry_2017.csv", header, *(f"{at:08}_000.png,{labels[at % 4]},{at},9,9" for at in range(8)))
    folder.text("train_val_list.txt", *(f"{at:08}_000.png" for at in range(6)))
    folder.text("test_list.txt", "00000006_000.png", "00000007_000.png")
    found, notes = opened(folder)
    assert found["test"] == {names[6]: "Edema", names[7]: "Mass"}
    assert len(found["train"]) == 6
    assert "train_val_list.txt lists the images of train." in notes
    assert (
        "Data_Entry_2017.csv: 2 of 8 cells of column 'finding labels' contain several labels, separated by '|', for "
        "example 'Edema|Mass'." in notes
    )


@pytest.mark.parametrize(("options", "flag"), [
    ({"label": "breed"}, "--label breed"),
    ({"split_from": "folder 1"}, "--split-from folder 1"),
    ({"split_from": "fold=1"}, "--split-from fold=1"),
])  # fmt: skip
def test_an_option_that_names_an_unknown_column_is_an_error(folder: Folder, options: dict[str, str], flag: str) -> None:
    folder.images(*EIGHT).text("l.csv", "image,label", *(f"{name},{label}" for name, label in LABELS.items()))
    assert refused(folder, **options) == f"SET: {flag} names no column of l.csv. The columns are 'image', 'label'."


def test_a_regular_expression_can_give_the_split_of_the_images_in_a_table(folder: Folder) -> None:
    folder.images("fold_train/1.jpg", "fold_train/2.jpg", "x/3_test.jpg", "x/4_test.jpg")
    folder.text("l.csv", "image,label", "fold_train/1.jpg,a", "fold_train/2.jpg,b", "x/3_test.jpg,a", "x/4_test.jpg,b")
    found, _ = opened(folder, split_from="_(train|test)")
    assert found == {
        "train": {"fold_train/1.jpg": "a", "fold_train/2.jpg": "b"},
        "test": {"x/3_test.jpg": "a", "x/4_test.jpg": "b"},
    }
    assert refused(folder, split_from="(train)") == (
        "--split-from (train) finds no split in x/3_test.jpg. The first group must match the name of a split."
    )


# Several labels per image, and unusual labels.


@pytest.mark.parametrize(("labels", "classes"), [
    (["scab", "rust", "scab frog_eye complex", "complex", "scab complex"], ["complex", "frog_eye", "rust", "scab"]),
    (["golden retriever", "labrador retriever", "beagle"], ["beagle", "golden retriever", "labrador retriever"]),
    (["bear", "polar bear", "brown bear"], ["bear", "brown bear", "polar bear"]),
    (["tench, Tinca tinca", "goldfish", "goldfish"], ["goldfish", "tench, Tinca tinca"]),
    (["a;b", "a", "b"], ["a", "b"]),
    (["a|b", "b|c", "c"], ["a", "b", "c"]),
    (["['x', 'y']", "['y']", "['x']"], ["x", "y"]),
    (["0", "9", "A", "a", "z"], ["0", "9", "A", "a", "z"]),
    (["007", "010", "123"], ["007", "010", "123"]),
    (["0.0", "1.0", "2.0"], ["0", "1", "2"]),
])  # fmt: skip
def test_a_cell_is_one_label_unless_its_parts_are_labels_too(
    folder: Folder, labels: list[str], classes: list[str]
) -> None:
    count = 2 * len(labels)
    folder.images(*(f"images/{at}.jpg" for at in range(count)))
    folder.text("train.csv", "image,label", *(f'{at}.jpg,"{labels[at % len(labels)]}"' for at in range(count)))
    assert sorted(tench.open_source(folder.path).classes.ids) == classes


def test_several_labels_in_a_cell_are_all_kept_and_the_first_is_the_class(folder: Folder) -> None:
    folder.images("1.jpg", "2.jpg", "3.jpg").text("train.csv", "image,tags", "1.jpg,b a", "2.jpg,a", "3.jpg,b")
    dataset = tench.open_source(folder.path)
    assert truth(dataset) == {"train": {"1.jpg": "b", "2.jpg": "a", "3.jpg": "b"}}
    assert sorted(map(str, dataset.splits["train"].label_sets())) == ["[0.0]", "[1.0, 0.0]", "[1.0]"]
    assert "1 image of train with several labels: the first is the class." in dataset.notes


# Class folders next to label files.


PETS = [f"{kind}/{kind}{at}.jpg" for kind in ("cat", "dog") for at in range(4)]


def test_a_file_that_contradicts_the_folders_is_a_question(folder: Folder) -> None:
    folder.images(*PETS)
    wrong = {name: "dog" if name == "cat/cat2.jpg" else name[:3] for name in PETS}
    folder.text("labels.csv", "image,label", *(f"{name[4:]},{label}" for name, label in wrong.items()))
    assert refused(folder) == (
        "labels.csv, line 4 labels cat/cat2.jpg as 'dog', but the folder of the image is another class. Choose with "
        "--label folder or --label label."
    )
    assert opened(folder, label="label")[0] == {"train": wrong}
    dataset = tench.open_source(folder.path, label="folder")
    assert (dataset.layout, truth(dataset)) == ("folder", {"train": {name: name[:3] for name in PETS}})
    assert f"{folder.path}/labels.csv is not used, because of --label folder." in dataset.notes


def test_a_file_that_agrees_with_the_folders_is_read_with_a_note(folder: Folder) -> None:
    folder.images(*PETS).text("labels.csv", "image,label", *(f"{name[4:]},{name[:3]}" for name in PETS))
    found, notes = opened(folder)
    assert found == {"train": {name: name[:3] for name in PETS}}
    assert notes[0] == "labels.csv: its labels agree with the class folders."


def test_if_a_file_lists_only_some_images_the_class_folders_are_read(folder: Folder) -> None:
    folder.images(*PETS).text("labels.csv", "image,label", *(f"{name[4:]},{name[:3]}" for name in PETS[::2]))
    dataset = tench.open_source(folder.path)
    assert (dataset.layout, len(dataset.splits["train"])) == ("folder", 8)
    assert (
        f"{folder.path}/labels.csv: its labels agree with the class folders. "
        "It lists 4 of 8 images, so the folders are used." in dataset.notes
    )


def test_if_one_of_several_columns_agrees_with_the_folders_the_folders_are_read(folder: Folder) -> None:
    names = [f"{split}/{kind}/{kind}{at}.jpg" for split in ("train", "val") for kind in AB for at in range(3)]
    rows = (f"{name},{name.split('/')[1]},{AB[at % 2]},{name[0] == 'v'}" for at, name in enumerate(names))
    folder.images(*names).text("noisy_imagenette.csv", "path,noisy_labels_0,noisy_labels_50,is_valid", *rows)
    dataset = tench.open_source(folder.path)
    assert dataset.layout == "folder"
    assert (
        f"{folder.path}/noisy_imagenette.csv: column 'noisy_labels_0' agrees with the class folders, which are used. "
        "For the other columns ('noisy_labels_50'), use --label COLUMN." in dataset.notes
    )
    found, _ = opened(folder, label="noisy_labels_50")
    assert found["val"] == {names[at]: AB[at % 2] for at in range(6, 12)}


def test_labels_coarser_than_the_folders_are_read_with_a_note(folder: Folder) -> None:
    names = [f"{kind}/{kind}{at}.jpg" for kind in ("beagle", "poodle", "siamese") for at in range(3)]
    rows = (f"{os.path.basename(name)},{'cat' if 'siamese' in name else 'dog'}" for name in names)
    folder.images(*names).text("labels.csv", "image,species", *rows)
    found, notes = opened(folder)
    assert set(found["train"].values()) == {"cat", "dog"}
    assert notes[0] == (
        "labels.csv: its 2 labels are used, not the 3 folders of the images, each of which has one label. To use the "
        "folders: --label folder."
    )


def test_a_file_that_lists_no_images_is_named_in_a_note_and_not_used(folder: Folder) -> None:
    folder.images(*PETS).text("log.csv", "epoch,loss", "1,0.5", "2,0.25")
    dataset = tench.open_source(folder.path)
    assert dataset.layout == "folder"
    assert f"{folder.path}/log.csv is not used, because it names none of the images." in dataset.notes
    with pytest.raises(TenchError) as error:
        tench.open_source(folder.path, label="breed")
    assert str(error.value) == (
        f"{folder.path}: --label breed names a column, but no file here lists the images with their labels. Leave "
        "out the option to use the class folders, or pass the label file itself."
    )


# Several files.


def test_folds_lead_to_a_question_that_a_number_or_a_pattern_answers(folder: Folder) -> None:
    names = [f"{kind}/{at}.jpg" for kind in AB for at in range(4)]
    folder.images(*(f"images/{name}" for name in names))
    for fold in (1, 2, 10):
        folder.text(f"labels/train{fold}.txt", *names[fold % 2 :: 2]).text(
            f"labels/test{fold}.txt", *names[1 - fold % 2 :: 2]
        )
    assert refused(folder) == (
        "SET: several sets of lists divide the images in 3 ways: labels/train1.txt (1), labels/train10.txt (10), "
        "labels/train2.txt (2). Choose one, for example with --split-from 1."
    )
    expected = {f"images/{name}": name[0] for name in names}
    for asked in ("2", r"labels/(\w+)2\.txt"):
        found, _ = opened(folder, split_from=asked)
        assert found["train"] == {f"images/{name}": name[0] for name in names[::2]}
        assert {**found["train"], **found["test"]} == expected


def test_levels_of_a_hierarchy_lead_to_a_question_that_the_name_of_a_level_answers(folder: Folder) -> None:
    folder.images(*(f"images/000{at}.jpg" for at in range(4)))
    for level, labels in (("variant", ("737-300", "BAE 146-200")), ("family", ("737", "BAE 146"))):
        for split, numbers in (("train", (0, 1)), ("val", (2,)), ("trainval", (0, 1, 2)), ("test", (3,))):
            folder.text(f"images_{level}_{split}.txt", *(f"000{at} {labels[at % 2]}" for at in numbers))
    folder.text("images_train.txt", "0000", "0001").text("variants.txt", "737-300", "BAE 146-200")
    assert refused(folder) == (
        "SET: several sets of lists label the same images in several ways: images_family_train.txt (family), "
        "images_variant_train.txt (variant). Choose one, for example with --label family."
    )
    found, notes = opened(folder, label="variant")
    assert found == {
        "train": {"images/0000.jpg": "737-300", "images/0001.jpg": "BAE 146-200"},
        "val": {"images/0002.jpg": "737-300"},
        "test": {"images/0003.jpg": "BAE 146-200"},
    }
    assert "images_variant_trainval.txt contains train and val together, so it is not used." in notes


def test_two_tables_of_the_same_images_lead_to_a_question(folder: Folder) -> None:
    for name in ("a.csv", "b.csv"):
        folder.images(*EIGHT).text(name, "image,label", *(f"{at:03}.jpg,{name[0]}{at % 2}" for at in range(8)))
    assert refused(folder) == (
        "SET: 2 files list images with labels: a.csv, b.csv. Name the one to use, or leave the others out, for example "
        "with --exclude 'b.csv'. The first has the columns 'image', 'label'."
    )
    assert set(opened(folder, exclude=("b.csv",))[0]["train"].values()) == {"a0", "a1"}


# Unusable files.


def damaged(name: str, data: bytes) -> Callable[[Folder], None]:
    def write(folder: Folder) -> None:
        (folder.path / name).write_bytes(data)

    return write


@pytest.mark.parametrize(("make", "expected"), [
    (damaged("l.csv", b"image,label\n000.jpg,a\n001.jpg,b,c\n"),
     "l.csv, line 3 has 3 columns, but line 1 has 2 (separated by ','). Quote cells that contain the separator, or "
     "correct the line."),
    (damaged("l.csv", b"image,label\n000.jpg,a\n001.jpg,\n"),
     "l.csv, line 3: '001.jpg' has no label; 1 of 2 images have none. Only images of the split test may lack labels."),
    (damaged("l.csv", b"image,label\n000.jpg,a\n009.jpg,b\n001.jpg,b\n"),
     "l.csv, line 3: there is no image SET/009.jpg; 1 of the 3 images of the list are missing. They were searched "
     "for in the whole source, with and without their suffix. Add the images, remove them from the list, or pass "
     "their folder with --images FOLDER."),
    (damaged("l.csv", b"image,label\n000.jpg,caf\xe9\n"),
     "l.csv, line 2: the byte 0xe9 is not UTF-8 text. Save the file as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8, if it is "
     "from Windows)."),
    (damaged("l.json", b'{"000.jpg": "a"'),
     "l.json is damaged JSON (Expecting ',' delimiter: line 1 column 16 (char 15)). Copy or create it again."),
    (damaged("l.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)),
     "l.xls is an Excel file in the old format (.xls). Save it as .xlsx or .csv."),
    (damaged("l.xlsx", b"PK\3\4"),
     "l.xlsx is a damaged Excel workbook (File is not a zip file). Copy or save it again."),
])  # fmt: skip
def test_a_label_file_that_cannot_be_used_is_an_error(
    folder: Folder, make: Callable[[Folder], None], expected: str
) -> None:
    make(folder.images(*EIGHT))
    assert refused(folder).replace("no image 009", "no image SET/009") == expected


def test_a_list_of_val_next_to_class_folders_of_train_is_refused_with_the_command_that_joins_them(
    folder: Folder,
) -> None:
    folder.images("train/cat/0.jpg", "train/cat/1.jpg", "train/dog/2.jpg", "val/3.jpg", "val/4.jpg")
    folder.text("val.csv", "image,label", "3.jpg,cat", "4.jpg,dog")
    with pytest.raises(TenchError) as error:
        tench.open_source(folder.path)
    assert str(error.value) == (
        f"{folder.path}/val.csv lists 2 of 5 images; the others are in 2 folders (train/cat, train/dog). To train on "
        f"the folders and validate on the list: tench train {folder.path}/train --val {folder.path}/val.csv. If the "
        "folders are the classes, pass --label folder; to read only the listed images, pass --label label."
    )


def test_comma_separated_numbers_in_a_column_of_ids_are_several_labels(folder: Folder) -> None:
    folder.images(*(f"train/{number}.png" for number in range(6)))
    folder.text("train.csv", "id,attribute_ids", *(f'{at},"{("0,1", "2", "1,2")[at % 3]}"' for at in range(6)))
    dataset = tench.open_source(folder.path)
    assert dataset.classes.ids == ("0", "1", "2")
    assert any("4 of 6 cells of column 'attribute_ids' contain several labels" in note for note in dataset.notes)


def test_lists_of_only_val_and_test_are_refused_as_their_images_would_be_trained_on(folder: Folder) -> None:
    folder.images(*(f"{animal}/{number}.jpg" for animal in ("cat", "dog") for number in range(6)))
    folder.text("test_list.txt", "cat/3.jpg", "dog/3.jpg").text("val_list.txt", "cat/2.jpg", "dog/2.jpg")
    with pytest.raises(TenchError) as error:
        tench.open_source(folder.path)
    assert str(error.value) == (
        f"{folder.path}/test_list.txt lists 2 images as test, but no file lists the images of train. Put such a list "
        "next to it, for example train.txt, or use all images as train: --exclude test_list.txt --exclude "
        "val_list.txt"
    )
    assert len(tench.open_source(folder.path, exclude=("test_list.txt", "val_list.txt")).splits["train"]) == 12
    folder.text("train.txt", "cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg")
    assert {split: len(rows) for split, rows in tench.open_source(folder.path).splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }


def test_a_label_file_that_is_too_large_is_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder.images(*EIGHT).path / "labels.json").open("wb") as file:
        file.write(b"[")
        file.truncate(2**27 + 1)
    assert refused(folder) == (
        "labels.json: the file has 134,217,729 bytes, but a label file may have at most 134,217,728. The file is "
        "damaged or is "
        "something else. Replace it, or move it out of the dataset."
    )


# MATLAB files. Their reader is tested against scipy elsewhere.


def test_flowers_102_has_its_labels_and_splits_in_two_matlab_files(folder: Folder) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    folder.images(*(f"jpg/image_{number:05}.jpg" for number in range(1, 7)))
    savemat(folder.path / "imagelabels.mat", {"labels": np.array([[1, 2, 1, 2, 2, 1]], np.uint8)})
    splits = {"trnid": [[1, 4]], "valid": [[2, 3]], "tstid": [[5, 6]]}
    savemat(folder.path / "setid.mat", {name: np.array(ids, np.uint16) for name, ids in splits.items()})
    found, _ = opened(folder)
    assert found == {
        "train": {"jpg/image_00001.jpg": "0", "jpg/image_00004.jpg": "1"},
        "val": {"jpg/image_00002.jpg": "1", "jpg/image_00003.jpg": "0"},
        "test": {"jpg/image_00005.jpg": "1", "jpg/image_00006.jpg": "0"},
    }


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (("train", "val"), "the splits come from column 'split'."),
        (("train", "dev"), "the splits come from column 'split' (dev is val)."),
    ],
)
def test_the_note_on_a_split_column_explains_only_unusual_names(
    tmp_path: Path, values: tuple[str, str], told: str
) -> None:
    lines = ["file,label,split"]
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(encoded(part(16, 16, number), "PNG"))
        lines.append(f"{number}.png,{'cat' if number < 2 else 'dog'},{values[number % 2]}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    assert f"{tmp_path}/list.csv: {told}" in tench.open_source(tmp_path).notes
