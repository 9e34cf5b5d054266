import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import class_of_each_key, reloaded
from tests.support.errors import error_of
from tests.support.files import named, write_folder

from tench.compat import import_torchvision
from tench.data.files.tree import open_tree
from tench.data.layouts import folder
from tench.data.options import SourceOptions
from tench.data.table import Contents, Dataset

IMAGE = b"as good as an image: folders are read by name"
WORDS = {"n01443537": "goldfish, Carassius auratus", "n01440764": "tench, Tinca tinca", "n04532670": "viaduct"}


def make(path: Path, *files: str) -> Path:
    return write_folder(path, named(files, IMAGE))


def read(path: Path, **options: Any) -> Dataset:
    contents = folder.read(open_tree(path, path / "no spool", SourceOptions(**options)))
    return reloaded(contents, folder.NAME, path)


def listing(dataset: Dataset, split: str = "train") -> dict[str, str | None]:
    """The class of each key, after checking the bytes and the path of each image."""
    rows = dataset.splits[split]
    for row in range(len(rows)):
        assert rows.read(row) == Path(rows.shard(row)).read_bytes()
        assert rows.encoding(row) == "file"
    return class_of_each_key(dataset, split)


refusal = error_of(read)


def tiny(path: Path) -> Path:
    """Tiny-ImageNet's layout with three classes: two images per class in train, three images in val and two in test."""
    for wnid in WORDS:
        make(path / "train" / wnid, f"images/{wnid}_0.JPEG", f"images/{wnid}_1.JPEG", f"{wnid}_boxes.txt")
    make(path / "val/images", "val_0.JPEG", "val_1.JPEG", "val_2.JPEG")
    make(path / "test/images", "test_0.JPEG", "test_1.JPEG")
    lines = [
        "val_1.JPEG\tn04532670\t0\t32\t44\t62",
        "val_0.JPEG\tn01440764\t1\t2\t3\t4",
        "val_2.JPEG\tn04532670\t1\t2\t3\t4",
    ]
    (path / "val/val_annotations.txt").write_text("".join(line + "\n" for line in lines))
    words = {"n00000001": "something else"} | WORDS
    (path / "words.txt").write_text("".join(f"{wnid}\t{names}\n" for wnid, names in words.items()))
    (path / "wnids.txt").write_text("\n".join(WORDS))
    return path


def test_paths_and_labels_match_torchvisions_image_folder(photo_folder: Path) -> None:
    import_torchvision()
    from torchvision.datasets import ImageFolder

    dataset = read(photo_folder)
    for split in ("train", "val"):
        theirs = ImageFolder(str(photo_folder / split))
        ours = dataset.splits[split]
        assert dataset.classes.ids == tuple(theirs.classes)
        assert [(ours.shard(row), int(ours.labels[row])) for row in range(len(ours))] == theirs.samples
    assert dataset.notes == ()


def test_labels_match_torchvisions_in_a_difficult_tree(tmp_path: Path) -> None:
    import_torchvision()
    from torchvision.datasets import ImageFolder

    make(
        tmp_path / "set",
        *("b/x.JPG", "b/deep/er/y.Png", "b/z.txt", "B/x.jpeg", "10/x.bmp", "9/x.tif", "\u00e9/x.webp", "a b/x.ppm"),
        *("\uffee/x.jpg", "\U0001f41f/x.jpg"),
    )
    theirs = ImageFolder(str(tmp_path / "set"))
    dataset = read(tmp_path / "set")
    ours = dataset.splits["train"]
    assert dataset.classes.ids == tuple(theirs.classes)
    assert {ours.shard(row): int(ours.labels[row]) for row in range(len(ours))} == dict(theirs.samples)
    assert len(theirs) == 9


