import io
import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.support.datasets import reloaded

import tench.data.layouts.synthetic as synthetic
from tench.data import table
from tench.errors import UsageError


def opened(spec: str, folder: Path) -> table.Dataset:
    return reloaded(synthetic.read(spec, folder / "spool"), synthetic.NAME, spec)


def pixels(split: table.Table, row: int) -> npt.NDArray[np.uint8]:
    shape = int(split.heights[row]), int(split.widths[row]), int(split.channels[row])
    return np.frombuffer(split.read(row), np.uint8).reshape(shape)


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> table.Dataset:
    return opened("synthetic", tmp_path_factory.mktemp("default"))


def test_the_default_is_1000_jpegs_of_224x224_in_10_classes_and_100_for_validation(default: table.Dataset) -> None:
    assert {name: len(split) for name, split in default.splits.items()} == {"train": 1000, "val": 100}
    train = default.splits["train"]
    assert np.bincount(train.labels).tolist() == [100] * 10
    assert default.classes == table.Classes.numbered_to(10)
    for row in (0, 500, 999):
        image = Image.open(io.BytesIO(train.read(row)))
        assert (image.format, image.size, image.mode) == ("JPEG", (224, 224), "RGB")
    assert (train.encoding(0), train.heights[0], train.widths[0], train.channels[0]) == (table.FILE, 224, 224, 3)


def test_a_jpeg_has_about_half_a_byte_per_pixel(default: table.Dataset) -> None:
    assert default.splits["train"].lengths.mean() / 224**2 == pytest.approx(0.5, abs=0.05)


def test_size_channels_format_and_counts_are_as_requested(tmp_path: Path) -> None:
    dataset = opened("synthetic:images=7,size=20x30,classes=3,val=2,format=pixels,channels=1", tmp_path)
    train, val = dataset.splits["train"], dataset.splits["val"]
    assert (len(train), len(val), len(dataset.classes)) == (7, 2, 3)
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert [train.key(row) for row in (0, 6)] == ["00000", "00006"]
    assert train.encoding(0) == table.PIXELS_HWC
    assert pixels(train, 6).shape == (20, 30, 1)
    grey = opened("synthetic:images=1,size=20X30,channels=1,val=0", tmp_path / "jpeg").splits["train"]
    image = Image.open(io.BytesIO(grey.read(0)))
    assert (image.size, image.mode) == ((30, 20), "L")


def test_without_validation_images_there_is_no_split_val(tmp_path: Path) -> None:
    contents = synthetic.read("synthetic:images=2,size=8,val=0", tmp_path)
    assert set(contents.splits) == {"train"}
    assert [file.name for file in tmp_path.iterdir()] == ["train.jpeg"]


def test_many_rows_share_few_images_of_their_class(tmp_path: Path) -> None:
    dataset = opened("synthetic:images=200000,size=8,classes=100,val=0,format=pixels", tmp_path)
    train = dataset.splits["train"]
    assert len(train) == 200_000
    assert (tmp_path / "spool/train.pixels").stat().st_size == 200 * 8 * 8 * 3
    assert len({(offset, label) for offset, label in zip(train.offsets, train.labels, strict=True)}) == 200
    assert [train.key(row) for row in (0, 199_999)] == ["000000", "199999"]


def test_if_there_are_more_classes_than_distinct_images_they_share_images_and_a_note_says_so(tmp_path: Path) -> None:
    contents = synthetic.read("synthetic:images=1000,size=8,classes=1000,val=0,format=pixels", tmp_path)
    assert contents.splits["train"].label.tolist() == list(range(1000))
    assert len(set(np.asarray(contents.splits["train"].offset).tolist())) == 256
    assert "Only 256 different images exist, so the 1,000 classes cannot be learned." in contents.notes


