import bz2
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits, load_sample_image

from tench.compat import import_torchvision
from tench.data.source import open_source
from tench.data.table import Classes, Table
from tench.errors import TenchError, UsageError

DIGITS = load_digits()
IMAGES = np.rint(DIGITS.images[:6] * 255 / 16).astype(np.uint8)  # (6, 8, 8)
LABELS = DIGITS.target[:6].tolist()


def csv(path: Path, images: npt.NDArray[np.uint8], labels: list[int] | None, header: str = "pixel") -> Path:
    flat = images.reshape(len(images), -1)
    names = [f"{header}{number}" for number in range(flat.shape[1])]
    lines = [",".join((["label"] if labels is not None else []) + names)]
    for row, pixels in enumerate(flat):
        lines.append(",".join(map(str, [*([labels[row]] if labels is not None else []), *pixels])))
    path.write_text("\n".join(lines) + "\n")
    return path


def images_of(table: Table) -> npt.NDArray[np.uint8]:
    shape = int(table.heights[0]), int(table.widths[0]), int(table.channels[0])
    return np.stack([np.frombuffer(table.read(row), np.uint8).reshape(shape) for row in range(len(table))])


def test_kaggles_digits_are_read_with_an_unlabelled_test(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", IMAGES, LABELS)
    csv(tmp_path / "test.csv", IMAGES[:2], None)
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    found = open_source(tmp_path)
    assert (found.layout, found.classes) == ("pixel-table", Classes.numbered_to(6))
    assert (images_of(found.splits["train"])[..., 0] == IMAGES).all()
    assert found.splits["train"].labels.tolist() == LABELS
    assert found.splits["test"].labels.tolist() == [-1, -1]
    assert list(found.notes) == ["The labels come from column label.", "test.csv has no labels."]


def test_columns_named_by_position_and_rgb_pixels_are_read(tmp_path: Path) -> None:
    photo = load_sample_image("china.jpg")
    images = np.stack([photo[index : index + 8, 50:58] for index in range(3)])
    found = open_source(csv(tmp_path / "hmnist_8_8_RGB.csv", images, [4, 2, 4], header="pixel00"))
    assert (images_of(found.splits["train"]) == images).all()
    assert found.classes == Classes.of(["2", "4"])
    assert found.splits["train"].labels.tolist() == [1, 0, 1]


def test_the_column_usage_gives_the_splits_of_fer2013(tmp_path: Path) -> None:
    lines = ["emotion, Usage, pixels"]
    usage = ["Training", "Training", "PublicTest", "PrivateTest", "Training", "PublicTest"]
    for label, use, image in zip(LABELS, usage, IMAGES, strict=True):
        lines.append(f"{label},{use},{' '.join(map(str, image.ravel()))}")
    (tmp_path / "icml_face_data.csv").write_text("\n".join(lines))
    found = open_source(tmp_path / "icml_face_data.csv")
    assert {split: table.labels.tolist() for split, table in found.splits.items()} == {
        "train": [0, 1, 4],
        "val": [2, 5],
        "test": [3],
    }
    assert (images_of(found.splits["test"])[0, ..., 0] == IMAGES[3]).all()


def test_usps_and_semeion_match_what_torchvision_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_torchvision()
    from torchvision.datasets import SEMEION, USPS

    large = np.kron(IMAGES / 255, np.ones((2, 2)))  # (6, 16, 16)
    usps, semeion = tmp_path / "usps", tmp_path / "semeion"
    usps.mkdir()
    semeion.mkdir()
    for name, rows in (("usps.bz2", slice(0, 4)), ("usps.t.bz2", slice(4, 6))):
        text = "".join(
            f"{label + 1} "
            + " ".join(f"{place}:{value:.4f}" for place, value in enumerate(2 * image.ravel() - 1, 1))
            + " \n"
            for label, image in zip(LABELS[rows], large[rows], strict=True)
        )
        (usps / name).write_bytes(bz2.compress(text.encode()))
    lines = [
        " ".join(f"{float(value > 0.5):.4f}" for value in image.ravel())
        + " "
        + " ".join(str(int(digit == label)) for digit in range(10))
        + " "
        for label, image in zip(LABELS, large, strict=True)
    ]
    (semeion / "semeion.data").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr("torchvision.datasets.usps.download_url", lambda *_, **__: None)
    monkeypatch.setattr(SEMEION, "_check_integrity", lambda self: True)
    found = open_source(usps)
    for split, train in (("train", True), ("test", False)):
        theirs = USPS(str(usps), train=train, download=True)
        assert (images_of(found.splits[split])[..., 0] == theirs.data).all()
        assert [int(found.classes.ids[label]) for label in found.splits[split].labels] == theirs.targets
    digits = SEMEION(str(semeion))
    table = open_source(semeion).splits["train"]
    assert (images_of(table)[..., 0] == digits.data).all()
    assert table.labels.tolist() == digits.labels.tolist()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("9,", "256,"), "line 2 cannot be read (unsigned byte integer is greater than maximum)."),
        ((",5,", ",five,"), "line 2 cannot be read (invalid literal for int() with base 10: 'five')."),
        (("0,0,", "0,"), "line 2 cannot be read (63 pixels instead of 64)."),
    ],
)
def test_a_line_that_does_not_match_is_refused(tmp_path: Path, change: tuple[str, str], text: str) -> None:
    path = csv(tmp_path / "train.csv", IMAGES, LABELS)
    lines = path.read_text().split("\n")
    lines[1] = "0," + ",".join(["0", "0", "5", "9", *["7"] * 60])
    assert change[0] in lines[1]
    lines[1] = "0," + lines[1][2:].replace(*change, 1)
    path.write_text("\n".join(lines))
    with pytest.raises(TenchError) as error:
        open_source(path)
    assert str(error.value) == (
        f"{path}: {text[:-1]}. Each line must have 64 pixels, in a CSV file from 0 to 255. Copy or download it again."
    )


def test_the_label_column_may_be_named_and_must_exist(tmp_path: Path) -> None:
    path = csv(tmp_path / "train.csv", IMAGES, LABELS)
    path.write_text(path.read_text().replace("label", "sign", 1))
    with pytest.raises(TenchError):
        open_source(path)
    assert open_source(path, label="sign").splits["train"].labels.tolist() == LABELS
    with pytest.raises((TenchError, UsageError)):
        open_source(path, label="other")


def test_other_csv_files_are_not_mistaken_for_pixels(tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text(",".join(map(str, range(200))) + "\n")
    (tmp_path / "labels.csv").write_text("image,label\na.jpg,cat\n")
    with pytest.raises(TenchError) as error:
        open_source(tmp_path)
    assert "pixels" not in str(error.value)
