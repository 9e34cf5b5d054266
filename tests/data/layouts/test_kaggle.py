import os
import shutil
from pathlib import Path

import pytest
from tests.data import miniature
from tests.data.miniature import CLASSES, VAL, image_name, write
from tests.support.datasets import images_of
from tests.support.errors import error_of

from tench.data import table
from tench.data.files.tree import Tree, open_tree
from tench.data.formats import devkit
from tench.data.layouts import ilsvrc, kaggle
from tench.data.table import Dataset

TRUTH = miniature.photographs()
NO_CRANE = "val has no images of 1 class: n03126707."
PACKAGE = "imagenet_object_localization_patched2019.tar"
ZIP = "imagenet-object-localization-challenge.zip"
INSIDE = ["", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"]


def tree_of(path: Path) -> Tree:
    return open_tree(path, Path(os.environ["TENCH_CACHE"]) / "spool")


def read(path: Path) -> Dataset:
    tree = tree_of(path)
    assert kaggle.recognise(tree)
    return table.made(kaggle.read(tree), source=str(path), layout=kaggle.NAME)


refusal = error_of(read)


@pytest.mark.parametrize("source", INSIDE)
def test_every_image_has_its_class_and_bytes_when_opened_from_any_folder_of_the_tree(
    tmp_path: Path, source: str
) -> None:
    miniature.kaggle(tmp_path)
    dataset = read(tmp_path / source)
    assert images_of(dataset) == TRUTH
    assert dataset.classes.ids == tuple(sorted(CLASSES))
    assert dataset.notes == (f"The labels of val are from {tmp_path}/LOC_val_solution.csv.", NO_CRANE)


@pytest.mark.parametrize("source", INSIDE)
def test_class_names_come_from_the_mapping_file(tmp_path: Path, source: str) -> None:
    miniature.kaggle(tmp_path)
    write(tmp_path, {"LOC_synset_mapping.txt": miniature.mapping().replace(b"tench, Tinca tinca", b"a fish, to eat ")})
    assert read(tmp_path / source).classes.names[:2] == ("a fish, to eat", "crane")


def test_the_set_has_the_same_rows_as_ilsvrc_2012_in_its_own_archives(tmp_path: Path) -> None:
    miniature.kaggle(tmp_path / "kaggle")
    miniature.ilsvrc(tmp_path / "ilsvrc")
    other = table.made(ilsvrc.read(tree_of(tmp_path / "ilsvrc")), source="", layout="")
    ours = read(tmp_path / "kaggle")
    assert ours.fingerprint == other.fingerprint
    assert ours.classes == other.classes


def test_the_plain_archive_has_no_csv_and_takes_labels_from_the_annotations(tmp_path: Path) -> None:
    path = miniature.kaggle_archive(tmp_path / PACKAGE)
    dataset = read(path)
    assert images_of(dataset) == TRUTH
    assert dataset.notes[0] == f"The labels of val are from {path}/ILSVRC/Annotations/CLS-LOC/val."
    assert {dataset.splits["train"].shard(row) for row in range(21)} == {str(path)}


def test_the_archive_may_be_in_a_folder_with_the_csv_next_to_it(tmp_path: Path) -> None:
    miniature.kaggle_archive(tmp_path / PACKAGE)
    write(tmp_path, miniature.kaggle_texts())
    dataset = read(tmp_path)
    assert images_of(dataset) == TRUTH
    assert dataset.notes[0] == f"The labels of val are from {tmp_path}/LOC_val_solution.csv."


@pytest.mark.parametrize("folder", [True, False])
def test_the_outer_zip_and_a_folder_that_contains_it_are_sources(tmp_path: Path, folder: bool) -> None:
    path = miniature.kaggle_zip(tmp_path / ZIP, PACKAGE)
    dataset = read(tmp_path if folder else path)
    assert images_of(dataset) == TRUTH
    assert dataset.notes[0] == f"The labels of val are from {path}/LOC_val_solution.csv."
    assert {dataset.splits["val"].shard(row) for row in range(12)} == {str(path)}


@pytest.mark.parametrize("name", [PACKAGE, f"{PACKAGE}.gz", ZIP])
def test_unpacked_files_are_preferred_to_the_archive_next_to_them_with_a_note(tmp_path: Path, name: str) -> None:
    miniature.kaggle(tmp_path)
    write(tmp_path, {name: b"not looked at"})
    dataset = read(tmp_path)
    assert images_of(dataset) == TRUTH
    assert dataset.notes[0] == f"{name} was not read, because the unpacked files are next to it."


def test_an_archive_is_preferred_to_the_zip_that_contains_it(tmp_path: Path) -> None:
    miniature.kaggle_archive(tmp_path / PACKAGE)
    write(tmp_path, {ZIP: b"not looked at"})
    dataset = read(tmp_path)
    assert images_of(dataset) == TRUTH
    assert dataset.notes[0] == f"{ZIP} was not read, because the unpacked files are next to it."


@pytest.mark.parametrize("source", INSIDE)
def test_without_the_csv_labels_come_from_the_annotations(tmp_path: Path, source: str) -> None:
    write(tmp_path, miniature.kaggle_tree())
    dataset = read(tmp_path / source)
    assert images_of(dataset) == TRUTH
    assert dataset.notes[0] == f"The labels of val are from {tmp_path}/ILSVRC/Annotations/CLS-LOC/val."


@pytest.mark.parametrize("source", INSIDE)
def test_the_numbers_in_the_lists_are_never_labels(tmp_path: Path, source: str) -> None:
    write(tmp_path, miniature.kaggle_images() | miniature.kaggle_lists())
    write(tmp_path, {"LOC_sample_submission.csv": miniature.kaggle_texts()["LOC_sample_submission.csv"]})
    message = refusal(tmp_path / source)
    assert message.startswith(
        f"{tmp_path}/ILSVRC/Data/CLS-LOC/val contains the images of val, but their labels are in a separate file."
    )
    assert message.endswith(f"one of these: {devkit.WOULD_DO}.")


def test_other_files_with_labels_may_be_in_the_source_and_are_compared(tmp_path: Path) -> None:
    miniature.kaggle(tmp_path)
    write(tmp_path, {"ILSVRC_val_labels.txt": miniature.synsets()})
    miniature.devkit(tmp_path)
    assert read(tmp_path).notes[:2] == (
        f"The labels of val are from {tmp_path}/ILSVRC2012_devkit_t12.tar.gz.",
        f"The labels of val agree with {tmp_path}/LOC_val_solution.csv, {tmp_path}/ILSVRC_val_labels.txt.",
    )
    write(tmp_path, {"ILSVRC_val_labels.txt": miniature.synsets(VAL[1:])})
    assert refusal(tmp_path).startswith("ILSVRC2012_val_00000001 has class n02100735 in ")


def test_val_may_have_been_moved_into_class_folders_next_to_a_copy(tmp_path: Path) -> None:
    """A tutorial that runs valprep.sh in place leaves this."""
    miniature.kaggle(tmp_path)
    data = tmp_path / "ILSVRC/Data/CLS-LOC"
    (data / "val").rename(data / "val_orig")
    miniature.prepared_val(data / "val")
    dataset = read(tmp_path)
    assert images_of(dataset) == TRUTH
    assert dataset.notes == (
        "Left out folders in ILSVRC/Data/CLS-LOC that are not splits: val_orig.",
        f"The labels of val agree with {tmp_path}/LOC_val_solution.csv.",
        NO_CRANE,
    )
    (tmp_path / "LOC_val_solution.csv").unlink()
    shutil.rmtree(tmp_path / "ILSVRC/Annotations")
    assert images_of(read(data)) == TRUTH


def test_a_later_year_has_the_same_tree(tmp_path: Path) -> None:
    write(tmp_path, miniature.kaggle_images())
    (tmp_path / "ILSVRC").rename(tmp_path / "ILSVRC2015")
    write(tmp_path, miniature.later_devkit_files("ILSVRC2015/devkit"))
    assert images_of(read(tmp_path)) == TRUTH
    assert images_of(read(tmp_path / "ILSVRC2015")) == TRUTH


# Recognition.


@pytest.mark.parametrize("name", ["imagenet_object_localization.tar.gz", f"{PACKAGE}.gz", ZIP])
def test_the_archives_are_recognised_by_name(tmp_path: Path, name: str) -> None:
    assert kaggle.recognise(tree_of(write(tmp_path, {name: b"x"})))
    assert kaggle.recognise(tree_of(tmp_path / name))


@pytest.mark.parametrize(
    "name", ["train/n01440764/a.JPEG", "CLS-LOC/train/a.JPEG", "Annotations/CLS-LOC/val/a.xml", "imagenet.tar.gz"]
)
def test_other_sets_are_left_to_other_layouts(tmp_path: Path, name: str) -> None:
    assert not kaggle.recognise(tree_of(write(tmp_path, {name: b"x"})))


# Missing or damaged files.


def test_an_archive_without_the_tree_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {PACKAGE: miniature.tar_bytes({"ILSVRC/readme.txt": b"x"})})
    assert refusal(tmp_path) == (
        f"{tmp_path} must contain one folder ILSVRC/Data/CLS-LOC, found none. Pass the folder that contains ILSVRC."
    )


