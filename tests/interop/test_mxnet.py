"""Record files and lists written by `tench prepare`, read by MXNet 1.9.1."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.interop import sets
from tests.interop.conftest import Ask, Prepare
from tests.interop.sets import Made, Stored

pytestmark = pytest.mark.interop("mxnet")


def compare(
    answers: Sequence[Any], images: Sequence[Stored], labels: Mapping[str, Sequence[float]] | None = None
) -> None:
    """Check that each image of a split is found once, and identical: in turn, by the keys of the `.idx`, in the `.lst`.

    labels: those of images that have several.
    """
    in_turn = [record for answer in answers for record in answer["in turn"]]
    by_key = {int(key): record for answer in answers for key, record in answer["by key"].items()}
    lines = {int(key): line for answer in answers for key, line in answer["lines"].items()}
    assert len(in_turn) == len(by_key) == len(lines) == len(images)
    for answer in answers:
        assert list(map(int, answer["lines"])) == [record["id"] for record in answer["in turn"]]
    for number, image in enumerate(images):
        of_image = labels[image.key] if labels else [image.label]
        found = by_key[number]
        assert found["id"] == number
        assert found["sha256"] == image.sha256
        assert found["labels"] == of_image
        assert found["flag"] == (len(of_image) if labels else 0)
        assert found in in_turn
        assert lines[number] == [image.key, of_image]


def test_mxnet_reads_every_record_in_turn_and_by_its_key(photos: Made, prepare: Prepare, ask: Ask) -> None:
    folder = prepare(photos, "--to", "recordio")
    answer = ask("mxnet", "read_mxnet.py", *(folder / f"{split}.rec" for split, _ in photos))
    for split, images in photos:
        compare([answer[str(folder / f"{split}.rec")]], images)


def test_mxnet_reads_several_files_of_a_split_and_unusual_names(
    photos: Made, prepare: Prepare, ask: Ask, tmp_path: Path
) -> None:
    odd = sets.odd_names(tmp_path / "odd", photos)
    files = sorted(prepare(odd, "--to", "recordio", "--shards", "4").glob("*.rec"))
    assert len(files) == 4
    answer = ask("mxnet", "read_mxnet.py", *files)
    compare([answer[str(file)] for file in files], odd.images["train"])


def test_mxnet_reads_images_that_contain_the_magic_word_of_records(
    photos: Made, prepare: Prepare, ask: Ask, tmp_path: Path
) -> None:
    magic = sets.with_magic(tmp_path / "magic", photos)
    file = prepare(magic, "--to", "recordio") / "train.rec"
    num_words = sum(image.data.count(sets.MAGIC) for image in magic.images["train"])
    assert num_words >= 24
    answer = ask("mxnet", "read_mxnet.py", file)
    compare([answer[str(file)]], magic.images["train"])
    # A reader that uses the lengths could also read such an image whole. MXNet splits it for readers that search for
    # the magic word.
    assert answer[str(file)]["rewritten"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_mxnet_reads_several_labels_of_each_image(photos: Made, prepare: Prepare, ask: Ask, tmp_path: Path) -> None:
    several, labels = sets.several_labels(tmp_path / "several", photos)
    file = prepare(several, "--to", "recordio") / "train.rec"
    answer = ask("mxnet", "read_mxnet.py", file, "--pixels", tmp_path / "pixels.npy", "24", "3")
    compare([answer[str(file)]], several.images["train"], labels)
    assert answer[str(file)]["rewritten"] == hashlib.sha256(file.read_bytes()).hexdigest()
    images = [several.images["train"][record["id"]] for record in answer[str(file)]["in turn"]]
    assert answer["iterated"] == [labels[image.key] for image in images]


@pytest.mark.parametrize("num_files", [1, 3])
def test_image_record_iter_returns_the_pixels_and_labels_of_the_files(
    photos: Made, prepare: Prepare, ask: Ask, tmp_path: Path, num_files: int
) -> None:
    squares = sets.squares(tmp_path / "squares", photos, 32)
    files = sorted(prepare(squares, "--to", "recordio", "--shards", str(num_files)).glob("*.rec"))
    assert len(files) == num_files
    pixels = tmp_path / "pixels.npy"
    answer = ask("mxnet", "read_mxnet.py", *files, "--pixels", pixels, "32", "1")
    ids = [record["id"] for file in files for record in answer[str(file)]["in turn"]]
    images = [squares.images["train"][number] for number in ids]
    assert {image.opened().format for image in images} == {"PNG", "JPEG"}
    assert answer["iterated"] == [image.label for image in images]
    for image, found in zip(images, np.load(pixels).transpose(0, 2, 3, 1), strict=True):
        assert np.array_equal(found, image.pixels()), image.key


def test_im2recs_reader_reads_our_lists(photos: Made, prepare: Prepare, ask: Ask) -> None:
    folder = prepare(photos, "--to", "list", "--style", "mxnet")
    answer = ask("mxnet", "read_mxnet.py", *(folder / f"{split}.lst" for split, _ in photos))
    for split, images in photos:
        found = {int(key): line for key, line in answer[str(folder / f"{split}.lst")]["lines"].items()}
        assert found == {number: [f"{split}/{image.key}", [image.label]] for number, image in enumerate(images)}
        for path, _ in found.values():
            assert (folder / path).is_file()
