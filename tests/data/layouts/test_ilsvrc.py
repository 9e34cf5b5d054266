import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data import miniature
from tests.data.miniature import CLASSES, VAL, flat, image_name, tar_bytes, write
from tests.support.datasets import images_of
from tests.support.errors import error_of

from tench.compat import import_torchvision
from tench.data import table
from tench.data.files.tree import Tree, open_tree
from tench.data.formats import devkit, wordnet
from tench.data.layouts import ilsvrc
from tench.data.table import Dataset

TRUTH = miniature.photographs()
NO_CRANE = "val has no images of 1 class: n03126707."


def tree_of(path: Path) -> Tree:
    return open_tree(path, Path(os.environ["TENCH_CACHE"]) / "spool")


def read(path: Path) -> Dataset:
    tree = tree_of(path)
    assert ilsvrc.recognise(tree)
    return table.made(ilsvrc.read(tree), source=str(path), layout=ilsvrc.NAME)


def only(*splits: str) -> miniature.Truth:
    return {split: TRUTH[split] for split in splits}


refusal = error_of(read)


def move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)


def unpacked(folder: Path) -> Path:
    """Write class folders for train, flat folders for val and test, and the unpacked devkit."""
    miniature.unpacked_train(folder / "train")
    write(folder / "val", flat("val"))
    write(folder / "test", flat("test"))
    return write(folder, miniature.devkit_files())


# As downloaded.


def test_every_image_of_the_archives_has_its_class_and_its_bytes(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path)
    dataset = read(tmp_path)
    assert images_of(dataset) == TRUTH
    assert dataset.classes.ids == tuple(sorted(CLASSES))
    assert dataset.classes.names == tuple(CLASSES[wnid] for wnid in sorted(CLASSES))
    assert dataset.notes == (
        f"The labels of val are from {tmp_path}/ILSVRC2012_devkit_t12.tar.gz.",
        f"The labels of val agree with {tmp_path}/ILSVRC2012_bbox_val_v3.tgz.",
        NO_CRANE,
    )


def test_images_are_addressed_in_place_and_nothing_is_copied(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path)
    dataset = read(tmp_path)
    archives = {"train": "ILSVRC2012_img_train.tar", "val": "ILSVRC2012_img_val.tar"}
    for split, archive in (archives | {"test": "ILSVRC2012_img_test_v10102019.tar"}).items():
        rows = dataset.splits[split]
        assert {rows.shard(row) for row in range(len(rows))} == {str(tmp_path / archive)}
    assert not (Path(os.environ["TENCH_CACHE"]) / "spool").exists()


def test_two_classes_with_the_same_name_stay_separate(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path)
    dataset = read(tmp_path)
    assert [wnid for wnid, name in zip(dataset.classes.ids, dataset.classes.names, strict=True) if name == "crane"] == [
        "n02012849",
        "n03126707",
    ]


def test_the_archives_are_unsorted_like_the_real_ones(tmp_path: Path) -> None:
    """A test of the miniature: assigning labels in the order of the members would be wrong."""
    for archive in (miniature.train_tar(tmp_path), miniature.val_tar(tmp_path)):
        with tarfile.open(archive) as tar:
            assert tar.getnames() != sorted(tar.getnames())


LABELS: dict[str, Callable[[Path], object]] = {
    "devkit archive": miniature.devkit,
    "devkit": lambda path: write(path, miniature.devkit_files()),
    "devkit of 2015": lambda path: write(path, miniature.later_devkit_files()),
    "annotations archive": miniature.bbox_val,
    "annotations": lambda path: write(path, miniature.val_annotations()),
    "solution": lambda path: write(path, {"LOC_val_solution.csv": miniature.solution()}),
    "synsets": lambda path: write(path, {"imagenet_2012_validation_synset_labels.txt": miniature.synsets()}),
}


