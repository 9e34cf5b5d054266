import dataclasses
import datetime
import json
import re
import shutil
from pathlib import Path

import pytest
from tests.data.photos import part

import tench
from tench.data.cache import cache_folder
from tench.data.check.certificate import VERSION, Certificate, certificate_of, remember, renewed
from tench.data.check.check import Bad, Unreadable, check
from tench.data.check.containers import Damaged
from tench.data.source import open_source
from tench.data.table import Dataset


@pytest.fixture
def damaged(photos: Path) -> Path:
    """The class folders, with a truncated JPEG and an empty file among them."""
    cut = photos / "train/roof/1.jpg"
    cut.write_bytes(cut.read_bytes()[:-100])
    (photos / "val/petal/6.jpg").write_bytes(b"")
    return photos


def checked(path: Path) -> Dataset:
    dataset = open_source(path, refresh=True)
    remember(dataset, check(dataset, threads=1))
    return dataset


def test_the_certificate_is_found_when_the_same_content_is_opened_again(damaged: Path) -> None:
    assert certificate_of(open_source(damaged)) is None
    dataset = checked(damaged)
    found = certificate_of(open_source(damaged))
    assert found is not None
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(found.date)
    assert age < datetime.timedelta(minutes=1)
    assert found == Certificate(
        fingerprint=dataset.fingerprint,
        source=str(damaged),
        stamp=dataset.stamp,
        date=found.date,
        tench=tench.__version__,
        images=24,
        bad=(
            Bad(
                "train", "roof/1.jpg", f"{damaged}/train/roof/1.jpg", "truncated JPEG: Premature end of JPEG file", True
            ),
            Bad("val", "petal/6.jpg", f"{damaged}/val/petal/6.jpg", "empty (0 bytes)", False),
        ),
        damaged=(),
        odd={"grey": 1, "cmyk": 1},
    )
    assert found.sentence() == f"Checked on {found.date[:10]}: 2 of 24 images are bad (tench check SOURCE lists them)."


def test_the_summary_counts_what_is_bad_or_says_that_nothing_is(photo_folder: Path) -> None:
    found = certificate_of(checked(photo_folder))
    assert found is not None
    assert re.fullmatch(r"Checked on 20\d\d-\d\d-\d\d: 24 images decoded, none is bad\.", found.sentence())
    broken = dataclasses.replace(found, images=60_000, damaged=(Damaged("train-00001", "record 3"),))
    assert broken.sentence().endswith(": damaged records or archive members: 1 (tench check SOURCE lists them).")


def test_content_that_changed_after_the_check_is_not_certified(damaged: Path) -> None:
    checked(damaged)
    (damaged / "train/roof/8.jpg").write_bytes((damaged / "train/roof/0.jpg").read_bytes())
    assert certificate_of(open_source(damaged)) is None
    (damaged / "train/roof/8.jpg").unlink()
    assert certificate_of(open_source(damaged)) is None  # the same images, but the folder has changed
    checked(damaged)
    assert certificate_of(open_source(damaged)) is not None


def test_the_same_content_elsewhere_is_not_certified(photo_folder: Path, tmp_path: Path) -> None:
    dataset = checked(photo_folder)
    moved = dataclasses.replace(dataset, stamp=((str(tmp_path), 0, 1),))
    assert certificate_of(moved) is None
    more = dataclasses.replace(dataset, stamp=(*dataset.stamp, (str(tmp_path), 0, 1)))
    assert certificate_of(more) is not None


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"version": 1}', '{"version": 1, "stamp": 3, "bad": [1]}'])
def test_a_file_that_is_not_a_certificate_is_ignored(photo_folder: Path, text: str) -> None:
    dataset = checked(photo_folder)
    path = cache_folder() / "certificates" / f"{dataset.fingerprint}.json"
    saved = json.loads(path.read_text())
    assert certificate_of(dataset) is not None
    path.write_text(text)
    assert certificate_of(dataset) is None
    path.write_text(json.dumps(saved | {"version": VERSION + 1}))
    assert certificate_of(dataset) is None


def test_a_certificate_with_a_flipped_bit_is_ignored_or_says_the_same(damaged: Path) -> None:
    dataset = checked(damaged)
    (file,) = (cache_folder() / "certificates").iterdir()
    expected, whole = certificate_of(dataset), file.read_bytes()
    assert expected is not None
    for bit in range(0, 8 * len(whole), 61):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        file.write_bytes(content)
        assert certificate_of(dataset) in (None, expected)


def test_unreadable_images_are_checked_again_and_do_not_count_as_bad(photo_folder: Path) -> None:
    dataset = open_source(photo_folder)
    report = check(dataset, threads=1)
    unreadable = Unreadable("train", "roof/0.jpg", "roof/0.jpg", "roof/0.jpg: cannot be read (Permission denied).")
    remember(dataset, dataclasses.replace(report, unreadable=(unreadable,)))
    found = certificate_of(dataset)
    assert found is not None
    assert (found.bad, found.unreadable) == ((), (unreadable,))
    assert found.sentence().endswith(": 1 could not be read (tench check SOURCE lists them).")
    assert renewed(dataset, found).unreadable == ()
    again = certificate_of(dataset)
    assert again is not None
    assert again.sentence().endswith(": 24 images decoded, none is bad.")


def copied(folder: Path, *pairs: tuple[str, str]) -> Path:
    """Overwrite the second file of each pair in `folder` with the first. Returns `folder`."""
    for source, dest in pairs:
        (folder / dest).write_bytes((folder / source).read_bytes())
    return folder


def told(path: Path, near: bool = False) -> str:
    """The summary that training logs after a check, without the date."""
    dataset = open_source(path, refresh=True)
    remember(dataset, check(dataset, threads=1, near=near))
    found = certificate_of(dataset)
    assert found is not None
    return found.sentence().partition(": ")[2]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (
            [("train/roof/0.jpg", "val/roof/6.jpg")],
            "1 image of val is also in train, so the measured accuracy is too high.",
        ),
        (
            [("train/roof/0.jpg", "val/roof/6.jpg"), ("train/roof/1.jpg", "val/petal/7.jpg")],
            "2 images of val are also in train, so the measured accuracy is too high. 2 images have a copy with "
            "a different label.",
        ),
        (
            [("train/roof/0.jpg", "train/petal/0.jpg")],
            "2 images have a copy with a different label. 1 image of train duplicates another one there.",
        ),
        (
            [("train/roof/3.jpg", "train/roof/4.jpg"), ("train/roof/3.jpg", "train/roof/5.jpg")],
            "2 images of train duplicate another one there.",
        ),
    ],
)
def test_duplicates_found_by_a_check_are_reported_later(
    photo_folder: Path, tmp_path: Path, pairs: list[tuple[str, str]], expected: str
) -> None:
    folder = copied(Path(shutil.copytree(photo_folder, tmp_path / "photos")), *pairs)
    assert told(folder) == f"24 images decoded, none is bad. {expected} tench check SOURCE lists them."


def test_near_duplicates_across_splits_are_reported_later(photo_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    part(200, 150).save(folder / "train/roof/near.jpg", quality=95)
    part(200, 150).save(folder / "val/roof/near.jpg", quality=60)
    assert told(folder) == "26 images decoded, none is bad."
    assert told(folder, near=True) == (
        "26 images decoded, none is bad. 1 image of val looks like one in train, so the measured accuracy is too high. "
        "tench check SOURCE lists them."
    )
