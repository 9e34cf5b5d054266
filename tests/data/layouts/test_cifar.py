import io
import logging
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image
from tests.support.datasets import reloaded
from tests.support.errors import error_of

import tench.data.layouts.cifar as cifar
from tench.data import table
from tench.data.files.tree import open_tree
from tench.data.source import open_source
from tench.data.table import Contents
from tench.errors import TenchError, UsageError

CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CIFAR100_NAMES = [f"fine {index}" for index in range(100)][::-1]  # not sorted, like the real names of CIFAR-10
PER_BATCH = 7

Images = npt.NDArray[np.uint8]
PickleWriter = Callable[[Any], bytes]


PurePythonPickler: Any = vars(pickle)["_Pickler"]  # private, but the only pickler whose output can be changed


class Python2Pickler(PurePythonPickler):  # type: ignore[misc]
    """Writes bytes and text as Python 2's cPickle wrote strings: a length, then the bytes unchanged."""

    dispatch: ClassVar = dict(PurePythonPickler.dispatch)

    def save_string(self, value: bytes | str) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        short = len(raw) < 256
        head = (
            pickle.SHORT_BINSTRING + bytes([len(raw)]) if short else pickle.BINSTRING + len(raw).to_bytes(4, "little")
        )
        self.write(head + raw)
        self.memoize(value)

    dispatch[bytes] = save_string
    dispatch[str] = save_string


def read(path: Path, spool: Path) -> Contents:
    return cifar.read(open_tree(path, spool))


def recognise(path: Path) -> bool:
    return cifar.recognise(open_tree(path, path / "no spool"))


def python2(value: Any) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, 2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def with_protocol(protocol: int) -> PickleWriter:
    return lambda value: pickle.dumps(value, protocol)


def crops(count: int, first: int = 0) -> Images:
    """Parts of a photograph, (count, 32, 32, 3)."""
    photo = load_sample_image("flower.jpg")
    corners = [
        (index * 37 % (photo.shape[0] - 32), index * 53 % (photo.shape[1] - 32))
        for index in range(first, first + count)
    ]
    return np.stack([photo[y : y + 32, x : x + 32] for y, x in corners])


def planes(images: Images) -> Images:
    """(N, 3072) uint8: the form in which CIFAR stores (N, 32, 32, 3) images."""
    return images.transpose(0, 3, 1, 2).reshape(len(images), 3072)


def labels_of(batch: int, num_classes: int) -> list[int]:
    return [(batch * 31 + index * 7) % num_classes for index in range(PER_BATCH)]


TRAIN10 = np.concatenate([labels_of(batch, 10) for batch in range(1, 6)]).tolist()


