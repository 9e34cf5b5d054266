"""`prepare` always writes the same images, even if it is stopped or killed, and refuses impossible requests."""

import contextlib
import errno
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.data import miniature
from tests.support.processes import child, run, wait_until

import tench
from tench.data.images.encode import Encoding
from tench.data.prepare import planning, staging
from tench.data.prepare import prepare as prepare_module
from tench.data.prepare.planning import LAYOUTS, PrepareOptions, plan
from tench.data.prepare.prepare import prepare, write
from tench.data.source import open_source
from tench.data.table import Dataset
from tench.errors import TenchError, UsageError

Images = dict[str, dict[str, tuple[str, bytes]]]
"""By split and key: class id and bytes."""

PHOTOS: Images = {
    split: {key: (str(wnid), data) for key, (wnid, data) in images.items() if key != "n03126707/n03126707_9.JPEG"}
    for split, images in miniature.photographs().items()
    if split != "test"
}
"""The images of train and val, without the truncated one."""


def folder_of(path: Path, images: Images) -> Path:
    for split, of_split in images.items():
        miniature.write(path / split, {key: data for key, (_, data) in of_split.items()})
    return path


def contents(dataset: Dataset) -> Images:
    """The images of a dataset, with class ids as labels."""
    return {
        split: {
            table.key(row): (dataset.classes.ids[table.labels[row]] if table.labels[row] >= 0 else "", table.read(row))
            for row in range(len(table))
        }
        for split, table in dataset.splits.items()
    }


def files(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", PHOTOS)


# The same images are written.


@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("second", LAYOUTS)
def test_images_keep_keys_classes_and_bytes_through_any_two_layouts(
    photos: Path, tmp_path: Path, first: Any, second: Any
) -> None:
    prepare(photos, tmp_path / "one", first)
    prepare(tmp_path / "one", tmp_path / "two", second)
    source, result = open_source(photos), open_source(tmp_path / "two")
    assert contents(result) == PHOTOS
    assert result.classes.ids == source.classes.ids
    assert result.classes.names == source.classes.names
    assert result.fingerprint == source.fingerprint
    assert result.layout in (second, "ilsvrc")  # class folders of WordNet ids are recognised as ilsvrc


NAMES = st.text(st.sampled_from("ab.-_ Üé1"), min_size=1, max_size=6).filter(lambda name: name.strip(". ") == name)


def _small_images() -> list[bytes]:
    found = []
    for size in ((3, 5), (8, 8), (1, 9)):
        sink = io.BytesIO()
        Image.fromarray(np.arange(3 * size[0] * size[1], dtype=np.uint8).reshape(*size, 3)).save(sink, "PNG")
        found.append(sink.getvalue())
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.lists(st.tuples(NAMES, NAMES), min_size=2, max_size=12, unique=True),
    to=st.sampled_from([name for name in LAYOUTS if name != "list"]),  # in a list, a space ends a name
    shards=st.integers(1, 4),
    shuffle=st.booleans(),
)
def test_any_names_and_numbers_of_shards_keep_every_image(
    tmp_path_factory: pytest.TempPathFactory, keys: list[tuple[str, str]], to: Any, shards: int, shuffle: bool
) -> None:
    images: Images = {"train": {}}
    for number, (class_id, name) in enumerate(keys):
        images["train"][f"{class_id}/{name}.png"] = class_id, _small_images()[number % 3]
    if len({class_id for class_id, _ in keys}) < 2:
        images["train"]["zz/zz.png"] = "zz", _small_images()[0]
    path = tmp_path_factory.mktemp("named")
    folder_of(path / "source", images)
    options = PrepareOptions() if to == "folder" else PrepareOptions(shards=(shards,), shuffle=shuffle)
    prepare(path / "source", path / "dest", to, options=options)
    assert contents(open_source(path / "dest")) == images


