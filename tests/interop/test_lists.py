"""Lists written by `tench prepare`, read by the rules of the programs that they are for.

Those programs are old or need their own machine, so what each does with a line is reimplemented here from its source.
MXNet itself reads the lists for MXNet in test_mxnet.py, and DALI reads those for NNabla in test_dali.py.
"""

import csv
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.data import miniature
from tests.interop import sets
from tests.interop.conftest import Prepare
from tests.interop.sets import Made, Stored

from tench.compat import import_timm

Listed = list[tuple[Path, int]]
"""Image files and labels, in the order of the list."""
Rule = Callable[[str, Path], Listed]

# The published labels of ImageNet's first validation images: in the order of the sorted classes, and of the devkit.
SORTED = (65, 970, 230, 809, 516, 57, 334, 415, 674, 332, 109, 286)
DEVKIT = (490, 361, 171, 822, 297, 482, 13, 704, 599, 164, 649, 11)


def caffe(text: str, root: Path) -> Listed:
    """tools/convert_imageset.cpp: the line is split at its last space, and the root is put before the path."""
    found = []
    for line in text.splitlines():
        space = line.rfind(" ")
        found.append((Path(f"{root}/{line[:space]}"), int(line[space + 1 :])))
    return found


def apm5(text: str, root: Path) -> Listed:
    """utils/data_utils.py: a line has one space, and the path is joined to the root."""
    found = []
    for line in text.split("\n")[:-1]:
        path, label = line.split(" ")
        found.append((Path(os.path.join(root, path)), int(label)))
    return found


def im2rec(text: str, root: Path) -> Listed:
    """tools/im2rec.py: stripped fields between tabs: id, labels, path."""
    found: Listed = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.strip().split("\t")]
        assert int(fields[0]) == len(found)
        found.append((root / fields[-1], int(float(fields[1]))))
    return found


def imagenet_to_gcs(folder: Path) -> dict[str, Listed]:
    """imagenet_to_gcs.py: files by pattern, the classes of val from a file in the order of its names, labels from 1."""
    train = sorted((folder / "train").glob("*/*.JPEG"))
    val = sorted((folder / "validation").glob("*.JPEG"))
    classes = {
        "train": [path.parent.name for path in train],
        "val": (folder / "synset_labels.txt").read_text().splitlines(),
    }
    number = {wnid: 1 + rank for rank, wnid in enumerate(sorted({*classes["train"], *classes["val"]}))}
    return {
        split: [(path, number[wnid]) for path, wnid in zip(paths, classes[split], strict=True)]
        for split, paths in (("train", train), ("val", val))
    }


def compare(found: Listed, images: Sequence[Stored], labels: Sequence[int] | None = None) -> None:
    """Check that every image is listed once and its file has its bytes. labels: expected ones, if not the dataset's."""
    assert len(found) == len({path for path, _ in found}) == len(images)
    listed = sorted((hashlib.sha256(path.read_bytes()).hexdigest(), label) for path, label in found)
    wanted = labels if labels is not None else [image.label for image in images]
    assert listed == sorted(zip((image.sha256 for image in images), wanted, strict=True))


@pytest.mark.parametrize("names", ["photos", "odd"])
@pytest.mark.parametrize(
    ("style", "rule", "file", "root"),
    [
        ("plain", caffe, "{split}.txt", "."),
        ("caffe", caffe, "{split}.txt", "{split}"),
        ("nnabla", caffe, "{split}_label", "{split}"),
        ("mxnet", im2rec, "{split}.lst", "."),
        ("apm5", apm5, "data/{word}_label.txt", "{split}"),
    ],
)
def test_a_program_finds_every_image_and_its_label(
    photos: Made, prepare: Prepare, tmp_path: Path, style: str, rule: Rule, file: str, root: str, names: str
) -> None:
    source = photos if names == "photos" else sets.odd_names(tmp_path / "odd", photos, spaces=False)
    folder = prepare(source, "--to", "list", "--style", style)
    for split, images in source:
        word = "validation" if split == "val" else split
        text = (folder / file.format(split=split, word=word)).read_bytes().decode()
        compare(rule(text, folder / root.format(split=split)), images)


def test_apm5_numbers_imagenets_classes_as_the_devkit_does_from_0(
    photos: Made, prepare: Prepare, tmp_path: Path
) -> None:
    wnids = sorted(import_timm().data.ImageNetInfo().label_names())
    assert len(wnids) == 1000
    data = photos.images["train"][0].data
    files = {f"{wnid}/{wnid}_{row}.JPEG": data + str(row).encode() for row, wnid in enumerate(wnids)}
    miniature.write(tmp_path / "imagenet/train", files)
    imagenet = sets.made(tmp_path / "imagenet", {"train": files})
    folder = prepare(imagenet, "--to", "list", "--style", "apm5")
    found = dict(apm5((folder / "data/train_label.txt").read_text(), folder / "train"))
    assert sorted(found.values()) == list(range(1000))
    for row, number in zip(SORTED, DEVKIT, strict=True):
        assert found[folder / f"train/{wnids[row]}/{wnids[row]}_{row}.JPEG"] == number - 1


def test_the_official_converter_finds_class_folders_in_train_and_flat_images_in_val(
    prepare: Prepare, tmp_path: Path
) -> None:
    imagenet = sets.ilsvrc(tmp_path / "imagenet")
    folder = prepare(imagenet, "--to", "list", "--style", "tensorflow", "--bad", "skip", "--splits", "train", "val")
    found = imagenet_to_gcs(folder)
    for split in ("train", "val"):
        compare(found[split], imagenet.images[split], [image.label + 1 for image in imagenet.images[split]])


def test_kaggles_tree_has_its_lists_and_the_solution_of_val(prepare: Prepare, tmp_path: Path) -> None:
    imagenet = sets.ilsvrc(tmp_path / "imagenet")
    folder = prepare(imagenet, "--to", "list", "--style", "kaggle", "--bad", "skip")
    images = folder / "ILSVRC/Data/CLS-LOC"
    for split, name in (("train", "train_cls"), ("val", "val"), ("test", "test")):
        found = []
        for row, line in enumerate((folder / f"ILSVRC/ImageSets/CLS-LOC/{name}.txt").read_text().splitlines(), 1):
            stem, number = line.split()
            assert int(number) == row
            found.append((images / split / f"{stem}.JPEG", 0))
        compare(found, imagenet.images[split], [0] * len(imagenet.images[split]))

    with (folder / "LOC_synset_mapping.txt").open() as mapping:
        order = [line.split(" ", 1)[0] for line in mapping]
    with (folder / "LOC_val_solution.csv").open(newline="") as solution:
        rows = list(csv.DictReader(solution))
    classes = {row["ImageId"]: set(row["PredictionString"].split()[0::5]) for row in rows}
    assert all(len(of_image) == 1 for of_image in classes.values())
    labelled = [(images / f"val/{stem}.JPEG", order.index(*of_image)) for stem, of_image in classes.items()]
    compare(labelled, imagenet.images["val"])