@settings(max_examples=20, deadline=None)
@given(
    st.sets(st.text("aB1\u00e9\U0001f41f -", min_size=1, max_size=3).filter(lambda name: name.strip(" ")), min_size=2)
)
def test_class_folders_with_any_name_are_sorted_by_code_point(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    path = make(tmp_path_factory.mktemp("any") / "set", *(f"{name}/x.jpg" for name in names))
    dataset = read(path)
    assert list(dataset.classes.ids) == sorted(names)
    assert listing(dataset) == {f"{name}/x.jpg": name for name in names}


def test_images_in_folders_inside_a_class_folder_belong_to_the_class(tmp_path: Path) -> None:
    dataset = read(make(tmp_path / "set", "cat/a.jpg", "cat/old/a.jpg", "cat/old/older/a.jpg", "dog/new/a.jpg"))
    assert listing(dataset) == {
        "cat/a.jpg": "cat",
        "cat/old/a.jpg": "cat",
        "cat/old/older/a.jpg": "cat",
        "dog/new/a.jpg": "dog",
    }


def test_class_folders_alone_are_the_split_train_and_a_note_says_so(tmp_path: Path) -> None:
    dataset = read(make(tmp_path / "set", "cat/a.jpg", "dog/a.jpg"))
    assert list(dataset.splits) == ["train"]
    assert dataset.notes == ("No folder is named like a split, so all images are train.",)


@pytest.mark.parametrize("name", ["val", "validation", "valid", "Val", "VALID"])
def test_the_validation_set_has_three_names_in_any_case(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "set", "train/cat/a.jpg", "train/dog/a.jpg", f"{name}/cat/b.jpg", f"{name}/dog/c.jpg")
    dataset = read(path)
    assert listing(dataset, "val") == {"cat/b.jpg": "cat", "dog/c.jpg": "dog"}
    assert dataset.notes == ()


def test_training_and_testing_are_train_and_test(tmp_path: Path) -> None:
    files = [f"{split}/{name}/x.jpg" for split in ("Training", "testing", "Valid") for name in ("1", "2")]
    dataset = read(make(tmp_path / "set", *files))
    assert (list(dataset.splits), dataset.classes.ids) == (["train", "val", "test"], ("1", "2"))


@pytest.mark.parametrize(
    ("names", "split"), [(("val", "valid"), "val"), (("test", "Test"), "test"), (("train", "training"), "train")]
)
def test_two_folders_of_one_split_are_an_error(tmp_path: Path, names: tuple[str, str], split: str) -> None:
    folders = {"train", *names}
    path = make(tmp_path / "set", *(f"{name}/{cls}/a.jpg" for name in folders for cls in ("cat", "dog")))
    first, second = sorted(names)
    assert refusal(path) == (
        f"{path} has both {first} and {second}, and both would be the split {split!r}. Leave one out, for example "
        f"with --exclude /{second}. If they are classes: --classes-at 1."
    )


@pytest.mark.parametrize("split", ["", "train/"])
def test_a_class_may_be_named_like_a_split(tmp_path: Path, split: str) -> None:
    names = ["apple", "bear", "streetcar", "train"]  # classes of CIFAR-100
    dataset = read(make(tmp_path / "set", *(f"{split}{name}/a.jpg" for name in names)))
    assert dataset.classes.ids == tuple(names)


def test_flat_folders_named_like_splits_next_to_another_folder_lead_to_a_question(tmp_path: Path) -> None:
    path = make(tmp_path / "set", *(f"{name}/a.jpg" for name in ("apple", "test", "train")))
    assert refusal(path) == (
        f"{path}: folders named like splits (test, train) are next to other folders (apple). If the former are "
        "splits, leave out the others: --exclude /apple. If all are classes: --classes-at 1."
    )
    dataset = read(path, classes_at="1")
    assert dataset.classes.ids == ("apple", "test", "train")


def test_folders_next_to_the_splits_are_left_out_and_a_note_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/a/1.jpg", "train/b/1.jpg", "docs/1.jpg", "__MACOSX/x/2.jpg", ".git/1.jpg")
    dataset = read(path)
    assert (list(dataset.splits), len(dataset.splits["train"])) == (["train"], 2)
    assert dataset.notes == ("Left out: images in folders next to the split folders train (1 file: docs/1.jpg).",)


def test_folders_that_archivers_leave_are_not_classes(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/1.jpg", "__MACOSX/a/1.jpg", "@eaDir/1.jpg")
    assert read(path).classes.ids == ("a", "b")


def test_a_link_to_the_folder_above_does_not_add_other_classes_images(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/1.jpg")
    (path / "a" / "loop").symlink_to(path)
    assert read(path).splits["train"].keys() == ["a/1.jpg", "b/1.jpg"]


def test_a_pipe_named_like_an_image_is_not_an_image(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "b/1.jpg")
    os.mkfifo(path / "a" / "2.jpg")
    assert read(path).splits["train"].keys() == ["a/1.jpg", "b/1.jpg"]


def test_extensions_are_recognised_in_any_case_and_other_files_are_counted(tmp_path: Path) -> None:
    images = ["a/1.JPG", "a/2.JPEG", "a/3.Png", "b/4.WebP", "b/5.tiff", "b/6.jfif", "b/7.pgm", "b/8.GIF"]
    others = ["a/notes.txt", "a/deep/Thumbs.db", "b/jpg", "b/9.jpg.part", "b/10.csv"]
    dataset = read(make(tmp_path / "set", *(f"train/{file}" for file in (*images, *others))))
    assert dataset.splits["train"].keys() == images
    assert dataset.notes == (
        "Left out: files that are not images, by their suffix (5 files, such as train/a/notes.txt).",
    )


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "a/1.jpg", "a/._1.jpg", "a/.hidden.jpg", "a/.thumbs/1.jpg", "b/1.jpg", ".cache/1.jpg")
    assert read(path).splits["train"].keys() == ["a/1.jpg", "b/1.jpg"]


def test_a_folder_that_is_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    assert read(make(tmp_path / "set", "a/1.jpg/2.jpg", "b/1.jpg")).splits["train"].keys() == [
        "a/1.jpg/2.jpg",
        "b/1.jpg",
    ]


def test_tiny_imagenet_is_read_in_its_own_layout(tmp_path: Path) -> None:
    dataset = read(tiny(tmp_path / "tiny"))
    assert dataset.classes.ids == ("n01440764", "n01443537", "n04532670")
    assert dataset.classes.names == ("tench, Tinca tinca", "goldfish, Carassius auratus", "viaduct")
    assert listing(dataset) == {f"{wnid}/{wnid}_{index}.JPEG": wnid for wnid in WORDS for index in (0, 1)}
    assert listing(dataset, "val") == {
        "n01440764/val_0.JPEG": "n01440764",
        "n04532670/val_1.JPEG": "n04532670",
        "n04532670/val_2.JPEG": "n04532670",
    }
    assert listing(dataset, "test") == {"test_0.JPEG": None, "test_1.JPEG": None}
    assert dataset.notes == (
        "test has no class folders, so its images have no labels.",
        "Left out: files that are not images, by their suffix (3 files, such as train/n01440764/n01440764_boxes.txt).",
    )


def test_tiny_imagenet_whose_val_was_sorted_into_class_folders_has_the_same_rows(tmp_path: Path) -> None:
    before = read(tiny(tmp_path / "tiny"))
    for key in before.splits["val"].keys():  # noqa: SIM118
        wnid, name = key.split("/")
        (tmp_path / "tiny/val" / wnid / "images").mkdir(parents=True, exist_ok=True)
        (tmp_path / "tiny/val/images" / name).rename(tmp_path / "tiny/val" / wnid / "images" / name)
    (tmp_path / "tiny/val/images").rmdir()
    assert read(tmp_path / "tiny").fingerprint == before.fingerprint
    (tmp_path / "tiny/val/val_annotations.txt").unlink()
    assert read(tmp_path / "tiny").fingerprint == before.fingerprint


def test_the_real_tiny_imagenet_has_its_labels(shared_data: Path, tmp_path: Path) -> None:
    """The text files of 20 classes, and the images among the first 1200 members of the archive."""
    archive = shared_data / "tiny-imagenet-20.tar.xz"
    if not archive.exists():
        pytest.skip(f"needs {archive}")
    with tarfile.open(archive) as tar:
        for _, member in zip(range(1200), tar, strict=False):
            if member.isfile() and (not member.name.endswith(".JPEG") or member.name.endswith("0.JPEG")):
                tar.extract(member, tmp_path, filter="data")
    path = tmp_path / "tiny-imagenet-20"
    expected = {str(file.relative_to(path / "train")).replace("/images", "") for file in path.glob("train/*/images/*")}
    dataset = read(path)
    assert listing(dataset) == {key: key.split("/")[0] for key in expected}
    assert len(dataset.classes) >= 2
    assert all(key.split("/")[1].startswith(key.split("/")[0] + "_") for key in expected)


def annotate(path: Path, change: Callable[[list[str]], list[str]]) -> Path:
    file = path / "val/val_annotations.txt"
    file.write_text("".join(line + "\n" for line in change(file.read_text().splitlines())))
    return file


def test_an_annotation_of_an_unknown_class_is_an_error_with_its_line(tmp_path: Path) -> None:
    file = annotate(tiny(tmp_path / "tiny"), lambda lines: [lines[0], lines[1].replace("n01440764", "n9"), lines[2]])
    expected = f"{file}, line 2: the second column should be one of the 3 classes of train, found 'n9'."
    assert refusal(tmp_path / "tiny") == expected


def test_an_annotation_without_a_class_is_an_error_with_its_line(tmp_path: Path) -> None:
    annotate(tiny(tmp_path / "tiny"), lambda lines: [*lines, "val_3.JPEG n01440764"])
    assert "line 4: the second column should be one of" in refusal(tmp_path / "tiny")
    assert refusal(tmp_path / "tiny").endswith("found no second column.")


def test_an_annotation_of_a_missing_image_is_an_error_with_its_line(tmp_path: Path) -> None:
    (tiny(tmp_path / "tiny") / "val/images/val_0.JPEG").unlink()
    (tmp_path / "tiny/val/images/val_2.JPEG").unlink()
    assert refusal(tmp_path / "tiny") == (
        f"{tmp_path}/tiny/val/val_annotations.txt, line 2: there is no image val_0.JPEG; 2 of the 3 images that the "
        "file names are missing. The archive may not be fully unpacked."
    )


def test_an_image_without_an_annotation_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = make(tiny(tmp_path / "tiny"), "val/images/val_3.JPEG")
    assert refusal(path) == (
        f"{path}/val/images/val_3.JPEG has no line in {path}/val/val_annotations.txt, so its class is unknown."
    )


def test_two_annotations_that_differ_are_an_error_with_both_lines(tmp_path: Path) -> None:
    annotate(tiny(tmp_path / "tiny"), lambda lines: [*lines, lines[0]])  # an identical repetition does no harm
    assert len(read(tmp_path / "tiny").splits["val"]) == 3
    file = annotate(tmp_path / "tiny", lambda lines: [*lines, lines[0].replace("n04532670", "n01440764")])
    expected = f"{file}, line 5: val_1.JPEG has class 'n01440764', but 'n04532670' in line 1."
    assert refusal(tmp_path / "tiny") == expected


def test_annotations_without_a_train_folder_are_an_error(tmp_path: Path) -> None:
    path = tiny(tmp_path / "tiny")
    (path / "train").rename(tmp_path / "train")
    assert refusal(path) == f"{path} has val but no folder train, which would define the classes."


def test_a_class_without_validation_images_is_named_in_a_note(tmp_path: Path) -> None:
    files = [f"train/{name}/a.jpg" for name in ("ant", "bee", "cat")]
    path = make(tmp_path / "set", *files, "val/bee/a.jpg")
    (path / "val/cat").mkdir()
    dataset = read(path)
    assert listing(dataset, "val") == {"bee/a.jpg": "bee"}
    assert dataset.notes == ("val has no images of 2 classes: ant, cat.",)


def test_a_class_with_images_only_in_val_is_named_in_a_note(tmp_path: Path) -> None:
    path = make(
        tmp_path / "set", "train/ant/a.jpg", "train/bee/b.jpg", "val/ant/c.jpg", "val/bee/d.jpg", "val/cat/e.jpg"
    )
    (path / "train/cat").mkdir()
    dataset = read(path)
    assert dataset.classes.ids == ("ant", "bee", "cat")
    assert dataset.notes == ("train has no images of 1 class: cat.",)


@pytest.mark.parametrize("pack", [None, "tar"])
@pytest.mark.parametrize("empty", [["cat"], ["cat", "eel"]])
def test_class_folders_without_images_in_any_split_are_left_out_with_a_note(
    tmp_path: Path, empty: list[str], pack: str | None
) -> None:
    path = make(tmp_path / "set", "train/ant/a.jpg", "train/bee/b.jpg", "val/ant/c.jpg", "val/bee/d.jpg")
    for name in empty:
        (path / "train" / name).mkdir()
    dataset = read(path if pack is None else Path(shutil.make_archive(str(tmp_path / "packed"), pack, path)))
    assert dataset.classes.ids == ("ant", "bee")
    expected = {
        1: "1 class folder has no images and is left out: cat.",
        2: "2 class folders have no images and are left out: cat, eel.",
    }
    assert dataset.notes == (expected[len(empty)],)


def test_an_empty_class_folder_is_a_class_if_a_list_of_classes_names_it(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/ant/a.jpg", "train/bee/b.jpg")
    (path / "train/cat").mkdir()
    (path / "classes.txt").write_text("cat\nbee\nant\n")
    dataset = read(path)
    assert dataset.classes.ids == ("cat", "bee", "ant")
    assert dataset.notes == ("train has no images of 1 class: cat.",)


def test_a_validation_folder_of_an_unknown_class_is_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/ant/a.jpg", "train/bee/a.jpg", "val/ant/a.jpg", "val/wasp/a.jpg")
    assert refusal(path) == (
        f"{path}: 1 of the 2 class folders of val are not in train: 'wasp' (in val/wasp). Every class must be in "
        "train. Rename the folders, or leave them out, for example with --exclude val/wasp."
    )


def test_images_next_to_the_class_folders_are_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/ant/a.jpg", "train/bee/a.jpg", "val/ant/a.jpg", "val/2.jpg", "val/1.jpg")
    assert refusal(path) == (
        f"{path}/val: 2 images are directly in this folder, such as 1.jpg. Their class is unknown. Put each image "
        "into a folder named after its class, or leave them out, for example with --exclude val/1.jpg."
    )
    flat = make(tmp_path / "flat", "b.jpg", "a.jpg")
    assert refusal(flat) == (
        f"{flat}: 2 images are directly in this folder, such as a.jpg. Their class is unknown. Put each image into a "
        "folder named after its class, or add a CSV file of file names and labels.\nFound:\n  ./  2 images: "
        "a.jpg\nTo classify them with a trained model: tench predict RUN FOLDER."
    )


def test_a_flat_validation_folder_has_no_labels_and_a_note_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/ant/a.jpg", "train/bee/a.jpg", "val/ILSVRC2012_val_00000001.JPEG")
    dataset = read(path)
    assert listing(dataset, "val") == {"ILSVRC2012_val_00000001.JPEG": None}
    assert dataset.notes == ("val has no class folders, so its images have no labels.",)


@pytest.mark.parametrize("inside", ["", "ant", "ant/images"])
def test_a_validation_folder_without_images_is_left_out_and_a_note_says_so(tmp_path: Path, inside: str) -> None:
    path = make(tmp_path / "set", "train/ant/a.jpg", "train/bee/a.jpg")
    (path / "val" / inside).mkdir(parents=True)
    dataset = read(path)
    assert list(dataset.splits) == ["train"]
    assert dataset.notes == ("val contains no images, so there is no split val.",)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "set/a").mkdir(parents=True)
    expected = f"{tmp_path}/set contains no images. Expected a folder of class folders with images in them."
    assert refusal(tmp_path / "set") == expected
    make(tmp_path / "set", "a/notes.txt", "b/.hidden.jpg")
    assert refusal(tmp_path / "set") == (
        f"{expected}\nFound:\n  a/  1 other file: notes.txt\n"
        "Files that may contain labels and were not read: a/notes.txt"
    )


def test_a_folder_of_one_class_is_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/n01440764/a.jpg", "train/n01440764/b.jpg")
    assert refusal(path) == (
        f"{path}: all 2 images are in the folder train/n01440764. A classifier needs at least two classes. Put the "
        "images of each class into a separate folder, or add a CSV file of file names and labels.\nFound:\n  "
        "train/n01440764/  2 images: a.jpg\nTo classify them with a trained model: tench predict RUN FOLDER."
    )


def test_a_single_split_folder_is_read_as_that_split(tmp_path: Path) -> None:
    assert list(read(make(tmp_path / "set", "test/a/1.jpg", "test/b/1.jpg")).splits) == ["test"]


def test_a_class_folder_may_be_a_link(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "cats/1.jpg")
    path = make(tmp_path / "set", "dog/1.jpg")
    (path / "cat").symlink_to(tmp_path / "elsewhere/cats")
    (path / "dog/2.jpg").symlink_to(tmp_path / "elsewhere/cats/1.jpg")
    assert listing(read(path)) == {"cat/1.jpg": "cat", "dog/1.jpg": "dog", "dog/2.jpg": "dog"}


def test_a_link_to_a_folder_above_is_not_entered_again(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "cat/deep/1.jpg", "dog/1.jpg")
    (path / "cat/deep/up").symlink_to(path / "cat")
    (path / "cat/again").symlink_to(path / "cat/deep")  # not a folder above it, so it is entered under its own name
    assert read(path).splits["train"].keys() == ["cat/again/1.jpg", "cat/deep/1.jpg", "dog/1.jpg"]


def test_a_broken_link_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "cat/1.jpg", "dog/1.jpg")
    (path / "cat/2.jpg").symlink_to(tmp_path / "gone.jpg")
    assert refusal(path) == (
        f"{path}/cat/2.jpg: cannot be read (No such file or directory). It is a link: restore its target, or remove it."
    )


def test_a_link_to_itself_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "cat/1.jpg", "dog/1.jpg")
    (path / "cat/loop").symlink_to("loop")
    assert refusal(path).startswith(
        f"{path}/cat/loop: cannot be read (Too many levels of symbolic links). It is a link"
    )


