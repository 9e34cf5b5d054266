import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import reloaded, tree_of
from tests.support.errors import error_of
from tests.support.files import tar_of, write_file, write_folder

from tench.data.files.tree import open_tree
from tench.data.layouts import folder, synsets
from tench.data.table import Contents, Dataset
from tench.errors import TenchError

CLASSES = {
    "n00005787": ["n00005787_1.JPEG", "n00005787_20.JPEG", "n00005787_13.JPEG"],
    "n00004475": ["n00004475_6590.JPEG", "n00004475_15899.JPEG"],
    "n15102455": ["n15102455_7.JPEG"],
}
"""Classes of ImageNet-21K that are not among the 1000."""
UNKNOWN = "3 classes, 6 images: an unknown set; ImageNet-21K has 21,841 classes (fall 2011) or 19,167 (2021)."


def class_archives(classes: Mapping[str, list[str]] = CLASSES) -> dict[str, bytes]:
    return {f"{wnid}.tar": tar_of({name: name.encode() for name in names}) for wnid, names in classes.items()}


def recognised(path: Path) -> bool:
    return synsets.recognise(tree_of(path))


def contents(path: Path) -> Contents:
    tree = tree_of(path)
    assert synsets.recognise(tree)
    return synsets.read(tree)


def read(path: Path) -> Dataset:
    return reloaded(contents(path), synsets.NAME)


def listing(dataset: Dataset) -> dict[str, str]:
    """The class of each key, after checking that the bytes are the file's name."""
    assert list(dataset.splits) == ["train"]
    rows = dataset.splits["train"]
    for row in range(len(rows)):
        assert rows.read(row) == rows.key(row).rpartition("/")[2].encode()
        assert rows.encoding(row) == "file"
    return {rows.key(row): dataset.classes.ids[rows.labels[row]] for row in range(len(rows))}


refusal = error_of(contents)


EXPECTED = {f"{wnid}/{name}": wnid for wnid, names in CLASSES.items() for name in names}


def test_a_folder_of_class_archives_is_read_without_unpacking(tmp_path: Path) -> None:
    dataset = read(write_folder(tmp_path / "set", class_archives()))
    assert listing(dataset) == EXPECTED
    assert dataset.classes.ids == ("n00004475", "n00005787", "n15102455")
    assert dataset.classes.names == ("organism, being", "benthos", "chipboard, hardboard")
    assert dataset.notes == (UNKNOWN,)
    assert {dataset.splits["train"].shard(row) for row in range(6)} == {
        f"{tmp_path}/set/{wnid}.tar" for wnid in CLASSES
    }


def test_all_forms_of_the_same_images_have_the_same_rows(tmp_path: Path) -> None:
    unpacked = write_folder(tmp_path / "unpacked", {key: key.rpartition("/")[2].encode() for key in EXPECTED})
    expected = reloaded(folder.read(open_tree(unpacked, tmp_path)))
    whole = tar_of(class_archives())
    inside = tar_of({f"winter21_whole/{name}": data for name, data in class_archives().items()})
    forms = [
        write_folder(tmp_path / "flat", class_archives()),
        write_folder(tmp_path / "above", {f"winter21_whole/{name}": data for name, data in class_archives().items()}),
        write_file(tmp_path / "fall11_whole.tar", whole),
        write_file(tmp_path / "winter21_whole.tar", inside),
        write_folder(tmp_path / "alone", {"fall11_whole.tar": whole}),
        write_file(tmp_path / "compressed/winter21_whole.tar.gz", gzip.compress(inside)),
        write_folder(tmp_path / "alone compressed", {"winter21_whole.tar.gz": gzip.compress(inside)}),
        write_folder(tmp_path / "alone too", {"winter21_whole.tar": inside, "readme.txt": b""}),
    ]
    for path in forms:
        dataset = read(path)
        assert listing(dataset) == EXPECTED
        assert (dataset.fingerprint, dataset.classes) == (expected.fingerprint, expected.classes)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 99_999_999).map("n{:08}".format),
        st.lists(st.integers(0, 10**6), unique=True, max_size=5),
        min_size=2,
    ),
    st.data(),
)
def test_any_classes_in_any_order_are_found(
    tmp_path_factory: pytest.TempPathFactory, numbers: dict[str, list[int]], data: st.DataObject
) -> None:
    classes = {wnid: [f"{wnid}_{number}.JPEG" for number in found] for wnid, found in numbers.items()}
    shuffled = {wnid: classes[wnid] for wnid in data.draw(st.permutations(sorted(classes)))}
    path = write_file(tmp_path_factory.mktemp("any") / "some_whole.tar", tar_of(class_archives(shuffled)))
    if not any(classes.values()):
        assert refusal(path) == f"{path}: the {len(classes)} class archives contain no images. Download them again."
        return
    dataset = read(path)
    assert dataset.classes.ids == tuple(sorted(classes))
    assert listing(dataset) == {f"{wnid}/{name}": wnid for wnid, names in classes.items() for name in names}


