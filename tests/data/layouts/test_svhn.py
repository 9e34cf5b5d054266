from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.io import savemat
from sklearn.datasets import load_sample_image

from tench.compat import import_torchvision
from tench.data.source import open_source
from tench.data.table import Classes
from tench.errors import TenchError


def crops(count: int) -> npt.NDArray[np.uint8]:
    """Parts of a photograph, (count, 32, 32, 3)."""
    photo = load_sample_image("china.jpg")
    return np.stack([photo[5 * index : 5 * index + 32, 40 : 40 + 32] for index in range(count)])


def write(path: Path, labels: list[int], **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "X": crops(len(labels)).transpose(1, 2, 3, 0),
        "y": np.array(labels, np.uint8)[:, None],
    }
    savemat(path, content | changes, do_compression=True)
    return path


def test_the_images_and_digits_match_torchvisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_torchvision()
    from torchvision.datasets import SVHN

    write(tmp_path / "train_32x32.mat", [1, 10, 9, 2])
    write(tmp_path / "test_32x32.mat", [10])
    monkeypatch.setattr(SVHN, "_check_integrity", lambda self: True)
    found = open_source(tmp_path)
    assert (found.layout, found.classes) == ("svhn", Classes.of(list("0123456789")))
    assert found.notes == ("Label 10 of SVHN is the digit 0.",)
    for split in ("train", "test"):
        theirs, table = SVHN(str(tmp_path), split), found.splits[split]
        images = [np.frombuffer(table.read(row), np.uint8).reshape(32, 32, 3) for row in range(len(table))]
        assert (np.stack(images) == theirs.data.transpose(0, 2, 3, 1)).all()
        assert table.labels.tolist() == theirs.labels.reshape(-1).tolist()


def test_a_single_file_is_read_as_its_split(tmp_path: Path) -> None:
    assert list(open_source(write(tmp_path / "test_32x32.mat", [3, 4])).splits) == ["test"]


def test_the_extra_images_lead_to_a_question(tmp_path: Path) -> None:
    for name in ("train", "test", "extra"):
        write(tmp_path / f"{name}_32x32.mat", [1, 2])
    with pytest.raises(TenchError) as error:
        open_source(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: 1 of the files of digits without a split in the name (train, val or test): extra_32x32.mat. "
        f"Others have one: train_32x32.mat (train), test_32x32.mat (test). Leave out those without a split with "
        "--exclude PATTERN, rename them, or pass only the files to use."
    )
    assert list(open_source(tmp_path, exclude=("extra*",)).splits) == ["train", "test"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"X": np.zeros((3, 4))}, "X is float64 of shape (3, 4), but should be uint8 of shape (32, 32, 3, N)."),
        ({"X": "text"}, "X is str, but should be uint8 of shape (32, 32, 3, N)."),
        ({"y": np.zeros((1, 1))}, "y is float64 of shape (1, 1), but should have a number for each of the 2 images."),
        (
            {"y": np.array([[0], [11]])},
            "label 0 (counted from 0) is 0, but labels are from 1 to 10. This affects 2 labels",
        ),
    ],
)
def test_inconsistent_files_are_refused(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    path = write(tmp_path / "train_32x32.mat", [1, 2], **changes)
    with pytest.raises(TenchError) as error:
        open_source(path)
    assert str(error.value).startswith(f"{path}: ")
    assert text in str(error.value)
    assert str(error.value).endswith("Download it again.")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "train_32x32.mat", [1, 2])
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(TenchError, match="is a damaged MATLAB file"):
        open_source(path)