def test_a_file_name_that_is_not_utf_8_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "cat/1.jpg", "dog/1.jpg")
    (path / os.fsdecode(b"cat/caf\xe9.jpg")).write_bytes(IMAGE)
    assert "caf\\udce9.jpg' is not UTF-8 text. Rename it." in refusal(path)


def test_the_stamp_contains_every_folder_and_text_file_that_was_read(tmp_path: Path) -> None:
    path = tiny(tmp_path / "tiny")
    contents: Contents = folder.read(open_tree(path, tmp_path))
    folders = {str(found) for found in (path, *path.rglob("*")) if found.is_dir()}
    assert set(contents.stamp) == folders | {
        str(path / name) for name in ("words.txt", "wnids.txt", "val/val_annotations.txt")
    }
    assert len(contents.stamp) == len(set(contents.stamp))


def test_rows_have_the_sizes_of_their_files(tmp_path: Path) -> None:
    dataset = read(make(tmp_path / "set", "a/1.jpg", "b/22.jpg", "b/333.jpg"))
    assert dataset.splits["train"].lengths.tolist() == [
        len(IMAGE) + len(name) for name in ("a/1.jpg", "b/22.jpg", "b/333.jpg")
    ]
    assert np.all(dataset.splits["train"].offsets == 0)


# A class list next to the folders, as `prepare` writes it.


