"""TFRecords written by `tench prepare`, read by TensorFlow."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data import miniature
from tests.interop import sets
from tests.interop.conftest import ROOT, Ask, Prepare, python_of
from tests.interop.sets import Made, Stored
from tests.support.processes import run

pytestmark = pytest.mark.interop("tensorflow")

WORDS = {"train": "train", "val": "validation", "test": "test"}
COLOURS = {"RGB": ("RGB", 3), "RGBA": ("RGB", 3), "L": ("Grayscale", 1), "CMYK": ("CMYK", 4)}


def shards(folder: Path, split: str) -> list[Path]:
    return sorted(folder.glob(f"{WORDS[split]}-*-of-*"))


def records(answer: dict[str, Any], folder: Path, split: str) -> list[dict[str, Any]]:
    """All records of a split, after checking that TensorFlow refused none of its files."""
    files = [answer[str(file)] for file in shards(folder, split)]
    assert [file["error"] for file in files] == [None] * len(files)
    return [record for file in files for record in file["records"]]


def expected(image: Stored, texts: dict[str, str]) -> dict[str, Any]:
    picture = image.opened()
    space, channels = COLOURS[picture.mode]
    return {
        "sha256": image.sha256,
        "shape": [picture.height, picture.width, 3],
        "format": picture.format,
        "filename": image.file,
        "colorspace": space,
        "channels": channels,
        "height": picture.height,
        "width": picture.width,
        "class/label": image.label + 1 if image.label >= 0 else -1,
        "class/synset": image.class_id,
        "class/text": texts.get(image.class_id, image.class_id),
    }


def compare(found: list[dict[str, Any]], images: Any, texts: dict[str, str]) -> None:
    """Check that every image was found once, with all keys, and that TensorFlow decodes the same pixels as Pillow."""
    by_key = {f"{one['class/synset']}/{one['filename']}".removeprefix("/"): one for one in found}
    assert len(by_key) == len(found) == len(images)
    for image in images:
        record = by_key[image.key]
        want = expected(image, texts)
        assert {name: record[name] for name in want} == want
        if image.opened().mode in ("RGB", "L"):  # programs convert CMYK and transparency differently
            assert record["mean"] == pytest.approx(image.pixels().mean(axis=(0, 1)).tolist(), abs=1e-6)


def test_tensorflow_reads_every_key_of_every_photograph(photos: Made, prepare: Prepare, ask: Ask) -> None:
    folder = prepare(photos, "--to", "tfrecord", "--shards", "3", "2")
    assert [len(shards(folder, split)) for split in photos.images] == [3, 2]
    answer = ask("tensorflow", "read_tensorflow.py", *(file for split, _ in photos for file in shards(folder, split)))
    for split, images in photos:
        compare(records(answer, folder, split), images, {})


def test_tensorflow_reads_unusual_names(photos: Made, prepare: Prepare, ask: Ask, tmp_path: Path) -> None:
    odd = sets.odd_names(tmp_path / "odd", photos)
    folder = prepare(odd, "--to", "tfrecord")
    answer = ask("tensorflow", "read_tensorflow.py", *shards(folder, "train"))
    compare(records(answer, folder, "train"), odd.images["train"], {})


def test_tensorflow_reads_imagenets_boxes_and_names_and_unlabelled_images(
    prepare: Prepare, ask: Ask, tmp_path: Path
) -> None:
    imagenet = sets.ilsvrc(tmp_path / "imagenet")
    folder = prepare(imagenet, "--to", "tfrecord", "--boxes", "--bad", "skip")
    answer = ask("tensorflow", "read_tensorflow.py", *(file for split, _ in imagenet for file in shards(folder, split)))
    boxes = miniature.TRAIN_BOXES | miniature.val_boxes()
    num_boxes = 0
    for split, images in imagenet:
        found = records(answer, folder, split)
        compare(found, images, miniature.CLASSES)
        by_file = {record["filename"]: record for record in found}
        for image in images:
            want, record = boxes.get(image.key, []), by_file[image.file]
            assert np.array(record["boxes"]).reshape(-1) == pytest.approx(np.array(want).reshape(-1), abs=1e-6)
            assert record["labels of boxes"] == [image.label + 1] * len(want)
            num_boxes += len(want)
    assert num_boxes == 7 + len(miniature.VAL)


def test_tensorflow_detects_a_flipped_bit_anywhere(photos: Made, prepare: Prepare, ask: Ask, tmp_path: Path) -> None:
    (whole,) = shards(prepare(photos, "--to", "tfrecord", "--shards", "1"), "val")
    data = whole.read_bytes()
    first_bytes = 16 + int.from_bytes(data[:8], "little")
    places = {
        "length": first_bytes,
        "checksum of the length": first_bytes + 8,
        "a name": data.index(b"image/format", first_bytes),
        "an image": first_bytes + 2000,
        "the last checksum": len(data) - 1,
    }
    for place, at in places.items():
        flipped = bytearray(data)
        flipped[at] ^= 0x10
        (tmp_path / place).write_bytes(flipped)
    (tmp_path / "cut off").write_bytes(data[:-5])
    damaged = [tmp_path / place for place in (*places, "cut off")]
    answer = ask("tensorflow", "read_tensorflow.py", whole, *damaged)
    images = answer[str(whole)]["records"]
    assert len(images) == len(photos.images["val"])
    for file in damaged:
        num_before = len(images) - 1 if file.name in ("the last checksum", "cut off") else 1
        assert answer[str(file)]["records"] == images[:num_before], file.name
        assert ("truncated" if file.name == "cut off" else "corrupted") in answer[str(file)]["error"]


def keras_train(folder: Path, *options: str) -> tuple[float, int]:
    """(accuracy in percent, number of images) of the validation by examples/keras_train.py."""
    command = [str(python_of("tensorflow")), "-I", str(ROOT / "examples/keras_train.py"), str(folder), *options]
    done = run(command)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = re.search(r"validation accuracy (\d+\.\d+) % of (\d+) images", done.stdout)
    assert found is not None, done.stdout
    return float(found[1]), int(found[2])


def test_a_keras_model_learns_from_our_records(prepare: Prepare) -> None:
    folder = prepare(Made(Path("digits"), (), {}), "--to", "tfrecord", "--shards", "4", "1")
    options = ("--image-size", "24", "--min-area", "0.7", "--no-flip", "--epochs", "6")
    accuracy, num_images = keras_train(folder, *options)
    assert num_images == 359
    assert accuracy > 90  # a tenth would be chance


def test_the_keras_example_accepts_grey_cmyk_and_png_images_and_the_networks_of_keras(
    photos: Made, prepare: Prepare
) -> None:
    folder = prepare(photos, "--to", "tfrecord")
    options = "--network MobileNetV2 --image-size 32 --batch-size 6 --epochs 1"
    _, num_images = keras_train(folder, *options.split())
    assert num_images == len(photos.images["val"])