@pytest.mark.parametrize("to", LAYOUTS)
def test_raw_pixels_become_png_without_loss(tmp_path: Path, to: Any) -> None:
    digits = open_source("digits")
    prepare(digits, tmp_path / "dest", to)
    table, before = open_source(tmp_path / "dest").splits["val"], digits.splits["val"]
    there = {table.key(row).rpartition("/")[2]: row for row in range(len(table))}
    for row in range(0, len(before), 40):
        found = there[f"{before.key(row)}.png"]
        with Image.open(io.BytesIO(table.read(found))) as image:
            assert (image.format, image.mode) == ("PNG", "L")
            assert image.tobytes() == before.read(row)
        assert table.labels[found] == before.labels[row]


@pytest.mark.parametrize("to", ["webdataset", "tfrecord"])
def test_boxes_are_preserved(tmp_path: Path, to: Any) -> None:
    miniature.ilsvrc(tmp_path / "ilsvrc")
    source = open_source(tmp_path / "ilsvrc", boxes=True)
    made = plan(source, tmp_path / "dest", to, splits=("val",), threads=1)
    write(made, threads=1)
    table, before = open_source(tmp_path / "dest").splits["val"], source.splits["val"]
    assert any(before.boxes(row) for row in range(len(before)))
    for row in range(len(before)):
        assert table.key(row) == before.key(row)
        assert (table.boxes(row) or []) == before.boxes(row)


@pytest.mark.parametrize("to", ["webdataset", "recordio"])
def test_several_labels_per_image_are_preserved(photos: Path, tmp_path: Path, to: Any) -> None:
    keys = list(PHOTOS["train"])[:6]
    lines = [f"{row}\t{row % 3}\t{row / 2}\t{row + 7}\t{key}\n" for row, key in enumerate(keys)]
    (tmp_path / "some.lst").write_text("".join(lines))
    for key in keys:
        miniature.write(tmp_path, {key: PHOTOS["train"][key][1]})
    source = open_source(tmp_path / "some.lst")
    prepare(source, tmp_path / "dest", to)
    table, before = open_source(tmp_path / "dest").splits["train"], source.splits["train"]
    assert table.label_sets() == before.label_sets()
    assert table.keys() == before.keys()


def test_unlabelled_test_images_are_written_too(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path / "ilsvrc")
    source = open_source(tmp_path / "ilsvrc")
    for to in LAYOUTS:
        prepare(source, tmp_path / to, to=to, options=PrepareOptions(bad="skip"))
        found = open_source(tmp_path / to)
        assert contents(found)["test"] == contents(source)["test"], to
        assert set(found.splits) == {"train", "val", "test"}, to


def test_training_images_are_shuffled_and_val_is_sorted_by_name(photos: Path, tmp_path: Path) -> None:
    for shuffle in (True, False):
        dest = tmp_path / f"{shuffle}"
        prepare(photos, dest, options=PrepareOptions(shuffle=shuffle))
        with tarfile.open(dest / "train-00000-of-00001.tar") as tar:
            train = [name for name in tar.getnames() if name.endswith(".JPEG")]
        with tarfile.open(dest / "val-00000-of-00001.tar") as tar:
            assert (names := [name for name in tar.getnames() if name.endswith(".JPEG")]) == sorted(names)
        assert sorted(train) == sorted(PHOTOS["train"])
        assert (train == sorted(train)) is not shuffle


def test_shards_differ_by_at_most_one_image(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "dest", options=PrepareOptions(shards=(5, 3)))
    for split, count in (("train", 5), ("val", 3)):
        sizes = []
        for number in range(count):
            with tarfile.open(tmp_path / "dest" / f"{split}-{number:05}-of-{count:05}.tar") as tar:
                sizes.append(sum(name.endswith(".JPEG") for name in tar.getnames()))
        assert sum(sizes) == len(PHOTOS[split])
        assert max(sizes) - min(sizes) <= 1


