"""The same images have the same keys, labels, classes, fingerprint and batches in every layout."""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data import miniature

from tench.data.source import open_source
from tench.data.table import Dataset
from tench.input.loader import Batch, Loader
from tench.input.order import Order
from tench.input.views import RandomResizedCrop

Images = dict[str, dict[str, tuple[str, bytes]]]
"""By split and key: WordNet id and bytes."""

WHOLE: Images = {
    split: {key: (str(wnid), data) for key, (wnid, data) in images.items() if key != "n03126707/n03126707_9.JPEG"}
    for split, images in miniature.photographs().items()
    if split != "test"
}
"""The images without the split test and the truncated image, which cannot be in a batch."""
WNIDS = sorted(miniature.CLASSES)
LABEL = {wnid: label for label, wnid in enumerate(WNIDS)}


def files_of(split: str, *, flat_val: bool = False) -> dict[str, bytes]:
    cut = "/" if flat_val and split == "val" else ""
    return {key.rpartition(cut)[2] if cut else key: data for key, (_, data) in WHOLE[split].items()}


def class_folders(path: Path) -> Path:
    for split in WHOLE:
        miniature.write(path / split, files_of(split))
    return path


def tar_of_class_folders(path: Path) -> Path:
    with tarfile.open(path.with_suffix(".tar"), "w") as tar:
        tar.add(class_folders(path), "set")
    return path.with_suffix(".tar")


def compressed_tar_of_class_folders(path: Path) -> Path:
    with tarfile.open(path.with_suffix(".tar.gz"), "w:gz") as tar:
        tar.add(class_folders(path), "set")
    return path.with_suffix(".tar.gz")


def zip_of_class_folders(path: Path) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for split in WHOLE:
            for key, data in files_of(split).items():
                archive.writestr(f"{split}/{key}", data)
    return path.with_suffix(".zip")


def ilsvrc_archives(path: Path) -> Path:
    train: dict[str, dict[str, bytes]] = {wnid: {} for wnid in reversed(WNIDS)}
    for key, data in files_of("train").items():
        train[key.partition("/")[0]][key.rpartition("/")[2]] = data
    class_tars = {f"{wnid}.tar": miniature.tar_bytes(images) for wnid, images in train.items()}
    miniature.write(path, {"ILSVRC2012_img_train.tar": miniature.tar_bytes(class_tars)})
    miniature.write(path, {"ILSVRC2012_img_val.tar": miniature.tar_bytes(files_of("val", flat_val=True))})
    miniature.devkit(path)
    return path


def kaggle_tree(path: Path) -> Path:
    root = path / "ILSVRC/Data/CLS-LOC"
    miniature.write(root / "train", files_of("train"))
    miniature.write(root / "val", files_of("val", flat_val=True))
    miniature.write(path, {"LOC_val_solution.csv": miniature.solution(), "LOC_synset_mapping.txt": miniature.mapping()})
    return path


def caffe_lists(path: Path) -> Path:
    for split in WHOLE:
        miniature.write(path / split, files_of(split, flat_val=True))
        lines = [
            f"{key.rpartition('/')[2] if split == 'val' else key} {LABEL[wnid]}\n"
            for key, (wnid, _) in WHOLE[split].items()
        ]
        (path / f"{split}.txt").write_text("".join(lines))
    return path


def csv_lists(path: Path) -> Path:
    for split in WHOLE:
        miniature.write(path / "images", files_of(split))
        rows = [f"{key},{wnid}\n" for key, (wnid, _) in WHOLE[split].items()]
        (path / f"{split}.csv").write_text("path,label\n" + "".join(rows))
    return path


