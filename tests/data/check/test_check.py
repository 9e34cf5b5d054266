import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.photos import encoded, photo
from tests.support.datasets import reloaded

from tench.data.check.check import MAX_EXAMPLES, ODD, Bad, Odd, OddImage, Report, Sides, Unreadable, check
from tench.data.check.duplicates import Copy, Group
from tench.data.table import PIXELS_HWC, Classes, Contents, Dataset, Rows

PHOTO = photo("flower.jpg").crop((200, 200, 248, 240))


JPEG = encoded(PHOTO, "JPEG")


def dataset_of(folder: Path, splits: dict[str, dict[str, bytes]]) -> Dataset:
    """A dataset with one file per image."""
    contents = {}
    for split, images in splits.items():
        paths = []
        for key, data in images.items():
            path = folder / split / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            paths.append(str(path))
        lengths = np.array([len(data) for data in images.values()])
        zeros = np.zeros(len(images), int)
        contents[split] = Rows(paths, np.arange(len(images)), 0, lengths, zeros, list(images))
    return saved(contents)


def saved(splits: dict[str, Rows]) -> Dataset:
    return reloaded(Contents(Classes.of(["a"]), splits, []), source="photos")


def test_a_dataset_of_good_photographs_has_nothing_to_report_but_sizes(tmp_path: Path) -> None:
    other = encoded(PHOTO.crop((0, 0, 20, 30)), "PNG")
    images = {"a.jpg": JPEG, "b.JPEG": encoded(PHOTO, "JPEG", quality=90), "c.png": other}
    report = check(dataset_of(tmp_path, {"train": images}), threads=2)
    assert report == Report(3, bad=(), odd_images=(), height=Sides(30, 40.0, 40), width=Sides(20, 48.0, 48))
    assert (report.odd, report.stops_training) == ({}, False)


def test_every_bad_image_is_named_with_its_reason_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    dataset = dataset_of(
        tmp_path,
        {
            "train": {"a.jpg": b"<html>", "b.jpg": JPEG, "c.jpg": JPEG[:-100], "d.jpg": b""},
            "val": {"e.jpg": JPEG, "f.jpg": JPEG},
        },
    )
    (tmp_path / "val" / "e.jpg").unlink()
    report = check(dataset, threads=3)
    assert report.images == 6
    assert report.bad == (
        Bad(
            "train",
            "a.jpg",
            f"{tmp_path}/train/a.jpg",
            "not an image: starts with bytes b'<html>', no known image format",
            fixable=False,
        ),
        Bad("train", "c.jpg", f"{tmp_path}/train/c.jpg", "truncated JPEG: Premature end of JPEG file", fixable=True),
        Bad("train", "d.jpg", f"{tmp_path}/train/d.jpg", "empty (0 bytes)", fixable=False),
    )
    assert report.unreadable == (
        Unreadable(
            "val",
            "e.jpg",
            f"{tmp_path}/val/e.jpg",
            f"{tmp_path}/val/e.jpg: cannot be read (No such file or directory). Row 0 needs it.",
        ),
    )
    assert report.stops_training
    assert report.height == Sides(40, 40.0, 40)