def test_shards_have_about_the_requested_size(photos: Path, tmp_path: Path) -> None:
    num_bytes = sum(len(data) for _, data in PHOTOS["train"].values())
    prepare(photos, tmp_path / "dest", to="tfrecord", options=PrepareOptions(shard_bytes=num_bytes // 4))
    sizes = [path.stat().st_size for path in (tmp_path / "dest").glob("train-*")]
    assert 4 <= len(sizes) <= 12  # the frames add to the size, and these images are tiny
    assert sum(sizes) > num_bytes


def test_parts_of_train_become_val_and_test(tmp_path: Path) -> None:
    folder_of(tmp_path / "source", {"train": PHOTOS["train"]})
    source = open_source(tmp_path / "source")
    made = plan(source, tmp_path / "dest", val_fraction=0.25, test_fraction=0.25, threads=1)
    write(made, threads=1)
    found = contents(open_source(tmp_path / "dest"))
    together = {key: image for split in found.values() for key, image in split.items()}
    assert together == PHOTOS["train"]
    assert sum(map(len, found.values())) == len(together)
    assert set(found) == {"train", "val", "test"}
    # One class has a single image.
    assert len({class_id for class_id, _ in found["val"].values()}) == len(miniature.CLASSES) - 1


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("to", LAYOUTS)
def test_the_bytes_do_not_depend_on_the_number_of_threads(photos: Path, tmp_path: Path, to: Any, threads: int) -> None:
    options = PrepareOptions(encoding=Encoding(quality=80, short_side=16))
    prepare(photos, tmp_path / "one", to, options=options, threads=1)
    prepare(photos, tmp_path / "several", to, options=options, threads=threads)
    assert files(tmp_path / "one") == files(tmp_path / "several")


def test_prepared_json_records_source_options_and_result(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "dest", options=PrepareOptions(encoding=Encoding(max_side=20)))
    found = json.loads((tmp_path / "dest/prepared.json").read_text())
    source = open_source(photos)
    assert found["fingerprint"] == source.fingerprint
    assert found["classes"] == source.classes.to_json()
    assert found["images"] == {split: len(images) for split, images in PHOTOS.items()}
    assert found["encoding"]["max_side"] == 20
    assert set(found["versions"]) == {"tench", "simplejpeg", "opencv-python-headless", "pillow"}
    assert found["bad_images"] == []


def test_images_are_shrunk_to_the_requested_size(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "dest", options=PrepareOptions(encoding=Encoding(format="png", max_side=20)))
    table, before = open_source(tmp_path / "dest").splits["val"], open_source(photos).splits["val"]
    for row in range(len(table)):
        with Image.open(io.BytesIO(table.read(row))) as image, Image.open(io.BytesIO(before.read(row))) as original:
            assert image.format == "PNG"
            assert max(image.size) == min(20, max(original.size))
    assert [Path(key).stem for key in table.keys()] == [Path(key).stem for key in before.keys()]  # noqa: SIM118
    assert {Path(key).suffix for key in table.keys()} == {".png"}  # noqa: SIM118


# Stopped and killed.


class _StopError(Exception):
    pass


def _stopping(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: int) -> None:
    """Let a function raise once it has been called `after` times."""
    original, calls = getattr(owner, name), [0]

    def function(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise _StopError
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, function)


@pytest.mark.parametrize("to", LAYOUTS)
@pytest.mark.parametrize("place", ["write", "note", "name"])
def test_a_call_stopped_anywhere_and_repeated_writes_the_same_bytes(
    photos: Path, tmp_path: Path, to: Any, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_tree = to in ("folder", "list")
    options = PrepareOptions(link="copy") if is_tree else PrepareOptions(shards=(3, 2))
    prepare(photos, tmp_path / "whole", to, options=options)
    monkeypatch.setattr(staging, "_FLUSH_BYTES", 1000)
    owner, name = {"write": (os, "writev"), "note": (staging.Staging, "note"), "name": (Path, "replace")}[place]
    for after in range(40):
        with monkeypatch.context() as patch:
            _stopping(patch, owner, name, after)
            try:
                prepare(photos, tmp_path / "stopped", to, options=options, threads=2)
                break
            except _StopError:
                assert not (tmp_path / "stopped/prepared.json").exists()
    prepare(photos, tmp_path / "stopped", to, options=options)
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")
    assert not (tmp_path / "stopped/.tench-prepare").exists()


SCRIPT = """
import sys
from tench.data.prepare import staging, writing
from tench.data.images.encode import Encoding
from tench.data.prepare.planning import PrepareOptions
from tench.data.prepare.prepare import prepare
staging._FLUSH_BYTES = 2000
staging.FLUSH_SECONDS = writing.FLUSH_SECONDS = 0.02
options = PrepareOptions(encoding=Encoding(format="png", square=120))
prepare(sys.argv[1], sys.argv[2], sys.argv[3], options=options, threads=2)
"""


@pytest.mark.parametrize("to", ["recordio", "folder"])
def test_a_process_killed_at_random_moments_and_repeated_writes_the_same_bytes(
    photos: Path, tmp_path: Path, to: Any
) -> None:
    many: Images = {"train": {}}
    for copy in range(6):
        for key, (wnid, data) in PHOTOS["train"].items():
            many["train"][f"{wnid}/{copy}_{Path(key).name}"] = wnid, data
    folder_of(tmp_path / "many", many)
    prepare(
        tmp_path / "many",
        tmp_path / "whole",
        to=to,
        options=PrepareOptions(encoding=Encoding(format="png", square=120)),
    )
    moments = random.Random(7)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "many"), str(tmp_path / "killed"), to]
    journal = tmp_path / "killed/.tench-prepare/journal.jsonl"

    def journal_bytes() -> int:
        with contextlib.suppress(FileNotFoundError):
            return journal.stat().st_size
        return 0

    def killed_on_its_way() -> bool:
        """Kill the process shortly after it has made progress. Returns False if it ended first."""
        before = journal_bytes()
        with child(command) as preparing:
            wait_until(lambda: journal_bytes() > before or not preparing.is_running(), "an entry of the journal")
            time.sleep(moments.uniform(0, 0.1))
            return preparing.is_running()

    kills = 0
    while kills < 3 and killed_on_its_way():
        kills += 1
    assert run(command).returncode == 0
    assert kills >= 1
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_small_files_that_a_killed_process_was_writing_are_removed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _stopping(patch, prepare_module, "compare_tables", 0)
        with pytest.raises(_StopError):
            prepare(photos, tmp_path / "dest")
    for name in (".classes.txt.0123abcd.part", ".prepared.json.0123abcd.part", ".mine.0123abcd.part"):
        (tmp_path / "dest" / name).write_text("half")
    prepare(photos, tmp_path / "dest")
    hidden = [path.name for path in (tmp_path / "dest").iterdir() if path.name.startswith(".")]
    assert hidden == [".mine.0123abcd.part"]  # tench writes no file with that name


def test_a_complete_destination_is_not_written_again(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "dest")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "dest").iterdir()}
    done = prepare(photos, tmp_path / "dest")
    assert done.existed
    assert done.images == {split: len(images) for split, images in PHOTOS.items()}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "dest").iterdir()} == before


