import bz2
import gzip
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import class_of_each_key, reloaded, tree_of
from tests.support.errors import error_of
from tests.support.files import tar_of, write_file

from tench.data.files.tree import open_tree
from tench.data.formats.class_files import FILES
from tench.data.layouts import folder, webdataset
from tench.data.source import open_source
from tench.data.table import Contents, Dataset
from tench.errors import TenchError

Members = Iterable[tuple[str, bytes]]
Json = Mapping[str, object]

NUMBERS_ONLY = (
    "The classes are only numbers: no matching class list (label_wordnetid.csv, imagenet_class_index.json, "
    "synset.txt, synsets.txt, synset_words.txt, categories.csv, classes.txt, classnames.txt, class_names.txt, "
    "labels.txt, label_words.csv, label_to_content.json) is next to the shards."
)
NO_SPLIT = "No name contains a split: all shards are train."


def pack(path: Path, members: Members) -> Path:
    """Write a shard with these members, in this order."""
    return write_file(path, tar_of(members))


def sample(name: str, label: int | None = None, suffix: str = ".jpg", described: Json | None = None) -> Members:
    """The members of a sample; the image's bytes depend on its name."""
    yield name + suffix, f"the image {name}".encode()
    if label is not None:
        yield f"{name}.cls", str(label).encode()
    if described is not None:
        yield f"{name}.json", json.dumps(described).encode()


def joined(*samples: Members) -> Members:
    return [member for members in samples for member in members]


def contents(path: Path) -> Contents:
    tree = tree_of(path)
    assert webdataset.recognise(tree)
    return webdataset.read(tree)


def read(path: Path) -> Dataset:
    return reloaded(contents(path), webdataset.NAME)


def listing(dataset: Dataset, split: str = "train") -> dict[str, str | None]:
    """The class of each key, after comparing the bytes with those that tarfile finds at that position in the shard."""
    rows = dataset.splits[split]
    for row in range(len(rows)):
        with tarfile.open(rows.shard(row)) as tar:
            places = {member.offset_data: member for member in tar if member.isfile()}
            member = places[int(rows.offsets[row])]
            file = tar.extractfile(member)
            assert file is not None
            assert rows.read(row) == file.read()
        assert Path(rows.key(row)).suffix == Path(member.name).suffix
    return class_of_each_key(dataset, split)


refusal = error_of(contents)


def at(shard: Path, member: str) -> str:
    """How an error names a member: its shard and the byte where tarfile finds it (the last one of that name)."""
    with tarfile.open(shard) as tar:
        return f"{shard}/{member} (in {shard} at byte {tar.getmember(member).offset_data:,})"


def test_shards_are_read_in_place_with_the_labels_of_cls(tmp_path: Path) -> None:
    path = tmp_path / "set"
    pack(path / "imagenet1k-train-0000.tar", joined(sample("a", 1), sample("b", 0)))
    pack(path / "imagenet1k-train-0001.tar", joined(sample("c", 1)))
    pack(path / "imagenet1k-validation-00.tar", joined(sample("d", 0), sample("a", 1)))
    dataset = read(path)
    assert listing(dataset) == {"a.jpg": "1", "b.jpg": "0", "c.jpg": "1"}
    assert listing(dataset, "val") == {"a.jpg": "1", "d.jpg": "0"}
    assert list(dataset.splits) == ["train", "val"]
    assert (dataset.classes.ids, dataset.classes.numbered) == (("0", "1"), True)
    assert dataset.notes == (NUMBERS_ONLY,)


def test_photographs_in_shards_are_the_same_dataset_as_in_class_folders(tmp_path: Path, photo_folder: Path) -> None:
    expected = reloaded(folder.read(open_tree(photo_folder, tmp_path)))
    path = tmp_path / "set"
    for split in ("train", "val"):
        members: list[tuple[str, bytes]] = []
        for file in sorted((photo_folder / split).rglob("*.*"), key=lambda file: file.name):  # classes are mixed
            name = f"{file.parent.name}/{file.name}"
            label = str(expected.classes.ids.index(file.parent.name)).encode()
            members += [(name, file.read_bytes()), (f"{name.split('.')[0]}.cls", label)]
        pack(path / f"{split}-000000.tar", members)
    (path / "classes.txt").write_text("\n".join(expected.classes.ids))
    found = read(path)
    assert found.fingerprint == expected.fingerprint
    assert found.classes == expected.classes
    for split, rows in expected.splits.items():
        assert [found.splits[split].read(row) for row in range(len(rows))] == list(map(rows.read, range(len(rows))))


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"(?:[ab]{1,2}/)?[a-c-]{1,3}", fullmatch=True),
        st.tuples(st.integers(0, 12), st.sampled_from([".jpg", ".PNG", ".v2.jpeg", ".Webp"]), st.booleans()),
        min_size=1,
    ),
    st.data(),
)
def test_any_samples_in_any_order_are_found(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[str, tuple[int, str, bool]], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(sorted(samples)))
    members = []
    for name in order:
        label, suffix, caption = samples[name]
        parts = [*sample(name, label, suffix), *([(f"{name}.txt", b"words")] if caption else [])]
        members += data.draw(st.permutations(parts))
    path = tmp_path_factory.mktemp("any") / "shard.tar"
    dataset = read(pack(path, members))
    expected = {name + suffix: str(label) for name, (label, suffix, _) in samples.items()}
    assert listing(dataset) == expected
    rows = dataset.splits["train"]
    assert all(rows.read(row) == f"the image {rows.key(row).split('.')[0]}".encode() for row in range(len(rows)))