@settings(max_examples=25, deadline=None)
@given(images=st.integers(1, 600), classes=st.integers(1, 300), val=st.integers(0, 300))
def test_each_row_is_in_the_file_of_its_split_and_an_image_has_one_label_if_there_are_enough(
    tmp_path_factory: pytest.TempPathFactory, images: int, classes: int, val: int
) -> None:
    spec = f"synthetic:images={images},classes={classes},val={val},size=2,format=pixels"
    dataset = opened(spec, tmp_path_factory.mktemp("any"))
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        name: count for name, count in {"train": images, "val": val}.items() if count
    }
    for split in dataset.splits.values():
        assert len(split.read(int(split.offsets.argmax()))) == 12
        assert split.labels.tolist() == [row % classes for row in range(len(split))]
        if classes <= 256:
            pairs = set(zip(split.offsets.tolist(), split.labels.tolist(), strict=True))
            assert len(pairs) == len(set(split.offsets.tolist()))


def test_the_same_specification_gives_the_same_images(tmp_path: Path) -> None:
    spec = "synthetic:images=30,size=16,val=10"
    first, second = opened(spec, tmp_path / "a"), opened(spec, tmp_path / "b")
    for split in ("train", "val"):
        ours, theirs = first.splits[split], second.splits[split]
        assert [ours.read(row) for row in range(len(ours))] == [theirs.read(row) for row in range(len(theirs))]


def test_the_classes_can_be_learned_and_validation_images_differ_from_training_images(tmp_path: Path) -> None:
    dataset = opened("synthetic:images=200,size=24,val=100,format=pixels", tmp_path)
    train, val = dataset.splits["train"], dataset.splits["val"]

    def stacked(split: table.Table) -> npt.NDArray[np.float64]:
        return np.stack([pixels(split, row).ravel().astype(np.float64) for row in range(len(split))])

    means = np.stack([stacked(train)[train.labels == label].mean(axis=0) for label in range(10)])
    distances = ((stacked(val)[:, None] - means) ** 2).sum(axis=2)  # (100, 10)
    assert (distances.argmin(axis=1) == val.labels).mean() > 0.9
    assert not {train.read(row) for row in range(200)} & {val.read(row) for row in range(100)}


def test_the_stamp_is_the_spooled_files_and_their_size_is_logged_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO, "tench"):
        contents = synthetic.read("synthetic:images=300,size=64,val=5,format=pixels", Path("spool"))
    assert contents.stamp == [str(tmp_path / "spool/train.pixels"), str(tmp_path / "spool/val.pixels")]
    assert "Generating 250 images for split train: writing about 3.1 MB once to" in caplog.text


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("synthetic:imges=3", "there is no setting 'imges'. Did you mean 'images'? Known: images, size,"),
        ("synthetic:images=3,", "there is no setting ''."),
        ("synthetic:images", "images has no value; write images=1000."),
        ("synthetic:size=", "size has no value; write size=224."),
        ("synthetic:val=1,val=2", "val is given twice, as 1 and 2."),
        ("synthetic:images=0", "images must be a whole number from 1 to 100,000,000, got '0'."),
        ("synthetic:images=1e6", "images must be a whole number from 1 to 100,000,000, got '1e6'."),
        ("synthetic:images=²", "images must be a whole number"),
        ("synthetic:val=-1", "val must be a whole number from 0 to"),
        ("synthetic:classes=0", "classes must be a whole number from 1 to 1,000,000, got '0'."),
        ("synthetic:size=10000", "size must be a whole number from 1 to 8,192, got '10000'."),
        ("synthetic:size=3x", "size must be a whole number from 1"),
        ("synthetic:size=3x4x5", "size=3x4x5 has 3 sides; write size=224 or size=224x160."),
        ("synthetic:format=png", "format must be jpeg or pixels, got 'png'."),
        ("synthetic:channels=2", "channels must be 1 or 3, got '2'."),
    ],
)
def test_an_invalid_setting_is_refused_with_the_valid_ones(tmp_path: Path, spec: str, text: str) -> None:
    with pytest.raises(UsageError) as error:
        synthetic.read(spec, tmp_path)
    assert str(error.value).startswith(f"{spec}: ")
    assert text in str(error.value)
    assert not list(tmp_path.iterdir())
