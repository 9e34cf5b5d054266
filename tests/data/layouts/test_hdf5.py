"""HDF5 files: PatchCamelyon, and images with labels. The oracle is h5py itself."""

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from tests.support.errors import error_of

from tench.data.source import open_source


def images(*shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(shape[0]).integers(0, 256, shape, np.uint8)


def write(path: Path, arrays: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, **options)
    return path


refusal = error_of(open_source)


@pytest.mark.parametrize("gzipped", [False, True])
def test_patch_camelyon_is_read_as_published(tmp_path: Path, gzipped: bool) -> None:
    expected = {}
    for split, count in (("train", 6), ("valid", 4), ("test", 2)):
        expected[split] = images(count, 96, 96, 3)
        labels = (np.arange(count) % 2).astype(np.uint8).reshape(-1, 1, 1, 1)
        for name, values in (("x", expected[split]), ("y", labels)):
            path = tmp_path / f"pcam/camelyonpatch_level_2_split_{split}_{name}.h5"
            write(path, {name: values}, chunks=(2, *values.shape[1:]), compression="gzip")
            if gzipped:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
    dataset = open_source(tmp_path / "pcam")
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        rows = dataset.splits[split]
        assert b"".join(map(rows.read, range(len(rows)))) == expected[name].tobytes()
        assert rows.labels.tolist() == [0, 1] * (len(rows) // 2)


def test_a_contiguous_dataset_is_read_in_place(tmp_path: Path) -> None:
    path = write(tmp_path / "set.h5", {"data/images": images(4, 6, 5, 3), "data/labels": np.arange(4)})
    rows = open_source(path).splits["train"]
    assert rows.shard(0) == str(path)
    assert b"".join(map(rows.read, range(4))) == images(4, 6, 5, 3).tobytes()


def test_text_in_a_dataset_names_the_classes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "set.h5", {"images": images(4, 6, 5), "labels": [0, 1, 1, 0], "class_names": ["ant", "bee"]}
    )
    assert open_source(path).classes.ids == ("ant", "bee")
    path = write(tmp_path / "text.h5", {"images": images(4, 6, 5), "labels": ["bee", "ant", "ant", "bee"]})
    dataset = open_source(path)
    assert (dataset.classes.ids, dataset.splits["train"].labels.tolist()) == (("ant", "bee"), [1, 0, 0, 1])


def test_fixed_length_text_names_the_classes(tmp_path: Path) -> None:
    arrays = {
        "train_set_x": images(4, 6, 5, 3),
        "train_set_y": [0, 1, 1, 0],
        "list_classes": np.array([b"other", b"cat"]),
    }
    dataset = open_source(write(tmp_path / "catvnoncat.h5", arrays))
    assert dataset.classes.ids == ("other", "cat")
    assert dataset.splits["train"].labels.tolist() == [0, 1, 1, 0]


def test_other_datasets_with_an_entry_per_image_are_ignored(tmp_path: Path) -> None:
    arrays = {
        "train_images": images(4, 6, 5),
        "train_labels": np.arange(4),
        "meta/ids": np.arange(4),
        "note": list("abcd"),
    }
    more = {"val_images": images(2, 6, 5), "val_labels": [1, 2], "train_masks": images(4, 6, 5)}
    dataset = open_source(write(tmp_path / "train_set.h5", {**arrays, **more}))
    assert {split: rows.labels.tolist() for split, rows in dataset.splits.items()} == {
        "train": [0, 1, 2, 3],
        "val": [1, 2],
    }
    assert dataset.notes[-1] == (
        "Left out arrays that are neither images nor labels: train_set.h5/meta/ids, train_set.h5/note, "
        "train_set.h5/train_masks."
    )


def test_keys_choose_among_several_datasets(tmp_path: Path) -> None:
    path = write(
        tmp_path / "set.h5", {"a": images(4, 6, 5), "b": images(4, 6, 5), "c": np.arange(4), "d": np.arange(4)}
    )
    assert refusal(path).startswith(
        f"{path}: it is unclear which arrays contain the images and labels of train. Possible images: set.h5/a"
    )
    assert open_source(path, keys="image=a,label=d").notes[0] == "Images: set.h5/a; labels: set.h5/d."


def test_links_to_other_files_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "other/secret.h5", {"images": images(4, 6, 5), "labels": np.arange(4)})
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["images"] = h5py.ExternalLink("other/secret.h5", "images")
        file["loop"] = h5py.SoftLink("/")
        file["labels"] = np.arange(4)
    assert refusal(tmp_path / "set.h5") == (
        f"{tmp_path}/set.h5: no array has the shape of images: (N, H, W), (N, H, W, C) or (N, C, H, W). Its arrays "
        f"are: "
        "set.h5/labels int64 (4,). Save flattened images with their height and width."
    )


@pytest.mark.parametrize("kept", [8, 60, 500])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "set.h5", {"images": images(4, 6, 5), "labels": np.arange(4)})
    path.write_bytes(path.read_bytes()[:kept])
    said = refusal(path)
    assert said.startswith(f"{path}: cannot be read as HDF5 (")
    assert said.endswith("). It is damaged or truncated. Copy or download it again.")


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "set.h5", {"images": images(4, 6, 5), "labels": np.arange(4)})
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "h5py" else find(name, *more))
    assert refusal(path) == f"{path} is an HDF5 file, which requires h5py: pip install 'tench[interop]'"
