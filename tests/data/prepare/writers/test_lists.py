"""Image lists in the styles of the programs that read them. Each file is compared character by character."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.photos import dataset, encoded, part

from tench.data.formats.wordnet import devkit_order, imagenet
from tench.data.prepare.planning import PrepareOptions
from tench.data.prepare.prepare import prepare
from tench.data.prepare.writers import Content
from tench.data.prepare.writers.lists import READABLE, STYLES, ListsWriter
from tench.data.source import open_source
from tench.data.table import Classes, Dataset
from tench.errors import UsageError

CLASSES = Classes.of(
    ["n02119789", "n01440764", "n02012849"], ["kit fox, Vulpes macrotis", "tench, Tinca tinca", "crane"]
)
"""Not in sorted order."""
CONTENT = Content(
    classes=CLASSES,
    names={
        "train": ["n01440764/n01440764_9.JPEG", "n02012849/n02012849_1.JPEG", "n02119789/n02119789_7.JPEG"],
        "val": ["n01440764/ILSVRC2012_val_00000002.JPEG", "n02119789/ILSVRC2012_val_00000001.JPEG"],
        "test": ["ILSVRC2012_test_00000001.JPEG"],
    },
    labels={"train": [1, 2, 0], "val": [1, 0], "test": [-1]},
)
CLASSES_TXT = "n02119789\tkit fox, Vulpes macrotis\nn01440764\ttench, Tinca tinca\nn02012849\tcrane\n"


def beside(style: Any, content: Content = CONTENT) -> dict[str, str]:
    return dict(ListsWriter(content, style).files_beside())


def paths(style: Any) -> dict[str, list[str]]:
    lists = ListsWriter(CONTENT, style)
    return {split: [lists.path(split, name) for name in names] for split, names in CONTENT.names.items()}


def test_plain_lists_have_paths_relative_to_the_destination() -> None:
    assert beside("plain") == {
        "classes.txt": CLASSES_TXT,
        "train.txt": (
            "train/n01440764/n01440764_9.JPEG 1\n"
            "train/n02012849/n02012849_1.JPEG 2\n"
            "train/n02119789/n02119789_7.JPEG 0\n"
        ),
        "val.txt": ("val/n01440764/ILSVRC2012_val_00000002.JPEG 1\nval/n02119789/ILSVRC2012_val_00000001.JPEG 0\n"),
        "test.txt": "test/ILSVRC2012_test_00000001.JPEG -1\n",
    }


def test_caffes_lists_have_paths_relative_to_the_folder_of_the_split() -> None:
    assert beside("caffe") == {
        "synsets.txt": "n02119789\nn01440764\nn02012849\n",
        "synset_words.txt": ("n02119789 kit fox, Vulpes macrotis\nn01440764 tench, Tinca tinca\nn02012849 crane\n"),
        "train.txt": ("n01440764/n01440764_9.JPEG 1\nn02012849/n02012849_1.JPEG 2\nn02119789/n02119789_7.JPEG 0\n"),
        "val.txt": "n01440764/ILSVRC2012_val_00000002.JPEG 1\nn02119789/ILSVRC2012_val_00000001.JPEG 0\n",
        "test.txt": "ILSVRC2012_test_00000001.JPEG -1\n",
    }


def test_nnablas_lists_have_no_suffix_and_the_tables_are_csv() -> None:
    assert beside("nnabla") == {
        "label_wordnetid.csv": "0,n02119789\r\n1,n01440764\r\n2,n02012849\r\n",
        "label_words.csv": '0,"kit fox, Vulpes macrotis"\n1,"tench, Tinca tinca"\n2,"crane"\n',
        "train_label": ("n01440764/n01440764_9.JPEG 1\nn02012849/n02012849_1.JPEG 2\nn02119789/n02119789_7.JPEG 0\n"),
        "val_label": "n01440764/ILSVRC2012_val_00000002.JPEG 1\nn02119789/ILSVRC2012_val_00000001.JPEG 0\n",
        "test_label": "ILSVRC2012_test_00000001.JPEG -1\n",
    }


def test_a_class_with_a_comma_or_quotes_is_quoted_in_nnablas_tables() -> None:
    classes = Classes.of(["a,b", 'say "miau"', "big cat"])
    tables = beside("nnabla", dataclasses.replace(CONTENT, classes=classes))
    assert tables["label_wordnetid.csv"] == '0,"a,b"\r\n1,"say ""miau"""\r\n2,big cat\r\n'
    assert tables["label_words.csv"] == '0,"a,b"\n1,"say ""miau"""\n2,"big cat"\n'


