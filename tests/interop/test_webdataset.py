"""Shards written by `tench prepare`, read by the webdataset package."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data import miniature
from tests.interop import sets
from tests.interop.conftest import Ask, Prepare
from tests.interop.sets import Made, Stored

pytestmark = pytest.mark.interop("webdataset")

READER = "read_webdataset.py"


def image_of(sample: dict[str, Any]) -> tuple[str, str]:
    """The image part of a sample: (suffix in lower case, as webdataset returns it; SHA-256)."""
    ((suffix, digest),) = ((name, of) for name, of in sample.items() if name not in ("key", "shard", "cls", "json"))
    return suffix, digest


def compare(samples: list[dict[str, Any]], images: list[Stored]) -> None:
    """Check that every image was found once, with its label, under its key without the suffix."""
    by_key = {sample["key"]: sample for sample in samples}
    assert len(by_key) == len(samples) == len(images)
    for image in images:
        stem, _, suffix = image.key.rpartition(".")
        assert image_of(by_key[stem]) == (suffix.lower(), image.sha256)
        assert by_key[stem].get("cls") == (str(image.label) if image.label >= 0 else None)


def described(samples: list[dict[str, Any]], images: list[Stored]) -> dict[str, dict[str, Any]]:
    """The `.json` of each sample by the original key of the image, after checking the image and the label."""
    found = {(about := json.loads(sample["json"]))["filename"]: (about, sample) for sample in samples}
    assert len({sample["key"] for sample in samples}) == len(found) == len(samples) == len(images)
    for image in images:
        about, sample = found[image.key]
        assert image_of(sample) == (image.key.rpartition(".")[2].lower(), image.sha256)
        assert sample.get("cls") == (str(image.label) if image.label >= 0 else None)
        assert about.get("label", -1) == image.label
    return {key: about for key, (about, _) in found.items()}


def test_webdataset_reads_every_photograph_from_a_pattern_of_shards(photos: Made, prepare: Prepare, ask: Ask) -> None:
    folder = prepare(photos, "--shards", "4", "2")
    for split, pattern, num_shards in (("train", "{00000..00003}-of-00004", 4), ("val", "{00000..00001}-of-00002", 2)):
        samples = ask("webdataset", READER, folder / f"{split}-{pattern}.tar")
        assert len({sample["shard"] for sample in samples}) == num_shards
        compare(samples, list(photos.images[split]))
        assert not any("json" in sample for sample in samples)


def test_webdataset_reads_unusual_names(photos: Made, prepare: Prepare, ask: Ask, tmp_path: Path) -> None:
    odd = sets.odd_names(tmp_path / "odd", photos)
    (file,) = prepare(odd).glob("*.tar")
    described(ask("webdataset", READER, file), list(odd.images["train"]))


def test_webdataset_reads_several_labels(photos: Made, prepare: Prepare, ask: Ask, tmp_path: Path) -> None:
    several, labels = sets.several_labels(tmp_path / "several", photos)
    (file,) = prepare(several).glob("*.tar")
    found = described(ask("webdataset", READER, file), list(several.images["train"]))
    assert {key: about["labels"] for key, about in found.items()} == labels


def test_webdataset_reads_imagenets_boxes_and_unlabelled_images(prepare: Prepare, ask: Ask, tmp_path: Path) -> None:
    imagenet = sets.ilsvrc(tmp_path / "imagenet")
    folder = prepare(imagenet, "--boxes", "--bad", "skip")
    boxes = miniature.TRAIN_BOXES | miniature.val_boxes()
    for split, images in imagenet:
        (file,) = folder.glob(f"{split}-*.tar")
        found = described(ask("webdataset", READER, file), list(images))
        for key, about in found.items():
            assert [pytest.approx(box, abs=1e-6) for box in boxes.get(key, [])] == about["boxes"]