def python10(folder: Path, write: PickleWriter = python2) -> Path:
    folder.mkdir(parents=True)
    for batch, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"], start=1):
        content = {
            "batch_label": f"training batch {batch} of 5",
            "labels": labels_of(batch, 10),
            "data": planes(crops(PER_BATCH, batch * PER_BATCH)),
            "filenames": [f"leptodactylus_pentadactylus_s_{index:06}.png" for index in range(PER_BATCH)],
        }
        (folder / name).write_bytes(write(content))
    meta = {"num_cases_per_batch": 10000, "label_names": CIFAR10_NAMES, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(write(meta))
    return folder


def binary10(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for batch, name in enumerate([*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"], start=1):
        pixels = planes(crops(PER_BATCH, batch * PER_BATCH))
        records = [bytes([label]) + row.tobytes() for label, row in zip(labels_of(batch, 10), pixels, strict=True)]
        (folder / name).write_bytes(b"".join(records))
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")
    return folder


def python100(folder: Path, write: PickleWriter = python2) -> Path:
    folder.mkdir(parents=True)
    for batch, name in enumerate(["train", "test"], start=1):
        content = {
            "filenames": [f"bos_taurus_s_{index:06}.png" for index in range(PER_BATCH)],
            "fine_labels": labels_of(batch, 100),
            "coarse_labels": labels_of(batch, 20),
            "data": planes(crops(PER_BATCH, batch * PER_BATCH)),
        }
        (folder / name).write_bytes(write(content))
    (folder / "meta").write_bytes(write({"fine_label_names": CIFAR100_NAMES, "coarse_label_names": ["fish"]}))
    return folder


def binary100(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for batch, name in enumerate(["train.bin", "test.bin"], start=1):
        pixels = planes(crops(PER_BATCH, batch * PER_BATCH))
        labels = zip(labels_of(batch, 20), labels_of(batch, 100), strict=True)
        records = [bytes(pair) + row.tobytes() for pair, row in zip(labels, pixels, strict=True)]
        (folder / name).write_bytes(b"".join(records))
    (folder / "fine_label_names.txt").write_text("\n".join(CIFAR100_NAMES) + "\n")
    (folder / "coarse_label_names.txt").write_text("fish\n")
    return folder


def images_of(split: table.Table) -> Images:
    """(N, 32, 32, 3), as torchvision turns the planes into images."""
    data = np.vstack([np.frombuffer(split.read(row), np.uint8) for row in range(len(split))])
    return data.reshape(-1, 3, 32, 32).transpose((0, 2, 3, 1))


def refusal(folder: Path) -> str:
    return error_of(read)(folder, folder.parent / "spool")


FORMS = {
    "cifar-10-batches-bin": binary10,
    "cifar-10-batches-py": python10,
    "cifar-100-binary": binary100,
    "cifar-100-python": python100,
}


@pytest.mark.parametrize("form", FORMS)
def test_each_row_is_an_image_of_its_batch_in_the_original_order(tmp_path: Path, form: str) -> None:
    folder = FORMS[form](tmp_path / form)
    num_train, num_classes = (1, 100) if "100" in form else (5, 10)
    assert recognise(folder)
    contents = read(folder, tmp_path / "spool")
    dataset = reloaded(contents, cifar.NAME)
    train, test = dataset.splits["train"], dataset.splits["test"]
    assert (images_of(train) == crops(num_train * PER_BATCH, PER_BATCH)).all()
    assert (images_of(test) == crops(PER_BATCH, (num_train + 1) * PER_BATCH)).all()
    assert train.labels.tolist() == [label for batch in range(num_train) for label in labels_of(batch + 1, num_classes)]
    assert test.labels.tolist() == labels_of(num_train + 1, num_classes)
    assert [train.key(row) for row in range(len(train))] == [f"{row:05}" for row in range(len(train))]
    assert (train.encoding(0), train.heights[0], train.widths[0], train.channels[0]) == (table.PIXELS_CHW, 32, 32, 3)
    assert list(dataset.classes.ids) == (CIFAR100_NAMES if num_classes == 100 else CIFAR10_NAMES)


@pytest.mark.parametrize("form", FORMS)
def test_the_published_files_are_read_in_place(tmp_path: Path, form: str) -> None:
    folder = FORMS[form](tmp_path / form)
    contents = read(folder, tmp_path / "spool")
    shards = [Path(shard) for rows in contents.splits.values() for shard in rows.shards]
    assert {shard.parent for shard in shards} == {folder}
    assert not (tmp_path / "spool").exists()
    names = {"batches.meta.txt", "batches.meta", "fine_label_names.txt", "meta"} & set(os.listdir(folder))
    assert set(contents.stamp) == {str(path) for path in [folder, *shards, *(folder / name for name in names)]}


@pytest.mark.parametrize("form", ["cifar-10-batches-py", "cifar-100-python"])
def test_the_fixtures_are_what_torchvision_would_read(tmp_path: Path, form: str) -> None:
    folder = FORMS[form](tmp_path / form)
    dataset = reloaded(read(folder, tmp_path / "spool"), cifar.NAME)
    files = ["train"] if "100" in form else [f"data_batch_{number}" for number in range(1, 6)]
    data, targets = [], []
    for file in files:  # the same steps as in torchvision/datasets/cifar.py
        entry = pickle.loads((folder / file).read_bytes(), encoding="latin1")
        data.append(entry["data"])
        targets.extend(entry["labels"] if "labels" in entry else entry["fine_labels"])
    assert (images_of(dataset.splits["train"]) == np.vstack(data).reshape(-1, 3, 32, 32).transpose((0, 2, 3, 1))).all()
    assert dataset.splits["train"].labels.tolist() == targets


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_written_by_python_3_are_read_too(tmp_path: Path, protocol: int) -> None:
    folder = python10(tmp_path / "set", with_protocol(protocol))
    dataset = reloaded(read(folder, tmp_path / "spool"), cifar.NAME)
    assert (images_of(dataset.splits["train"]) == crops(5 * PER_BATCH, PER_BATCH)).all()
    assert list(dataset.classes.ids) == CIFAR10_NAMES


def as_bytes(value: Any) -> Any:
    """The same value with all text as bytes, as `pickle.load(encoding="bytes")` returns it."""
    if isinstance(value, dict):
        return {as_bytes(key): as_bytes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_bytes(item) for item in value]
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize("protocol", [2, 4])
def test_keys_and_names_may_be_bytes(tmp_path: Path, protocol: int) -> None:
    folder = python10(tmp_path / "set", lambda value: pickle.dumps(as_bytes(value), protocol))
    dataset = reloaded(read(folder, tmp_path / "spool"), cifar.NAME)
    assert list(dataset.classes.ids) == CIFAR10_NAMES
    assert dataset.splits["train"].labels.tolist() == TRAIN10


def rearranged(value: dict[str, Any]) -> bytes:
    changed = {**value, "labels": np.array(value["labels"], ">i8")} if "labels" in value else value
    return pickle.dumps({**changed, "data": np.asfortranarray(value["data"])} if "data" in value else changed, 4)


def test_pixels_that_are_not_contiguous_are_spooled_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = python10(tmp_path / "set", rearranged)
    with caplog.at_level(logging.INFO, "tench"):
        contents = read(folder, tmp_path / "spool")
    dataset = reloaded(contents, cifar.NAME)
    assert (images_of(dataset.splits["train"]) == crops(5 * PER_BATCH, PER_BATCH)).all()
    assert dataset.splits["train"].labels.tolist() == TRAIN10
    spooled = str(tmp_path / "spool/data_batch_1.pixels")
    assert spooled in contents.stamp
    assert str(folder / "data_batch_1") in contents.stamp
    assert contents.splits["train"].shards[0] == spooled
    assert f"copying 0.0 MB once to {spooled}" in caplog.text


@pytest.mark.parametrize("form", FORMS)
def test_the_parent_folder_is_accepted_too(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FORMS[form](tmp_path / "data" / form)
    monkeypatch.chdir(tmp_path)
    dataset = open_source("data")
    assert dataset.layout == "cifar"
    assert all(Path(path).is_absolute() for path, _, _ in dataset.stamp)
    assert Path(dataset.splits["train"].shard(0)).parent == tmp_path / "data" / form


def test_a_folder_with_two_sets_is_refused_naming_both(tmp_path: Path) -> None:
    binary10(tmp_path / "data/cifar-10-batches-bin")
    python100(tmp_path / "data/cifar-100-python")
    text = refusal(tmp_path / "data")
    assert text == (
        f"{tmp_path}/data contains 2 sets of CIFAR batches: cifar-10-batches-bin (CIFAR-10, binary), cifar-100-python "
        "(CIFAR-100, Python). Pass one of them, or leave the others out with --exclude PATTERN."
    )


def test_other_files_with_these_names_are_not_recognised(tmp_path: Path) -> None:
    for name in ("train", "test", "meta", "train.bin", "data_batch_1", "data_batch_1.bin"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff other data")
    (tmp_path / "test.bin").write_bytes(b"")
    assert not recognise(tmp_path)
    assert not recognise(tmp_path / "train")


def test_folders_named_train_and_test_are_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "train/cat").mkdir(parents=True)
    (tmp_path / "test/cat").mkdir(parents=True)
    assert not recognise(tmp_path)


@pytest.mark.parametrize(
    ("form", "names_file", "ids", "note"),
    [
        ("cifar-10-batches-bin", "batches.meta.txt", CIFAR10_NAMES, "the class names are those of CIFAR-10"),
        ("cifar-10-batches-py", "batches.meta", CIFAR10_NAMES, "the class names are those of CIFAR-10"),
        ("cifar-100-binary", "fine_label_names.txt", list(map(str, range(100))), "the classes are only numbers"),
        ("cifar-100-python", "meta", list(map(str, range(100))), "the classes are only numbers"),
    ],
)
def test_without_a_names_file_cifar_10_has_its_known_names_and_cifar_100_has_numbers(
    tmp_path: Path, form: str, names_file: str, ids: list[str], note: str
) -> None:
    folder = FORMS[form](tmp_path / form)
    (folder / names_file).unlink()
    contents = read(folder, tmp_path / "spool")
    assert list(contents.classes.ids) == ids
    assert contents.classes.numbered == ("100" in form)
    assert any(f"There is no {names_file}" in text and note in text for text in contents.notes)


def test_fewer_images_than_published_are_a_note(tmp_path: Path) -> None:
    notes = read(binary100(tmp_path / "set"), tmp_path / "spool").notes
    assert "train.bin contains 7 images; as published it has 50,000." in notes
    assert "test.bin contains 7 images; as published it has 10,000." in notes


def test_a_note_mentions_the_coarse_labels(tmp_path: Path) -> None:
    assert any("20 coarse ones" in note for note in read(python100(tmp_path / "a"), tmp_path).notes)
    assert not any("coarse" in note for note in read(python10(tmp_path / "b"), tmp_path).notes)


@pytest.mark.parametrize("form", ["cifar-100-binary", "cifar-100-python"])
@pytest.mark.parametrize("label", ["coarse", "coarse_labels"])
def test_the_coarse_labels_are_read_on_request(tmp_path: Path, form: str, label: str) -> None:
    folder = FORMS[form](tmp_path / form)
    coarse = [f"coarse {index}" for index in range(20)]
    if form.endswith("python"):
        (folder / "meta").write_bytes(python2({"fine_label_names": CIFAR100_NAMES, "coarse_label_names": coarse}))
    else:
        (folder / "coarse_label_names.txt").write_text("\n".join(coarse))
    dataset = open_source(folder, label=label)
    assert dataset.classes == table.Classes.of(coarse)
    assert dataset.splits["train"].labels.tolist() == labels_of(1, 20)
    assert (images_of(dataset.splits["test"]) == crops(PER_BATCH, 2 * PER_BATCH)).all()


def test_a_label_that_the_set_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        open_source(python10(tmp_path / "ten"), label="coarse")
    assert str(error.value) == (
        f"{tmp_path}/ten (CIFAR-10, Python) has no label 'coarse'. It has only one label, so leave out --label."
    )
    with pytest.raises(UsageError) as error:
        open_source(binary100(tmp_path / "hundred"), label="colour")
    assert str(error.value) == (
        f"{tmp_path}/hundred (CIFAR-100, binary) has no label 'colour'. It has fine (100 classes) and coarse (20)."
    )


def archive_of(folder: Path, target: Path, mode: str) -> Path:
    """The folder packed by tarfile or zipfile, under its own name."""
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED if mode == "stored" else zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(folder.iterdir()):
                packed.write(file, f"{folder.name}/{file.name}")
    else:
        with tarfile.open(target, mode) as tar:  # type: ignore[call-overload]
            tar.add(folder, folder.name)
    return target


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar.gz", "w:gz"), ("a.tar", "w"), ("a.zip", "deflated"), ("b.zip", "stored")]
)
def test_an_archive_contains_the_same_as_the_folder(tmp_path: Path, form: str, name: str, mode: str) -> None:
    folder = FORMS[form](tmp_path / "unpacked" / form)
    expected, found = open_source(folder), open_source(archive_of(folder, tmp_path / name, mode))
    assert (found.layout, found.classes, found.fingerprint) == ("cifar", expected.classes, expected.fingerprint)
    for split, rows in expected.splits.items():
        assert (images_of(found.splits[split]) == images_of(rows)).all()
        assert found.splits[split].labels.tolist() == rows.labels.tolist()


def test_the_archive_in_a_folder_is_opened_unless_its_content_is_next_to_it(tmp_path: Path) -> None:
    folder = python10(tmp_path / "cifar-10-batches-py")
    archive_of(folder, tmp_path / "cifar-10-python.tar.gz", "w:gz")
    both = open_source(tmp_path)
    assert "The unpacked batches are used, not cifar-10-python.tar.gz." in both.notes
    shutil.rmtree(folder)
    (tmp_path / "readme.txt").write_text("from the web")
    assert open_source(tmp_path).fingerprint == both.fingerprint


def test_an_empty_archive_and_another_file_of_that_name_are_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"not found")
    with zipfile.ZipFile(tmp_path / "cifar-10-python.zip", "w"):
        pass
    for name in ("cifar-10-python.tar.gz", "cifar-10-python.zip"):
        assert not recognise(tmp_path / name)


def test_two_archives_in_a_folder_lead_to_a_question(tmp_path: Path) -> None:
    for form, name in (("cifar-10-batches-py", "cifar-10-python"), ("cifar-100-binary", "cifar-100-binary")):
        archive_of(FORMS[form](tmp_path / "made" / form), tmp_path / f"{name}.tar.gz", "w:gz")
    shutil.rmtree(tmp_path / "made")
    assert refusal(tmp_path) == (
        f"{tmp_path} contains 2 sets of CIFAR batches: cifar-10-python.tar.gz, cifar-100-binary.tar.gz. Pass one of "
        "them, or leave the others out with --exclude PATTERN."
    )


def test_the_error_for_a_single_batch_asks_for_the_folder_with_all_batches(tmp_path: Path) -> None:
    folder = binary10(tmp_path / "set")
    with pytest.raises(
        TenchError,
        match=r"is incomplete \(CIFAR-10, binary\)\. Missing: data_batch_1\.bin, .*Pass the folder with all",
    ):
        open_source(folder / "data_batch_2.bin")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x02}()" + b"\x85" * 5_000_000 + b"K\x01u.", "tuples"),  # hashing them overflows the stack
        (b"\x80\x02}(K\x01]" + b"c_codecs\nencode\n0" * 200_000 + b"u.", "names"),
        (b"\x80\x02}(K\x01](" + b"N" * 20_000_000 + b"eu.", "values"),
    ],
)
def test_a_pickle_with_more_parts_than_any_set_needs_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    folder = python10(tmp_path / "set")
    (folder / "data_batch_5").write_bytes(data)
    text = refusal(folder)
    assert text.startswith(f"{folder / 'data_batch_5'} is a damaged pickle (ValueError: more than ")
    assert reason in text


def test_missing_batches_are_refused_by_name(tmp_path: Path) -> None:
    folder = binary10(tmp_path / "set")
    (folder / "data_batch_3.bin").unlink()
    (folder / "test_batch.bin").unlink()
    assert refusal(folder) == (
        f"{folder} is incomplete (CIFAR-10, binary). Missing: data_batch_3.bin, test_batch.bin. Pass the folder with "
        "all batches, or unpack the archive again."
    )


def test_part_of_a_record_is_refused_with_counts(tmp_path: Path) -> None:
    folder = binary10(tmp_path / "set")
    file = folder / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1000])
    assert f"{file} has 20,511 bytes, which is 6.67 records of 3,073 bytes, not a whole number" in refusal(folder)
    file.write_bytes(b"")
    assert "has 0 bytes" in refusal(folder)


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    folder = binary10(tmp_path / "bin")
    file = folder / "test_batch.bin"
    data = bytearray(file.read_bytes())
    data[2 * 3073] = 10
    file.write_bytes(data)
    assert (
        f"{file}: image 2 (counted from 0) has label 10, but there are 10 classes, 0 to 9. This affects 1 image"
        in refusal(folder)
    )
    folder = python10(tmp_path / "py")
    pixels = planes(crops(2))
    (folder / "data_batch_4").write_bytes(python2({"data": pixels, "labels": [0, -1]}))
    assert "image 1 (counted from 0) has label -1" in refusal(folder)
    (folder / "data_batch_4").write_bytes(python2({"data": pixels, "labels": [2**70, 0]}))
    assert "image 0 (counted from 0) has label" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"labels": [0]}, "'data' is NoneType, but should be uint8 of shape (N, 3072)"),
        ({"data": b"raw", "labels": [0]}, "'data' is str"),
        ({"data": planes(crops(2)).astype(np.int64), "labels": [0, 1]}, "'data' is int64 of shape (2, 3072)"),
        ({"data": planes(crops(2)).astype(np.float32), "labels": [0, 1]}, "'data' is _Inert"),
        ({"data": crops(2), "labels": [0, 1]}, "'data' is uint8 of shape (2, 32, 32, 3)"),
        ({"data": planes(crops(2)), "labels": [0]}, "contains 2 images but 1 label"),
        ({"data": planes(crops(2)), "labels": ["cat", "dog"]}, "'labels' is not a list of numbers"),
        ({"data": planes(crops(2))}, "'labels' is not a list of numbers"),
        ({"data": planes(crops(2))[:0], "labels": []}, "contains no images"),
        ([1, 2], "contains a list, not a dictionary"),
    ],
)
def test_a_pickle_with_other_content_is_refused(tmp_path: Path, content: Any, text: str) -> None:
    folder = python10(tmp_path / "set")
    (folder / "data_batch_1").write_bytes(python2(content))
    answer = refusal(folder)
    assert answer.startswith(str(folder / "data_batch_1"))
    assert text in answer