def test_a_name_ends_at_the_first_dot_of_the_file_name_not_of_a_folder(tmp_path: Path) -> None:
    path = pack(tmp_path / "s.tar", joined(sample("v1.0/a", 0, ".orig.jpg"), sample("v1.0/b", 1)))
    assert listing(read(path)) == {"v1.0/a.orig.jpg": "0", "v1.0/b.jpg": "1"}


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".ppm", ".pgm", ".JPEG", ".Png"])
def test_images_of_all_extensions_are_found_in_any_case(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path / "s.tar", joined(sample("a", 0, suffix), sample("b", 1, suffix)))
    assert listing(read(path)) == {f"a{suffix}": "0", f"b{suffix}": "1"}


def test_members_of_other_kinds_are_left_out_and_counted(tmp_path: Path) -> None:
    members = joined(
        sample("a", 0), [("a.txt", b"a cat"), ("README", b"")], sample("b", 1), [("b.TXT", b""), ("b.npy", b"")]
    )
    dataset = read(pack(tmp_path / "s.tar", [*members, ("c.cls", b"1"), ("d.txt", b"")]))
    assert listing(dataset) == {"a.jpg": "0", "b.jpg": "1"}
    assert dataset.notes == (
        NO_SPLIT,
        "Left out 2 samples without an image.",
        "Left out members that are neither images nor labels: .npy (1), .txt (3), no suffix (1).",
        NUMBERS_ONLY,
    )


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("imagenet1k-train-0000.tar", "train"),
        ("imagenet1k-validation-00.tar", "val"),
        ("x_valid_3.tar", "val"),
        ("VAL0.tar", "val"),
        ("testing.tar", "test"),
        ("restrained-0.tar", "train"),
        ("train/0.tar", "train"),
        ("Val/0.TAR", "val"),
        ("test/part/0.tar", "test"),
        ("val/test-0.tar", "test"),
        ("evaluation/0.tar", "train"),
    ],
)
def test_the_split_is_a_word_in_the_shards_name_or_its_folder(tmp_path: Path, name: str, split: str) -> None:
    pack(tmp_path / "set" / name, joined(sample("a", 0), sample("b", 1)))
    assert list(read(tmp_path / "set").splits) == [split]


def test_the_split_of_a_folder_of_shards_is_its_own_name(tmp_path: Path) -> None:
    pack(tmp_path / "set/val/0.tar", joined(sample("a", 0), sample("b", 1)))
    pack(tmp_path / "set/train/0.tar", joined(sample("c", 0), sample("d", 1)))
    assert list(read(tmp_path / "set/val").splits) == ["val"]
    assert list(read(tmp_path / "set/val/0.tar").splits) == ["val"]
    dataset = read(tmp_path / "set")
    assert (list(dataset.splits), dataset.notes) == (["train", "val"], (NUMBERS_ONLY,))


def test_a_shard_with_the_words_of_two_splits_is_an_error(tmp_path: Path) -> None:
    pack(tmp_path / "set/train-test-0.tar", joined(sample("a", 0)))
    assert refusal(tmp_path / "set") == (
        f"{tmp_path}/set: train-test-0.tar contains words of several splits: test and train. Rename it, or name the "
        f"split with --split-from REGEX."
    )


def test_shards_without_a_split_in_their_names_are_train_and_a_note_says_so(tmp_path: Path) -> None:
    for number in (0, 1):
        pack(tmp_path / f"set/part-{number}.tar", sample(f"a{number}", number))
    assert NO_SPLIT in read(tmp_path / "set").notes
    pack(tmp_path / "set/val-0.tar", sample("b", 1))
    assert refusal(tmp_path / "set") == (
        f"{tmp_path}/set: 2 of the shards without a split in the name (train, val or test): part-0.tar, "
        "part-1.tar. Others have one: val-0.tar (val). Leave out those without a split with --exclude PATTERN, rename "
        "them, or pass only the files to use."
    )


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["a-0.tar", "a-1.tar"], ""),
        (["a-0.tar", "a-2.tar"], "1 shard missing from a numbered series: a-1.tar."),
        (["a-08.tar", "a-10.tar", "b-0.tar"], "1 shard missing from a numbered series: a-09.tar."),
        (
            ["a-00001-of-00009.tar"],
            "8 shards missing from a numbered series: a-00000-of-00009.tar, a-00002-of-00009.tar, "
            "a-00003-of-00009.tar, a-00004-of-00009.tar, a-00005-of-00009.tar, ....",
        ),
        (["a-1-of-2.tar", "a-2-of-2.tar"], ""),
        (["a-2-of-2.tar"], "1 shard missing from a numbered series: a-1-of-2.tar."),
        (["20110101.tar", "20240101.tar"], ""),
    ],
)
def test_shards_missing_from_a_numbered_series_are_named(tmp_path: Path, names: list[str], missing: str) -> None:
    for name in names:
        pack(tmp_path / "set" / name, sample(name.split(".")[0], 0))
    notes = [note for note in read(tmp_path / "set").notes if "missing" in note]
    assert notes == ([missing] if missing else [])


def test_a_single_shard_and_a_pattern_are_the_same_as_their_folder(tmp_path: Path) -> None:
    shard = pack(tmp_path / "set/train-0.tar", joined(sample("a", 0), sample("b", 1)))
    expected = read(tmp_path / "set")
    assert listing(expected) == {"a.jpg": "0", "b.jpg": "1"}
    assert read(shard).fingerprint == expected.fingerprint
    assert read(tmp_path / "set/train-{0..0}.tar").fingerprint == expected.fingerprint
    pack(tmp_path / "set/train-1.tar", sample("c", 0))
    assert listing(read(tmp_path / "set/train-{1..1}.tar")) == {"c.jpg": "0"}


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.xz", ".tar.bz2"])
def test_compressed_shards_give_the_same_dataset(tmp_path: Path, suffix: str) -> None:
    members = joined(*(sample(f"{n:03}", n % 3, described={"filename": f"n{n:03}.jpg"}) for n in range(30)))
    expected = read(pack(tmp_path / "plain/train-0.tar", members))
    packers: dict[str, Callable[[bytes], bytes]] = {".tar.xz": lzma.compress, ".tar.bz2": bz2.compress}
    shard = tmp_path / f"packed/train-0{suffix}"
    shard.parent.mkdir()
    shard.write_bytes(packers.get(suffix, gzip.compress)((tmp_path / "plain/train-0.tar").read_bytes()))
    assert read(shard.parent).fingerprint == expected.fingerprint
    assert read(shard).fingerprint == expected.fingerprint