def test_two_trees_in_one_folder_are_an_error_that_names_both(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}/Data/CLS-LOC/train/n01440764/a.JPEG": b"x" for name in ("ILSVRC", "copy/ILSVRC")})
    assert refusal(tmp_path) == (
        f"{tmp_path} must contain one folder ILSVRC/Data/CLS-LOC, found {tmp_path}/ILSVRC/Data/CLS-LOC and "
        f"{tmp_path}/copy/ILSVRC/Data/CLS-LOC. Pass the folder that contains ILSVRC."
    )


def test_a_tree_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ILSVRC/Data/CLS-LOC/train/n01440764").mkdir(parents=True)
    assert refusal(tmp_path) == (
        f"{tmp_path}/ILSVRC/Data/CLS-LOC contains no images in train, val or test. The archive may not be fully "
        "unpacked."
    )


def test_a_csv_that_lacks_an_image_is_an_error(tmp_path: Path) -> None:
    miniature.kaggle(tmp_path)
    write(tmp_path, {"LOC_val_solution.csv": miniature.solution(VAL[:-1])})
    assert refusal(tmp_path).startswith(
        f"{tmp_path}/ILSVRC/Data/CLS-LOC/val/{image_name('val', 12)}.JPEG has no label in "
        f"{tmp_path}/LOC_val_solution.csv; 1 of 12 images of val are affected."
    )