def test_mxnets_lists_match_im2rec() -> None:
    assert beside("mxnet") == {
        "classes.txt": CLASSES_TXT,
        "train.lst": (
            "0\t1.000000\ttrain/n01440764/n01440764_9.JPEG\n"
            "1\t2.000000\ttrain/n02012849/n02012849_1.JPEG\n"
            "2\t0.000000\ttrain/n02119789/n02119789_7.JPEG\n"
        ),
        "val.lst": (
            "0\t1.000000\tval/n01440764/ILSVRC2012_val_00000002.JPEG\n"
            "1\t0.000000\tval/n02119789/ILSVRC2012_val_00000001.JPEG\n"
        ),
        "test.lst": "0\t-1.000000\ttest/ILSVRC2012_test_00000001.JPEG\n",
    }


def test_mxnets_lists_have_all_labels_of_an_image() -> None:
    several = dataclasses.replace(CONTENT, several={"val": [[1, 2], [0]]})
    assert beside("mxnet", several)["val.lst"] == (
        "0\t1.000000\t2.000000\tval/n01440764/ILSVRC2012_val_00000002.JPEG\n"
        "1\t0.000000\tval/n02119789/ILSVRC2012_val_00000001.JPEG\n"
    )
    assert beside("mxnet", several)["train.lst"] == beside("mxnet")["train.lst"]


def test_apm5s_lists_keep_the_class_numbers_and_shorten_the_names() -> None:
    assert beside("apm5") == {
        "data/label_to_content.json": '{"0": "kit_fox", "1": "tench", "2": "crane"}',
        "data/train_label.txt": (
            "n01440764/n01440764_9.JPEG 1\nn02012849/n02012849_1.JPEG 2\nn02119789/n02119789_7.JPEG 0\n"
        ),
        "data/validation_label.txt": (
            "n01440764/ILSVRC2012_val_00000002.JPEG 1\nn02119789/ILSVRC2012_val_00000001.JPEG 0\n"
        ),
        "data/test_label.txt": "ILSVRC2012_test_00000001.JPEG -1\n",
    }


def test_apm5_numbers_the_classes_of_imagenet_as_the_development_kit_does() -> None:
    """The label_to_content.json of Apm5 begins with kit_fox and English_setter, and ends with dumbbell."""
    ids = imagenet()
    tench, fox, setter, dumbbell = (ids.index(wnid) for wnid in ("n01440764", "n02119789", "n02100735", "n03255030"))
    names = dict(zip(ids, ids, strict=True)) | {
        "n02119789": "kit fox, Vulpes macrotis",
        "n02100735": "English setter",
        "n03255030": "dumbbell",
    }
    content = Content(
        classes=Classes.of(ids, [names[wnid] for wnid in ids]),
        names={"train": ["tench.JPEG", "fox.JPEG", "setter.JPEG", "dumbbell.JPEG"], "test": ["x.JPEG"]},
        labels={"train": [tench, fox, setter, dumbbell], "test": [-1]},
    )
    files = beside("apm5", content)
    assert files["data/train_label.txt"] == (
        f"tench.JPEG {devkit_order().index('n01440764')}\nfox.JPEG 0\nsetter.JPEG 1\ndumbbell.JPEG 999\n"
    )
    assert files["data/test_label.txt"] == "x.JPEG -1\n"
    listed = json.loads(files["data/label_to_content.json"])
    assert list(listed) == [str(number) for number in range(1000)]
    assert [listed[number] for number in ("0", "1", "999")] == ["kit_fox", "English_setter", "dumbbell"]