def webdataset(path: Path) -> Path:
    for split, images in WHOLE.items():
        for number, part in enumerate((list(images)[::2], list(images)[1::2])):
            members = {}
            for key in part:
                members[key] = images[key][1]
                members[key.removesuffix(".JPEG") + ".cls"] = str(LABEL[images[key][0]]).encode()
            shard = miniature.tar_bytes(members, seed=None)
            miniature.write(path, {f"imagenet1k-{'validation' if split == 'val' else split}-{number:04}.tar": shard})
    (path / "classes.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    return path


def recordio(path: Path) -> Path:
    path.mkdir()
    for split, images in WHOLE.items():
        lines, data = [], io.BytesIO()
        for number, (key, (wnid, image)) in enumerate(images.items()):
            payload = struct.pack("<IfQQ", 0, LABEL[wnid], number, 0) + image
            data.write(struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4))
            lines.append(f"{number}\t{LABEL[wnid]}.000000\t{key}\n")
        (path / f"{split}.rec").write_bytes(data.getvalue())
        (path / f"{split}.lst").write_text("".join(lines))
    (path / "synset.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    return path


def tfrecord(path: Path) -> Path:
    """TFRecords as the TPU tools write them: labels from 1, the file's name and its WordNet id."""
    path.mkdir()
    for split, images in WHOLE.items():
        data = io.BytesIO()
        for key, (wnid, image) in images.items():
            features = {
                "image/encoded": field(1, field(1, image)),
                "image/filename": field(1, field(1, key.rpartition("/")[2].encode())),
                "image/class/synset": field(1, field(1, wnid.encode())),
                "image/class/label": field(3, field(1, bytes([LABEL[wnid] + 1]))),
            }
            entries = [field(1, field(1, name.encode()) + field(2, value)) for name, value in features.items()]
            example = field(1, b"".join(entries))
            length = struct.pack("<Q", len(example))
            data.write(length + masked_crc(length) + example + masked_crc(example))
        name = "validation" if split == "val" else split
        (path / f"{name}-00000-of-00001").write_bytes(data.getvalue())
    return path


def field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, size = len(value), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + value


def masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def parquet(path: Path) -> Path:
    """Parquet as on the Hugging Face hub: the file's name, with its WordNet id repeated at the end."""
    path.mkdir()
    names = [miniature.CLASSES[wnid] for wnid in WNIDS]
    info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    for split, images in WHOLE.items():
        rows = [
            {"image": {"bytes": image, "path": f"{key.rpartition('/')[2][:-5]}_{wnid}.JPEG"}, "label": LABEL[wnid]}
            for key, (wnid, image) in images.items()
        ]
        table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(info)})
        pq.write_table(table, path / f"{'validation' if split == 'val' else split}-00000-of-00001.parquet")
    return path


def class_tars(path: Path) -> Path:
    """Class archives as in ImageNet-21K, which has no val."""
    for wnid in WNIDS:
        images = {key.rpartition("/")[2]: data for key, data in files_of("train").items() if key.startswith(wnid)}
        miniature.write(path, {f"{wnid}.tar": miniature.tar_bytes(images)})
    return path


FORMS = [
    class_folders,
    tar_of_class_folders,
    compressed_tar_of_class_folders,
    zip_of_class_folders,
    ilsvrc_archives,
    kaggle_tree,
    caffe_lists,
    csv_lists,
    webdataset,
    recordio,
    tfrecord,
    parquet,
    class_tars,
]


def first_batches(dataset: Dataset) -> list[Batch]:
    train = dataset.splits["train"]
    view = RandomResizedCrop(size=24, scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3), flip=0.5)
    with Loader(train, view, Order(num_rows=len(train), batch_size=8, seed=5), channels=3, threads=2) as loader:
        return list(loader.batches(epoch=1))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_the_same_images_are_the_same_dataset_in_every_layout(form: Callable[[Path], Path], tmp_path: Path) -> None:
    expected = open_source(class_folders(tmp_path / "folders"))
    found = open_source(form(tmp_path / "set"))
    assert found.classes.ids == tuple(WNIDS)
    assert set(found.splits) == ({"train"} if form is class_tars else {"train", "val"})
    for split, table in found.splits.items():
        images = WHOLE[split]
        assert table.keys() == sorted(images)
        rows = range(len(table))
        assert {table.key(row): (WNIDS[table.labels[row]], table.read(row)) for row in rows} == images
        assert table.labels.tolist() == expected.splits[split].labels.tolist()
    if form is not class_tars:
        assert found.fingerprint == expected.fingerprint
    for ours, theirs in zip(first_batches(found), first_batches(expected), strict=True):
        assert np.array_equal(ours.images, theirs.images)
        assert ours.labels.tolist() == theirs.labels.tolist()
        assert ours.rows.tolist() == theirs.rows.tolist()