@pytest.mark.parametrize(
    ("num_classes", "num_images", "note"),
    [
        (21_841, 14_197_122, "21,841 classes, 14,197,122 images: this is ImageNet-21K as released in fall 2011 "),
        (19_167, 13_151_276, "19,167 classes, 13,151,276 images: this is ImageNet-21K as released in winter 2021 "),
        (1_000, 1_281_167, "1,000 classes, 1,281,167 images: this is the training images of ILSVRC2012."),
        (
            21_841,
            14_197_121,
            "21,841 classes, 14,197,121 images: by the number of classes this is ImageNet-21K as released in fall "
            "2011 (fall11_whole.tar), but that has 14,197,122 images.",
        ),
        (21_840, 14_197_122, "21,840 classes, 14,197,122 images: an unknown set; "),
    ],
)
def test_known_sets_are_named_by_their_counts(num_classes: int, num_images: int, note: str) -> None:
    assert synsets._which_set(num_classes, num_images).startswith(note)


def test_the_notes_name_a_set_with_a_known_number_of_classes(tmp_path: Path) -> None:
    one = tar_of({"n00000000_1.JPEG": b"n00000000_1.JPEG"})
    path = write_file(tmp_path / "x.tar", tar_of({f"n{number:08}.tar": one for number in range(1000)}))
    assert read(path).notes == (
        "1,000 classes, 1,000 images: by the number of classes this is the training images of ILSVRC2012, but that "
        "has 1,281,167 images.",
        "999 images not named after the archive; the class is still that of the archive.",
    )


def test_files_that_are_not_images_are_left_out_and_counted(tmp_path: Path) -> None:
    archives = class_archives()
    archives["n15102455.tar"] = tar_of(
        {"n15102455_7.JPEG": b"n15102455_7.JPEG", "list.txt": b"", "._n15102455_7.JPEG": b""}
    )
    dataset = read(
        write_folder(tmp_path / "set", archives | {"README.md": b"", "words.txt": b"", "other.tar": tar_of({})})
    )
    assert listing(dataset) == EXPECTED
    assert dataset.notes == (
        UNKNOWN,
        "Left out 1 member without an image suffix.",
        "Left out files that are not class archives: README.md, other.tar, words.txt.",
    )


def test_a_class_without_images_is_named_in_a_note(tmp_path: Path) -> None:
    dataset = read(write_folder(tmp_path / "set", class_archives({**CLASSES, "n00000001": [], "n00000002": []})))
    assert listing(dataset) == EXPECTED
    assert dataset.classes.ids[:2] == ("n00000001", "n00000002")
    assert "There are no images of 2 classes: n00000001, n00000002." in dataset.notes


def test_images_in_a_folder_inside_the_archive_have_the_same_keys(tmp_path: Path) -> None:
    archives = class_archives()
    archives["n15102455.tar"] = tar_of({"./n15102455/n15102455_7.JPEG": b"n15102455_7.JPEG"})
    assert listing(read(write_folder(tmp_path / "set", archives))) == EXPECTED


def test_an_image_named_after_another_class_has_the_class_of_its_archive_and_a_note_says_so(tmp_path: Path) -> None:
    dataset = read(
        write_folder(tmp_path / "set", class_archives({"n00000001": ["a.JPEG"], "n00000002": ["n00000001_1.JPEG"]}))
    )
    assert listing(dataset) == {"n00000001/a.JPEG": "n00000001", "n00000002/n00000001_1.JPEG": "n00000002"}
    assert dataset.notes[1] == "2 images not named after the archive; the class is still that of the archive."


