import bz2
import gzip
import io
import logging
import lzma
import shutil
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image
from tests.support.datasets import reloaded
from tests.support.errors import error_of

import tench.data.layouts.mnist as mnist
from tench.compat import import_torchvision
from tench.data import table
from tench.data.files.tree import open_tree
from tench.data.source import open_source
from tench.data.table import Contents
from tench.errors import TenchError

REAL = Path(__file__).parents[4] / "shared/data/mnist"
NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
FASHION_TRAIN = [9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4]
FASHION_TEST = [9, 2, 1, 1, 6, 1, 4, 6, 5, 7, 4, 5, 7, 3, 4, 1, 2, 4, 8, 0]
MNIST_TRAIN = [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9]
KUZUSHIJI_TRAIN = [8, 7, 0, 1, 4, 2, 4, 8, 1, 1, 5, 1, 7, 3, 5, 4, 9, 9, 3, 5]


def read(path: Path, spool: Path) -> Contents:
    return mnist.read(open_tree(path, spool))


def recognise(path: Path) -> bool:
    return mnist.recognise(open_tree(path, path / "no spool"))


def crops(count: int, height: int = 12, width: int = 9) -> npt.NDArray[np.uint8]:
    """Parts of a photograph, (count, height, width) grey."""
    photo = load_sample_image("china.jpg")[:, :, 1]
    corners = [
        (index * 37 % (photo.shape[0] - height), index * 11 % (photo.shape[1] - width)) for index in range(count)
    ]
    return np.stack([photo[y : y + height, x : x + width] for y, x in corners])


def images_file(images: npt.NDArray[np.uint8]) -> bytes:
    return struct.pack(">4I", 2051, *images.shape) + images.tobytes()


def labels_file(labels: list[int]) -> bytes:
    return struct.pack(">2I", 2049, len(labels)) + bytes(labels)