@pytest.mark.parametrize("form", LABELS)
@pytest.mark.parametrize("packed", [True, False])
def test_any_one_of_the_label_files_is_enough(tmp_path: Path, form: str, packed: bool) -> None:
    if packed:
        miniature.train_tar(tmp_path)
        miniature.val_tar(tmp_path)
    else:
        miniature.unpacked_train(tmp_path / "train")
        write(tmp_path / "val", flat("val"))
    LABELS[form](tmp_path)
    dataset = read(tmp_path)
    assert images_of(dataset) == only("train", "val")
    assert dataset.classes.ids == tuple(sorted(CLASSES))
    assert dataset.notes[0].startswith(f"The labels of val are from {tmp_path}/")
    assert dataset.notes[1:] == (NO_CRANE,)


def test_if_there_are_several_label_files_they_are_compared(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path)
    for form in LABELS.values():
        form(tmp_path)
    dataset = read(tmp_path)
    assert images_of(dataset) == TRUTH
    agree = dataset.notes[1]
    assert agree.startswith(f"The labels of val agree with {tmp_path}/")
    assert agree.count(str(tmp_path)) == 6


def test_class_names_come_from_wordnet_if_no_devkit_has_them(tmp_path: Path) -> None:
    miniature.train_tar(tmp_path)
    assert read(tmp_path).classes.names[0] == "tench, Tinca tinca"
    assert read(tmp_path).classes.names == tuple(wordnet.names_of(sorted(CLASSES)))


def test_a_devkit_next_to_train_alone_provides_names_and_counts(tmp_path: Path) -> None:
    miniature.train_tar(tmp_path)
    data = miniature.meta_mat(words="words", num_train_images=3.0)
    miniature.devkit(tmp_path, miniature.devkit_files() | {"ILSVRC2012_devkit_t12/data/meta.mat": data})
    dataset = read(tmp_path)
    assert dataset.classes.names == ("words",) * 6
    assert dataset.notes == (
        "train has 21 images, but the devkit lists 18. They differ in 3 classes: n01440764 has 4 instead of 3, "
        "n02092002 has 4 instead of 3, n02100735 has 4 instead of 3.",
        "There is no split val: neither ILSVRC2012_img_val.tar nor a folder val was found.",
    )


@pytest.mark.parametrize("folder", ["", "test/"])
@pytest.mark.parametrize("name", ["ILSVRC2012_img_test.tar", "ILSVRC2012_img_test_v10102019.tar"])
def test_the_test_archive_may_contain_a_folder_or_none(tmp_path: Path, name: str, folder: str) -> None:
    miniature.train_tar(tmp_path)
    miniature.archive_of_test(tmp_path, name, folder)
    assert images_of(read(tmp_path)) == only("train", "test")


def test_the_patch_of_test_replaces_the_images_it_repairs(tmp_path: Path) -> None:
    miniature.train_tar(tmp_path)
    miniature.archive_of_test(tmp_path, "ILSVRC2012_img_test.tar", "")
    name = f"{image_name('test', 2)}.JPEG"
    write(tmp_path, {"ILSVRC2012_img_test_patch_v10102019.tar": tar_bytes({f"test/{name}": b"repaired"})})
    dataset = read(tmp_path)
    assert images_of(dataset)["test"] == TRUTH["test"] | {name: (None, b"repaired")}
    assert "ILSVRC2012_img_test_patch_v10102019.tar replaces 1 image of test." in dataset.notes


def test_the_dogs_of_task_3_are_a_different_set_and_left_out(tmp_path: Path) -> None:
    miniature.train_tar(tmp_path)
    write(tmp_path, {"ILSVRC2012_img_train_t3.tar": tar_bytes({"n02099712.tar": b""})})
    dataset = read(tmp_path)
    assert images_of(dataset) == only("train")
    assert dataset.notes[0] == "ILSVRC2012_img_train_t3.tar was left out: it is a different set, the dogs of task 3."


# Unpacked, partly or completely.


