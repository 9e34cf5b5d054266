"""Arrow files as Hugging Face's `save_to_disk` writes them: a stream of images, with the features in its metadata."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.data.photos import encoded, part
from tests.support.errors import error_of

from tench.data.source import open_source

FEATURES = {"label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
COLUMNS = "Images: column image; labels: column label."


def photo(number: int) -> bytes:
    return encoded(part(20 + number, 16, number))


def table(count: int, **more: Any) -> pa.Table:
    images = [{"bytes": photo(number), "path": f"{number}.jpg"} for number in range(count)]
    columns = {"image": images, "label": [number % 3 for number in range(count)]}
    metadata = {b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()}
    return pa.table({**columns, **more}).replace_schema_metadata(metadata)


def write(path: Path, rows: pa.Table, *, stream: bool = True, batch: int = 2, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    how = pa.ipc.IpcWriteOptions(**options)
    open_writer = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as file, open_writer(file, rows.schema, options=how) as writer:
        writer.write_table(rows, max_chunksize=batch)
    return path


refusal = error_of(open_source)


def test_a_folder_of_save_to_disk_is_read_with_its_splits_and_class_names(tmp_path: Path) -> None:
    for split, count in (("train", 7), ("validation", 3)):
        write(tmp_path / f"saved/{split}/data-00000-of-00001.arrow", table(count))
        for name in ("state.json", "dataset_info.json"):
            (tmp_path / f"saved/{split}/{name}").write_text("{}")
        write(tmp_path / f"saved/{split}/cache-0123.arrow", pa.table({"indices": [1, 0]}))
    (tmp_path / "saved/dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    dataset = open_source(tmp_path / "saved")
    assert (dataset.layout, dataset.classes.ids, dataset.notes) == ("arrow", ("cat", "dog", "owl"), (COLUMNS,))
    for split, count in (("train", 7), ("val", 3)):
        rows = dataset.splits[split]
        found = {rows.key(row): (int(rows.labels[row]), rows.read(row)) for row in range(len(rows))}
        names = dataset.classes.ids
        assert found == {f"{names[n % 3]}/{n}.jpg": (n % 3, photo(n)) for n in range(count)}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_compressed_and_uncompressed_streams_and_files_are_read(
    tmp_path: Path, stream: bool, compression: str | None
) -> None:
    path = write(tmp_path / "train.arrow", table(5), stream=stream, compression=compression)
    rows = open_source(path).splits["train"]
    assert sorted(map(rows.read, range(5))) == sorted(map(photo, range(5)))
    assert (rows.shard(0) == str(path)) == (compression is None)


def test_images_in_sliced_batches_and_plain_binary_columns_are_read_in_place(tmp_path: Path) -> None:
    rows = pa.table({"img": pa.array([photo(n) for n in range(6)], pa.large_binary()), "label": list("abcabc")})
    found = open_source(write(tmp_path / "train.arrow", rows.slice(1, 4))).splits["train"]
    assert sorted(map(found.read, range(4))) == sorted(map(photo, range(1, 5)))


def test_shards_in_an_archive_are_read(tmp_path: Path) -> None:
    import tarfile

    write(tmp_path / "saved/train/data-00000-of-00001.arrow", table(4))
    with tarfile.open(tmp_path / "saved.tar", "w") as archive:
        archive.add(tmp_path / "saved", "saved")
    rows = open_source(tmp_path / "saved.tar").splits["train"]
    assert sorted(map(rows.read, range(4))) == sorted(map(photo, range(4)))


def test_keys_choose_another_label_column(tmp_path: Path) -> None:
    path = write(tmp_path / "train.arrow", table(4, colour=["red", "blue", "red", "blue"]))
    dataset = open_source(path, keys="label=colour")
    assert dataset.classes.ids == ("blue", "red")
    assert dataset.notes[0] == "Images: column image; labels: column colour."
    assert refusal(path, label="size").startswith(
        f"{path} has no column 'size' for the labels. Its columns are: image (struct<"
    )


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "train.arrow", table(5))
    path.write_bytes(path.read_bytes()[:-2000])
    said = refusal(path)
    assert said.startswith(f"{path}: cannot be read as Arrow (")
    assert said.endswith("). It is damaged or truncated. Copy it again.")


def test_wrong_offsets_are_refused(tmp_path: Path) -> None:
    rows = pa.table({"image": pa.array([photo(1), photo(2)], pa.binary()), "label": [0, 1]})
    data = write(tmp_path / "train.arrow", rows).read_bytes()
    lengths = [0, len(photo(1)), len(photo(1)) + len(photo(2))]
    before = b"".join(length.to_bytes(4, "little") for length in lengths)
    after = b"".join(length.to_bytes(4, "little") for length in (0, 2**31 - 1, lengths[2]))
    assert before in data
    (tmp_path / "train.arrow").write_bytes(data.replace(before, after))
    assert refusal(tmp_path / "train.arrow").startswith(f"{tmp_path}/train.arrow: cannot be read as Arrow (")


def test_a_row_without_an_image_is_refused(tmp_path: Path) -> None:
    rows = pa.table({"image": pa.array([photo(1), None], pa.binary()), "label": [0, 1]})
    path = write(tmp_path / "train.arrow", rows)
    assert refusal(path) == (
        f"{path}, row 1 (counted from 0) contains no image in 'image'. Images that are only referred to by path are "
        f"not read. Write the file again with the images inside, or remove the row."
    )