def test_tensorflows_list_has_the_classes_of_the_validation_images_in_name_order() -> None:
    assert beside("tensorflow") == {
        "synset_labels.txt": "n02119789\nn01440764\n",
        "imagenet_lsvrc_2015_synsets.txt": "n02119789\nn01440764\nn02012849\n",
        "imagenet_metadata.txt": (
            "n02119789\tkit fox, Vulpes macrotis\nn01440764\ttench, Tinca tinca\nn02012849\tcrane\n"
        ),
    }
    without = dataclasses.replace(
        CONTENT, names={"train": CONTENT.names["train"]}, labels={"train": CONTENT.labels["train"]}
    )
    assert set(beside("tensorflow", without)) == {"imagenet_lsvrc_2015_synsets.txt", "imagenet_metadata.txt"}


def test_kaggles_lists_number_their_lines_and_its_solution_has_the_classes() -> None:
    assert beside("kaggle") == {
        "LOC_synset_mapping.txt": (
            "n02119789 kit fox, Vulpes macrotis\nn01440764 tench, Tinca tinca\nn02012849 crane\n"
        ),
        "LOC_val_solution.csv": (
            "ImageId,PredictionString\nILSVRC2012_val_00000002,n01440764\nILSVRC2012_val_00000001,n02119789\n"
        ),
        "ILSVRC/ImageSets/CLS-LOC/train_cls.txt": (
            "n01440764/n01440764_9 1\nn02012849/n02012849_1 2\nn02119789/n02119789_7 3\n"
        ),
        "ILSVRC/ImageSets/CLS-LOC/val.txt": "ILSVRC2012_val_00000002 1\nILSVRC2012_val_00000001 2\n",
        "ILSVRC/ImageSets/CLS-LOC/test.txt": "ILSVRC2012_test_00000001 1\n",
    }


@pytest.mark.parametrize("style", STYLES)
def test_images_are_where_each_style_expects_them(style: Any) -> None:
    flat, root = ["ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000001.JPEG"], "ILSVRC/Data/CLS-LOC"
    train, val, (test,) = (CONTENT.names[split] for split in ("train", "val", "test"))
    if style == "kaggle":
        val_paths, test_path = [f"{root}/val/{name}" for name in flat], f"{root}/test/{test}"
        train_paths = [f"{root}/train/{name}" for name in train]
    else:
        train_paths, test_path = [f"train/{name}" for name in train], f"test/{test}"
        val_paths = [f"validation/{name}" for name in flat] if style == "tensorflow" else [f"val/{n}" for n in val]
    assert paths(style) == {"train": train_paths, "val": val_paths, "test": [test_path]}
    folders = [] if style == "kaggle" else ["train/n02119789", "train/n01440764", "train/n02012849"]
    assert ListsWriter(CONTENT, style).folders() == folders


def test_kaggles_lists_are_refused_for_images_of_another_suffix() -> None:
    content = dataclasses.replace(CONTENT, names=dict(CONTENT.names) | {"val": ["n01440764/a.JPEG", "n02119789/b.jpg"]})
    with pytest.raises(UsageError) as caught:
        ListsWriter(content, "kaggle")
    assert str(caught.value) == (
        "Kaggle's lists omit the suffix .JPEG, so every image must have it, but val/n02119789/b.jpg has another. "
        "Choose another --style."
    )
    assert ListsWriter(content, "caffe").files_beside()


def test_numbered_classes_are_listed_by_number() -> None:
    content = dataclasses.replace(CONTENT, classes=Classes.numbered_to(3))
    assert beside("plain", content)["classes.txt"] == "0\t0\n1\t1\n2\t2\n"
    words = dataclasses.replace(CONTENT, classes=Classes(("0", "1", "2"), ("zero", "one", "two"), numbered=True))
    assert beside("plain", words)["label_words.csv"] == '0,"zero"\n1,"one"\n2,"two"\n'