def two_classes(path: Path) -> Path:
    make(path / "train", "cat/1.jpg", "dog/2.jpg")
    return make(path / "val", "dog/3.jpg").parent


def test_classes_have_the_order_and_names_of_classes_txt(tmp_path: Path) -> None:
    two_classes(tmp_path / "set")
    (tmp_path / "set/classes.txt").write_text("dog\tCanis familiaris\ncat\n")
    dataset = read(tmp_path / "set")
    assert (dataset.classes.ids, dataset.classes.names) == (("dog", "cat"), ("Canis familiaris", "cat"))
    assert listing(dataset) == {"cat/1.jpg": "cat", "dog/2.jpg": "dog"}
    assert dataset.splits["train"].labels.tolist() == [1, 0]
    assert dataset.splits["val"].labels.tolist() == [0]
    assert dataset.notes == ("val has no images of 1 class: cat.",)


def test_classes_that_a_text_list_cannot_hold_have_the_order_of_a_json_index(tmp_path: Path) -> None:
    make(tmp_path / "set/train", " cat/1.jpg", " dog/2.jpg")
    (tmp_path / "set/imagenet_class_index.json").write_text('{"0": [" dog", "a dog"], "1": [" cat", "a cat"]}')
    dataset = read(tmp_path / "set")
    assert (dataset.classes.ids, dataset.classes.names) == ((" dog", " cat"), ("a dog", "a cat"))