@pytest.mark.parametrize("names", [["cat"], ["cat"] * 10, [*CIFAR10_NAMES, "cow"], [1] * 10, "cat", None])
def test_a_wrong_number_of_class_names_is_refused(tmp_path: Path, names: Any) -> None:
    folder = python10(tmp_path / "set")
    (folder / "batches.meta").write_bytes(python2({"label_names": names}))
    assert refusal(folder).startswith(f"{folder / 'batches.meta'} ")


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("file", ["data_batch_1", "batches.meta"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(
    tmp_path: Path, protocol: int, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = python10(tmp_path / "set")
    (folder / file).write_bytes(pickle.dumps({"data": Attack(), "label_names": CIFAR10_NAMES}, protocol))
    text = refusal(folder)
    assert (
        f"{folder / file}: this pickle asks for '{os.name}.mkdir', which no file of images needs. Nothing in it" in text
    )
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    "wanted", ["builtins.eval", "numpy.load", "numpy.f2py.os.system", "numpy.core.multiarray.fromstring", "codecs.open"]
)
def test_a_pickle_may_use_only_the_names_needed_for_arrays(tmp_path: Path, wanted: str) -> None:
    folder = python10(tmp_path / "set")
    module, name = wanted.rsplit(".", 1)
    (folder / "test_batch").write_bytes(f"c{module}\n{name}\n(tR.".encode().join([b"\x80\x02", b""]))
    assert f"asks for '{wanted}'" in refusal(folder)


def array_pickle(state: Any) -> bytes:
    """A batch whose array has this hand-made state."""
    data = pickle.dumps(state, 2)[2:-1]
    head = b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    return head + data + b"bU\x06labels]K\x00au."


class Kind:
    """A stand-in for numpy.dtype in a hand-made state, pickled as numpy pickles it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return np.dtype, (self.name, 0, 1), (3, "|", None, None, None, -1, -1, 0)


def test_a_hand_made_array_state_is_read_if_it_is_valid(tmp_path: Path) -> None:
    folder = python10(tmp_path / "set")
    (folder / "test_batch").write_bytes(array_pickle((1, (1, 3072), Kind("u1"), False, b"\1" * 3072)))
    assert read(folder, tmp_path / "spool").splits["test"].label.tolist() == [0]


@pytest.mark.parametrize(
    "state",
    [
        (1, (1, 3072), Kind("O"), False, [1] * 3072),
        (1, (1, 3072), Kind("O8"), False, b"\1" * 3072 * 8),
        (1, (1, 3072), Kind("u1,O"), False, b"\1" * 3072),
        (1, (1, 3072), Kind("u1"), False, b"\1" * 3071),
        (1, (2**40, 3072), Kind("u1"), False, b"\1" * 3072),
        (1, (-5, 3072), Kind("u1"), False, b"\1" * 3072),
        (1, (1, 3072), Kind("u1"), False, None),
        (1, (1, 3072), "u1", False, b"\1" * 3072),
        (1, None, Kind("u1"), False, b"\1" * 3072),
        (1, ("a", 3072), Kind("u1"), False, b"\1" * 3072),
        (),
        None,
        "text",
    ],
)
def test_a_hostile_array_state_is_refused(tmp_path: Path, state: Any) -> None:
    folder = python10(tmp_path / "set")
    (folder / "test_batch").write_bytes(array_pickle(state))
    assert f"{folder / 'test_batch'}: 'data' is " in refusal(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02}r\xff\xff\xff\x7f.",  # space for two billion memo entries
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",  # a string of 2**63 bytes
        b"\x80\x02" + b"(" * 100_000,
        b"\x80\x02",
        b"\x80\x02\x82\x01.",  # a registered extension
        b"\x80\x02Pid\n.",  # a persistent id
    ],
)
def test_a_damaged_pickle_is_refused(tmp_path: Path, data: bytes) -> None:
    folder = python10(tmp_path / "set")
    (folder / "data_batch_5").write_bytes(data)
    assert f"{folder / 'data_batch_5'} is a damaged pickle (" in refusal(folder)


def test_a_truncated_pickle_is_refused(tmp_path: Path) -> None:
    folder = python100(tmp_path / "set")
    file = folder / "train"
    file.write_bytes(file.read_bytes()[:-5000])
    assert f"{file} is a damaged pickle (ValueError: expected 21504 bytes" in refusal(folder)


@pytest.fixture(scope="module", params=[python2, with_protocol(2), with_protocol(5)], ids=["python 2", "2", "5"])
def set_to_damage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return python100(tmp_path_factory.mktemp("damage") / "set", request.param)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_pickle_gives_a_table_or_a_refusal(data: st.DataObject, set_to_damage: Path) -> None:
    file = set_to_damage / data.draw(st.sampled_from(["train", "meta"]))
    whole = file.read_bytes()
    # Not in the pixels, which are most of the file: changing them is not what this tests.
    places = [*range(min(len(whole), 500)), *range(max(0, len(whole) - 500), len(whole))]
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.sampled_from(places))] = data.draw(st.integers(0, 255))
    file.write_bytes(changed)
    message = ""
    try:
        contents = read(set_to_damage, set_to_damage.parent / "spool")
        assert len(reloaded(contents, cifar.NAME).splits["train"].read(0)) == 3072
    except TenchError as error:
        message = str(error)
    finally:
        file.write_bytes(whole)
    assert not message or str(set_to_damage) in message


@pytest.mark.parametrize("form", ["cifar-10-batches-bin", "cifar-10-batches-py"])
def test_a_batch_of_forty_gigabytes_is_refused_unread(tmp_path: Path, form: str) -> None:
    folder = FORMS[form](tmp_path / form)
    file = next(folder.glob("data_batch_2*"))
    os.truncate(file, 3073 * 13_000_000)  # a sparse file
    assert refusal(folder) == (
        f"{file}: the file has 39,949,000,000 bytes, but a CIFAR batch may have at most 1,073,741,824. The file is "
        f"damaged or "
        f"is something else. Replace it, or move it out of the dataset."
    )