def test_a_big_compressed_shard_is_read_through_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rapidgzip")
    monkeypatch.setattr("tench.data.files.tree.INDEXED_BYTES", 0)
    members = joined(*(sample(f"{n:03}", n % 3, described={"filename": f"n{n:03}.jpg"}) for n in range(30)))
    plain = pack(tmp_path / "plain/train-0.tar", members)
    expected = read(plain)
    shard = tmp_path / "packed/train-0.tar.gz"
    shard.parent.mkdir()
    shard.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (shard.parent, shard):
        tree = open_tree(path, tmp_path / "spool")
        assert webdataset.recognise(tree)
        rows = webdataset.read(tree).splits["train"]
        assert sorted(rows.key) == expected.splits["train"].keys()
        assert [tree.indexes[file] for file in rows.shards] == [str(shard)]


def test_shards_inside_an_archive_are_read(tmp_path: Path) -> None:
    inner = pack(tmp_path / "train-0.tar", joined(sample("a", 0), sample("b", 1)))
    outer = pack(tmp_path / "outer.tar", [("set/train-0.tar", inner.read_bytes()), ("set/classes.txt", b"cat\ndog\n")])
    dataset = read(outer)
    rows = dataset.splits["train"]
    assert [(rows.key(row), rows.read(row)) for row in range(2)] == [
        ("cat/a.jpg", b"the image a"),
        ("dog/b.jpg", b"the image b"),
    ]


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith(".txt")])
def test_class_ids_are_read_from_a_file_next_to_the_shards(tmp_path: Path, file: str) -> None:
    shard = pack(tmp_path / "set/train-0.tar", joined(sample("a", 1), sample("n/b", 0)))
    (tmp_path / "set" / file).write_text("cat\ngolden retriever\n")
    for path in (tmp_path / "set", shard, tmp_path / "set/train-{0..0}.tar"):
        found = contents(path)
        dataset = reloaded(found)
        assert listing(dataset) == {"cat/b.jpg": "cat", "golden retriever/a.jpg": "golden retriever"}
        assert not dataset.classes.numbered
        assert dataset.notes == (f"The class ids are from {tmp_path}/set/{file}.",)
        assert {str(shard), str(tmp_path / "set" / file)} <= set(found.stamp)


@pytest.mark.parametrize(
    ("text", "ids", "names"),
    [
        ("cat\r\nbig dog\r\n", ["cat", "big dog"], ["cat", "big dog"]),
        ("\ufeffcat\tfelis\ndog\tcanis, hound", ["cat", "dog"], ["felis", "canis, hound"]),
        ("n01440764 fish, tench\nn99999999\n", ["n01440764", "n99999999"], ["fish, tench", "n99999999"]),
        ("n01440764\nn01443537\n", ["n01440764", "n01443537"], ["tench, Tinca tinca", "goldfish, Carassius auratus"]),
        ("0 cat\n1 big dog\n", ["cat", "big dog"], ["cat", "big dog"]),
        ("10\n9\n", ["10", "9"], ["10", "9"]),
    ],
)
def test_lists_of_classes_have_ids_and_names(tmp_path: Path, text: str, ids: list[str], names: list[str]) -> None:
    pack(tmp_path / "set/train-0.tar", joined(sample("a", 1), sample("b", 0)))
    (tmp_path / "set/classes.txt").write_text(text)
    classes = read(tmp_path / "set").classes
    assert (list(classes.ids), list(classes.names)) == (ids, names)


def test_class_names_that_are_not_unique_do_not_become_ids(tmp_path: Path) -> None:
    pack(tmp_path / "set/train-0.tar", joined(sample("a", 1), sample("b", 0)))
    (tmp_path / "set/classnames.txt").write_text("crane\ncrane\n")
    dataset = read(tmp_path / "set")
    assert (dataset.classes.ids, dataset.classes.names, dataset.classes.numbered) == (
        ("0", "1"),
        ("crane", "crane"),
        True,
    )
    assert dataset.notes == (f"The class names, which are not unique, are from {tmp_path}/set/classnames.txt.",)
    assert listing(dataset) == {"a.jpg": "1", "b.jpg": "0"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("cat\n\ndog\n", "line 2 is empty, but each line is a class, in order."),
        ("n01440764\nn01443537\nn01440764", "line 3: n01440764 is already in line 1."),
        (
            "1 cat\n2 dog\n",
            "line 1 has the number 1, but its position is 0. Sort the lines by their numbers, from 0, or remove the "
            "numbers.",
        ),
    ],
)
def test_a_list_that_may_shift_labels_is_an_error_with_its_line(tmp_path: Path, text: str, error: str) -> None:
    pack(tmp_path / "set/train-0.tar", joined(sample("a", 1), sample("b", 0)))
    (tmp_path / "set/classes.txt").write_text(text)
    assert refusal(tmp_path / "set") == f"{tmp_path}/set/classes.txt, {error}"


def test_readable_names_are_used_as_names_and_the_classes_stay_numbered(tmp_path: Path) -> None:
    pack(tmp_path / "set/train-0.tar", joined(sample("a", 1), sample("b", 0)))
    (tmp_path / "set/label_words.csv").write_text("0,tench\n1,eel\n")
    dataset = read(tmp_path / "set")
    assert (dataset.classes.names, dataset.classes.numbered) == (("tench", "eel"), True)
    assert dataset.notes == (f"The class names, which are not ids, are from {tmp_path}/set/label_words.csv.",)