def test_the_unpacked_set_has_the_same_rows_as_the_archives(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path / "packed")
    packed = read(tmp_path / "packed")
    for names in (
        ("train", "val", "test"),
        ("train", "validation", "test"),
        ("ILSVRC2012_img_train", "ILSVRC2012_img_val", "ILSVRC2012_img_test"),
        ("train", "ILSVRC2012_img_val", "ILSVRC2012_img_test_v10102019"),
    ):
        folder = unpacked(tmp_path / "-".join(names))
        for split, name in zip(("train", "val", "test"), names, strict=True):
            (folder / split).rename(folder / name)
        dataset = read(folder)
        assert images_of(dataset) == TRUTH
        assert dataset.fingerprint == packed.fingerprint
        assert dataset.classes == packed.classes


def test_the_folders_unpacked_by_torchvision_have_the_same_rows_as_the_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_torchvision()
    from torchvision.datasets import imagenet
    from torchvision.datasets.utils import calculate_md5

    archives = {
        "train": miniature.train_tar(tmp_path),
        "val": miniature.val_tar(tmp_path),
        "devkit": miniature.devkit(tmp_path),
    }
    packed = read(tmp_path)
    for part, archive in archives.items():
        monkeypatch.setitem(imagenet.ARCHIVE_META, part, (archive.name, calculate_md5(str(archive))))
    imagenet.parse_devkit_archive(str(tmp_path))
    imagenet.parse_train_archive(str(tmp_path))
    imagenet.parse_val_archive(str(tmp_path))
    archives["train"].unlink()
    archives["val"].unlink()
    dataset = read(tmp_path)
    assert images_of(dataset) == only("train", "val")
    assert dataset.fingerprint == packed.fingerprint
    assert dataset.notes == (f"The labels of val agree with {archives['devkit']}.", NO_CRANE)
    theirs = imagenet.ImageNet(str(tmp_path), "val")
    ours = dataset.splits["val"]
    by_path = {ours.shard(row): int(label) for row, label in enumerate(ours.labels)}
    names = list(dataset.classes.ids)
    assert {path: theirs.wnids[label] for path, label in theirs.samples} == {
        path: names[label] for path, label in by_path.items()
    }


def test_class_folders_of_val_give_the_labels(tmp_path: Path) -> None:
    miniature.unpacked_train(tmp_path / "train")
    miniature.prepared_val(tmp_path / "val")
    dataset = read(tmp_path)
    assert images_of(dataset) == only("train", "val")
    assert dataset.notes == (NO_CRANE,)


def test_class_folders_of_val_may_be_partial_next_to_labels_of_all_images(tmp_path: Path) -> None:
    miniature.unpacked_train(tmp_path / "train")
    miniature.prepared_val(tmp_path / "val")
    miniature.devkit(tmp_path)
    left_out = f"{VAL[2]}/{image_name('val', 3)}.JPEG"
    (tmp_path / "val" / left_out).unlink()
    assert images_of(read(tmp_path))["val"] == {key: value for key, value in TRUTH["val"].items() if key != left_out}


