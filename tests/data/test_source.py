import logging
import os
import shutil
import struct
import sys
import tarfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.data import miniature
from tests.data.photos import encoded, part
from tests.support.processes import child

from tench.data import table
from tench.data.cache import cache_folder
from tench.data.check.check import check
from tench.data.files import tree as tree_module
from tench.data.files.tree import Tree, open_tree
from tench.data.images.image import ImageError
from tench.data.images.picture import decode_row
from tench.data.layouts import folder, mnist
from tench.data.options import SourceOptions
from tench.data.source import matched, name_of, open_source
from tench.data.table import Classes, Contents, Dataset
from tench.errors import TenchError, UsageError


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The sources read as class folders, in order, including repetitions."""
    seen: list[Path] = []
    read = folder.read

    def counted(tree: Tree) -> Contents:
        seen.append(tree.source)
        return read(tree)

    monkeypatch.setattr(folder, "read", counted)
    return seen


def write_idx(path: Path, values: list[int], count: int) -> None:
    """Write an MNIST pair (t10k) of one-pixel images. count: the number of images and labels that the headers state."""
    path.mkdir(exist_ok=True)
    (path / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">4I", 2051, count, 1, 1) + bytes(values))
    (path / "t10k-labels-idx1-ubyte").write_bytes(
        struct.pack(">2I", 2049, count) + bytes(index % 10 for index in values)
    )


def everything_below(path: Path) -> list[str]:
    return sorted(str(entry.relative_to(path)) for entry in path.rglob("*"))


def file_keys(dataset: Dataset) -> list[str]:
    return dataset.splits["train"].keys()


def test_a_folder_of_class_folders_is_recognised(photo_folder: Path) -> None:
    dataset = open_source(photo_folder)
    assert (dataset.layout, dataset.source) == ("folder", str(photo_folder))
    assert dataset.classes.ids == ("petal", "roof", "water")
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 18, "val": 6}


def test_the_layout_is_recognised_by_content_and_not_by_the_name(tmp_path: Path) -> None:
    write_idx(tmp_path / "photos_jpg", [*range(10)], 10)
    dataset = open_source(tmp_path / "photos_jpg")
    assert (dataset.layout, len(dataset.splits["test"])) == ("mnist", 10)


def test_relative_paths_and_paths_from_home_become_absolute(
    photos: Path, monkeypatch: pytest.MonkeyPatch, readings: list[Path]
) -> None:
    monkeypatch.chdir(photos.parent)
    monkeypatch.setenv("HOME", str(photos.parent))
    assert [open_source(name).source for name in ("photos", "~/photos", photos)] == [str(photos)] * 3
    assert readings == [photos]


def test_the_source_is_read_only_once(photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_source(photo_folder)

    def refuse(path: Path, spool: Path) -> Contents:
        raise AssertionError("read again")

    monkeypatch.setattr(folder, "read", refuse)
    second = open_source(photo_folder)
    assert (second.fingerprint, second.classes, second.notes) == (first.fingerprint, first.classes, first.notes)
    assert second.splits["val"].keys() == first.splits["val"].keys()
    assert second.splits["val"].read(0) == first.splits["val"].read(0)


def add(photos: Path) -> None:
    os.link(photos / "val/roof/6.jpg", photos / "train/roof/new.jpg")


def rename(photos: Path) -> None:
    (photos / "train/roof/3.jpg").rename(photos / "train/roof/new.jpg")


def remove(photos: Path) -> None:
    (photos / "train/roof/3.jpg").unlink()


def add_class(photos: Path) -> None:
    (photos / "train/new").mkdir()
    os.link(photos / "val/roof/6.jpg", photos / "train/new/new.jpg")


def rename_class(photos: Path) -> None:
    (photos / "train/roof").rename(photos / "train/new")
    (photos / "val/roof").rename(photos / "val/new")


@pytest.mark.parametrize("change", [add, rename, remove, add_class, rename_class])
def test_a_folder_that_changed_is_read_again(
    photos: Path, readings: list[Path], change: Callable[[Path], None]
) -> None:
    before = open_source(photos)
    change(photos)
    after = open_source(photos)
    assert len(readings) == 2
    assert after.fingerprint != before.fingerprint or after.classes != before.classes
    found = {str(path.relative_to(photos / "train")) for path in (photos / "train").rglob("*.*")}
    assert set(file_keys(after)) == found
    open_source(photos)
    assert len(readings) == 2


def test_refresh_notices_an_image_that_was_replaced_in_place(photos: Path) -> None:
    open_source(photos)
    image = photos / "train/roof/3.jpg"
    shorter = (photos / "train/roof/4.jpg").read_bytes()
    image.unlink()
    image.write_bytes(shorter)
    assert open_source(photos).splits["train"].read(9) == shorter
    image.write_bytes(shorter[:100])  # in place, so the folder's time does not change
    train = open_source(photos).splits["train"]
    assert train.key(9) == "roof/3.jpg"
    with pytest.raises(TenchError, match=r"read and check the dataset again: tench check SOURCE$"):
        train.read(9)
    assert open_source(photos, refresh=True).splits["train"].read(9) == shorter[:100]
    assert open_source(photos).splits["train"].read(9) == shorter[:100]


def test_an_mnist_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    write_idx(tmp_path / "set", [*range(10)], 10)
    first = open_source(tmp_path / "set")
    write_idx(tmp_path / "set", [*range(12)], 12)
    second = open_source(tmp_path / "set")
    assert [len(dataset.splits["test"]) for dataset in (first, second)] == [10, 12]
    assert second.splits["test"].read(11) == bytes([11])


def test_a_missing_source_is_not_opened_from_the_cache(photos: Path) -> None:
    open_source(photos)
    photos.rename(photos.with_name("elsewhere"))
    with pytest.raises(UsageError, match="no such file or folder"):
        open_source(photos)


def test_nothing_is_written_next_to_the_users_files(photos: Path) -> None:
    before = everything_below(photos.parent)
    open_source(photos)
    open_source(photos)
    assert everything_below(photos.parent) == before
    assert everything_below(cache_folder()) != []


def test_a_table_of_another_version_is_rebuilt(
    photo_folder: Path, readings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "VERSION", 0)
    open_source(photo_folder)
    monkeypatch.undo()
    monkeypatch.setenv("TENCH_CACHE", str(cache_folder()))
    assert open_source(photo_folder).classes.ids == ("petal", "roof", "water")


def test_a_damaged_table_in_the_cache_is_rebuilt(photo_folder: Path, readings: list[Path]) -> None:
    fingerprint = open_source(photo_folder).fingerprint
    (saved,) = (cache_folder() / "tables").glob("*.arrow")
    saved.write_bytes(saved.read_bytes()[:-20])
    assert open_source(photo_folder).fingerprint == fingerprint
    assert len(readings) == 2


def test_a_source_that_changes_while_it_is_read_is_refused_and_not_cached(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = folder.read

    def slow(tree: Tree) -> Contents:
        contents = read(tree)
        time.sleep(0.05)  # file timestamps have a resolution of a few milliseconds
        os.utime(photos / "train/roof")  # as if a copy continued in a class that was already read
        return contents

    monkeypatch.setattr(folder, "read", slow)
    with pytest.raises(TenchError, match=f"^{photos}/train/roof changed while it was being read. Wait until"):
        open_source(photos)
    monkeypatch.setattr(folder, "read", read)
    assert len(open_source(photos).splits["train"]) == 18


def test_a_folder_that_vanishes_while_it_is_read_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = folder.read

    def slow(tree: Tree) -> Contents:
        contents = read(tree)
        (photos / "train/roof").rename(photos / "gone")
        return contents

    monkeypatch.setattr(folder, "read", slow)
    with pytest.raises(TenchError, match=f"^{photos}/train/roof changed while it was being read"):
        open_source(photos)


def test_a_time_in_the_future_is_not_a_change(photos: Path, readings: list[Path]) -> None:
    os.utime(photos / "train/roof", ns=(0, 4 * 10**18))  # the year 2096
    open_source(photos)
    open_source(photos)
    assert len(readings) == 1


def test_two_processes_that_open_a_source_at_once_read_it_once(photo_folder: Path, tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        from tench.data.layouts import folder
        from tench.data.source import open_source
        read = folder.read
        def slow(tree):
            print("reads", flush=True)
            time.sleep(0.5)
            return read(tree)
        folder.read = slow
        print("ready", flush=True)
        sys.stdin.readline()
        dataset = open_source(sys.argv[1])
        print(dataset.fingerprint, len(dataset.splits["train"].read(17)))
    """)
    command = [sys.executable, "-c", script, str(photo_folder)]
    with child(command, stdin=True) as one, child(command, stdin=True) as other:
        both = (one, other)
        for process in both:
            process.wait_for_output("ready\n")
        for process in both:
            process.send_line()
        assert [process.wait() for process in both] == [0, 0]
        outputs = [process.stdout.splitlines()[1:] for process in both]
    assert sorted(len(lines) for lines in outputs) == [1, 2]
    assert outputs[0][-1] == outputs[1][-1]
    assert outputs[0][-1].split()[0] == open_source(photo_folder).fingerprint


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        open_source(tmp_path / "nothing")
    assert str(error.value) == (
        f"{tmp_path}/nothing: no such file or folder, and no source of that name. "
        "Pass the path of a dataset, or one of: digits, synthetic."
    )