def test_if_two_lists_contradict_each_other_neither_is_used(tmp_path: Path) -> None:
    pack(tmp_path / "set/train-0.tar", joined(sample("a", 1), sample("b", 0)))
    (tmp_path / "set/imagenet_class_index.json").write_text('{"0": ["n01440764", "tench"], "1": ["n01443537", "eel"]}')
    dataset = read(tmp_path / "set")
    assert (dataset.classes.ids, dataset.classes.names) == (("n01440764", "n01443537"), ("tench", "eel"))
    (tmp_path / "set/classes.txt").write_text("cat\ndog")
    dataset = read(tmp_path / "set")
    assert dataset.classes.numbered
    assert dataset.notes == (
        f"{tmp_path}/set/imagenet_class_index.json and {tmp_path}/set/classes.txt contradict each other: class 0 is "
        "'tench' or 'cat'. Neither is used. Remove the one that does not belong to this list.",
        NUMBERS_ONLY,
    )


def test_lists_that_differ_are_an_error(tmp_path: Path) -> None:
    for split in ("train", "val"):
        pack(tmp_path / f"set/{split}/0.tar", joined(sample("a", 1), sample("b", 0)))
        (tmp_path / f"set/{split}/classes.txt").write_text("cat\ndog")
    assert read(tmp_path / "set").classes.ids == ("cat", "dog")
    (tmp_path / "set/val/classes.txt").write_text("dog\ncat")
    both = f"{tmp_path}/set/train/classes.txt and {tmp_path}/set/val/classes.txt"
    assert refusal(tmp_path / "set") == f"{both} list the classes differently. Keep the right one."


def test_a_label_beyond_the_list_is_an_error_that_names_the_sample(tmp_path: Path) -> None:
    shard = pack(tmp_path / "set/train-0.tar", joined(sample("a", 1), sample("b", 2)))
    (tmp_path / "set/classes.txt").write_text("cat\ndog")
    assert refusal(tmp_path / "set") == (
        f"{at(shard, 'b.jpg')} has label 2, but labels count from 0 and {tmp_path}/set/classes.txt lists 2 classes. "
        "Correct one of the two."
    )


@pytest.mark.parametrize("label", [1_000_000, 999_999_999])
def test_a_label_in_the_millions_is_an_error_and_does_not_create_a_million_classes(tmp_path: Path, label: int) -> None:
    shard = pack(tmp_path / "train-0.tar", joined(sample("a", 1), sample("b", label)))
    assert refusal(shard) == (
        f"{at(shard, 'b.jpg')} has label {label:,}, but labels count from 0 and labels must be less than 1,000,000. "
        "Correct one of the two."
    )


def test_classes_without_training_images_are_named_in_a_note(tmp_path: Path) -> None:
    dataset = read(pack(tmp_path / "train-0.tar", joined(sample("a", 1), sample("b", 3))))
    assert (len(dataset.classes), dataset.notes) == (4, (NUMBERS_ONLY, "train has no images of 2 classes: 0, 2."))


def test_shards_in_the_form_of_timms_imagenet_have_the_keys_of_the_archive(tmp_path: Path) -> None:
    for split, name in (("train", "n01440764_10026"), ("validation", "ILSVRC2012_val_00000293")):
        described = {"filename": f"{name}.JPEG", "label": 0, "height": 3, "width": 2}
        goldfish = {"filename": f"{name.replace('n01440764', 'n01443537')}x.JPEG", "label": 1, "height": 3, "width": 2}
        members = joined(sample("00000001", 0, described=described), sample("00000002", 1, described=goldfish))
        pack(tmp_path / f"set/imagenet1k-{split}-0000.tar", members)
    dataset = read(tmp_path / "set")
    assert dataset.classes.ids == ("n01440764", "n01443537")
    assert dataset.classes.names == ("tench, Tinca tinca", "goldfish, Carassius auratus")
    assert dataset.splits["train"].keys() == ["n01440764/n01440764_10026.JPEG", "n01443537/n01443537_10026x.JPEG"]
    assert dataset.splits["val"].keys() == [
        "n01440764/ILSVRC2012_val_00000293.JPEG",
        "n01443537/ILSVRC2012_val_00000293x.JPEG",
    ]
    assert dataset.notes == ("The class ids are the WordNet ids at the beginning of the names of the training images.",)


@pytest.mark.parametrize(
    "names",
    [
        ["n01440764_1", "n01440764_2"],  # two labels for one id
        ["n01440764_1", "n0144353_2"],  # no WordNet id
        ["n01440764_1", "n01443537-2"],
        ["n01440764_1", "n01443537_2", "n02085620_3"],  # one label for two ids
    ],
)
def test_file_names_that_contradict_the_labels_do_not_name_classes(tmp_path: Path, names: list[str]) -> None:
    members = joined(*(sample(name, min(label, 1)) for label, name in enumerate(names)))
    assert read(pack(tmp_path / "train-0.tar", members)).classes.numbered


def test_file_names_give_the_classes_only_if_every_class_has_training_images(tmp_path: Path) -> None:
    pack(tmp_path / "set/train-0.tar", joined(sample("n01440764_1", 0), sample("n01443537_1", 1)))
    assert not read(tmp_path / "set").classes.numbered
    pack(tmp_path / "set/val-0.tar", joined(sample("x", 2)))
    assert read(tmp_path / "set").classes.numbered
    assert read(tmp_path / "set/val-0.tar").classes.numbered