def test_val_may_be_partly_moved_into_class_folders(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    for number, wnid in list(enumerate(VAL, start=1))[::2]:
        name = f"{image_name('val', number)}.JPEG"
        move(folder / "val" / name, folder / "val" / wnid / name)
    assert images_of(read(folder)) == TRUTH


@pytest.mark.parametrize("folder", ["train", "ILSVRC2012_img_train", ""])
def test_train_may_be_partly_unpacked(tmp_path: Path, folder: str) -> None:
    classes = sorted(CLASSES)
    miniature.unpacked_train(tmp_path / folder, classes[::2])
    write(tmp_path / folder, {f"{wnid}.tar": miniature.class_tar(wnid) for wnid in classes[1::2]})
    (tmp_path / folder / classes[1]).mkdir()  # created, but nothing is unpacked into it yet
    miniature.val_tar(tmp_path)
    miniature.devkit(tmp_path)
    assert images_of(read(tmp_path)) == only("train", "val")


def test_class_archives_may_be_next_to_a_folder_that_is_not_a_class(tmp_path: Path) -> None:
    write(tmp_path / "train", {f"{wnid}.tar": miniature.class_tar(wnid) for wnid in CLASSES} | {"old/list.txt": b""})
    dataset = read(tmp_path)
    assert images_of(dataset) == only("train")
    assert dataset.notes[0].startswith("Left out 1 other file in train, such as train/old")


def test_the_archive_of_train_may_have_been_repacked_with_the_folder_around_it(tmp_path: Path) -> None:
    write(
        tmp_path, {"ILSVRC2012_img_train.tar": tar_bytes({f"./train/{c}.tar": miniature.class_tar(c) for c in CLASSES})}
    )
    assert images_of(read(tmp_path)) == only("train")
    folders = {f"ILSVRC/train/{key}": data for key, (_, data) in TRUTH["train"].items()}
    write(tmp_path, {"ILSVRC2012_img_train.tar": tar_bytes(folders)})
    assert images_of(read(tmp_path)) == only("train")


def test_archives_may_have_been_moved_into_the_folders_they_were_unpacked_to(tmp_path: Path) -> None:
    miniature.train_tar(tmp_path / "train")
    miniature.val_tar(tmp_path / "val")
    miniature.devkit(tmp_path)
    assert images_of(read(tmp_path)) == only("train", "val")


def test_an_archive_may_be_next_to_a_folder(tmp_path: Path) -> None:
    miniature.train_tar(tmp_path)
    (tmp_path / "train").mkdir()
    miniature.prepared_val(tmp_path / "val")
    dataset = read(tmp_path)
    assert images_of(dataset) == only("train", "val")
    assert dataset.notes == ("train contains no images and was left out.", NO_CRANE)


def test_a_folder_val_of_annotations_next_to_the_archive_is_not_a_second_val(tmp_path: Path) -> None:
    miniature.train_tar(tmp_path)
    miniature.val_tar(tmp_path)
    write(tmp_path, miniature.val_annotations() | miniature.train_annotations())
    assert images_of(read(tmp_path)) == only("train", "val")


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("top", ["", "imagenet/2012/"])
def test_the_whole_set_may_be_in_one_archive(tmp_path: Path, kind: str, top: str) -> None:
    miniature.ilsvrc(tmp_path / "set")
    files = {f"{top}{file.name}": file.read_bytes() for file in (tmp_path / "set").iterdir()}
    path = tmp_path / f"everything.{kind}"
    if kind == "tar":
        path.write_bytes(tar_bytes(files))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    assert images_of(read(path)) == TRUTH


# Parts alone.


def test_the_archive_of_train_alone_is_a_source(tmp_path: Path) -> None:
    path = miniature.train_tar(tmp_path)
    dataset = read(path)
    assert images_of(dataset) == only("train")
    assert dataset.notes == ("There is no split val: neither ILSVRC2012_img_val.tar nor a folder val was found.",)
    path.rename(tmp_path / "renamed.tar")
    assert read(tmp_path / "renamed.tar").fingerprint == dataset.fingerprint


def test_val_alone_has_the_classes_in_its_labels(tmp_path: Path) -> None:
    miniature.val_tar(tmp_path)
    write(tmp_path, {"LOC_val_solution.csv": miniature.solution()})
    dataset = read(tmp_path)
    assert images_of(dataset) == only("val")
    assert dataset.classes.ids == tuple(sorted(set(VAL)))
    assert dataset.notes[1:] == (
        "There is no split train: neither ILSVRC2012_img_train.tar nor a folder train was found.",
    )
    miniature.devkit(tmp_path)
    assert read(tmp_path).classes.ids == tuple(sorted(CLASSES))


def test_flat_images_of_val_may_be_next_to_their_labels(tmp_path: Path) -> None:
    write(tmp_path, flat("val") | {"synset_labels.txt": miniature.synsets()})
    assert images_of(read(tmp_path)) == only("val")


def test_test_alone_has_no_labels_and_the_thousand_classes(tmp_path: Path) -> None:
    dataset = read(miniature.archive_of_test(tmp_path))
    assert images_of(dataset) == only("test")
    assert dataset.classes.ids == wordnet.imagenet()
    assert dataset.notes[0] == "The images have no labels, so the classes are the 1000 of ILSVRC2012."


# What is recognised.


def paths(folder: Path, *names: str) -> Path:
    return write(folder / "set", dict.fromkeys(names, b"x"))


@pytest.mark.parametrize(
    "names",
    [
        ["ILSVRC2012_img_train.tar"],
        ["ILSVRC2012_img_val.tar", "anything.txt"],
        ["ILSVRC2012_devkit_t12.tar.gz"],
        ["train/n01440764.tar"],
        ["train/n01440764/a.JPEG", "val/ILSVRC2012_val_00000001.JPEG"],
        ["train/n01440764/a.JPEG", "val/n01440764/ILSVRC2012_val_00000001.JPEG"],
        ["train/n01440764/a.JPEG", "val/x/a.JPEG", "ILSVRC2012_devkit_t12.tar.gz"],
        ["validation/ILSVRC2012_val_00000001.JPEG"],
        ["val/ILSVRC2012_val_00000001.png"],
        ["ILSVRC2012_img_train/n01440764/a.JPEG"],
    ],
)
def test_ilsvrc_is_recognised_by_its_names(tmp_path: Path, names: list[str]) -> None:
    assert ilsvrc.recognise(tree_of(paths(tmp_path, *names)))


@pytest.mark.parametrize(
    "names",
    [
        ["train/n01440764/a.JPEG", "val/n01440764/b.JPEG"],
        ["train/n01440764/a.JPEG", "val/n01440764/b.JPEG", "words.txt"],
        ["n01440764/a.JPEG", "n02100735/b.JPEG"],
        ["n01440764.tar", "n02100735.tar"],
        ["train/cat/a.JPEG", "val/ILSVRC2012_val_00000001.JPEG"],
        ["train/train-00000-of-01024", "validation/validation-00000-of-00128", "synset_labels.txt"],
        ["train-00000-of-01024", "synset_labels.txt"],
        ["val_label", "ILSVRC2012_val_00000001.JPEG"],
        ["val/ILSVRC2012_val_00000001.xml"],
        ["train/n01440764/images/n01440764_0.JPEG", "val/images/val_0.JPEG", "val/val_annotations.txt"],
        ["ILSVRC/Data/CLS-LOC/train/n01440764/a.JPEG", "LOC_val_solution.csv"],
    ],
)
def test_sets_without_the_names_of_ilsvrc_are_left_to_other_layouts(tmp_path: Path, names: list[str]) -> None:
    assert not ilsvrc.recognise(tree_of(paths(tmp_path, *names)))


def test_a_set_of_other_classes_in_one_archive_is_left_to_other_layouts(tmp_path: Path) -> None:
    other = write(tmp_path, {"whole.tar": tar_bytes({"n01440764.tar": tar_bytes({}), "n00000001.tar": tar_bytes({})})})
    assert not ilsvrc.recognise(tree_of(other / "whole.tar"))
    write(tmp_path, {"photo.jpg": b"\xff\xd8", "LOC_val_solution.csv": b"x"})
    assert not ilsvrc.recognise(tree_of(tmp_path / "photo.jpg"))
    assert not ilsvrc.recognise(tree_of(tmp_path / "LOC_val_solution.csv"))


# Missing, duplicate and contradictory files.


@pytest.mark.parametrize("packed", [True, False])
def test_val_without_labels_is_an_error_before_any_large_file_is_read(tmp_path: Path, packed: bool) -> None:
    write(tmp_path, {"ILSVRC2012_img_train.tar": b"damaged, but this is not reached"})
    place = miniature.val_tar(tmp_path) if packed else write(tmp_path / "val", flat("val"))
    message = refusal(tmp_path)
    assert message == (
        f"{place} contains the images of val, but their labels are in a separate file. Add to {tmp_path} one of "
        f"these: {devkit.WOULD_DO}."
    )
    for name in ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_bbox_val_v3.tgz", "LOC_val_solution.csv", "synset_labels"):
        assert name in message


def test_the_archive_of_val_alone_is_an_error_as_it_has_no_labels(tmp_path: Path) -> None:
    path = miniature.val_tar(tmp_path)
    miniature.devkit(tmp_path)  # next to the archive, but outside the source that was named
    assert refusal(path) == (
        f"{path} contains the images of val, but their labels are in a separate file. Pass a folder with it and one "
        f"of these: {devkit.WOULD_DO}."
    )


def test_a_devkit_alone_is_an_error_that_says_what_is_missing(tmp_path: Path) -> None:
    miniature.devkit(tmp_path)
    assert refusal(tmp_path) == (
        f"{tmp_path} has no images of ILSVRC2012. Pass a folder with ILSVRC2012_img_train.tar and "
        "ILSVRC2012_img_val.tar in it, or with the folders train and val that were unpacked from them."
    )


@pytest.mark.parametrize(
    ("make", "first", "second"),
    [
        (lambda path: miniature.unpacked_train(path / "train"), "/ILSVRC2012_img_train.tar", "/train"),
        (lambda path: miniature.unpacked_train(path), "/ILSVRC2012_img_train.tar", " itself"),
        (
            lambda path: miniature.train_tar(path / "train"),
            "/ILSVRC2012_img_train.tar",
            "/train/ILSVRC2012_img_train.tar",
        ),
        (lambda path: miniature.prepared_val(path / "val"), "/ILSVRC2012_img_val.tar", "/val"),
        (
            lambda path: miniature.archive_of_test(path, "ILSVRC2012_img_test.tar"),
            "/ILSVRC2012_img_test_v10102019.tar",
            "/ILSVRC2012_img_test.tar",
        ),
    ],
)
def test_two_forms_of_one_split_are_an_error_that_names_both(
    tmp_path: Path, make: Callable[[Path], object], first: str, second: str
) -> None:
    miniature.ilsvrc(tmp_path)
    make(tmp_path)
    assert refusal(tmp_path).startswith(f"{tmp_path}{first} and {tmp_path}{second} both contain the split ")
    assert "Keep one and move the other away. The archive needs no unpacking; keep the unpacked" in refusal(tmp_path)


def test_two_folders_of_one_split_are_an_error(tmp_path: Path) -> None:
    miniature.unpacked_train(unpacked(tmp_path) / "ILSVRC2012_img_train")
    assert refusal(tmp_path).startswith(f"{tmp_path}/train and {tmp_path}/ILSVRC2012_img_train both contain the split")


def test_a_class_that_exists_packed_and_unpacked_is_an_error_that_names_it(tmp_path: Path) -> None:
    miniature.unpacked_train(tmp_path / "train")
    write(tmp_path / "train", {"n02100735.tar": miniature.class_tar("n02100735")})
    assert refusal(tmp_path) == (
        f"{tmp_path}/train/n02100735.tar and {tmp_path}/train/n02100735 both contain the class n02100735. The folder "
        f"may be incomplete if unpacking was interrupted. Move it away; the archive is read without unpacking."
    )


def test_images_of_val_that_exist_flat_and_in_class_folders_are_an_error(tmp_path: Path) -> None:
    miniature.prepared_val(unpacked(tmp_path) / "val")
    name = f"{image_name('val', 5)}.JPEG"
    assert refusal(tmp_path) == (
        f"{tmp_path}/val: {name} exists twice, as val/{name} and as val/n01440764/{name}. Images may have been copied "
        "into class folders instead of moved. Remove one of the two."
    )


@pytest.mark.parametrize("change", [VAL[:-1], [*VAL, "n01440764"]])
def test_different_numbers_of_labels_and_images_are_an_error_with_both(tmp_path: Path, change: list[str]) -> None:
    miniature.val_tar(tmp_path)
    truth = {"ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": miniature.ground_truth(change)}
    archive = miniature.devkit(tmp_path, miniature.devkit_files() | truth)
    assert refusal(tmp_path) == (
        f"{archive} has {len(change)} labels, but {tmp_path}/ILSVRC2012_img_val.tar contains 12 images, and line k "
        "must be the label of image k. One of the two is incomplete. Unpack or download it again."
    )


def test_images_of_val_without_a_label_are_an_error_with_the_first_name_and_the_count(tmp_path: Path) -> None:
    folder = write(tmp_path / "val", flat("val"))
    lines = [line for line in miniature.solution().splitlines(keepends=True) if b"00000007" not in line]
    write(tmp_path, {"LOC_val_solution.csv": b"".join(line for line in lines if b"00000009" not in line)})
    assert refusal(tmp_path) == (
        f"{folder}/ILSVRC2012_val_00000007.JPEG has no label in {tmp_path}/LOC_val_solution.csv; 2 of 12 images of "
        f"val are affected. The labels of val may be in one of: {devkit.WOULD_DO}."
    )


def test_an_image_with_another_name_has_no_label(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    move(folder / "val/ILSVRC2012_val_00000003.JPEG", folder / "val/a photograph.JPEG")
    assert "val/a photograph.JPEG has no label in" in refusal(folder)


def test_missing_images_that_have_a_label_are_reported_in_a_note(tmp_path: Path) -> None:
    miniature.val_tar(tmp_path)
    write(tmp_path, {"LOC_val_solution.csv": miniature.solution([*VAL, "n01440764"])})
    dataset = read(tmp_path)
    assert images_of(dataset) == only("val")
    assert dataset.notes[0] == (
        f"1 of the 13 images that {tmp_path}/LOC_val_solution.csv labels are missing, such as ILSVRC2012_val_00000013."
    )


def test_a_class_folder_that_contradicts_the_labels_is_an_error_with_both(tmp_path: Path) -> None:
    miniature.prepared_val(tmp_path / "val")
    archive = miniature.devkit(tmp_path)
    name = "ILSVRC2012_val_00000007.JPEG"
    move(tmp_path / "val/n02012849" / name, tmp_path / "val/n01440764" / name)
    assert refusal(tmp_path) == (
        f"{tmp_path}/val/n01440764/{name} is in the folder of class n01440764, but {archive}, line 7 says n02012849. "
        "One of the two is wrong. Unpack val again, or move the file with the labels away."
    )


def test_sources_of_labels_that_disagree_are_an_error(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path)
    write(tmp_path, {"synset_labels.txt": miniature.synsets([*VAL[:3], "n01440764", *VAL[4:]])})
    assert refusal(tmp_path) == (
        f"ILSVRC2012_val_00000004 has class n02092002 in {tmp_path}/ILSVRC2012_devkit_t12.tar.gz, line 4, but "
        f"n01440764 in {tmp_path}/synset_labels.txt, line 4; 1 of 12 labels differ. One of the two is wrong. Move it "
        f"away."
    )


def test_a_label_that_is_not_a_class_of_train_is_an_error_with_its_line(tmp_path: Path) -> None:
    miniature.unpacked_train(tmp_path / "train", [wnid for wnid in CLASSES if wnid != "n02092002"])
    miniature.val_tar(tmp_path)
    write(tmp_path, {"synset_labels.txt": miniature.synsets()})
    assert refusal(tmp_path) == (
        f"{tmp_path}/synset_labels.txt, line 4: ILSVRC2012_val_00000004 has the class n02092002, which is not one of "
        "the 5 classes of train; 2 of 12 images of val are affected. Either classes of train are missing, or val "
        "belongs to another set."
    )
    (tmp_path / "ILSVRC2012_img_val.tar").unlink()
    miniature.prepared_val(tmp_path / "val")
    assert "val/n02092002/ILSVRC2012_val_00000004.JPEG: ILSVRC2012_val_00000004 has the class" in refusal(tmp_path)


def test_a_csv_with_an_unknown_class_is_an_error_with_its_line(tmp_path: Path) -> None:
    miniature.train_tar(tmp_path)
    miniature.val_tar(tmp_path)
    write(tmp_path, {"LOC_val_solution.csv": miniature.solution([*VAL[:-1], "n99999999"])})
    lines = (tmp_path / "LOC_val_solution.csv").read_text().splitlines()
    (line,) = (number for number, text in enumerate(lines, start=1) if "n99999999" in text)
    assert refusal(tmp_path).startswith(
        f"{tmp_path}/LOC_val_solution.csv, line {line}: ILSVRC2012_val_00000012 has the class n99999999"
    )


def test_a_note_names_the_classes_with_fewer_train_images_than_the_devkit_counts(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    (folder / "train/n01440764/n01440764_9.JPEG").unlink()
    assert read(folder).notes[-2:] == (
        "train has 20 images, but the devkit lists 21. They differ in 1 class: n01440764 has 3 instead of 4.",
        NO_CRANE,
    )


def test_files_that_are_not_images_are_counted(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    write(folder, {"train/n01440764/list.txt": b"", "train/other/a.JPEG": b"", "val/a.txt": b"", "test/b.txt": b""})
    assert read(folder).notes[:1] + read(folder).notes[-1:] == (
        "Left out 2 other files in train, such as train/n01440764/list.txt.",
        "Left out 1 other file in test, such as test/b.txt.",
    )
    assert "Left out 1 other file in val, such as val/a.txt." in read(folder).notes


def test_a_class_without_images_is_named_in_a_note(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    (folder / "train/n02000000").mkdir()
    dataset = read(folder)
    assert len(dataset.classes) == 7
    assert "train has no images of 1 class: n02000000." in dataset.notes


def test_a_train_archive_without_images_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"ILSVRC2012_img_train.tar": tar_bytes({"n01440764.tar": tar_bytes({})})})
    assert refusal(tmp_path).startswith(f"{tmp_path}/ILSVRC2012_img_train.tar contains no class images.")


@pytest.mark.parametrize("archive", ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"])
def test_an_archive_truncated_anywhere_is_an_error_that_names_it(tmp_path: Path, archive: str) -> None:
    miniature.ilsvrc(tmp_path)
    whole = (tmp_path / archive).read_bytes()
    with tarfile.open(tmp_path / archive) as tar:
        last = tar.getmembers()[-1]
    end = last.offset_data + last.size  # only zeros follow, and 512 of them are enough
    for length in (0, 511, 512, end, *random.Random(0).sample(range(end), 40)):
        (tmp_path / archive).write_bytes(whole[:length])
        assert refusal(tmp_path).startswith(f"{tmp_path}/{archive}")


def test_a_damaged_class_archive_is_named_with_its_place(tmp_path: Path) -> None:
    tars = {f"{wnid}.tar": miniature.class_tar(wnid) for wnid in CLASSES}
    write(tmp_path, {"ILSVRC2012_img_train.tar": tar_bytes(tars | {"n02100735.tar": tars["n02100735.tar"][:900]})})
    assert refusal(tmp_path).startswith(f"{tmp_path}/ILSVRC2012_img_train.tar/n02100735.tar (in {tmp_path}/ILSVRC2012")


# The stamp of the source.


def test_the_stamp_contains_the_files_that_were_read_but_no_single_images_in_folders(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path / "packed")
    stamp = ilsvrc.read(tree_of(tmp_path / "packed")).stamp
    names = {Path(path).name for path in stamp}
    assert names == {file.name for file in (tmp_path / "packed").iterdir()} - {"ILSVRC2012_bbox_train_v2.tar.gz"} | {
        "packed"
    }
    folder = unpacked(tmp_path / "unpacked")
    stamp = ilsvrc.read(tree_of(folder)).stamp
    folders = {str(path) for path in (folder, *folder.rglob("*")) if path.is_dir()}
    data = folder / "ILSVRC2012_devkit_t12/data"
    assert set(stamp) == folders | {
        str(data / "meta.mat"),
        str(data / "ILSVRC2012_validation_ground_truth.txt"),
    }