def write_set(
    folder: Path, train: list[int] = FASHION_TRAIN, test: list[int] | None = FASHION_TEST, *, gzipped: bool = False
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, labels in {"train": train, "test": test}.items():
        if labels is not None:
            pair = images_file(crops(len(labels))), labels_file(labels)
            for name, content in zip(NAMES[split], pair, strict=True):
                if gzipped:
                    (folder / f"{name}.gz").write_bytes(gzip.compress(content))
                else:
                    (folder / name).write_bytes(content)
    return folder


def all_pixels(split: table.Table) -> npt.NDArray[np.uint8]:
    shape = int(split.heights[0]), int(split.widths[0])
    return np.stack([np.frombuffer(split.read(row), np.uint8).reshape(shape) for row in range(len(split))])


@pytest.mark.parametrize("gzipped", [False, True])
def test_each_row_is_the_image_at_its_place_in_the_file(tmp_path: Path, gzipped: bool) -> None:
    folder = write_set(tmp_path / "set", gzipped=gzipped)
    dataset = reloaded(read(folder, tmp_path / "spool"), mnist.NAME)
    for split, labels in {"train": FASHION_TRAIN, "test": FASHION_TEST}.items():
        rows = dataset.splits[split]
        assert (all_pixels(rows) == crops(len(labels))).all()
        assert rows.labels.tolist() == labels
        assert [rows.key(row) for row in range(3)] == ["00000", "00001", "00002"]
        assert rows.encoding(0) == table.PIXELS_HWC
        assert rows.channels.tolist() == [1] * len(labels)


def test_a_plain_file_is_read_in_place_and_a_gzipped_one_from_the_spool(tmp_path: Path) -> None:
    folder, spool = write_set(tmp_path / "set", gzipped=True), tmp_path / "spool"
    write_set(folder, test=None)  # write the training files a second time, uncompressed
    contents = read(folder, spool)
    assert contents.splits["train"].shards == [str(folder / NAMES["train"][0])]
    assert contents.splits["test"].shards == [str(spool / "t10k-images-idx3-ubyte.gz.pixels")]
    assert [file.name for file in spool.iterdir()] == ["t10k-images-idx3-ubyte.gz.pixels"]


def test_the_stamp_names_the_files_that_are_read_the_folder_and_the_spool(tmp_path: Path) -> None:
    folder, spool = write_set(tmp_path / "set", test=None, gzipped=True), tmp_path / "spool"
    assert set(read(folder, spool).stamp) == {
        str(folder),
        str(folder / "train-images-idx3-ubyte.gz"),
        str(folder / "train-labels-idx1-ubyte.gz"),
        str(spool / "train-images-idx3-ubyte.gz.pixels"),
    }


def test_the_size_is_logged_before_anything_is_spooled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_set(tmp_path / "set", test=None, gzipped=True)
    with caplog.at_level(logging.INFO, "tench"):
        read(folder, tmp_path / "spool")
    assert (
        f"{folder}/train-images-idx3-ubyte.gz is compressed, so its images cannot be addressed in place: copying 0.0 "
        f"MB of pixels once to {tmp_path}/spool/train-images-idx3-ubyte.gz.pixels." in caplog.text
    )


@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw", "FashionMNIST/raw"])
def test_files_are_found_where_torchvision_puts_them(tmp_path: Path, place: str) -> None:
    write_set(tmp_path / place)
    assert recognise(tmp_path)
    assert set(read(tmp_path, tmp_path / "spool").splits) == {"train", "test"}


def test_the_spelling_with_a_dot_is_recognised(tmp_path: Path) -> None:
    for file in write_set(tmp_path / "set").iterdir():
        file.rename(file.with_name(file.name.replace("-idx", ".idx")))
    assert recognise(tmp_path / "set")
    assert len(read(tmp_path / "set", tmp_path / "spool").splits["train"].key) == 20


def test_an_unpacked_file_that_kept_its_gz_suffix_is_read_in_place(tmp_path: Path) -> None:
    for file in write_set(tmp_path / "set").iterdir():
        file.rename(f"{file}.gz")
    contents = read(tmp_path / "set", tmp_path / "spool")
    assert contents.splits["train"].shards == [str(tmp_path / "set/train-images-idx3-ubyte.gz")]
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8b\x08garbage", struct.pack(">2I", 2050, 1)])
def test_other_content_under_these_names_is_not_recognised(tmp_path: Path, content: bytes) -> None:
    for name in (*NAMES["train"], *NAMES["test"]):
        (tmp_path / name).write_bytes(content)
    assert not recognise(tmp_path)


def test_folders_without_such_files_and_single_files_are_not_recognised(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"\xff\xd8")
    assert [recognise(path) for path in (tmp_path, file)] == [False, False]


def test_mnist_and_fashion_mnist_are_distinguished_by_their_labels(tmp_path: Path) -> None:
    digits = read(write_set(tmp_path / "a", MNIST_TRAIN, None), tmp_path / "spool")
    fashion = read(write_set(tmp_path / "b", FASHION_TRAIN, FASHION_TEST), tmp_path / "spool")
    assert digits.classes == table.Classes.of(list("0123456789"))
    assert fashion.classes.names[0] == "T-shirt/top"
    assert fashion.classes.names[9] == "Ankle boot"
    assert not fashion.classes.numbered
    assert "Recognised as Fashion-MNIST by its first labels." in fashion.notes


def test_the_classes_of_another_set_are_numbers(tmp_path: Path) -> None:
    contents = read(write_set(tmp_path / "set", KUZUSHIJI_TRAIN, [3, 1, 0]), tmp_path / "spool")
    assert contents.classes == table.Classes.numbered_to(10)
    assert any("neither those of MNIST nor of Fashion-MNIST" in note for note in contents.notes)


def test_one_split_that_is_not_mnist_removes_the_names_from_both(tmp_path: Path) -> None:
    contents = read(write_set(tmp_path / "set", MNIST_TRAIN, [9, 9, 9]), tmp_path / "spool")
    assert contents.classes.numbered


def test_a_missing_split_is_a_note(tmp_path: Path) -> None:
    contents = read(write_set(tmp_path / "set", test=None), tmp_path / "spool")
    assert set(contents.splits) == {"train"}
    assert "There are no t10k-* or test-* files, so there is no split 'test'." in contents.notes


def refusal(folder: Path) -> str:
    return error_of(read)(folder, folder.parent / "spool")


def test_files_of_two_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    text = refusal(write_set(tmp_path / "set", MNIST_TRAIN, FASHION_TEST))
    assert "train-labels-idx1-ubyte of MNIST, t10k-labels-idx1-ubyte of Fashion-MNIST" in text


def test_a_folder_of_two_sets_is_refused_naming_both(tmp_path: Path) -> None:
    write_set(tmp_path / "set/MNIST/raw", MNIST_TRAIN)
    write_set(tmp_path / "set/FashionMNIST/raw")
    text = refusal(tmp_path / "set")
    assert text == (
        f"{tmp_path}/set contains 2 sets of idx files: FashionMNIST/raw, MNIST/raw. Pass the folder or one of the "
        "files of the set to use, or leave out the others. To use FashionMNIST/raw: --exclude 'MNIST'"
    )


def test_a_truncated_file_is_refused_with_both_sizes(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    file = folder / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    assert refusal(folder) == (
        f"{file}: its header promises 20 images of 12x9 pixels = 2,160 bytes after the first 16, but the file has "
        "2,060. Copy or download it again."
    )


def test_a_file_with_trailing_bytes_is_refused(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    file = folder / "t10k-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes() + b"\0")
    assert "promises 20 labels = 20 bytes after the first 8, but the file has 21." in refusal(folder)


@pytest.mark.parametrize(("change", "found"), [(lambda data: data[:-1], "2,159"), (lambda data: data + b"\0", "more")])
def test_a_gzipped_file_whose_length_differs_from_its_header_is_refused(
    tmp_path: Path, change: object, found: str
) -> None:
    folder = write_set(tmp_path / "set", gzipped=True)
    file = folder / "train-images-idx3-ubyte.gz"
    assert callable(change)
    file.write_bytes(gzip.compress(change(gzip.decompress(file.read_bytes()))))
    assert f"{file}: its header promises 20 images of 12x9 pixels = 2,160 bytes, but the file has {found}" in refusal(
        folder
    )
    assert not list((tmp_path / "spool").iterdir())  # no incomplete file is left behind


def test_a_truncated_gzipped_file_is_refused(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", gzipped=True)
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-300])
    assert refusal(folder) == (
        f"{file} ends at byte {file.stat().st_size:,} in the middle of the gzip data that begin at 0. It was "
        "truncated: compare its size with the original's, and copy or download it again."
    )


def test_a_gzipped_file_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", gzipped=True)
    file = folder / "train-images-idx3-ubyte.gz"
    data = bytearray(file.read_bytes())
    data[-8] ^= 1
    file.write_bytes(data)
    text = refusal(folder)
    assert text.startswith(f"{file}: the gzip data are damaged between bytes 0 and ")
    assert "incorrect data check" in text


def test_a_header_that_states_more_than_gzip_can_contain_is_refused_without_unpacking(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", gzipped=True)
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(struct.pack(">4I", 2051, 20, 60000, 60000) + b"data"))
    assert "= 72,000,000,000 bytes, more than a gzip file of" in refusal(folder)


def test_a_wrong_magic_number_is_refused_with_its_meaning(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    shutil.copy(folder / "train-labels-idx1-ubyte", folder / "train-images-idx3-ubyte")
    text = refusal(folder)
    assert text == (
        f"{folder}/train-images-idx3-ubyte begins with the number 2049, which means labels; an idx file of "
        "images "
        "begins with 2051. Check that the file has the right name, or download it again."
    )


def test_a_file_shorter_than_a_header_is_refused(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">2I", 2051, 20))
    assert "t10k-images-idx3-ubyte has 8 bytes, fewer than the 16 of an idx header." in refusal(folder)


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 2051, 0, 28, 28))
    assert "promises 0 images of 28x28 pixels = 0 bytes, so it is empty." in refusal(folder)


