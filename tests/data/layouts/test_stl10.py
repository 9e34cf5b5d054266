import tarfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_sample_image

from tench.compat import import_torchvision
from tench.data.source import open_source
from tench.data.table import Classes, Table
from tench.errors import TenchError

NAMES = "airplane bird car cat deer dog horse monkey ship truck".split()
Images = npt.NDArray[np.uint8]


def crops(count: int) -> Images:
    """Parts of a photograph, (count, 96, 96, 3)."""
    photo = load_sample_image("flower.jpg")
    return np.stack([photo[3 * index : 3 * index + 96, 40 : 40 + 96] for index in range(count)])


def columns(images: Images) -> bytes:
    """The images as published: planes stored column by column."""
    return images.transpose(0, 3, 2, 1).tobytes()


def write_set(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "class_names.txt").write_text("\n".join(NAMES) + "\n")
    (folder / "fold_indices.txt").write_text("0 1\n1 2\n")
    (folder / "train_X.bin").write_bytes(columns(crops(5)))
    (folder / "train_y.bin").write_bytes(bytes([1, 10, 3, 2, 1]))
    (folder / "test_X.bin").write_bytes(columns(crops(8)[5:]))
    (folder / "test_y.bin").write_bytes(bytes([4, 4, 5]))
    (folder / "unlabeled_X.bin").write_bytes(columns(crops(2)))
    return folder


def images_of(table: Table) -> Images:
    return np.stack([np.frombuffer(table.read(row), np.uint8).reshape(96, 96, 3) for row in range(len(table))])


def test_the_images_match_torchvisions_and_are_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_torchvision()
    from torchvision.datasets import STL10

    write_set(tmp_path / "stl10_binary")
    monkeypatch.setattr(STL10, "_check_integrity", lambda self: True)
    found = open_source(tmp_path)
    assert (found.layout, found.classes) == ("stl10", Classes.of(NAMES))
    for split in ("train", "test"):
        theirs = STL10(str(tmp_path), split)
        table = found.splits[split]
        assert (images_of(table) == theirs.data.transpose(0, 2, 3, 1)).all()
        assert table.labels.tolist() == theirs.labels.tolist()
    assert (images_of(found.splits["train"]) == crops(5)).all()


def test_the_archive_gives_the_same_images_and_notes_say_what_is_left_out(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "unpacked/stl10_binary")
    with tarfile.open(tmp_path / "stl10_binary.tar.gz", "w:gz") as tar:
        tar.add(folder, folder.name)
    expected, found = open_source(folder), open_source(tmp_path / "stl10_binary.tar.gz")
    assert found.fingerprint == expected.fingerprint
    assert (images_of(found.splits["test"]) == images_of(expected.splits["test"])).all()
    assert list(found.notes) == [
        "train_X.bin contains 5 images; as published it has 5,000.",
        "test_X.bin contains 3 images; as published it has 8,000.",
        "Left out the 2 images of unlabeled_X.bin, which have no labels.",
        "The folds of fold_indices.txt are not used; all of train_X.bin is the split train.",
    ]


def test_without_names_the_classes_are_the_numbers_in_the_file(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "class_names.txt").unlink()
    found = open_source(folder)
    assert found.classes == Classes.of([str(number) for number in range(1, 11)])
    assert found.splits["train"].labels.tolist() == [0, 9, 2, 1, 0]


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        (
            "train_X.bin",
            bytes(30_000),
            "{folder}/train_X.bin has 30,000 bytes, which is 1.09 images of 27,648 bytes. It may have been "
            "truncated. Unpack the archive again.",
        ),
        (
            "train_y.bin",
            b"\1",
            "{folder}/train_X.bin contains 5 images, but {folder}/train_y.bin contains 1 label. "
            "Unpack the archive again.",
        ),
        (
            "test_y.bin",
            b"\1\0\13",
            "{folder}/test_y.bin: label 1 (counted from 0) is 0, but labels are from 1 to 10. This affects 2 labels. "
            "Unpack the archive again.",
        ),
        (
            "test_y.bin",
            None,
            "{folder}/test_X.bin: its counterpart test_y.bin is missing. Pass the folder that contains both, or unpack "
            "the archive again.",
        ),
        (
            "class_names.txt",
            b"cat\ndog\n",
            "{folder}/class_names.txt lists 2 class names (2 distinct), but STL-10 has 10 classes. Unpack the "
            "archive again, or leave the file out with --exclude class_names.txt.",
        ),
    ],
)
def test_inconsistent_files_are_refused(tmp_path: Path, file: str, content: bytes | None, text: str) -> None:
    folder = write_set(tmp_path / "set")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(TenchError) as error:
        open_source(folder)
    assert str(error.value) == text.format(folder=folder)
