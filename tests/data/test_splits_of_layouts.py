"""The same files get the same splits, or the same error, in every layout that stores images in containers."""

import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from tests.data.mxnet_frames import MAGIC
from tests.support.errors import error_of

from tench.data.formats.tfrecord import masked_crc32c
from tench.data.source import open_source
from tench.data.table import Dataset


def photo(shade: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 20, 30)).save(data, "PNG")
    return data.getvalue()


def webdataset(path: Path, start: int) -> None:
    with tarfile.open(f"{path}.tar", "w") as archive:
        for label in (0, 1):
            for suffix, data in (("png", photo(start + label)), ("cls", b"%d" % label)):
                info = tarfile.TarInfo(f"{start + label:05}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def delimited(number: int, data: bytes) -> bytes:
    assert len(data) < 2**14
    return bytes([number << 3 | 2, len(data) & 127 | 128, len(data) >> 7]) + data


def tfrecord(path: Path, start: int) -> None:
    records = b""
    for label in (0, 1):
        values = {b"image": delimited(1, delimited(1, photo(start + label))), b"label": delimited(3, bytes([8, label]))}
        entries = b"".join(delimited(1, delimited(1, key) + delimited(2, value)) for key, value in values.items())
        payload = delimited(1, entries)
        head = struct.pack("<Q", len(payload))
        records += head + struct.pack("<I", masked_crc32c(head)) + payload + struct.pack("<I", masked_crc32c(payload))
    Path(f"{path}.tfrecord").write_bytes(records)


def recordio(path: Path, start: int) -> None:
    records = b""
    for label in (0, 1):
        payload = struct.pack("<IfQQ", 0, label, start + label, 0) + photo(start + label)
        records += MAGIC + struct.pack("<I", len(payload)) + payload + bytes(-len(payload) % 4)
    Path(f"{path}.rec").write_bytes(records)


def columns(start: int) -> pa.Table:
    images = [{"bytes": photo(start + label), "path": f"{start + label}.png"} for label in (0, 1)]
    return pa.table({"image": images, "label": [0, 1]})


def parquet_file(path: Path, start: int) -> None:
    parquet.write_table(columns(start), f"{path}.parquet")


def arrow(path: Path, start: int) -> None:
    table = columns(start)
    with pa.OSFile(f"{path}.arrow", "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def npz(path: Path, start: int) -> None:
    np.savez(f"{path}.npz", images=np.full((2, 8, 6, 3), start, np.uint8), labels=np.array([0, 1]))


def hdf5(path: Path, start: int) -> None:
    with h5py.File(f"{path}.h5", "w") as file:
        file["images"], file["labels"] = np.full((2, 8, 6, 3), start, np.uint8), np.array([0, 1])


def lmdb_file(path: Path, start: int) -> None:
    environment = lmdb.open(f"{path}.lmdb", subdir=False, map_size=2**20)
    with environment.begin(write=True) as transaction:
        for label in (0, 1):
            transaction.put(b"%d/%d.png" % (label, start), photo(start + label))
    environment.close()
    Path(f"{path}.lmdb-lock").unlink()


LAYOUTS: dict[str, Callable[[Path, int], None]] = {
    "webdataset": webdataset,
    "tfrecord": tfrecord,
    "recordio": recordio,
    "parquet": parquet_file,
    "arrow": arrow,
    "npz": npz,
    "hdf5": hdf5,
    "lmdb": lmdb_file,
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(folder: Path, layout: str, *names: str) -> Path:
    """Write files of two images each, of the classes 0 and 1, with the suffix of the layout."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        LAYOUTS[layout](folder / name, 10 * number)
    return folder


def sizes(dataset: Dataset) -> dict[str, int]:
    return {split: len(rows) for split, rows in dataset.splits.items()}


def refusal(source: Path, **options: str) -> str:
    return error_of(open_source)(source, split_from=options.get("split_from"))


def test_a_word_in_the_name_gives_the_split(tmp_path: Path, layout: str) -> None:
    dataset = open_source(make(tmp_path / "set", layout, "x_train-0", "x_train-1", "x_dev-0", "x_testing-0"))
    assert (dataset.layout, sizes(dataset)) == (layout, {"train": 4, "val": 2, "test": 2})


@pytest.mark.parametrize("word", ["val", "validation", "valid", "dev"])
def test_every_word_for_val_gives_val(tmp_path: Path, word: str) -> None:
    for layout in ("webdataset", "recordio", "npz"):  # the other layouts share the function, as the test above shows
        assert sizes(open_source(make(tmp_path / layout, layout, "train", word))) == {"train": 2, "val": 2}


def test_the_folder_gives_the_split_if_the_name_does_not(tmp_path: Path, layout: str) -> None:
    assert sizes(open_source(make(tmp_path / "set", layout, "train/0", "val/0"))) == {"train": 2, "val": 2}


def test_files_without_a_split_in_their_name_are_train_with_a_note(tmp_path: Path, layout: str) -> None:
    dataset = open_source(make(tmp_path / "set", layout, "part-0", "part-1"))
    assert sizes(dataset) == {"train": 4}
    assert any(note.startswith("No name contains a split: all ") for note in dataset.notes)


def test_a_file_without_a_split_next_to_files_with_one_is_refused(tmp_path: Path, layout: str) -> None:
    said = refusal(make(tmp_path / "set", layout, "train", "extra"))
    assert said.startswith(f"{tmp_path}/set: ")
    assert "without a split in the name (train, val or test): extra" in said
    assert said.endswith(
        "Leave out those without a split with --exclude PATTERN, rename them, or pass only the files to use."
    )


def test_trainval_next_to_val_is_refused(tmp_path: Path, layout: str) -> None:
    said = refusal(make(tmp_path / "set", layout, "train_val", "val"))
    assert "contains train and val together, and val" in said
    assert "so validation images would be trained on. Leave one out, for example with --exclude '" in said


def test_a_name_with_the_words_of_two_splits_is_refused(tmp_path: Path, layout: str) -> None:
    said = refusal(make(tmp_path / "set", layout, "train_test-0", "val-0"))
    assert "contains words of several splits: test and train. Rename it, or name the split with --split-from" in said


def test_two_configurations_lead_to_a_question(tmp_path: Path, layout: str) -> None:
    said = refusal(make(tmp_path / "set", layout, "full/train", "full/test", "mini/train"))
    assert "of train are in several folders, possibly several forms of one dataset: full/train" in said
    assert f"Pass one folder ({tmp_path}/set/full" in said


def test_split_from_gives_the_split_of_files(tmp_path: Path, layout: str) -> None:
    source = make(tmp_path / "set", layout, "a_train_b_test", "a_val_b_test")
    assert sizes(open_source(source, split_from="a_([a-z]+)_b")) == {"train": 2, "val": 2}
    assert refusal(source, split_from="a_(train)_b").startswith(
        f"{tmp_path}/set: --split-from 'a_(train)_b' finds no split in a_val_b_test"
    )