def test_different_counts_of_images_and_labels_are_refused_naming_both_files(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "train-labels-idx1-ubyte").write_bytes(labels_file(FASHION_TRAIN[:19]))
    text = refusal(folder)
    assert f"{folder}/train-images-idx3-ubyte contains 20 images" in text
    assert f"{folder}/train-labels-idx1-ubyte contains 19 labels" in text


@pytest.mark.parametrize("missing", ["t10k-labels-idx1-ubyte", "t10k-images-idx3-ubyte"])
def test_a_file_without_its_partner_is_refused_naming_the_one_that_is_missing(tmp_path: Path, missing: str) -> None:
    folder = write_set(tmp_path / "set")
    (folder / missing).unlink()
    assert f"its counterpart {missing} (or .gz) is not in {folder}." in refusal(folder)


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    text = refusal(write_set(tmp_path / "a", [*FASHION_TRAIN, 10]))
    assert "train-labels-idx1-ubyte: label 20 (counted from 0) is 10, but Fashion-MNIST has 10 classes, 0 to 9" in text
    text = refusal(write_set(tmp_path / "b", [0, 1, 2], [0, 3]))
    assert "t10k-labels-idx1-ubyte: label 1 (counted from 0) is 3, but this set has 3 classes, 0 to 2" in text


