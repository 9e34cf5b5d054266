from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.support.datasets import reloaded, tree_of
from tests.support.errors import error_of
from tests.support.files import named, tar_of, write_file, write_folder

from tench.compat import import_torchvision
from tench.data.layouts import caltech
from tench.data.table import Dataset

C101, C256 = "101_ObjectCategories", "256_ObjectCategories"
SOME_101 = ["BACKGROUND_Google", "Faces", "Faces_easy", "Leopards", "accordion", "car_side", "yin_yang"]


def lay_out(path: Path, files: Iterable[str]) -> Path:
    return write_folder(path, named(files))


def pack(path: Path, files: Iterable[str]) -> Path:
    return write_file(path, tar_of(named(files)))


def images_101(categories: Iterable[str] = SOME_101, count: int = 2) -> list[str]:
    return [f"{C101}/{name}/image_{number:04}.jpg" for name in categories for number in range(1, count + 1)]


def images_256(categories: Iterable[str], count: int = 1) -> list[str]:
    return [f"{C256}/{name}/{name[:3]}_{number:04}.jpg" for name in categories for number in range(1, count + 1)]


def recognised(path: Path) -> bool:
    return caltech.recognise(tree_of(path))


def read(path: Path) -> Dataset:
    tree = tree_of(path)
    assert caltech.recognise(tree)
    return reloaded(caltech.read(tree), caltech.NAME, path)


def listing(dataset: Dataset) -> dict[str, str]:
    """The class of each key, after checking that its bytes end in the key."""
    assert list(dataset.splits) == ["train"]
    rows = dataset.splits["train"]
    assert all(rows.read(row).decode().endswith(rows.key(row)) for row in range(len(rows)))
    return {rows.key(row): dataset.classes.ids[rows.labels[row]] for row in range(len(rows))}


refusal = error_of(read)


def test_the_background_of_101_is_not_a_class_and_faces_easy_is_one(tmp_path: Path) -> None:
    dataset = read(lay_out(tmp_path / "set", images_101()))
    assert dataset.classes.ids == ("Faces", "Faces_easy", "Leopards", "accordion", "car_side", "yin_yang")
    assert dataset.classes.names == ("Faces", "Faces easy", "Leopards", "accordion", "car side", "yin yang")
    assert listing(dataset) == {
        f"{name}/image_{number:04}.jpg": name for name in dataset.classes.ids for number in (1, 2)
    }
    assert dataset.notes == (
        "Caltech-101 has 101 categories; 6 were found.",
        "Left out 2 images of BACKGROUND_Google, which is not a class.",
    )


def test_the_clutter_of_256_is_not_a_class_and_stray_files_are_named(tmp_path: Path) -> None:
    files = images_256(["002.american-flag", "056.dog", "145.motorbikes-101", "198.spider", "257.clutter"])
    strays = ["056.dog/greg/vision309/1.jpg", "198.spider/RENAME2", "readme.txt", "notes/1.jpg"]
    dataset = read(lay_out(tmp_path / "set", [*files, *(f"{C256}/{stray}" for stray in strays)]))
    assert dataset.classes.ids == ("002.american-flag", "056.dog", "145.motorbikes-101", "198.spider")
    assert dataset.classes.names == ("american flag", "dog", "motorbikes", "spider")
    assert listing(dataset) == {f"{name}/{name[:3]}_0001.jpg": name for name in dataset.classes.ids}
    assert dataset.notes == (
        "Caltech-256 has 256 categories; 4 were found.",
        "Left out 1 image of 257.clutter, which is not a class.",
        "Left out 4 stray files: 056.dog/greg/vision309/1.jpg, 198.spider/RENAME2, notes/1.jpg, readme.txt.",
    )


def test_a_complete_set_has_notes_only_on_what_is_left_out(tmp_path: Path) -> None:
    many = [f"{number:03}.thing-{number}" for number in range(1, 257)]
    dataset = read(lay_out(tmp_path / "a", images_256([*many, "257.clutter"])))
    assert (len(dataset.classes), dataset.notes) == (256, ("Left out 1 image of 257.clutter, which is not a class.",))
    names = [f"thing{number}" for number in range(99)]
    dataset = read(lay_out(tmp_path / "b", images_101([*names, "Faces", "Faces_easy"])))
    assert (len(dataset.classes), dataset.notes) == (101, ())


@pytest.mark.parametrize("root", ["", C101])
def test_the_folder_its_parent_and_the_archive_give_the_same_dataset(tmp_path: Path, root: str) -> None:
    expected = read(pack(tmp_path / f"{C101}.tar", images_101()))
    assert len(listing(expected)) == 12
    dataset = read(lay_out(tmp_path / "caltech101", images_101()) / root)
    assert (dataset.fingerprint, dataset.classes) == (expected.fingerprint, expected.classes)


