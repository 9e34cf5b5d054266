import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.datasets import reloaded

from tench.data.info import brief_notes, describe, image_sizes
from tench.data.source import open_source
from tench.data.table import PIXELS_HWC, Classes, Contents, Dataset, Rows, Table
from tench.errors import TenchError


def dataset_of(rows: Rows) -> Dataset:
    return reloaded(Contents(Classes.of(["a", "b", "c"]), {"train": rows}, []))


def files(folder: Path, contents: list[bytes], labels: list[int] | None = None) -> Dataset:
    paths = [folder / f"{index:04}" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    count = len(contents)
    lengths = np.array([len(content) for content in contents], int)
    label = np.array(labels if labels is not None else [0] * count, int)
    return dataset_of(
        Rows([str(path) for path in paths], np.arange(count), 0, lengths, label, [path.name for path in paths])
    )


def raw(folder: Path, count: int) -> Table:
    """Rows of raw pixels in a shard that does not exist. Row i is i + 1 high and 7 wide."""
    numbers = np.arange(count)
    rows = Rows(
        shards=["/gone"],
        shard=np.zeros(count, int),
        offset=0,
        length=1,
        label=np.zeros(count, int),
        key=[f"{index:05}" for index in range(count)],
        encoding=PIXELS_HWC,
        height=numbers + 1,
        width=7,
        channels=1,
    )
    return dataset_of(rows).splits["train"]


def test_a_source_is_described_by_its_counts_and_sizes(photo_folder: Path) -> None:
    dataset = open_source(photo_folder)
    num_bytes = {
        split: sum(path.stat().st_size for path in (photo_folder / split).rglob("*.*")) for split in ("train", "val")
    }
    by_class = {path.name: sorted(path.iterdir()) for path in sorted((photo_folder / "train").iterdir())}
    first = {name: [f"{name}/{path.name}" for path in paths[:3]] for name, paths in by_class.items()}
    first_of_val = {path.name: min(path.iterdir()) for path in sorted((photo_folder / "val").iterdir())}
    assert describe(dataset) == {
        "source": str(photo_folder),
        "layout": "folder",
        "classes": 3,
        "splits": {
            "train": {
                "images": 18,
                "bytes": num_bytes["train"],
                "unlabelled": 0,
                "images_per_class": {"min": 6, "max": 6},
                "sizes": {"smallest": "33 x 96", "largest": "98 x 61"},  # width x height of the crops in conftest
            },
            "val": {
                "images": 6,
                "bytes": num_bytes["val"],
                "unlabelled": 0,
                "images_per_class": {"min": 2, "max": 2},
                "sizes": {"smallest": "124 x 47", "largest": "111 x 54"},
            },
        },
        "exif": {"sampled": 18, "rotated": 0, "auto": "apply"},
        "fingerprint": dataset.fingerprint,
        "notes": [],
        "tree": [
            "train/  3 folders, 18 images",
            *(f"  {name}/  6 images: {key.partition('/')[2]}" for name, (key, *_) in first.items()),
            "val/  3 folders, 6 images",
            *(f"  {name}/  2 images: {path.name}" for name, path in first_of_val.items()),
        ],
        "examples": first,
        "left_out": [],
    }


def test_a_description_can_be_written_as_json(photo_folder: Path) -> None:
    description = describe(open_source(photo_folder))
    assert json.loads(json.dumps(description)) == description


def test_images_without_a_label_and_classes_without_an_image_are_counted(tmp_path: Path) -> None:
    train = describe(files(tmp_path, [b"x"] * 6, [0, 0, 0, -1, 1, -1]))["splits"]["train"]
    assert (train["images"], train["bytes"], train["unlabelled"]) == (6, 6, 2)
    assert train["images_per_class"] == {"min": 0, "max": 3}


def test_without_images_there_are_no_sizes(tmp_path: Path) -> None:
    assert describe(files(tmp_path, [b"no image", b""]))["splits"]["train"]["sizes"] is None


def test_an_empty_split_is_described(tmp_path: Path) -> None:
    assert describe(files(tmp_path, []))["splits"]["train"] == {
        "images": 0,
        "bytes": 0,
        "unlabelled": 0,
        "images_per_class": {"min": 0, "max": 0},
        "sizes": None,
    }


def test_the_sizes_of_image_files_come_from_their_headers_and_other_files_are_skipped(
    photo_folder: Path, tmp_path: Path
) -> None:
    images = sorted((photo_folder / "val").rglob("*.jpg"))
    found = image_sizes(
        files(tmp_path, [images[0].read_bytes()[:-500], b"no image", images[1].read_bytes()]).splits["train"]
    )
    expected = []
    for path in images[:2]:
        with Image.open(path) as image:
            expected.append((image.height, image.width))
    assert found == expected


def test_the_sizes_of_raw_pixels_come_from_the_table(tmp_path: Path) -> None:
    assert image_sizes(raw(tmp_path, 3)) == [(1, 7), (2, 7), (3, 7)]


@pytest.mark.parametrize("count", [63, 64, 65, 1000])
def test_up_to_64_sizes_are_sampled_from_the_first_row_to_the_last(tmp_path: Path, count: int) -> None:
    heights = [height for height, _ in image_sizes(raw(tmp_path, count))]
    assert len(heights) == len(set(heights)) == min(count, 64)
    assert (heights[0], heights[-1]) == (1, count)
    steps = np.diff(heights)
    assert steps.max() - steps.min() <= 1


def test_a_file_that_is_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    dataset = files(tmp_path, [b"x"])
    (tmp_path / "0000").unlink()
    with pytest.raises(TenchError, match=r"/0000.*: cannot be read"):
        describe(dataset)


def test_brief_notes_use_relative_paths_and_have_no_repetitions(tmp_path: Path) -> None:
    notes = [
        f"{tmp_path}/set.zip/a.csv (in {tmp_path}/set.zip at byte 1,234): the labels come from column 'breed'.",
        "No folder is named like a split: all images are train.",
        f"{tmp_path}/set.zip/b.csv (in {tmp_path}/set.zip at byte 77): the labels come from column 'breed'.",
        "Only this.",
        "Only that.",
    ]
    rows = Rows(["/gone"], np.zeros(1, int), 0, 1, np.zeros(1, int), ["a/1"])
    contents = Contents(Classes.of(["a"]), {"train": rows}, [], notes=notes)
    dataset = reloaded(contents, source=f"{tmp_path}/set.zip")
    assert brief_notes(dataset) == [
        "a.csv, b.csv: the labels come from column 'breed'.",
        "No folder is named like a split: all images are train.",
        "Only this.",
        "Only that.",
    ]
    assert dataset.notes == tuple(notes)