@pytest.mark.parametrize("field", ["label", "cls", "class"])
def test_labels_may_be_a_number_in_json(tmp_path: Path, field: str) -> None:
    members = joined(sample("a", described={field: 1, "wnid": "x1"}), sample("b", described={field: 0, "wnid": "x0"}))
    dataset = read(pack(tmp_path / "train-0.tar", members))
    assert listing(dataset) == {"x1/a.jpg": "x1", "x0/b.jpg": "x0"}
    assert dataset.notes == ("The class ids come from the field 'wnid' of the samples' .json.",)


def test_fields_that_do_not_tell_classes_apart_are_not_mistaken_for_ids(tmp_path: Path) -> None:
    def described(label: int, number: int) -> Json:
        return {
            "label": label,
            "wnid": "same",  # the same for all classes
            "synset": f"{number}",  # differs within a class
            "class_name": "" if label else "cat",
            "classname": label,
            "name": f"class {label}",
        }

    members = joined(*(sample(f"s{n}", described=described(n % 2, n)) for n in range(4)))
    dataset = read(pack(tmp_path / "train-0.tar", members))
    assert dataset.classes.ids == ("class 0", "class 1")
    assert dataset.notes == ("The class ids come from the field 'name' of the samples' .json.",)
    members = joined(sample("a", 0, described={"wnid": "x"}), sample("b", 1))
    assert read(pack(tmp_path / "train-0.tar", members)).classes.numbered


@pytest.mark.parametrize("field", ["wnid", "synset", "label", "cls", "class", "class_name", "classname"])
def test_labels_may_be_text_in_json(tmp_path: Path, field: str) -> None:
    members = joined(*(sample(name, described={field: name[0]}) for name in ("d1", "c2", "d3")))
    dataset = read(pack(tmp_path / "train-0.tar", members))
    assert listing(dataset) == {"d/d1.jpg": "d", "c/c2.jpg": "c", "d/d3.jpg": "d"}
    assert dataset.classes.ids == ("c", "d")
    assert dataset.notes == ("The class ids are from the samples' labels.",)


def test_text_labels_have_the_order_of_a_list_next_to_the_shards(tmp_path: Path) -> None:
    shard = pack(tmp_path / "set/train-0.tar", joined(*(sample(name, described={"wnid": name}) for name in "dc")))
    (tmp_path / "set/classes.txt").write_text("e\nd\nc\n")
    dataset = read(tmp_path / "set")
    assert dataset.classes.ids == ("e", "d", "c")
    assert listing(dataset) == {"d/d.jpg": "d", "c/c.jpg": "c"}
    (tmp_path / "set/classes.txt").write_text("e\nd\n")
    assert refusal(tmp_path / "set") == (
        f"{at(shard, 'c.jpg')} has the label 'c', which is not a class of {tmp_path}/set/classes.txt. Add it there."
    )


def test_a_mix_of_text_and_numbers_as_labels_is_an_error_with_both(tmp_path: Path) -> None:
    members = joined(sample("a", described={"label": "cat"}), sample("b", described={"label": 1}))
    shard = pack(tmp_path / "train-0.tar", members)
    assert refusal(shard) == (
        f"{at(shard, 'a.jpg')} has its class as text, but {at(shard, 'b.jpg')} has a number. Write the shards again "
        "with one kind of label."
    )


def test_cls_is_used_if_json_differs_and_a_note_says_so(tmp_path: Path) -> None:
    members = joined(*(sample(f"s{n}", n, described={"label": max(n, 1), "class": "x"}) for n in range(3)))
    dataset = read(pack(tmp_path / "train-0.tar", members))
    assert listing(dataset) == {"s0.jpg": "0", "s1.jpg": "1", "s2.jpg": "2"}
    assert dataset.notes[0] == "1 sample with different labels in .cls and .json; .cls is used."


@pytest.mark.parametrize(
    "bad", ["/x/2.jpg", "../2.jpg", "a/../2.jpg", "2.txt", "", 5, None, "1.jpg", "2\n.jpg", "\ud800.jpg"]
)
def test_file_names_in_json_are_keys_only_if_all_are_usable(tmp_path: Path, bad: object) -> None:
    def keys(second: object) -> list[str]:
        members = joined(
            sample("a", 0, described={"file_name": "1.jpg"}), sample("b", 1, described={"file_name": second})
        )
        return read(pack(tmp_path / "train-0.tar", members)).splits["train"].keys()

    assert keys("in/2.PNG") == ["1.jpg", "in/2.PNG"]
    assert keys(bad) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("validation", ["val", "test"])
def test_samples_without_any_label_are_unlabelled_and_a_note_says_so(tmp_path: Path, validation: str) -> None:
    pack(tmp_path / "set/train-0.tar", joined(sample("a", 0), sample("b", 1)))
    pack(tmp_path / f"set/{validation}-0.tar", joined(sample("c"), sample("d", -1)))
    dataset = read(tmp_path / "set")
    assert listing(dataset, validation) == {"c.jpg": None, "d.jpg": None}
    assert f"The samples of {validation} have no labels." in dataset.notes


def test_a_sample_without_the_label_that_others_have_is_an_error(tmp_path: Path) -> None:
    shard = pack(
        tmp_path / "set/val-0.tar", joined(sample("a", 0), sample("b", described={"text": "x"}), sample("c", -1))
    )
    assert refusal(tmp_path / "set") == (
        f"{at(shard, 'b.jpg')} has no label (expected a .cls, or a .json with a field 'label'). 2 of the 3 samples of "
        "val have none. Write the shards again, with a label for each image or without those that have none."
    )