def test_a_classes_txt_that_is_too_large_to_read_is_refused_rather_than_ignored(tmp_path: Path) -> None:
    two_classes(tmp_path / "set")
    with (tmp_path / "set/classes.txt").open("wb") as file:
        file.truncate(20 * 2**30)
    found = refusal(tmp_path / "set").replace(str(tmp_path / "set"), "SOURCE")
    assert found == (
        "SOURCE/classes.txt: the file has 21,474,836,480 bytes, but a class list may have at most 16,777,216. The "
        "file is "
        "damaged or is something else. Replace it, or move it out of the dataset."
    )


@pytest.mark.parametrize(
    "text",
    [
        "dog\nbird\n",
        "dog\n",
        "dog\ncat\nbird\n",
        "1 dog\n2 cat\n",
        "dog\n\ncat\n",
        "dog\ndog\ncat\n",
        "",
        "\n",
        "This set has the classes dog and cat.\n",
        "\udcff",
    ],
)
def test_a_classes_txt_that_lists_something_else_is_ignored(tmp_path: Path, text: str) -> None:
    two_classes(tmp_path / "set")
    (tmp_path / "set/classes.txt").write_text(text, "utf-8", "surrogateescape")
    dataset = read(tmp_path / "set")
    assert (dataset.classes.ids, dataset.classes.names) == (("cat", "dog"), ("cat", "dog"))
    assert dataset.splits["train"].labels.tolist() == [0, 1]
