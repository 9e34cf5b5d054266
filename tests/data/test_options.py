import tarfile
from pathlib import Path

import pytest
from PIL import Image

from tench.data.options import RecordKeys, SourceOptions
from tench.data.source import open_source
from tench.errors import UsageError


@pytest.fixture
def photos_and_drawings(tmp_path: Path) -> Path:
    """Two classes, each with two images, a drawing in a subfolder and a drawing with its own suffix."""
    for name in ("cat", "dog"):
        for file in ("0.png", "1.png", "drawings/0.png", "0_drawn.png"):
            path = tmp_path / "set" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (len(file), 0, 0)).save(path)
    return tmp_path / "set"


def packed(folder: Path) -> Path:
    target = folder.with_suffix(".tar")
    with tarfile.open(target, "w") as tar:
        tar.add(folder, folder.name)
    return target


@pytest.mark.parametrize("in_tar", [False, True])
def test_excluded_files_and_folders_are_left_out_with_a_note(photos_and_drawings: Path, in_tar: bool) -> None:
    source = packed(photos_and_drawings) if in_tar else photos_and_drawings
    dataset = open_source(source, exclude=("drawings", "*_drawn.png"))
    assert dataset.splits["train"].keys() == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert "--exclude 'drawings' left out 2 files." in dataset.notes
    assert "--exclude '*_drawn.png' left out 2 files." in dataset.notes


def test_a_pattern_with_a_slash_is_matched_against_the_path(photos_and_drawings: Path) -> None:
    keys = open_source(photos_and_drawings, exclude=("cat/drawings", "*/0_drawn.png")).splits["train"].keys()
    assert [key for key in keys if "drawing" in key] == ["dog/drawings/0.png"]


def test_a_note_reports_a_pattern_that_matches_nothing(photos_and_drawings: Path) -> None:
    dataset = open_source(photos_and_drawings, exclude=("drawing", "drawings", "*_drawn.png"))
    assert "--exclude 'drawing' matches no file." in dataset.notes


def test_an_option_that_the_layout_does_not_accept_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        open_source("digits", label="breed")
    assert str(error.value) == (
        "digits: --label has no effect on the layout digits, which accepts --min-images, --val-per-class."
    )


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        SourceOptions(min_images=-1).check()
    assert str(error.value) == "--min-images must be at least 0, got -1."
    with pytest.raises(UsageError) as error:
        SourceOptions(val_per_class=-2).check()
    assert str(error.value) == "--val-per-class must be at least 0, got -2."


def test_the_same_folder_with_other_options_has_a_different_table(photos_and_drawings: Path) -> None:
    assert open_source(photos_and_drawings, exclude=("drawings", "*_drawn.png")).num_images == 4
    assert open_source(photos_and_drawings, exclude=("drawings",)).num_images == 6


def test_keys_name_the_image_and_the_label() -> None:
    assert SourceOptions(keys="image=a/b, label=c").record_keys() == RecordKeys(image="a/b", label="c")
    assert SourceOptions(label="d").record_keys() == RecordKeys(label="d")
    assert SourceOptions().record_keys() == RecordKeys()


@pytest.mark.parametrize("keys", ["", "image", "image=", "picture=a", "a,b"])
def test_keys_that_name_neither_are_refused(keys: str) -> None:
    with pytest.raises(UsageError) as error:
        SourceOptions(keys=keys).check()
    assert str(error.value) == f"--keys must be image=KEY,label=KEY, or one of the two, got {keys!r}."