def test_training_samples_without_labels_are_an_error(tmp_path: Path) -> None:
    pack(tmp_path / "set/a-val.tar", joined(sample("a", 0)))
    shard = pack(tmp_path / "set/train.tar", joined(sample("b"), sample("c")))
    assert refusal(tmp_path / "set") == (
        f"{at(shard, 'b.jpg')} has no label (expected a .cls, or a .json with a field 'label'). The samples have the "
        "parts .cls ('0'), .jpg. If one of them is the label, name it with --keys label=PART (or label=FIELD for a "
        "field of .json). Otherwise write the shards again."
    )


def test_a_set_without_any_label_is_an_error(tmp_path: Path) -> None:
    shard = pack(tmp_path / "test-0.tar", joined(sample("b", -1)))
    expected = f"{shard}: no sample has a label, so the classes are unknown. Write the shards again, with .cls."
    assert refusal(shard) == expected


@pytest.mark.parametrize("text", [b"1.0", b"-2", b"", b"1 2", "\u0663".encode(), b"12345678901"])
def test_a_cls_that_is_neither_a_number_nor_a_name_is_an_error(tmp_path: Path, text: bytes) -> None:
    shard = pack(tmp_path / "train-0.tar", joined(sample("a", 0), [("b.jpg", b"x"), ("b.cls", text)]))
    assert refusal(shard) == (
        f"{at(shard, 'b.cls')} contains {text!r}; expected the number or the name of a class. Write the shard again."
    )


@pytest.mark.parametrize("text", [b"7", b"7\n", b" 7\r\n", b"007", b"7\0"])
def test_a_cls_may_have_white_space(tmp_path: Path, text: bytes) -> None:
    shard = pack(tmp_path / "train-0.tar", [("b.jpg", b"x"), ("b.cls", text)])
    assert listing(read(shard)) == {"b.jpg": "7"}


def test_a_very_long_cls_or_json_is_an_error(tmp_path: Path) -> None:
    shard = pack(tmp_path / "train-0.tar", joined(sample("a", 0), [("b.jpg", b"x"), ("b.cls", b"1" * 65)]))
    assert refusal(shard) == f"{at(shard, 'b.cls')} has 65 bytes, too many for a label. Write the shard again."
    shard = pack(tmp_path / "train-0.tar", joined(sample("a", 0), sample("b", 1), [("b.json", b" " * (2**24 + 1))]))
    assert refusal(shard).startswith(f"{at(shard, 'b.json')} has 16,777,217 bytes, too many for a label.")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"\xff\xfe\xfd", ""),
        (b"[1]", "it is a list"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
    ],
)
def test_a_json_that_is_not_an_object_is_an_error(tmp_path: Path, text: bytes, why: str) -> None:
    shard = pack(tmp_path / "train-0.tar", joined(sample("a", 0), sample("b", 1), [("b.json", text)]))
    found = refusal(shard)
    assert found.startswith(f"{at(shard, 'b.json')} is not a JSON object ({why}")
    assert found.endswith("). Write the shard again.")


@pytest.mark.parametrize("label", [True, 1.5, [1], {}, "", "a\nb"])
def test_a_label_in_json_of_another_type_is_ignored(tmp_path: Path, label: object) -> None:
    shard = pack(tmp_path / "train-0.tar", joined(sample("a", 0), sample("b", described={"label": label})))
    assert refusal(shard).startswith(f"{at(shard, 'b.jpg')} has no label (expected a .cls, or a .json")


@pytest.mark.parametrize("label", [-2, 2**70])
def test_a_label_in_json_out_of_range_is_an_error(tmp_path: Path, label: int) -> None:
    shard = pack(tmp_path / "train-0.tar", joined(sample("a", 0), sample("b", described={"label": label})))
    assert refusal(shard).startswith(f"{at(shard, 'b.jpg')} has label {label:,}, but labels count from 0 and")


def test_two_images_in_one_sample_are_an_error(tmp_path: Path) -> None:
    shard = pack(tmp_path / "train-0.tar", joined(sample("a", 0), sample("b", 1), [("b.mask.png", b"")]))
    assert refusal(shard) == (
        f"{at(shard, 'b.mask.png')}: its sample has a second image; the first is b.jpg. A sample's name ends at the "
        "first dot, and each sample has one image. Choose its part with --keys image=PART, or write the shard again, "
        "with names that differ before the dot."
    )


def test_of_a_label_that_was_written_twice_the_later_is_used(tmp_path: Path) -> None:
    shard = pack(
        tmp_path / "train-0.tar", joined([("b.jpg", b"y"), ("b.cls", b"0")], sample("a", 0), [("a.cls", b"1")])
    )
    assert listing(read(shard)) == {"a.jpg": "1", "b.jpg": "0"}


def test_members_of_a_sample_that_are_not_adjacent_are_an_error(tmp_path: Path) -> None:
    shard = pack(tmp_path / "train-0.tar", [("a.jpg", b"x"), ("b.jpg", b"y"), ("b.cls", b"1"), ("a.cls", b"0")])
    assert refusal(shard) == (
        f"{at(shard, 'a.cls')}: a sample of this name occurs earlier, with others in between. The members of a sample "
        "must be adjacent, and its name must occur once. Write the shard again."
    )


def test_a_sample_that_was_appended_again_replaces_the_first(tmp_path: Path) -> None:
    shard = pack(tmp_path / "train-0.tar", joined(sample("a", 0), sample("b", 1), sample("a", 1)))
    assert listing(read(shard)) == {"a.jpg": "1", "b.jpg": "1"}


def test_two_samples_with_the_same_name_in_two_shards_are_an_error_with_both(tmp_path: Path) -> None:
    first = pack(tmp_path / "set/train-0.tar", joined(sample("a", 0), sample("b", 1)))
    second = pack(tmp_path / "set/train-1.tar", joined(sample("c", 0), sample("b", 0)))
    assert refusal(tmp_path / "set") == (
        f"{at(second, 'b.jpg')}: the sample has the same name as {at(first, 'b.jpg')}. A name must occur once in "
        "train. Write the shards again with names that differ, or with a 'filename' that differs in each .json."
    )