def test_a_similar_name_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no source of that name\. Did you mean 'digits'\? Pass"):
        open_source("digit")


def test_digits_has_no_settings() -> None:
    with pytest.raises(UsageError, match=r"^digits:size=9: digits has no settings\. Write digits\.$"):
        open_source("digits:size=9")


def test_digits_and_synthetic_images_are_sources_without_a_path(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    digits = open_source("digits")
    assert (digits.layout, len(digits.splits["train"]) + len(digits.splits["val"])) == ("digits", 1797)
    made = open_source("synthetic:images=4,size=2,val=0,format=pixels")
    assert (made.layout, len(made.splits["train"])) == ("synthetic", 4)
    assert [message for message in caplog.messages if message.startswith("Reading")] == [
        "Reading digits ...",
        "Reading synthetic:images=4,size=2,val=0,format=pixels ...",
    ]
    open_source("digits")
    assert len([message for message in caplog.messages if message.startswith("Reading")]) == 2


def test_a_spooled_file_that_is_missing_is_written_again() -> None:
    shard = Path(open_source("digits").splits["train"].shard(0))
    assert shard.is_relative_to(cache_folder())
    shard.unlink()
    assert len(open_source("digits").splits["train"].read(0)) == 64


def test_leftovers_of_a_killed_process_in_the_spool_are_removed() -> None:
    open_source("digits")
    (spool,) = (cache_folder() / "spool").iterdir()
    (spool / ".digits.pixels.0badf00d.part").write_bytes(b"half of it")
    open_source("digits", refresh=True)
    assert [path.name for path in spool.iterdir()] == ["digits.pixels"]


def test_a_source_name_takes_precedence_over_a_folder_of_that_name(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos.rename(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert open_source("digits").layout == "digits"
    assert open_source("./digits").layout == "folder"


@pytest.mark.parametrize(
    ("content", "beginning"),
    [
        (b"\x7fELF", "begins with b'\\x7fELF'"),
        (b"", "is empty"),
        (b"%PDF-1.4\n", "begins with b'%PDF-1.4', as documents do"),
    ],
)
def test_a_file_without_a_dataset_is_an_error_that_shows_its_first_bytes(
    tmp_path: Path, content: bytes, beginning: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(TenchError) as raised:
        open_source(tmp_path / "file")
    assert str(raised.value) == (
        f"{tmp_path}/file is not a known kind of dataset; it {beginning}. Pass a folder or an archive of images, a "
        "label file, or a container such as WebDataset, TFRecord, Parquet, HDF5 or .npz."
    )


def test_an_image_is_not_a_dataset_and_the_error_says_what_to_do(photo_folder: Path) -> None:
    path = photo_folder / "val/roof/6.jpg"
    with pytest.raises(TenchError) as raised:
        open_source(path)
    assert str(raised.value) == (
        f"{path} is one image, not a dataset. To train, pass the folder that contains the class folders. To "
        f"classify this image with a trained model: tench predict RUN {path}"
    )


@pytest.mark.parametrize("place", [".", "tables", "tables/{}.lock"])
def test_a_cache_that_cannot_be_written_is_an_error_with_the_remedy(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    open_source(photo_folder)
    (saved,) = (cache_folder() / "tables").glob("*.arrow")
    cache = tmp_path / "cache"
    blocked = cache / place.format(saved.stem)
    monkeypatch.setenv("TENCH_CACHE", str(cache))
    if blocked.suffix == ".lock":
        blocked.mkdir(parents=True)
    else:
        blocked.parent.mkdir(exist_ok=True)
        blocked.write_text("a file in the way")
    with pytest.raises(
        TenchError, match=f"^{cache}: the cache folder is not writable .*Set TENCH_CACHE to a writable folder"
    ):
        open_source(photo_folder)


def test_the_cache_is_at_tench_cache_or_else_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "/big/cache")
    monkeypatch.setenv("TENCH_CACHE", "~/mine")
    assert cache_folder() == Path("/home/someone/mine")
    monkeypatch.delenv("TENCH_CACHE")
    assert cache_folder() == Path("/big/cache/tench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/someone/.cache/tench")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path("/home/someone/Library/Caches/tench")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="tench")
    return caplog


def test_labels_are_mapped_by_id_if_the_classes_are_in_another_order(
    photo_folder: Path, log: pytest.LogCaptureFixture
) -> None:
    dataset = open_source(photo_folder)
    other = Classes.of(["water", "petal", "air", "roof"])
    val = matched(dataset.splits["val"], dataset, other, "run 7")
    keys = val.keys()
    assert [other.ids[label] for label in val.labels] == [key.split("/")[0] for key in keys]
    message = f"{photo_folder} has the classes of run 7 in another order; labels are remapped by class id."
    assert message in log.messages


def test_a_table_with_the_same_classes_is_unchanged(photo_folder: Path, log: pytest.LogCaptureFixture) -> None:
    dataset = open_source(photo_folder)
    log.clear()
    assert matched(dataset.splits["val"], dataset, dataset.classes, "run 7") is dataset.splits["val"]
    assert log.messages == []


def test_numbered_classes_are_matched_by_position_and_logged(photo_folder: Path, log: pytest.LogCaptureFixture) -> None:
    dataset = open_source(photo_folder)
    val = matched(dataset.splits["val"], dataset, Classes.numbered_to(3), "run 7")
    assert np.array_equal(val.labels, dataset.splits["val"].labels)
    assert any("matched by position, because one side has only numbers" in message for message in log.messages)


def test_the_error_for_an_unknown_class_names_both_sources(photo_folder: Path) -> None:
    dataset = open_source(photo_folder)
    with pytest.raises(TenchError, match=f"^1 of the 3 classes of {photo_folder} is not in run 7: roof"):
        matched(dataset.splits["val"], dataset, Classes.of(["water", "petal", "air"]), "run 7")


def test_all_images_of_a_source_can_be_decoded_by_pillow(photo_folder: Path) -> None:
    dataset = open_source(photo_folder)
    sizes = set()
    for split in dataset.splits.values():
        for row in range(len(split)):
            with Image.open(split.shard(row)) as image:
                image.load()
                sizes.add((image.size, image.mode, image.format))
                assert Path(split.shard(row)).stat().st_size == split.lengths[row]
    assert {("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGB", "JPEG")} == {found[1:] for found in sizes}
    assert len({found[0] for found in sizes}) == 8


def test_mnist_is_tried_before_folder(tmp_path: Path) -> None:
    write_idx(tmp_path / "set", [*range(10)], 10)
    tree = open_tree(tmp_path / "set", tmp_path / "spool")
    assert folder.recognise(tree)
    assert mnist.recognise(tree)
    assert open_source(tmp_path / "set").layout == mnist.NAME


def test_matching_classes_by_position_is_logged_but_the_same_numbers_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tench")
    made = open_source("synthetic:images=8,size=8,classes=2,val=0,format=pixels")
    for ids, is_said in ((("0", "1"), False), (("cat", "dog"), True)):
        caplog.clear()
        table = matched(made.splits["train"], made, Classes.of(ids), "the model")
        assert table.labels.tolist() == made.splits["train"].labels.tolist()
        assert any("matched by position" in message for message in caplog.messages) == is_said


def test_a_big_compressed_archive_is_read_through_its_index_in_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """INDEXED_BYTES defines what is big; here it is set so that every .tar.gz is."""
    monkeypatch.setattr(tree_module, "INDEXED_BYTES", 0)
    caplog.set_level(logging.INFO)
    plain = open_source(miniature_kaggle(tmp_path / "tree"))
    packed = open_source(miniature.kaggle_archive(tmp_path / "ILSVRC.tar.gz"))
    assert packed.fingerprint == plain.fingerprint
    for split, table_of_split in packed.splits.items():
        expected = plain.splits[split]
        assert plain.splits[split].pieces() is None
        assert table_of_split.pieces() is not None
        for row in range(len(expected)):
            assert table_of_split.read(row) == expected.read(row)
            assert table_of_split.shard(row) == str(tmp_path / "ILSVRC.tar.gz")
    assert packed.splits["val"].subset(np.array([3])).read(0) == plain.splits["val"].read(3)
    assert any("is read through an index" in note for note in packed.notes)
    assert not list(cache_folder().rglob("*.unpacked"))
    again = open_source(tmp_path / "ILSVRC.tar.gz")
    assert again.splits["train"].read(2) == plain.splits["train"].read(2)
    assert caplog.text.count("to index it in") == 1


def test_archives_inside_a_big_compressed_archive_are_read_through_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "INDEXED_BYTES", 0)
    classes = {f"{wnid}.tar": miniature.class_tar(wnid) for wnid in ("n02119789", "n02100735")}
    (tmp_path / "winter21_whole.tar.gz").write_bytes(miniature.tar_bytes(classes, "w:gz"))
    train = open_source(tmp_path / "winter21_whole.tar.gz").splits["train"]
    expected = {
        f"{wnid}/{name}": data
        for wnid in ("n02119789", "n02100735")
        for name, data in miniature.by_class()[wnid].items()
    }
    assert {train.key(row): train.read(row) for row in range(len(train))} == expected


def miniature_kaggle(path: Path) -> Path:
    miniature.write(path, miniature.kaggle_images() | miniature.kaggle_annotations())
    return path


def test_several_sources_form_one_dataset_and_are_cached_as_one(photos: Path, tmp_path: Path) -> None:
    for name in ("roof", "dog"):
        (tmp_path / "more" / name).mkdir(parents=True)
        (tmp_path / "more" / name / "new.jpg").write_bytes((photos / "train/petal/0.jpg").read_bytes())
    whole = open_source((photos, tmp_path / "more"))
    assert whole.source == name_of((photos, tmp_path / "more")) == f"{photos} + {tmp_path}/more"
    assert whole.classes.ids == ("dog", "petal", "roof", "water")
    assert len(whole.splits["train"]) == 18 + 2
    assert len(list((cache_folder() / "tables").glob("*.arrow"))) == 3
    assert open_source((photos, tmp_path / "more")).fingerprint == whole.fingerprint
    (tmp_path / "more/dog/new.jpg").rename(tmp_path / "more/dog/other.jpg")
    assert open_source((photos, tmp_path / "more")).fingerprint != whole.fingerprint


def test_small_classes_can_be_left_out_and_a_number_of_images_taken_for_val(photos: Path) -> None:
    train = open_source(photos / "train", min_images=6, val_per_class=2)
    assert {name: len(split) for name, split in train.splits.items()} == {"train": 12, "val": 6}
    (photos / "train/petal/0.jpg").unlink()
    left = open_source(photos / "train", min_images=6)
    assert left.classes.ids == ("roof", "water")
    assert left.notes[-1].startswith("Dropped 1 of 3 classes with fewer than 6 images")
    with pytest.raises(UsageError, match="must be at least 0"):
        open_source(photos, min_images=-1)
    with pytest.raises(TenchError, match="val"):
        open_source(photos, val_per_class=2)


def test_two_layouts_in_one_folder_are_an_error_that_names_both(tmp_path: Path) -> None:
    write_idx(tmp_path / "set", [*range(10)], 10)
    payload = struct.pack("<IfQQ", 0, 1.0, 0, 0) + b"image"
    frame = struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4)
    (tmp_path / "set/train.rec").write_bytes(frame)
    with pytest.raises(TenchError, match=r"set contains more than one dataset: mnist and recordio\. Move one away"):
        open_source(tmp_path / "set")


def test_a_folder_that_contains_one_archive_is_read_as_that_archive(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "downloaded").mkdir()
    with tarfile.open(tmp_path / "downloaded/photos.tar", "w") as tar:
        tar.add(photos, "photos")
    assert open_source(tmp_path / "downloaded").fingerprint == open_source(photos).fingerprint


def test_a_source_on_a_read_only_mount_is_read(photos: Path) -> None:
    folders = [photos, *(path for path in photos.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        assert len(open_source(photos).splits["train"]) == 18
    finally:
        for path in folders:
            path.chmod(0o755)


def test_classes_that_differ_only_in_case_are_named_in_a_note_but_single_letters_are_not(tmp_path: Path) -> None:
    for label in ("Dog", "cat", "dog", "a", "A"):
        (tmp_path / "set" / label).mkdir(parents=True)
        (tmp_path / "set" / label / "1.png").write_bytes(encoded(part(16, 16, 1), "PNG"))
    dataset = open_source(tmp_path / "set")
    assert dataset.classes.ids == ("A", "Dog", "a", "cat", "dog")
    assert dataset.notes == (
        "No folder is named like a split, so all images are train.",
        "Some classes differ only in case: Dog and dog. If they are one class, rename them.",
    )


def test_an_open_dataset_is_a_source_too_but_accepts_no_options() -> None:
    dataset = open_source("digits", val_per_class=0)
    assert open_source(dataset) is dataset
    assert dataset.parts == ("digits",)
    with pytest.raises(UsageError) as caught:
        open_source(dataset, label="breed")
    assert str(caught.value) == (
        "digits: the dataset is already open, so options for reading it have no effect. Pass them to open_source with "
        "the path instead."
    )


def test_an_option_given_twice_with_two_values_is_refused(photo_folder: Path) -> None:
    with pytest.raises(UsageError) as error:
        open_source(photo_folder, SourceOptions(exclude=("a",)), exclude=("b",))
    assert str(error.value) == "exclude is ['a'] in options, but ['b'] by name. Pass only one of them."
    same = open_source(photo_folder, SourceOptions(exclude=("water",)), exclude=["water"])
    assert same.classes.ids == ("petal", "roof")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": "breed"}, "open_source has no option 'labels'. Did you mean 'label'"),
        ({"exclude": "masks"}, "open_source: options.exclude is 'masks'"),
        ({"min_images": "3"}, "open_source: options.min_images is '3'"),
    ],
)
def test_an_unknown_option_or_one_of_another_type_is_refused(
    photo_folder: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        open_source(photo_folder, **fields)
    assert str(error.value).startswith(message)


def test_an_empty_list_of_sources_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        open_source([])
    assert str(error.value) == "No source is given. Pass the path of a dataset, or the name digits."


@pytest.mark.parametrize(("kind", "suffix"), [("gztar", ".tar.gz"), ("zip", ".zip")])
def test_a_bad_image_of_an_unpacked_archive_is_named_by_the_archive_and_its_key(
    photos: Path, tmp_path: Path, kind: str, suffix: str
) -> None:
    image = photos / "train/roof/3.jpg"
    image.write_bytes(image.read_bytes()[:999])
    archive = Path(shutil.make_archive(str(tmp_path / "set"), kind, photos))
    assert archive.name == f"set{suffix}"
    shutil.copytree(photos, tmp_path / "more")
    for path in [path for path in (tmp_path / "more").rglob("*.*") if path.is_file()]:
        path.rename(path.with_stem(f"{path.stem}b"))
    for source in (archive, archive, [archive, tmp_path / "more"]):  # the second time, it is opened from the cache
        dataset = open_source(source)
        train = dataset.splits["train"]
        row = train.keys().index("roof/3.jpg")
        for rows in (train, train.subset(np.arange(row, row + 1))):
            with pytest.raises(ImageError) as error:
                decode_row(rows, rows.keys().index("roof/3.jpg"), 3)
            assert str(error.value).startswith(f"{archive} (roof/3.jpg): truncated JPEG")
        bad = [(one.key, one.file) for one in check(dataset, threads=1).bad]
        assert ("roof/3.jpg", str(archive)) in bad


def test_a_missing_copy_in_the_cache_is_named_by_its_own_path(photos: Path, tmp_path: Path) -> None:
    train = open_source(shutil.make_archive(str(tmp_path / "set"), "gztar", photos)).splits["train"]
    Path(train.shard(0)).unlink()
    with pytest.raises(TenchError) as error:
        train.read(0)
    assert str(error.value) == (
        f"{train.shard(0)} ({train.key(0)}): cannot be read (No such file or directory). Row 0 needs it."
    )