@pytest.fixture(scope="module")
def small_gzipped_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("small"), [1, 0, 2], None, gzipped=True)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_changed_file_gives_a_table_or_a_refusal(data: st.DataObject, small_gzipped_files: Path) -> None:
    name = data.draw(st.sampled_from([f"{name}.gz" for name in NAMES["train"]]))
    whole = (small_gzipped_files / name).read_bytes()
    changed = bytearray(whole if data.draw(st.booleans()) else gzip.decompress(whole))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    (small_gzipped_files / name).write_bytes(changed[: data.draw(st.integers(0, len(changed)))])
    message = ""
    try:
        if recognise(small_gzipped_files):
            contents = read(small_gzipped_files, small_gzipped_files / "spool")
            reloaded(contents, mnist.NAME).splits["train"].read(0)
    except TenchError as error:
        message = str(error)
    finally:
        (small_gzipped_files / name).write_bytes(whole)
    assert not message or str(small_gzipped_files) in message


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs the real MNIST files in {REAL}")
def test_the_real_mnist_matches_what_gzip_and_numpy_read(tmp_path: Path) -> None:
    assert recognise(REAL)
    contents = read(REAL, tmp_path / "spool")
    dataset = reloaded(contents, mnist.NAME)
    assert contents.notes == ["Recognised as MNIST by its first labels."]
    assert dataset.classes == table.Classes.of(list("0123456789"))
    for split, (images, labels) in NAMES.items():
        rows = dataset.splits[split]
        with gzip.open(REAL / f"{images}.gz") as stream:
            expected = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(REAL / f"{labels}.gz") as stream:
            expected_labels = np.frombuffer(stream.read(), np.uint8, offset=8)
        assert len(rows) == {"train": 60_000, "test": 10_000}[split]
        assert (rows.labels == expected_labels).all()
        assert (all_pixels(rows) == expected).all()


def packed_files(
    prefix: str = "", labels: list[int] = FASHION_TRAIN, test: list[int] = FASHION_TEST
) -> dict[str, bytes]:
    """The four plain files of a set, by name."""
    files = {}
    for split, values in {"train": labels, "test" if prefix else "t10k": test}.items():
        files[f"{prefix}{split}-images-idx3-ubyte"] = images_file(crops(len(values)))
        files[f"{prefix}{split}-labels-idx1-ubyte"] = labels_file(values)
    return files


def gzipped(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content) for name, content in files.items()}


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, files: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