def test_samples_with_the_same_name_are_distinguished_by_their_file_names(tmp_path: Path) -> None:
    for number in (0, 1):
        described = {"filename": f"{number}.jpg"}
        pack(tmp_path / f"set/train-{number}.tar", sample("a", number, described=described))
    assert listing(read(tmp_path / "set")) == {"0.jpg": "0", "1.jpg": "1"}


def test_a_truncated_shard_is_an_error(tmp_path: Path) -> None:
    shard = pack(tmp_path / "set/train-0.tar", joined(*(sample(f"{n:03}", n % 2) for n in range(30))))
    whole = shard.read_bytes()
    for num_bytes in (2 * 1024 + 700, 20 * 1024):
        shard.write_bytes(whole[:num_bytes])
        assert refusal(tmp_path / "set").startswith(f"{shard} ends at byte ")
        assert "truncated" in refusal(tmp_path / "set")


def test_a_shard_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    shard = pack(tmp_path / "train-0.tar", joined(sample("a", 0), sample("b", 1)))
    tree = tree_of(shard)
    os.truncate(shard, 3 * 512)
    with pytest.raises(TenchError) as error:
        webdataset.read(tree)
    assert str(error.value).endswith(" became shorter while it was being read. Try again.")


def test_a_shard_that_vanishes_is_an_error(tmp_path: Path) -> None:
    shard = pack(tmp_path / "set/train-0.tar", joined(sample("a", 0), sample("b", 1)))
    tree = tree_of(tmp_path / "set")
    shard.unlink()
    assert not webdataset.recognise(tree)
    with pytest.raises(TenchError) as error:
        webdataset.read(tree)
    assert str(error.value) == f"{shard}: cannot be read (No such file or directory)."


def test_shards_next_to_class_folders_are_an_error(tmp_path: Path) -> None:
    pack(tmp_path / "set/train-0.tar", joined(sample("a", 0), sample("b", 1)))
    (tmp_path / "set/teaser.png").write_bytes(b"")
    dataset = read(tmp_path / "set")
    assert len(dataset.splits["train"]) == 2
    assert dataset.notes == ("Left out 1 image next to the shards, such as teaser.png.", NUMBERS_ONLY)
    (tmp_path / "set/train/cat").mkdir(parents=True)
    (tmp_path / "set/train/cat/1.jpg").write_bytes(b"")
    assert refusal(tmp_path / "set") == (
        f"{tmp_path}/set contains shards, and images in 2 folders next to them (., ...). Move one of the two away, or "
        "pass only the shards, as in 'train-{0000..0127}.tar'."
    )


def test_an_archive_next_to_the_shards_that_contains_no_images_adds_nothing(tmp_path: Path) -> None:
    pack(tmp_path / "set/train-0.tar", joined(sample("a", 0), sample("b", 1)))
    pack(tmp_path / "set/empty.tar", [])
    pack(tmp_path / "set/annotations.tar", [("x.xml", b"")])
    dataset = read(tmp_path / "set")
    assert listing(dataset) == {"a.jpg": "0", "b.jpg": "1"}
    assert "Left out archives without an image at their beginning: annotations.tar, empty.tar." in dataset.notes


def test_shards_without_images_are_an_error(tmp_path: Path) -> None:
    pack(tmp_path / "set/train-0.tar", [("a.cls", b"1")])
    with pytest.raises(TenchError) as error:
        webdataset.read(tree_of(tmp_path / "set"))
    assert str(error.value) == (
        f"{tmp_path}/set contains shards without images. Expected samples of an image and a .cls."
    )


@pytest.mark.parametrize(
    "members",
    [
        [],
        [("n01440764_1.JPEG", b""), ("n01440764_2.JPEG", b"")],
        [("cat/1.jpg", b""), ("cat/2.cls", b"1")],
        [("cat/1.jpg", b""), ("cat/1.json", b'{"width": 3}')],
        [("cat/1.jpg", b""), ("cat/1.json", b"[0]")],
        [("cat/1.jpg", b""), ("cat/1.json", b"{")],
        [("a.cls", b"1"), ("a.txt", b"1")],
        [*((f"{n}.txt", b"") for n in range(20)), ("a.jpg", b""), ("a.cls", b"1")],
    ],
)
def test_a_tar_without_an_image_and_its_label_among_the_first_members_is_not_a_shard(
    tmp_path: Path, members: Members
) -> None:
    shard = pack(tmp_path / "set/x.tar", members)
    assert not webdataset.recognise(tree_of(tmp_path / "set"))
    assert not webdataset.recognise(tree_of(shard))


@pytest.mark.parametrize(
    "name", ["ILSVRC2012_img_train.tar", "ILSVRC2012_bbox.tar", "n01440764.tar", "train/n01440764.tar"]
)
def test_the_archives_of_imagenet_are_not_shards(tmp_path: Path, name: str) -> None:
    pack(tmp_path / "set" / name, joined(sample("a", 0), sample("b", 1)))
    assert not webdataset.recognise(tree_of(tmp_path / "set"))