def test_a_csv_with_an_unknown_class_is_an_error_with_its_line(tmp_path: Path) -> None:
    miniature.kaggle(tmp_path)
    write(tmp_path, {"LOC_val_solution.csv": miniature.solution().replace(b"n02012849", b"n00000001")})
    lines = (tmp_path / "LOC_val_solution.csv").read_text().splitlines()
    (line,) = (number for number, text in enumerate(lines, start=1) if text.startswith(image_name("val", 3)))
    assert refusal(tmp_path) == (
        f"{tmp_path}/LOC_val_solution.csv, line {line}: ILSVRC2012_val_00000003 has the class n00000001, which is not "
        f"one of the 6 classes of train; 3 of 12 images of val are affected. Either classes of train are missing, or "
        f"val belongs to another set."
    )


@pytest.mark.parametrize("line", ["tench", "0 n01440764 tench", ""])
def test_an_invalid_line_of_the_mapping_is_an_error_with_its_number(tmp_path: Path, line: str) -> None:
    miniature.kaggle(tmp_path)
    write(tmp_path, {"LOC_synset_mapping.txt": f"n01440764 tench\n{line}\nn02100735 dog\n".encode()})
    assert refusal(tmp_path) == (
        f"{tmp_path}/LOC_synset_mapping.txt, line 2: expected a WordNet id and the names of its class, such as "
        f"'n01440764 tench, Tinca tinca', found {line!r}. Download the file again."
    )


@pytest.mark.parametrize("source", INSIDE)
def test_the_stamp_contains_the_text_files_wherever_they_are_and_no_single_image(tmp_path: Path, source: str) -> None:
    miniature.kaggle(tmp_path)
    stamp = kaggle.read(tree_of(tmp_path / source)).stamp
    folders = {str(path) for path in (tmp_path / source, *(tmp_path / source).rglob("*")) if path.is_dir()}
    texts = {str(tmp_path / name) for name in ("LOC_synset_mapping.txt", "LOC_val_solution.csv")}
    assert set(stamp) == folders | texts


def test_the_stamp_contains_the_annotation_folder_outside_the_source_that_was_read(tmp_path: Path) -> None:
    write(tmp_path, miniature.kaggle_tree())
    stamp = kaggle.read(tree_of(tmp_path / "ILSVRC/Data/CLS-LOC")).stamp
    assert str(tmp_path / "ILSVRC/Annotations/CLS-LOC/val") in stamp
    assert not any(path.endswith(".xml") for path in stamp)