PACKINGS: dict[str, Callable[[Path], Path]] = {
    "gzipped files": lambda path: write_files(path / "set", gzipped(packed_files())),
    "a single gzipped file": lambda path: (
        write_files(path / "set", gzipped(packed_files())) / "t10k-labels-idx1-ubyte.gz"
    ),
    "xz and bzip2": lambda path: write_files(
        path,
        {
            f"{name}.{'xz' if 'images' in name else 'bz2'}": (lzma if "images" in name else bz2).compress(content)
            for name, content in packed_files().items()
        },
    ),
    "a stored zip": lambda path: write_zip(path / "set.zip", packed_files(), zipfile.ZIP_STORED),
    "a deflated zip of gzipped files": lambda path: write_zip(path / "set.zip", gzipped(packed_files())),
    "a tar": lambda path: write_tar(path / "set.tar", {f"MNIST/raw/{k}": v for k, v in packed_files().items()}, "w"),
    "a tar.gz": lambda path: write_tar(path / "set.tar.gz", gzipped(packed_files()), "w:gz"),
    "Kaggle's zip, with each file in a folder of its name and again in another spelling": lambda path: write_zip(
        path / "archive.zip",
        {f"{name}/{name}": content for name, content in packed_files().items()}
        | {name.replace("-idx", ".idx"): content for name, content in packed_files().items()},
    ),
    "capitals and dots": lambda path: write_files(
        path, {name.upper().replace("-IDX", ".IDX"): content for name, content in packed_files().items()}
    ),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_gives_the_same_images_labels_and_fingerprint(tmp_path: Path, packing: str) -> None:
    plain = open_source(write_files(tmp_path / "plain", packed_files()))
    (tmp_path / "packed").mkdir()
    found = open_source(PACKINGS[packing](tmp_path / "packed"))
    assert (found.layout, found.classes, found.fingerprint) == ("mnist", plain.classes, plain.fingerprint)
    for split, table_of_split in plain.splits.items():
        assert (all_pixels(found.splits[split]) == all_pixels(table_of_split)).all()
        assert found.splits[split].labels.tolist() == table_of_split.labels.tolist()


def emnist_files() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, first in (("balanced", 0), ("letters", 1), ("mnist", 0)):
        labels = [first + index for index in range(3)] * 2
        files |= gzipped(packed_files(f"gzip/emnist-{name}-", labels, labels))
        files[f"gzip/emnist-{name}-mapping.txt"] = "".join(
            f"{first + index} {code} {code + 32}\n" for index, code in enumerate((65, 66, 67))
        ).encode()
    return files


def test_the_sets_of_emnists_archive_lead_to_a_question(tmp_path: Path) -> None:
    with pytest.raises(TenchError) as error:
        open_source(write_zip(tmp_path / "gzip.zip", emnist_files()))
    assert str(error.value) == (
        f"{tmp_path}/gzip.zip contains 3 sets of idx files: gzip/emnist-balanced, gzip/emnist-letters, "
        "gzip/emnist-mnist. Pass the folder or one of the files of the set to use, or leave out the others. To use "
        "gzip/emnist-balanced: --exclude 'emnist-letters-*' --exclude 'emnist-mnist-*'"
    )


def test_one_of_emnists_sets_is_chosen_by_excluding_the_others_or_by_naming_a_file(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "gzip.zip", emnist_files())
    write_files(tmp_path / "unpacked", emnist_files())
    named = tmp_path / "unpacked/gzip/emnist-letters-test-images-idx3-ubyte.gz"
    letters = open_source(archive, exclude=("emnist-[bm]*",)), open_source(named)
    for found in letters:
        assert {split: table_of.labels.tolist() for split, table_of in found.splits.items()} == {
            "train": [0, 1, 2, 0, 1, 2],
            "test": [0, 1, 2, 0, 1, 2],
        }
        assert found.classes == table.Classes.of(["A", "B", "C"], ["A/a", "B/b", "C/c"])
        assert any("EMNIST's images are stored transposed" in note for note in found.notes)
    assert letters[0].fingerprint == letters[1].fingerprint


def test_labels_from_1_without_a_mapping_keep_their_numbers_as_names(tmp_path: Path) -> None:
    found = read(write_files(tmp_path / "set", packed_files("emnist-letters-", [1, 2, 3], [3, 1])), tmp_path / "spool")
    assert found.classes == table.Classes.of(["1", "2", "3"])
    assert found.splits["train"].label.tolist() == [0, 1, 2]
    assert found.splits["test"].label.tolist() == [2, 0]


def test_the_first_column_of_qmnists_labels_is_the_class(tmp_path: Path) -> None:
    files = packed_files("qmnist-", MNIST_TRAIN, [7, 2, 1])
    for split, labels in (("train", MNIST_TRAIN), ("test", [7, 2, 1])):
        del files[f"qmnist-{split}-labels-idx1-ubyte"]
        numbers = np.full((len(labels), 8), 9999, ">i4")
        numbers[:, 0] = labels
        files[f"qmnist-{split}-labels-idx2-int"] = struct.pack(">3I", 0xC02, len(labels), 8) + numbers.tobytes()
    found = read(write_files(tmp_path / "set", files), tmp_path / "spool")
    assert found.splits["train"].label.tolist() == MNIST_TRAIN
    assert found.splits["test"].label.tolist() == [7, 2, 1]


def test_emnist_matches_what_torchvision_reads(tmp_path: Path) -> None:
    import_torchvision()
    from torchvision.datasets.mnist import read_image_file, read_label_file

    folder = write_files(tmp_path / "EMNIST/raw", packed_files("emnist-letters-", [1, 2, 3], [3, 1]))
    found = open_source(tmp_path / "EMNIST")
    images = read_image_file(str(folder / "emnist-letters-train-images-idx3-ubyte")).numpy()
    labels = read_label_file(str(folder / "emnist-letters-train-labels-idx1-ubyte")).numpy()
    assert (all_pixels(found.splits["train"]) == images).all()
    assert [int(found.classes.ids[label]) for label in found.splits["train"].labels] == labels.tolist()


def test_two_different_files_for_one_role_are_refused(tmp_path: Path) -> None:
    files = packed_files()
    files["train-images.idx3-ubyte"] = images_file(crops(20)[::-1].copy())
    with pytest.raises(TenchError) as error:
        read(write_files(tmp_path / "set", files), tmp_path / "spool")
    assert str(error.value) == (
        f"{tmp_path}/set: train-images-idx3-ubyte, train-images.idx3-ubyte should contain the same images, but they "
        "differ. Leave out all but one with --exclude PATTERN."
    )


@pytest.mark.parametrize(
    ("count", "side", "reason"),
    [
        (20_000_000, 1, "A file may have at most 10,000,000 images. It is damaged, or is something else."),
        (
            2_000_000,
            1,
            "This many images of fewer than 16 pixels are not a dataset. The file is damaged, or is something else.",
        ),
        (1_000_000, 4, "less than one per image. Real images do not compress this well, so it is not unpacked."),
    ],
)
def test_a_tiny_file_that_claims_millions_of_images_is_refused_in_little_memory(
    tmp_path: Path, count: int, side: int, reason: str
) -> None:
    head = struct.pack(">4I", 2051, count, side, side)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + bytes(count * side**2)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels_file([0] * 255)))
    tracemalloc.start()
    text = refusal(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reason in text
    assert peak < 10e6


def test_labels_that_imply_billions_of_classes_are_refused(tmp_path: Path) -> None:
    files = packed_files()
    del files["train-labels-idx1-ubyte"]
    numbers = np.full((20, 8), 2**31 - 1, ">i4")
    files["train-labels-idx2-int"] = struct.pack(">3I", 0xC02, 20, 8) + numbers.tobytes()
    text = refusal(write_files(tmp_path / "set", files))
    assert "train-labels-idx2-int has the label 2,147,483,647, so there would be more than 1,000,000 classes." in text


def test_the_neighbours_of_a_single_file_may_be_excluded(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "set", packed_files())
    (folder / "unrelated.txt").write_text("text")
    found = open_source(folder / "train-images-idx3-ubyte", exclude=("t10k-*",))
    assert list(found.splits) == ["train"]
    assert "--exclude 't10k-*' left out 2 files." in found.notes


@pytest.mark.parametrize(
    "text", ["", "1\n", "1 65\n3 66\n", "1 65\n2 65\n", "one 65\n", "1 -5\n", "1 99999999999999\n"]
)
def test_an_invalid_mapping_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_files(tmp_path / "set", packed_files("emnist-letters-", [1, 2], [1]))
    (folder / "emnist-letters-mapping.txt").write_text(text)
    answer = refusal(folder)
    assert answer.startswith(
        f"{folder}/emnist-letters-mapping.txt: each line must contain a label and a character code; no label may be "
        "missing and no character may occur twice ("
    )
    assert answer.endswith("). Download it again, or leave it out with --exclude.")