def test_folders_and_files_of_other_kinds_are_not_recognised(tmp_path: Path) -> None:
    for name in ("set/a.jpg", "set/a.cls", "set/b.tar", "empty/b.tar", "c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    assert not any(webdataset.recognise(tree_of(tmp_path / name)) for name in ("set", "empty", "c.jpg"))


def test_shards_are_recognised_even_if_one_is_damaged(tmp_path: Path) -> None:
    pack(tmp_path / "set/train-1.tar", joined(sample("a", 0), sample("b", 1)))
    (tmp_path / "set/train-0.tar").write_bytes(b"")
    assert refusal(tmp_path / "set").startswith(f"{tmp_path}/set/train-0.tar ends at byte 0 without the empty blocks")


def test_the_stamp_contains_every_shard(tmp_path: Path) -> None:
    shards = [pack(tmp_path / f"set/train-{n}.tar", sample(f"{n}", n)) for n in range(3)]
    assert {str(tmp_path / "set"), *map(str, shards)} == set(contents(tmp_path / "set").stamp)
    assert {str(shards[0])} == set(contents(shards[0]).stamp)


def test_an_archive_without_an_order_of_members_is_not_a_shard(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, data in sample("a", 1):
            archive.writestr(name, data)
    assert not webdataset.recognise(tree_of(tmp_path / "x.zip"))


# Labels in parts other than .cls and .json.


def parts(**files: list[bytes]) -> Members:
    """Samples 0, 1, ... with an image and these parts; _ in a name stands for a dot."""
    for number in range(len(next(iter(files.values())))):
        yield f"{number}.jpg", b"the image %d" % number
        yield from ((f"{number}.{part.replace('_', '.')}", values[number]) for part, values in files.items())


def found(path: Path, **options: str) -> Dataset:
    return open_source(path, **options)  # type: ignore[arg-type]


said = error_of(found)


@pytest.mark.parametrize("part", ["cls_txt", "label", "label_txt", "y_txt", "target", "txt", "index", "id"])
@pytest.mark.parametrize("values", [[b"1", b"0", b"1", b"0\n"], [b"owl", b"cat", b"owl", b"cat"]])
def test_a_part_named_like_a_label_is_the_label(tmp_path: Path, part: str, values: list[bytes]) -> None:
    dataset = found(pack(tmp_path / "train-0.tar", parts(**{part: values})))
    assert dataset.splits["train"].labels.tolist() in ([1, 0, 1, 0], [0, 0, 1, 1])  # sorted by key: cat/1.jpg, ...
    assert dataset.classes.ids == (("0", "1") if values[0] == b"1" else ("cat", "owl"))
    assert f"The labels come from the part .{part.replace('_', '.')}." in dataset.notes


@pytest.mark.parametrize("name", [b"cat", b"1957 Chevrolet", "Ké".encode()])
def test_a_cls_may_contain_the_name_of_a_class(tmp_path: Path, name: bytes) -> None:
    dataset = found(pack(tmp_path / "train-0.tar", parts(cls=[name, b"zebra"])))
    assert dataset.classes.ids == (name.decode(), "zebra")
    assert dataset.notes[-1] == "The class ids are from the samples' labels."


def test_captions_next_to_a_cls_are_ignored(tmp_path: Path) -> None:
    dataset = found(pack(tmp_path / "train-0.tar", parts(txt=[b"a", b"a", b"b", b"b"], cls=[b"0", b"1", b"2", b"3"])))
    assert dataset.splits["train"].labels.tolist() == [0, 1, 2, 3]


def test_captions_are_not_labels_and_the_error_lists_the_parts(tmp_path: Path) -> None:
    captions = [b"a dog on a sofa", b"two men", b"sunset", b"cake"]
    shard = pack(tmp_path / "00000.tar", parts(txt=captions, json=[b'{"url": "x"}'] * 4))
    assert said(shard) == (
        f"{at(shard, '0.jpg')} has no label (expected a .cls, or a .json with a field 'label'). The samples have the "
        "parts .jpg, .json, .txt ('a dog on a sofa'). If one of them is the label, name it with --keys label=PART "
        "(or label=FIELD for a field of .json). Otherwise write the shards again."
    )
    assert len(found(shard, keys="label=txt").classes) == 4


def test_a_long_text_is_not_a_label_even_if_it_repeats(tmp_path: Path) -> None:
    shard = pack(tmp_path / "00000.tar", parts(txt=[b"a long caption of this image " * 9] * 4))
    assert "has no label (expected a .cls, or a .json with a field 'label')." in said(shard)


def test_a_running_number_in_the_part_index_is_not_a_label(tmp_path: Path) -> None:
    shard = pack(tmp_path / "train-0.tar", parts(index=[b"0", b"1", b"2", b"3"]))
    assert "The samples have the parts .index ('0'), .jpg. If one of them is the label" in said(shard)


def test_a_field_of_json_is_chosen_by_its_name(tmp_path: Path) -> None:
    described = [json.dumps({"breed": name, "age": 3}).encode() for name in ("pug", "corgi")]
    shard = pack(tmp_path / "train-0.tar", parts(json=described))
    assert found(shard, label="breed").classes.ids == ("corgi", "pug")
    assert "The labels come from the field 'breed' of .json." in found(shard, keys="label=breed").notes


def test_missing_parts_are_refused(tmp_path: Path) -> None:
    shard = pack(tmp_path / "train-0.tar", parts(cls=[b"0", b"1"]))
    listed = "Their parts are: .cls ('0'), .jpg."
    assert said(shard, keys="label=breed") == f"{shard}: no sample has the part .breed, or a .json. {listed}"
    assert said(shard, keys="image=png") == f"{shard}: no sample has the part .png. {listed}"


def test_one_of_two_images_is_chosen_by_its_part(tmp_path: Path) -> None:
    shard = pack(tmp_path / "train-0.tar", parts(cls=[b"0", b"1"], seg_png=[b"mask", b"mask"]))
    rows = found(shard, keys="image=jpg").splits["train"]
    assert [rows.read(row) for row in range(2)] == [b"the image 0", b"the image 1"]


def test_texts_next_to_images_in_class_folders_are_not_samples(tmp_path: Path) -> None:
    members = [
        (f"{name}/{number}{suffix}", b"x") for name in ("cat", "owl") for number in "12" for suffix in (".jpg", ".txt")
    ]
    assert found(pack(tmp_path / "set.tar", members)).layout == "folder"
