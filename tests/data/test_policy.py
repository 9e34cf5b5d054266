import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tench.data import policy
from tench.data.check.certificate import certificate_of, remember
from tench.data.check.check import check
from tench.data.handled import Handled
from tench.data.images.image import ImageError, decode_damaged
from tench.data.images.picture import decode_row
from tench.data.source import open_source
from tench.data.table import Dataset
from tench.errors import PassingError, TenchError


@pytest.fixture
def damaged(photos: Path) -> Path:
    """Real photographs: one in train is truncated, one is empty, and one in val is truncated."""
    for name in ("train/roof/3.jpg", "val/water/6.jpg"):
        data = (photos / name).read_bytes()
        (photos / name).write_bytes(data[: len(data) * 3 // 4])
    (photos / "train/petal/2.jpg").write_bytes(b"")
    return photos


def checked(path: Path) -> Dataset:
    dataset = open_source(path)
    remember(dataset, check(dataset, threads=1))
    return dataset


def test_without_a_check_fail_changes_nothing_and_reads_nothing(damaged: Path) -> None:
    dataset = open_source(damaged)
    assert policy.apply(dataset, "fail", ["train", "val"]) == (dataset, [])
    assert certificate_of(dataset) is None


def test_a_check_without_findings_is_logged(photo_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = checked(photo_folder)
    with caplog.at_level("INFO", "tench"):
        assert policy.apply(dataset, "fail", ["train", "val"]) == (dataset, [])
    assert caplog.messages[-1].startswith("Checked on 20")
    assert caplog.messages[-1].endswith(": 24 images decoded, none is bad.")


def test_bad_images_found_by_a_check_stop_training_before_it_begins(damaged: Path) -> None:
    dataset = checked(damaged)
    with pytest.raises(TenchError) as error:
        policy.apply(dataset, "fail", ["train", "val"])
    text, file = str(error.value), damaged / "train/petal/2.jpg"
    assert text.startswith(f"{file}: empty (0 bytes) (train, petal/2.jpg). It is one of 3 bad images of {damaged}, ")
    assert text.endswith(
        "Restore them, leave them out with --bad skip, or decode JPEGs as far as they go with --bad fix."
    )


def test_bad_images_of_an_unused_split_do_not_stop_training(damaged: Path) -> None:
    (damaged / "train/roof/3.jpg").unlink()
    (damaged / "train/petal/2.jpg").unlink()
    dataset = checked(damaged)
    assert policy.apply(dataset, "fail", ["train"]) == (dataset, [])
    assert policy.apply(dataset, "skip", ["train"])[1] == []
    with pytest.raises(TenchError, match=r"water/6\.jpg"):
        policy.apply(dataset, "fail", ["val"])


def test_skipped_images_are_removed_from_the_table(damaged: Path) -> None:
    dataset = open_source(damaged)
    applied, handled = policy.apply(dataset, "skip", ["train", "val"])
    assert certificate_of(dataset) is not None
    assert {(one["split"], one["key"], one["done"]) for one in handled} == {
        ("train", "petal/2.jpg", "skipped"),
        ("train", "roof/3.jpg", "skipped"),
        ("val", "water/6.jpg", "skipped"),
    }
    bad = {one["key"] for one in handled}
    for split, table in dataset.splits.items():
        assert applied.splits[split].keys() == [key for key in table.keys() if key not in bad]  # noqa: SIM118
    assert applied.fingerprint == dataset.fingerprint


def test_fixed_images_are_decoded_as_far_as_possible(damaged: Path) -> None:
    dataset = open_source(damaged)
    applied, handled = policy.apply(dataset, "fix", ["train", "val"])
    assert {(one["key"], one["done"]) for one in handled} == {
        ("petal/2.jpg", "skipped"),
        ("roof/3.jpg", "fixed"),
        ("water/6.jpg", "fixed"),
    }
    table = applied.splits["train"]
    row = table.keys().index("roof/3.jpg")
    expected = decode_damaged((damaged / "train/roof/3.jpg").read_bytes())
    np.testing.assert_array_equal(decode_row(table, row, 3), expected)
    with pytest.raises(ImageError, match="truncated"):
        decode_row(dataset.splits["train"], dataset.splits["train"].keys().index("roof/3.jpg"), 3)


def test_the_check_runs_once(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_source(damaged)
    first = policy.apply(dataset, "skip", ["train"])[1]
    monkeypatch.setattr(policy, "check", None)
    assert policy.apply(dataset, "skip", ["train"])[1] == first


def test_the_fingerprint_depends_on_how_bad_images_were_handled() -> None:
    assert policy.fingerprint([]) is None
    one = Handled(split="train", row=1, key="a.jpg", file="x", reason="cut", done="skipped")
    other = Handled(split="train", row=1, key="a.jpg", file="y", reason="cut", done="fixed")
    assert policy.fingerprint([one]) != policy.fingerprint([other])
    assert policy.fingerprint([one, other]) == policy.fingerprint([other, one])


@pytest.fixture
def unplugged(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that cannot be opened while they are in this list."""
    away: list[Path] = []
    real = os.open

    def opened(path: str, *arguments: Any, **options: Any) -> int:
        if Path(path) in away:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", opened)
    return away


def test_unreadable_images_are_checked_again_and_not_left_out(damaged: Path, unplugged: list[Path]) -> None:
    file, bad = damaged / "train/roof/0.jpg", damaged / "train/roof/3.jpg"
    unplugged += [file, bad]
    dataset = checked(damaged)
    found = certificate_of(dataset)
    assert found is not None
    assert {one.key for one in found.unreadable} == {"roof/0.jpg", "roof/3.jpg"}
    with pytest.raises(PassingError) as refused:
        policy.apply(dataset, "skip", ["train"])
    assert str(refused.value) == (
        f"{file}: cannot be read (Input/output error). Row 6 needs it. 2 images of {damaged} cannot be read, so it is "
        "unknown whether they are bad. Make them readable, or remove them."
    )
    unplugged.clear()
    left, handled = policy.apply(dataset, "skip", ["train"])
    assert [one["key"] for one in handled] == ["petal/2.jpg", "roof/3.jpg"]
    assert left.splits["train"].keys().count("roof/0.jpg") == 1
    found = certificate_of(dataset)
    assert found is not None
    assert found.unreadable == ()
    assert {one.key for one in found.bad} == {"petal/2.jpg", "roof/3.jpg", "water/6.jpg"}


def test_without_a_certificate_a_file_that_cannot_be_read_is_not_left_out_either(
    damaged: Path, unplugged: list[Path]
) -> None:
    dataset = open_source(damaged)
    unplugged.append(damaged / "train/roof/0.jpg")
    with pytest.raises(PassingError, match=r"1 image of .* cannot be read, so it is unknown whether they are bad"):
        policy.apply(dataset, "fix", ["train"])
    unplugged.clear()
    assert {one["key"] for one in policy.apply(dataset, "fix", ["train"])[1]} == {"petal/2.jpg", "roof/3.jpg"}