def test_an_unfinished_destination_is_not_opened_as_a_dataset(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _stopping(patch, prepare_module, "compare_tables", 0)
        with pytest.raises(_StopError):
            prepare(photos, tmp_path / "dest")
    with pytest.raises(TenchError) as error:
        open_source(tmp_path / "dest")
    assert str(error.value) == (
        f"{tmp_path / 'dest'}: tench prepare has not finished it. Run the same tench prepare command again."
    )
    prepare(photos, tmp_path / "dest")
    assert contents(open_source(tmp_path / "dest")) == PHOTOS


# Refused.


@pytest.fixture
def begun(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A destination where `prepare` was stopped when one of two files was complete."""
    with monkeypatch.context() as patch:
        _stopping(patch, Path, "replace", 4)  # owner.json and plan.json, written twice each; then one shard
        with pytest.raises(_StopError):
            prepare(photos, tmp_path / "begun", to="recordio")
    return tmp_path / "begun"


def test_a_destination_begun_with_other_options_is_refused(photos: Path, begun: Path) -> None:
    with pytest.raises(UsageError) as error:
        prepare(photos, begun, to="recordio", options=PrepareOptions(shuffle=False))
    assert str(error.value) == (
        f"{begun} was begun with a different source or different options: shuffle was True, now False. Use the "
        f"earlier ones, or remove {begun} to start over."
    )
    prepare(photos, begun, to="recordio")
    assert contents(open_source(begun)) == PHOTOS


def test_a_destination_begun_before_the_source_changed_is_refused(photos: Path, begun: Path) -> None:
    (photos / "train/n01440764/more.JPEG").write_bytes(next(iter(PHOTOS["train"].values()))[1])
    with pytest.raises(UsageError, match="was begun with a different source or different options: fingerprint was "):
        prepare(photos, begun, to="recordio")


def test_a_destination_with_other_content_is_refused(photos: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "thesis.tex").write_text("years")
    with pytest.raises(UsageError) as error:
        prepare(photos, dest)
    assert str(error.value) == (
        f"{dest} already contains thesis.tex, and nothing is overwritten. Choose a folder that is empty or does not "
        "exist."
    )
    assert files(dest) == {"thesis.tex": hashlib.sha256(b"years").hexdigest()}


def test_a_destination_prepared_with_other_options_is_refused(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "dest", "recordio")
    before = files(tmp_path / "dest")
    with pytest.raises(
        UsageError,
        match=r"was begun with a different source or different options: to was recordio, "
        "now tfrec",
    ):
        prepare(photos, tmp_path / "dest", "tfrecord")
    assert files(tmp_path / "dest") == before


def test_a_destination_inside_the_source_is_refused(photos: Path) -> None:
    with pytest.raises(UsageError) as error:
        prepare(photos, photos / "shards")
    assert str(error.value) == (
        f"{photos / 'shards'} is inside the source {photos}, which is never changed. Choose a folder outside it."
    )
    assert contents(open_source(photos)) == PHOTOS


def test_a_second_process_names_the_first_and_stops(photos: Path, tmp_path: Path) -> None:
    made = plan(open_source(photos), tmp_path / "dest", threads=1)
    with (
        staging.staging(tmp_path / "dest", made.identity(), 0, {}, 0),
        pytest.raises(
            TenchError, match=rf"^{tmp_path / 'dest'}: process {os.getpid()} on .* is writing to it\. Wait until"
        ),
    ):
        write(made, threads=1)
    write(made, threads=1)
    assert contents(open_source(tmp_path / "dest")) == PHOTOS


def test_boxes_change_the_plan(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path / "ilsvrc")
    options = PrepareOptions(bad="skip")
    write(
        plan(open_source(tmp_path / "ilsvrc"), tmp_path / "dest", options=options, splits=("val",), threads=1),
        threads=1,
    )
    boxed = plan(
        open_source(tmp_path / "ilsvrc", boxes=True), tmp_path / "dest", options=options, splits=("val",), threads=1
    )
    with pytest.raises(
        UsageError, match=r"was begun with a different source or different options: boxes was \{\}, now \{'val': "
    ):
        write(boxed, threads=1)


def test_another_command_does_not_overwrite_the_first_files_of_a_tree(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _stopping(patch, os, "link", 5)
        with pytest.raises(_StopError):
            prepare(photos, tmp_path / "dest", "folder")
    with pytest.raises(UsageError, match="to was folder, now webdataset"):
        prepare(photos, tmp_path / "dest", "webdataset")
    prepare(photos, tmp_path / "dest", "folder")
    assert contents(open_source(tmp_path / "dest")) == PHOTOS


def test_an_image_overwritten_between_a_kill_and_the_next_run_is_noticed(photos: Path, begun: Path) -> None:
    time.sleep(0.02)
    image = photos / "train/n01440764/n01440764_9.JPEG"
    data = image.read_bytes()
    image.write_bytes(data[:100] + data[:99:-1])
    with pytest.raises(TenchError, match=rf"^{image} changed while it was being read"):
        prepare(photos, begun, to="recordio")


@pytest.mark.parametrize("to", [name for name in LAYOUTS if name != "list"])
def test_names_with_dots_unusual_spaces_or_numbers_are_preserved(tmp_path: Path, to: Any) -> None:
    data = [image for _, image in PHOTOS["train"].values()]
    names = ["a/at 3.15.20\u202fPM.jpg", "a/x.2.jpg", "a/x.jpg", "a/x.png", "b/\u3000.\u00a0.jpg", "b/y_0.jpg"]
    images: Images = {"train": {name: (name[0], data[number]) for number, name in enumerate(names)}}
    folder_of(tmp_path / "source", images)
    prepare(tmp_path / "source", tmp_path / "dest", to)
    assert contents(open_source(tmp_path / "dest")) == images


def test_a_complete_destination_that_lost_bytes_is_not_called_complete(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "dest")
    shard = tmp_path / "dest/train-00000-of-00001.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(TenchError, match=r"verification after writing failed: its files have [\d,]+ bytes, not [\d,]+"):
        prepare(photos, tmp_path / "dest")


def test_a_shard_whose_images_are_all_bad_is_an_error(photos: Path, tmp_path: Path) -> None:
    miniature.write(photos / "train", {"n03126707/cut.JPEG": _cut_jpeg()})
    number = len(PHOTOS["train"]) + 1
    for to in ("tfrecord", "recordio", "webdataset"):
        with pytest.raises(
            TenchError, match=r"^1 file would be empty because all their images are bad: train-000\d\d-of"
        ):
            prepare(photos, tmp_path / to, to=to, options=PrepareOptions(shards=(number, 1), bad="skip"))


def test_a_split_whose_images_are_all_bad_is_an_error(tmp_path: Path) -> None:
    folder_of(tmp_path / "source", {"train": PHOTOS["train"]})
    wnid = next(iter(PHOTOS["train"].values()))[0]
    miniature.write(tmp_path / "source/val", {f"{wnid}/cut.JPEG": _cut_jpeg()})
    with pytest.raises(TenchError, match=r"dest: all images of val are bad\. Leave that split out"):
        prepare(tmp_path / "source", tmp_path / "dest", to="folder", options=PrepareOptions(bad="skip"))


def test_a_source_whose_path_looks_like_two_is_not_written_into(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "cats + dogs", PHOTOS)
    with pytest.raises(UsageError, match="is inside the source"):
        prepare(path, path / "out")


def test_a_disk_that_is_too_small_is_an_error_before_anything_is_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(1000))
    with pytest.raises(
        TenchError, match=r"dest: about 1\d\d\.\d kB is needed, but only 1\.0 kB is free\. Free some space"
    ):
        prepare(photos, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


class _Usage:
    def __init__(self, free: int) -> None:
        self.total = self.used = self.free = free


@pytest.mark.parametrize("to", LAYOUTS)
def test_a_full_disk_is_an_error_and_the_next_call_continues(
    photos: Path, tmp_path: Path, to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    options = PrepareOptions(link="copy" if to in ("folder", "list") else None)
    with monkeypatch.context() as patch:
        if to in ("folder", "list"):
            patch.setattr(Path, "write_bytes", full)
        else:
            patch.setattr(os, "writev", full)
        with pytest.raises(TenchError) as error:
            prepare(photos, tmp_path / "dest", to, options=options)
    assert str(error.value).startswith(f"{tmp_path / 'dest'}: the disk is full. About ")
    assert str(error.value).endswith("The finished part is kept. Free some space and run the same command again.")
    prepare(photos, tmp_path / "dest", to, options=options)
    assert contents(open_source(tmp_path / "dest")) == PHOTOS


def test_a_file_of_the_source_that_changes_midway_is_noticed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(photos, tmp_path / "shards", "webdataset")
    shard = tmp_path / "shards/train-00000-of-00001.tar"
    original = prepare_module._check

    def change(*arguments: Any) -> int:
        raise AssertionError("the change must be noticed before")

    made = plan(open_source(tmp_path / "shards"), tmp_path / "dest", "recordio", threads=1)
    data = shard.read_bytes()
    monkeypatch.setattr(prepare_module, "_check", change)
    shard.write_bytes(data)
    with pytest.raises(TenchError) as error:
        write(made, threads=1)
    assert str(error.value) == (
        f"{shard} changed while it was being read, so {tmp_path / 'dest'} may mix old and new content. Remove "
        f"{tmp_path / 'dest'} and run the command again once the source has stopped changing."
    )
    assert callable(original)


def test_an_image_overwritten_midway_is_noticed(photos: Path, tmp_path: Path) -> None:
    made = plan(open_source(photos), tmp_path / "dest", "recordio", threads=1)
    image = photos / "train/n01440764/n01440764_9.JPEG"
    time.sleep(0.02)  # file timestamps are coarse
    data = image.read_bytes()
    image.write_bytes(data[:100] + data[:99:-1])
    with pytest.raises(TenchError, match=rf"^{image} changed while it was being read"):
        write(made, threads=1)


def test_an_image_that_grew_is_named(photos: Path, tmp_path: Path) -> None:
    for to in ("recordio", "folder"):
        made = plan(open_source(photos), tmp_path / to, to, threads=1)
        image = photos / "train/n01440764/n01440764_9.JPEG"
        image.write_bytes(image.read_bytes() + b"more")
        with pytest.raises(TenchError, match=rf"^{image}: row \d+ \(n01440764/n01440764_9\.JPEG\) covers bytes 0-"):
            write(made, threads=1)
        folder_of(photos, PHOTOS)


# Bad images.


def _cut_jpeg() -> bytes:
    """A JPEG without its last third."""
    sink = io.BytesIO()
    with Image.open(io.BytesIO(next(iter(PHOTOS["train"].values()))[1])) as image:
        image.convert("RGB").resize((300, 200)).save(sink, "JPEG", quality=95)
    return sink.getvalue()[: len(sink.getvalue()) * 2 // 3]


@pytest.fixture
def damaged(photos: Path) -> Path:
    miniature.write(photos / "train", {"n03126707/cut.JPEG": _cut_jpeg(), "n03126707/empty.JPEG": b""})
    return photos


@pytest.mark.parametrize("how", [None, Encoding(quality=85)])
def test_skipped_images_are_counted_and_listed(damaged: Path, tmp_path: Path, how: Encoding | None) -> None:
    done = prepare(damaged, tmp_path / "dest", options=PrepareOptions(encoding=how, bad="skip"))
    assert {(bad["key"], bad["done"]) for bad in done.bad} == {
        ("n03126707/cut.JPEG", "skipped"),
        ("n03126707/empty.JPEG", "skipped"),
    }
    assert all(bad["file"].startswith(str(damaged)) and bad["reason"] for bad in done.bad)
    assert done.images["train"] == len(PHOTOS["train"])
    assert json.loads((tmp_path / "dest/prepared.json").read_text())["bad_images"] == list(done.bad)
    found = contents(open_source(tmp_path / "dest"))
    assert {Path(key).stem for key in found["train"]} == {Path(key).stem for key in PHOTOS["train"]}
    if how is None:
        assert found == PHOTOS


@pytest.mark.parametrize("to", LAYOUTS)
def test_a_truncated_jpeg_is_decoded_as_far_as_possible(damaged: Path, tmp_path: Path, to: Any) -> None:
    done = prepare(damaged, tmp_path / "dest", to=to, options=PrepareOptions(bad="fix"))
    assert {bad["key"]: bad["done"] for bad in done.bad} == {
        "n03126707/cut.JPEG": "fixed",
        "n03126707/empty.JPEG": "skipped",
    }
    found = contents(open_source(tmp_path / "dest"))["train"]
    with Image.open(io.BytesIO(found.pop("n03126707/cut.JPEG")[1])) as image:
        image.load()
    assert found == PHOTOS["train"]


def test_a_bad_image_stops_re_encoding_and_the_next_call_may_skip_it(photos: Path, tmp_path: Path) -> None:
    miniature.write(photos / "train", {"n03126707/cut.JPEG": _cut_jpeg()})
    how = Encoding(quality=85)
    with pytest.raises(TenchError) as error:
        prepare(photos, tmp_path / "dest", options=PrepareOptions(encoding=how))
    assert str(error.value).startswith(f"{photos / 'train/n03126707/cut.JPEG'}: ")
    assert "Leave it out with --bad skip, or decode it as far as possible with --bad fix." in str(error.value)
    prepare(photos, tmp_path / "dest", options=PrepareOptions(encoding=how, bad="skip"))
    prepare(photos, tmp_path / "whole", options=PrepareOptions(encoding=how, bad="skip"))
    assert files(tmp_path / "dest") == files(tmp_path / "whole")


def test_tfrecord_needs_the_size_of_every_image(photos: Path, tmp_path: Path) -> None:
    miniature.write(photos / "train", {"n03126707/text.JPEG": b"\xff\xd8\xff of which nothing is left"})
    with pytest.raises(
        TenchError, match=r"text\.JPEG: damaged JPEG: .*\. The layout stores the image's size, which is unknown"
    ):
        prepare(photos, tmp_path / "dest", "tfrecord")


def _secret(photos: Path, tmp_path: Path, text: bytes = b"root:x:0:0:root") -> Path:
    """Add a link to the photographs that leads to a text file outside."""
    (tmp_path / "secret").write_bytes(text)
    (photos / "train/n03126707/secret.png").symlink_to(tmp_path / "secret")
    return photos / "train/n03126707/secret.png"


@pytest.mark.parametrize("text", [b"root:x:0:0:root", b"Python", b"BMW and more", b"P6 is a road"])
@pytest.mark.parametrize("to", ["webdataset", "recordio", "folder", "list"])
def test_a_file_that_is_not_an_image_is_never_written(photos: Path, tmp_path: Path, to: Any, text: bytes) -> None:
    link = _secret(photos, tmp_path, text)
    with pytest.raises(TenchError) as error:
        prepare(photos, tmp_path / "dest", to)
    assert str(error.value).startswith(str(link))
    assert str(error.value).endswith(
        "\nLeave it out with --bad skip, or decode it as far as possible with --bad fix. 'tench check SOURCE' names "
        "every bad image."
    )
    written = [path for path in (tmp_path / "dest").rglob("*") if path.is_file()]
    assert [path for path in written if text in path.read_bytes()] == []


def test_an_image_outside_the_source_that_a_link_leads_to_is_copied(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "outside/n03126707").mkdir(parents=True)
    inside = photos / "train/n03126707"
    image = next(inside.iterdir())
    shutil.copy(image, tmp_path / "outside/a.JPEG")
    shutil.copy(image, tmp_path / "outside/n03126707/b.JPEG")
    (inside / "a.JPEG").symlink_to(tmp_path / "outside/a.JPEG")
    (inside / "more").symlink_to(tmp_path / "outside/n03126707")
    (inside / "c.JPEG").symlink_to(image.name)  # a link within the source
    made = plan(open_source(photos), tmp_path / "dest", "folder", threads=1)
    assert "2 images outside the source, reached through links, will be copied." in made.notes
    num_images = sum(map(len, made.images.tables.values()))
    assert made.num_linked == num_images - 2
    write(made, threads=1)
    links = {path.name: path.stat().st_nlink for path in (tmp_path / "dest/train/n03126707").rglob("*.JPEG")}
    assert (links["a.JPEG"], links["b.JPEG"], links["c.JPEG"]) == (1, 1, image.stat().st_nlink)


def test_an_empty_image_is_an_error_before_anything_is_written(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(TenchError, match=r"empty\.JPEG is empty \(0 bytes\)\. Leave empty images out with --bad skip"):
        prepare(damaged, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_prepare_is_exported(photos: Path, tmp_path: Path) -> None:
    assert tench.prepare(photos, tmp_path / "dest").images == {split: len(images) for split, images in PHOTOS.items()}


def test_the_estimate_of_bytes_is_close(photos: Path, tmp_path: Path) -> None:
    for to in ("webdataset", "tfrecord", "recordio"):
        made = plan(open_source(photos), tmp_path / to, to, threads=1)
        done = write(made, threads=1)
        assert done.num_bytes / 2 < made.num_bytes < done.num_bytes * 2


def test_a_plan_writes_nothing(photos: Path, tmp_path: Path) -> None:
    before = files(tmp_path)
    plan(open_source(photos), tmp_path / "dest", threads=2)
    assert files(tmp_path) == before
    assert not (tmp_path / "dest").exists()
    assert planning.existing(tmp_path / "dest" / "deeper") == tmp_path