# Reading back.


@pytest.fixture(scope="module")
def set_of_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet unpacked: class folders for train and val, and a flat test without labels."""
    folder = tmp_path_factory.mktemp("images") / "set"
    ids = ["n02119789", "n01440764", "n02012849"]
    names = [f"train/{wnid}/{wnid}_{number}.JPEG" for wnid in ids for number in range(3)]
    names += [f"val/{wnid}/ILSVRC2012_val_0000000{number}.JPEG" for number, wnid in enumerate(ids, 1)]
    names += ["test/ILSVRC2012_test_00000001.JPEG", "test/ILSVRC2012_test_00000002.JPEG"]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(part(9 + number, 12, number)))
    return folder


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Classes whose names contain spaces and commas and are not in sorted order."""
    classes = Classes.of(["dog", "cat", "ant"], ["Canis familiaris, dog", "cat", "ant, emmet"])
    rows = {
        split: [
            (f"{name}/{split}{number}.jpg", label, encoded(part(9 + 3 * number + label, 12)))
            for label, name in enumerate(classes.ids)
            for number in range(count)
        ]
        for split, count in (("train", 3), ("val", 1))
    }
    rows["test"] = [("t1.jpg", -1, encoded(part(30, 12))), ("t2.jpg", -1, encoded(part(31, 12)))]
    return dataset(tmp_path_factory.mktemp("pets"), classes, rows)


@pytest.mark.parametrize("of", ["pets", "imagenet"])
@pytest.mark.parametrize("style", READABLE)
def test_the_lists_that_tench_reads_are_read_back_as_the_same_dataset(
    set_of_images: Path, pets: Dataset, tmp_path: Path, style: Any, of: str
) -> None:
    source = pets if of == "pets" else open_source(set_of_images)
    prepare(source, tmp_path / "lists", to="list", options=PrepareOptions(style=style), threads=1)
    found = open_source(tmp_path / "lists")
    assert found.layout == "list"
    assert found.classes.ids == source.classes.ids
    assert found.fingerprint == source.fingerprint
    for split, table in source.splits.items():
        assert [found.splits[split].read(row) for row in range(len(table))] == [
            table.read(row) for row in range(len(table))
        ]


@pytest.mark.parametrize("style", sorted(STYLES.keys() - {*READABLE}))
def test_other_lists_name_each_image_that_exists(set_of_images: Path, tmp_path: Path, style: Any) -> None:
    source = open_source(set_of_images)
    prepare(source, tmp_path / "lists", to="list", options=PrepareOptions(style=style), threads=1)
    images = [path for path in (tmp_path / "lists").rglob("*.JPEG") if path.is_file()]
    assert len(images) == source.num_images
    texts = [path.read_text() for path in (tmp_path / "lists").rglob("*.txt")]
    lines = [line.split(" ")[0].removesuffix(".JPEG") for text in texts for line in text.splitlines()]
    named = [path for path in images if any(str(path).removesuffix(".JPEG").endswith(f"/{line}") for line in lines)]
    assert len(named) == (0 if style == "tensorflow" else source.num_images)


def test_kaggles_tree_is_read_as_kaggles(set_of_images: Path, tmp_path: Path) -> None:
    source = open_source(set_of_images)
    prepare(source, tmp_path / "kaggle", to="list", options=PrepareOptions(style="kaggle"), threads=1)
    found = open_source(tmp_path / "kaggle")
    assert found.layout == "kaggle"
    for split in ("train", "val", "test"):
        theirs, ours = found.splits[split], source.splits[split]
        assert theirs.keys() == ours.keys()
        known = np.array([source.classes.ids.index(wnid) for wnid in found.classes.ids])
        labels = [known[label] if label >= 0 else -1 for label in theirs.labels]
        assert labels == ours.labels.tolist()