def test_unusual_images_are_counted_by_kind(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 8
    suspect = encoded(PHOTO, "JPEG", restart_marker_rows=1)
    marker = suspect.index(b"\xff\xd1")
    suspect = suspect[:marker] + b"stray bytes" + suspect[marker:]
    images = {
        "rotated.jpg": encoded(PHOTO, "JPEG", exif=exif),
        "turned.tif": encoded(PHOTO, "TIFF", tiffinfo={274: 8}),
        "grey.jpg": encoded(PHOTO.convert("L"), "JPEG"),
        "alpha.png": encoded(PHOTO.convert("LA"), "PNG"),
        "cmyk.JPEG": encoded(PHOTO.convert("CMYK"), "JPEG"),
        "n02105855_2933.JPEG": encoded(PHOTO.convert("RGBA"), "PNG"),
        "tiny.png": encoded(PHOTO.resize((7, 50)), "PNG"),
        "without_extension": encoded(PHOTO, "WEBP"),
        "several.jpg": encoded(PHOTO, "MPO", save_all=True, append_images=[PHOTO]),
        "small_enough.gif": encoded(PHOTO.resize((8, 8)), "GIF"),
        "suspect.jpg": suspect,
        "trailing.jpg": JPEG + bytes(1234),
        "trailing.png": encoded(PHOTO, "PNG") + b"<html>",
        "huge.png": encoded(Image.new("L", (4001, 4000)).convert("1"), "PNG"),
        "largest.gif": encoded(Image.new("P", (4000, 4000)), "GIF"),
    }
    report = check(dataset_of(tmp_path, {"train": images}), threads=2)
    assert report.bad == ()
    assert report.odd == {
        "rotated": Odd(1, ("train/rotated.jpg (orientation 8)",)),
        "grey": Odd(3, ("train/alpha.png", "train/grey.jpg", "train/huge.png")),
        "cmyk": Odd(1, ("train/cmyk.JPEG",)),
        "misnamed": Odd(1, ("train/n02105855_2933.JPEG (a PNG)",)),
        "tiny": Odd(1, ("train/tiny.png (7 x 50 pixels)",)),
        "huge": Odd(1, ("train/huge.png (4001 x 4000 pixels)",)),
        "trailing": Odd(2, ("train/trailing.jpg (1,234 bytes)", "train/trailing.png (6 bytes)")),
        "suspect": Odd(1, ("train/suspect.jpg (Corrupt JPEG data: 11 extraneous bytes before marker 0xd1)",)),
    }
    assert set(report.odd) == set(ODD)


def many(folder: Path) -> Dataset:
    images = {}
    for index in range(150):
        grey = encoded(PHOTO.convert("L").resize((8 + index, 9)), "PNG")
        images[f"{index:03}.png"] = (grey, JPEG, b"none")[index % 3]
    return dataset_of(folder, {"train": images, "val": dict(list(images.items())[:70])})


def test_the_report_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    dataset = many(tmp_path)
    first = check(dataset, threads=1)
    assert check(dataset, threads=7) == first
    assert len(first.bad) == 50 + 23
    assert [(bad.split, bad.key) for bad in first.bad] == sorted((bad.split, bad.key) for bad in first.bad)


def test_images_are_reported_in_row_order_whatever_their_order_in_the_file(tmp_path: Path) -> None:
    grey = encoded(PHOTO.convert("L"), "JPEG")
    images = {f"{number:03}.jpg": (b"none", grey, grey[:-50])[number % 3] for number in range(100)}
    keys = sorted(images, reverse=True)
    (tmp_path / "shard").write_bytes(b"".join(images[key] for key in keys))
    lengths = np.array([len(images[key]) for key in keys])
    rows = Rows([str(tmp_path / "shard")], np.zeros(100, int), lengths.cumsum() - lengths, lengths, lengths * 0, keys)
    report = check(saved({"train": rows}), threads=3)
    assert [bad.key for bad in report.bad] == sorted(key for key in keys if images[key] != grey)
    assert [image.key for image in report.odd_images] == sorted(key for key in keys if images[key] == grey)
    assert [copy.key for copy in report.duplicates[0].images] == [image.key for image in report.odd_images]


def test_only_the_first_few_examples_of_a_kind_are_kept(tmp_path: Path) -> None:
    odd = check(many(tmp_path), threads=4).odd
    assert odd["grey"] == Odd(50 + 24, tuple(f"train/{3 * index:03}.png" for index in range(MAX_EXAMPLES)))


def test_every_odd_image_is_listed_with_all_its_kinds(tmp_path: Path) -> None:
    grey = encoded(PHOTO.convert("L").resize((7, 9)), "PNG")
    report = check(dataset_of(tmp_path, {"train": {"a.jpg": JPEG}, "val": {"b.jpg": grey + b"12"}}), threads=1)
    kinds = {"grey": "", "misnamed": "a PNG", "trailing": "2 bytes", "tiny": "7 x 9 pixels"}
    assert report.odd_images == (OddImage("val", "b.jpg", f"{tmp_path}/val/b.jpg", kinds),)
    assert len(check(many(tmp_path), threads=4).odd_images) == 2 * 50 + 24 + 23  # grey, or a JPEG named .png


def test_images_with_the_same_bytes_are_distinguished_by_split_and_label(tmp_path: Path) -> None:
    other, bad = encoded(PHOTO, "PNG"), JPEG[:-100]
    images = {"train": {"a.jpg": JPEG, "b.png": other, "c.jpg": JPEG, "d.jpg": bad}, "val": {"b.png": other, "e": bad}}
    report = check(dataset_of(tmp_path, images), threads=2)
    within, across = report.duplicates
    assert within == Group((Copy("train", "a.jpg", "a"), Copy("train", "c.jpg", "a")))
    assert across == Group((Copy("train", "b.png", "a"), Copy("val", "b.png", "a")))
    assert (within.across_splits, across.across_splits) == (False, True)
    assert report.near is None


def test_near_duplicates_are_searched_for_on_request(tmp_path: Path) -> None:
    images = {"train": {"a.jpg": JPEG}, "val": {"b.jpg": encoded(PHOTO, "JPEG", quality=50), "c.jpg": b"none"}}
    dataset = dataset_of(tmp_path, images)
    report = check(dataset, threads=2, near=True)
    assert report.near == (Group((Copy("train", "a.jpg", "a"), Copy("val", "b.jpg", "a"))),)
    assert report.duplicates == ()
    assert check(dataset, threads=1, near=True) == report


def test_progress_counts_add_up_to_all_images(tmp_path: Path) -> None:
    steps: list[int] = []
    check(many(tmp_path), threads=2, progress=steps.append)
    assert sum(steps) == 220
    assert len(steps) > 5


def test_an_error_in_the_progress_callback_ends_the_check(tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(many(tmp_path), threads=2, progress=stop)


def test_the_size_of_raw_pixels_is_checked(tmp_path: Path) -> None:
    shard = tmp_path / "digits"
    shard.write_bytes(bytes(3 * 28 * 28))
    rows = Rows(
        [str(shard)],
        np.zeros(3, int),
        np.arange(3) * 784,
        784,
        np.zeros(3, int),
        ["0", "1", "2"],
        PIXELS_HWC,
        28,
        28,
        1,
    )
    report = check(saved({"train": rows}), threads=2)
    copies = Group(tuple(Copy("train", key, "a") for key in "012"))
    assert report == Report(3, (), (), Sides(28, 28.0, 28), Sides(28, 28.0, 28), duplicates=(copies,))
    wrong = Rows([str(shard)], np.zeros(1, int), 0, 784, np.zeros(1, int), ["0"], PIXELS_HWC, 28, 29, 1)
    report = check(saved({"train": wrong}), threads=2)
    assert [bad.reason for bad in report.bad] == ["raw pixels: 784 bytes, expected 28 x 29 x 1 = 812"]


def test_a_report_without_any_good_image_has_no_sizes(tmp_path: Path) -> None:
    report = check(dataset_of(tmp_path, {"train": {"a.jpg": b"x"}}), threads=1)
    assert (report.height, report.width) == (None, None)


def test_the_report_can_be_written_as_json(tmp_path: Path) -> None:
    grey = encoded(PHOTO.convert("L"), "JPEG")
    images = {"a.jpg": b"", "b.jpg": grey, "c.jpg": grey}
    report = check(dataset_of(tmp_path, {"val": images}), threads=1)
    assert json.loads(json.dumps(report.to_json())) == {
        "images": 3,
        "known": [],
        "checksums": [],
        "damaged": [],
        "unreadable": [],
        "bad": [
            {
                "split": "val",
                "key": "a.jpg",
                "file": f"{tmp_path}/val/a.jpg",
                "reason": "empty (0 bytes)",
                "fixable": False,
            }
        ],
        "odd": {
            "grey": {
                "count": 2,
                "meaning": "one channel, read as three equal channels",
                "examples": ["val/b.jpg", "val/c.jpg"],
            }
        },
        "odd_images": [
            {"split": "val", "key": key, "file": f"{tmp_path}/val/{key}", "kinds": {"grey": ""}}
            for key in ("b.jpg", "c.jpg")
        ],
        "duplicates": [
            {
                "images": [{"split": "val", "key": key, "class_id": "a"} for key in ("b.jpg", "c.jpg")],
                "across_splits": False,
                "contradicts": False,
            }
        ],
        "near_duplicates": None,
        "height": {"min": 40, "median": 40.0, "max": 40},
        "width": {"min": 48, "median": 48.0, "max": 48},
    }