def test_categories_are_recognised_if_their_folder_has_another_name(tmp_path: Path) -> None:
    expected = read(lay_out(tmp_path / "a", images_101()))
    (tmp_path / "a" / C101).rename(tmp_path / "other")
    assert read(tmp_path / "other").fingerprint == expected.fingerprint
    many = [f"{number:03}.thing" for number in range(1, 257)]
    expected = read(lay_out(tmp_path / "b", images_256(many)))
    (tmp_path / "b" / C256).rename(tmp_path / "another")
    assert read(tmp_path / "another").fingerprint == expected.fingerprint


@pytest.mark.parametrize(
    "folders",
    [
        ["cat", "dog"],
        ["BACKGROUND_Google", "Faces"],
        ["Faces_easy", "Faces"],
        [f"{number:03}.bird" for number in range(1, 256)],  # like those of CUB-200
        [f"{number:03}_thing" for number in range(1, 300)],
        [f"sub/{C101}/cat", f"other/{C101}/dog"],
    ],
)
def test_other_class_folders_are_not_recognised(tmp_path: Path, folders: list[str]) -> None:
    files = [f"{folder}/1.jpg" for folder in folders]
    assert not recognised(lay_out(tmp_path / "set", files))
    assert not recognised(pack(tmp_path / "set.tar", files))
    assert not recognised(lay_out(tmp_path / "file", [C101]))


def test_folders_around_the_categories_do_not_hide_them(tmp_path: Path) -> None:
    expected = read(lay_out(tmp_path / "a", images_101()))
    for above in ("caltech101", "root/caltech101"):
        files = [f"{above}/{name}" for name in (*images_101(), "Annotations/ant/annotation_0001.mat")]
        dataset = read(lay_out(tmp_path / above.replace("/", "-"), files))
        assert dataset.classes == expected.classes
        assert dataset.splits["train"].keys() == expected.splits["train"].keys()


def test_classes_and_labels_match_torchvisions(tmp_path: Path) -> None:
    import_torchvision()
    from torchvision.datasets import Caltech101, Caltech256

    root = lay_out(tmp_path / "caltech101", images_101(count=3))
    (root / "Annotations").mkdir()
    theirs = Caltech101(str(tmp_path))
    dataset = read(root)
    assert list(dataset.classes.ids) == theirs.categories
    expected = [
        (f"{theirs.categories[label]}/image_{index:04}.jpg", label)
        for index, label in zip(theirs.index, theirs.y, strict=True)
    ]
    rows = dataset.splits["train"]
    assert list(zip(rows.keys(), rows.labels.tolist(), strict=True)) == expected

    root = lay_out(tmp_path / "caltech256", images_256(["001.ak47", "002.american-flag", "056.dog"], count=2))
    other = Caltech256(str(tmp_path))
    dataset = read(root)
    assert list(dataset.classes.ids) == other.categories
    assert dataset.splits["train"].labels.tolist() == other.y


def test_folders_without_images_are_left_out_and_a_note_says_so(tmp_path: Path) -> None:
    path = lay_out(
        tmp_path / "set", [*images_101(["Faces", "car_side"]), f"{C101}/ant/list.txt", f"{C101}/bee/x/1.jpg"]
    )
    dataset = read(path)
    assert dataset.classes.ids == ("Faces", "car_side")
    assert dataset.notes[1:] == (
        "Left out folders without images: ant, bee.",
        "Left out 2 stray files: ant/list.txt, bee/x/1.jpg.",
    )


def test_images_next_to_the_set_are_counted(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set", [*images_101(["Faces", "car_side"]), "Annotations/1.mat", "teaser.jpg"])
    assert read(path).notes[-1] == f"Left out 1 image outside {C101}."


def test_both_sets_in_one_folder_are_an_error(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set", [*images_101(), *images_256(["001.ak47", "056.dog"])])
    assert refusal(path) == (
        f"{path} contains {path}/{C101} (Caltech-101) and {path}/{C256} (Caltech-256). Pass one of them."
    )


def test_fewer_than_two_categories_with_images_are_an_error(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set", [*images_101(["Faces", "BACKGROUND_Google"]), f"{C101}/ant/list.txt"])
    assert refusal(path) == (
        f"{path}/{C101}: 1 of its folders contain images; Caltech-101 has 101 categories, each a folder of images. "
        "Unpack the archive again."
    )
