"""A split as a PyTorch dataset. The oracle is torchvision's ImageFolder."""

import multiprocessing
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as PyTorchDataset

import tench
from tench.compat import import_torchvision
from tench.errors import TenchError, UsageError
from tench.evaluation.measure import evaluation_order
from tench.input.loader import Loader
from tench.input.torch_dataset import TorchDataset
from tench.input.views import EvalView

EVAL = EvalView(size=24, resize=28)


def pixels_of(image: Image.Image) -> torch.Tensor:
    """(H, W, C) uint8. A module-level function, so that spawned workers find it."""
    return torch.from_numpy(np.array(image))


def viewed(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(EVAL.pixels(np.asarray(image)).copy())


def workers(contexts: list[str]) -> list[str]:
    return [name for name in contexts if name in multiprocessing.get_all_start_methods()]


@pytest.fixture
def train(photo_folder: Path) -> TorchDataset:
    return tench.open_source(photo_folder).as_torch("train")


def image_folder(folder: Path) -> Any:
    import_torchvision()
    from torchvision.datasets import ImageFolder

    return ImageFolder(str(folder))


def test_classes_targets_and_images_match_torchvisions_image_folder(train: TorchDataset, photo_folder: Path) -> None:
    assert isinstance(train, PyTorchDataset)
    theirs = image_folder(photo_folder / "train")
    assert (train.classes, train.class_to_idx) == (theirs.classes, theirs.class_to_idx)
    assert (train.targets, len(train)) == (theirs.targets, len(theirs))
    for row, (image, label) in enumerate(theirs):
        ours, our_label = train[row]
        assert our_label == label
        assert (ours.mode, ours.size) == (image.mode, image.size)
        if "petal/1" not in theirs.samples[row][0]:  # CMYK, which tench and Pillow convert differently
            np.testing.assert_allclose(np.asarray(ours, np.int16), np.asarray(image, np.int16), atol=4)


def test_the_images_match_those_of_the_loader(photo_folder: Path) -> None:
    dataset = tench.open_source(photo_folder)
    single = dataset.as_torch("val", viewed)
    table = dataset.splits["val"]
    with Loader(table, EVAL, evaluation_order(table, 4), channels=3, threads=1) as loader:
        for images, labels, rows in loader.batches(epoch=0):
            for image, label, row in zip(images.permute(0, 2, 3, 1), labels.tolist(), rows.tolist(), strict=True):
                ours, our_label = single[row]
                assert torch.equal(image, ours)
                assert label == our_label


def test_bad_images_are_left_out_on_request(photos: Path) -> None:
    image = photos / "train/roof/3.jpg"
    image.write_bytes(image.read_bytes()[:999])
    every, good = (tench.open_source(photos).as_torch("train", bad=bad) for bad in ("fail", "skip"))
    assert len(good) == len(every) - 1
    assert all(good[row][0].size for row in range(len(good)))
    with pytest.raises(TenchError, match=r"roof/3\.jpg: truncated JPEG"):
        [every[row] for row in range(len(every))]


@pytest.mark.parametrize("context", workers(["fork", "spawn"]))
def test_each_image_comes_once_through_workers_even_after_use(train: TorchDataset, context: str) -> None:
    train.transform = viewed
    alone = [train[row][0] for row in range(len(train))]  # opens files, on which workers must not depend
    loader = DataLoader(train, batch_size=5, num_workers=2, multiprocessing_context=context, timeout=120)
    images, labels = (torch.cat(part) for part in zip(*loader, strict=True))
    assert torch.equal(images, torch.stack(alone))
    assert labels.tolist() == train.targets


def test_workers_read_an_indexed_archive_that_the_parent_has_read(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rapidgzip", reason="needs the package rapidgzip, which indexes gzip files")
    monkeypatch.setattr("tench.data.files.tree.INDEXED_BYTES", 0)
    with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as tar:
        tar.add(photo_folder, "photos")
    dataset = tench.open_source(tmp_path / "photos.tar.gz")
    assert dataset.splits["train"].indexes
    packed = dataset.as_torch("train", viewed)
    alone = torch.stack([packed[row][0] for row in range(len(packed))])
    loader = DataLoader(pickle.loads(pickle.dumps(packed)), batch_size=5, num_workers=2, timeout=120)
    assert torch.equal(torch.cat([images for images, _ in loader]), alone)
    loader = DataLoader(packed, batch_size=5, num_workers=2, timeout=120)
    assert torch.equal(torch.cat([images for images, _ in loader]), alone)


def test_a_pickled_copy_gives_the_same_images_and_carries_no_other_split(train: TorchDataset) -> None:
    before = train[3]
    copy = pickle.loads(pickle.dumps(train))
    assert copy[3] == before
    digits = tench.open_source("digits")
    sizes = {split: len(pickle.dumps(digits.as_torch(split))) for split in ("train", "val")}
    assert sizes["val"] < sizes["train"] / 2


def test_a_dataset_survives_a_pickle(photo_folder: Path) -> None:
    dataset = tench.open_source(photo_folder)
    copy = pickle.loads(pickle.dumps(dataset))
    assert (copy.fingerprint, copy.classes, copy.notes) == (dataset.fingerprint, dataset.classes, dataset.notes)
    for split, table in dataset.splits.items():
        assert copy.splits[split].keys() == table.keys()
        assert [copy.splits[split].read(row) for row in range(len(table))] == [table.read(r) for r in range(len(table))]


def test_a_transform_gets_the_pillow_image(train: TorchDataset) -> None:
    sizes = [image.size for image, _ in (train[row] for row in range(3))]
    train.transform = lambda image: image.size
    assert [train[row][0] for row in range(3)] == sizes


def test_grey_images_have_one_channel_on_request(photo_folder: Path) -> None:
    grey = tench.open_source(photo_folder).as_torch("train", channels=1)
    assert {image.mode for image, _ in (grey[row] for row in range(len(grey)))} == {"L"}
    with pytest.raises(UsageError) as error:
        tench.open_source(photo_folder).as_torch("train", channels=4)  # type: ignore[arg-type]
    assert str(error.value) == "channels must be 1 (grey) or 3 (RGB), got 4."


def test_negative_rows_count_from_the_end_and_others_are_an_index_error(train: TorchDataset) -> None:
    assert train[-1] == train[17]
    assert train[np.int64(2)] == train[2]  # type: ignore[index]
    for row in (18, -19):
        with pytest.raises(IndexError) as error:
            train[row]
        assert str(error.value) == f"row {row}: the split train has 18 images"


@pytest.mark.parametrize("row", [1.5, "a", None, slice(0, 2)])
def test_a_row_that_is_not_a_whole_number_is_refused(photo_folder: Path, row: object) -> None:
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        tench.open_source(photo_folder).as_torch("train")[row]  # type: ignore[index]


def test_an_unknown_split_is_named(photo_folder: Path) -> None:
    with pytest.raises(TenchError) as error:
        tench.open_source(photo_folder).as_torch("test")
    assert str(error.value) == f"{photo_folder} has no split 'test'; it has train, val."


def test_unlabelled_images_have_the_label_minus_one(photo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(photo_folder, tmp_path / "photos")
    (tmp_path / "photos/test").mkdir()
    shutil.copy(photo_folder / "val/roof/6.jpg", tmp_path / "photos/test/one.jpg")
    test = tench.open_source(tmp_path / "photos").as_torch("test")
    assert test.targets == [-1]
    assert test[0][1] == -1


@pytest.mark.parametrize("num_workers", [0, 1])  # torch waits 5 s for each worker after an error
def test_an_error_names_the_bad_image(photo_folder: Path, tmp_path: Path, num_workers: int) -> None:
    shutil.copytree(photo_folder, tmp_path / "photos")
    bad = tmp_path / "photos/train/roof/3.jpg"
    bad.write_bytes(bad.read_bytes()[:-400])
    train = tench.open_source(tmp_path / "photos").as_torch("train", viewed)
    with pytest.raises(TenchError, match=rf"(?s){bad}: truncated JPEG.*This is row 9, stage decode\. 'tench check"):
        list(DataLoader(train, batch_size=3, num_workers=num_workers, timeout=120 if num_workers else 0))


def test_opening_a_dataset_does_not_import_torch() -> None:
    code = "import sys, tench; tench.open_source('digits'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_raw_pixels_become_rgb_images() -> None:
    digits = tench.open_source("digits")
    image, label = digits.as_torch("val")[0]
    raw: npt.NDArray[np.uint8] = np.frombuffer(digits.splits["val"].read(0), np.uint8).reshape(8, 8)
    assert np.array_equal(np.asarray(image), np.stack([raw] * 3, axis=2))
    assert label == digits.splits["val"].labels[0]