def test_class_archives_in_several_folders_are_an_error(tmp_path: Path) -> None:
    files = class_archives()
    path = write_folder(tmp_path / "set", {**files, **{f"old/{name}": data for name, data in files.items()}})
    assert refusal(path) == (
        f"{path}: class archives (n########.tar) are in 2 folders: ., old. Pass the folder of one set."
    )
    write_folder(path, {f"older/{name}": data for name, data in files.items()})
    assert "are in 3 folders: ., old, .... Pass" in refusal(path)


def test_two_sets_in_one_folder_are_an_error(tmp_path: Path) -> None:
    whole = tar_of(class_archives())
    path = write_folder(tmp_path / "set", {"fall11_whole.tar": whole, "winter21_whole.tar": whole})
    assert refusal(path) == (
        f"{path} contains 2 sets of class archives: fall11_whole.tar, winter21_whole.tar. Pass one of them."
    )


def test_images_next_to_the_class_archives_are_an_error(tmp_path: Path) -> None:
    path = write_folder(
        tmp_path / "set", {**class_archives(), "n15102455/n15102455_7.JPEG": b"", "n15102455/2.JPEG": b""}
    )
    assert refusal(path) == (
        f"{path} contains 2 images next to its 3 class archives, such as n15102455/2.JPEG. They would be counted "
        "twice or not at all. Unpack all archives or none, and move the images away from the archives."
    )


def test_a_single_class_is_an_error(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", class_archives({"n15102455": ["n15102455_7.JPEG"]}))
    assert refusal(path) == f"{path} contains only one class, n15102455.tar. A classifier needs at least two."


def test_a_damaged_class_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    archives = class_archives()
    archives["n15102455.tar"] = archives["n15102455.tar"][:900]
    path = write_folder(tmp_path / "set", archives)
    assert refusal(path).startswith(f"{path}/n15102455.tar ends at byte 900 without the empty blocks")
    whole = write_file(tmp_path / "fall11_whole.tar", tar_of(archives))
    assert refusal(whole).startswith(f"{whole}/n15102455.tar (in {whole} at byte ")


def test_a_class_archive_that_vanishes_is_an_error_that_names_it(tmp_path: Path) -> None:
    tree = open_tree(write_folder(tmp_path / "set", class_archives()), tmp_path / "no spool")
    (tmp_path / "set/n00005787.tar").unlink()
    with pytest.raises(TenchError) as error:
        synsets.read(tree)
    assert str(error.value) == f"{tmp_path}/set/n00005787.tar: cannot be read (No such file or directory)."


def test_the_stamp_contains_the_archives(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", class_archives())
    assert set(contents(path).stamp) == {str(path), *(f"{path}/{wnid}.tar" for wnid in CLASSES)}
    whole = write_file(tmp_path / "alone/fall11_whole.tar", tar_of(class_archives()))
    assert set(contents(tmp_path / "alone").stamp) == {str(tmp_path / "alone"), str(whole)}


def test_the_forms_of_ilsvrc2012_are_left_to_its_own_layout(tmp_path: Path) -> None:
    whole = tar_of(class_archives())
    assert not recognised(write_folder(tmp_path / "a", {"ILSVRC2012_img_train.tar": whole}))
    assert not recognised(write_file(tmp_path / "b/ILSVRC2012_img_train.tar", whole))
    unpacked = {f"train/{name}": data for name, data in class_archives().items()}
    assert not recognised(write_folder(tmp_path / "c", {**unpacked, "val/ILSVRC2012_val_00000001.JPEG": b""}))
    assert recognised(write_file(tmp_path / "fall11_whole.tar", whole))


@pytest.mark.parametrize("name", ["x.tar", "n0000001.tar", "n000000001.tar", "m00000001.tar", "n00000001.tar.gz"])
def test_other_archives_are_not_recognised(tmp_path: Path, name: str) -> None:
    files = {name: tar_of({"n00000001/n00000001_1.JPEG": b""}), "y.tar": b"no tar", "z.tar": tar_of({"y.tar": b""})}
    assert not recognised(write_folder(tmp_path / "set", files))
    assert not recognised(write_file(tmp_path / "other.tar", tar_of(files)))
