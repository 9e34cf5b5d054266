import collections
import dataclasses
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.support.datasets import reloaded
from tests.support.errors import error_of

from tench.data.files.tree import open_tree
from tench.data.formats import real
from tench.data.formats.real import attach, real_labels
from tench.data.formats.wordnet import imagenet
from tench.data.table import Classes, Contents, Rows
from tench.errors import TenchError

AGAIN = "Download real.json from google-research/reassessed-imagenet again, or remove it to read the set without it."


def val_of(path: Path, numbers: Sequence[int], classes: Classes, form: str = "{:08}.JPEG") -> Contents:
    """Contents with a split val of these images, with the keys they have in class folders."""
    count = len(numbers)
    labels = np.array(numbers, np.int32) % len(classes)
    val = Rows(
        shards=[str(path / "val.tar")],
        shard=np.zeros(count, np.int32),
        offset=np.array(numbers) * 1000,
        length=np.array(numbers),
        label=labels,
        key=[
            f"{classes.ids[label]}/ILSVRC2012_val_{form.format(number)}"
            for label, number in zip(labels.tolist(), numbers, strict=True)
        ],
    )
    return Contents(classes, {"val": val}, [str(path)], ["A note."])


def attached(path: Path, contents: Contents, entries: object) -> Contents:
    path.mkdir(exist_ok=True)
    (path / "real.json").write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return attach(contents, open_tree(path, path / "no spool"))


refusal = error_of(attached)


@pytest.fixture(scope="module")
def issued() -> str:
    """The real file, from timm's package data."""
    found = importlib.util.find_spec("timm")
    assert found is not None
    assert found.submodule_search_locations is not None
    return (Path(found.submodule_search_locations[0]) / "data/_info/imagenet_real_labels.json").read_text()


def test_the_published_file_has_its_known_counts(issued: str) -> None:
    labels = real_labels(issued, "real.json")
    sizes = collections.Counter(map(len, labels))
    expected = {0: 3163, 1: 39394, 2: 5408, 3: 1319, 4: 411, 5: 161, 6: 88, 7: 41, 8: 13, 9: 2}
    assert (len(labels), sizes) == (50_000, expected)
    assert labels == json.loads(issued)


def test_the_split_real_has_the_images_with_labels(tmp_path: Path, issued: str) -> None:
    classes = Classes.of(imagenet())
    numbers = [*range(50_000, 0, -1)]  # not sorted by name, as in an archive
    before = val_of(tmp_path, numbers, classes)
    after = attached(tmp_path / "set", before, issued)
    expected = {number: labels for number, labels in enumerate(json.loads(issued), start=1) if labels}
    dataset = reloaded(dataclasses.replace(after, stamp=[]))
    assert list(dataset.splits) == ["val", "real"]
    rows = dataset.splits["real"]
    found = {int(key[-13:-5]): labels for key, labels in zip(rows.keys(), rows.label_sets(), strict=True)}
    assert found == {number: list(map(float, labels)) for number, labels in expected.items()}
    assert rows.labels.tolist() == [expected[int(key[-13:-5])][0] for key in rows.keys()]  # noqa: SIM118
    assert rows.offsets.tolist() == [int(key[-13:-5]) * 1000 for key in rows.keys()]  # noqa: SIM118
    assert after.splits["val"] is before.splits["val"]
    assert after.notes == [
        "A note.",
        "real.json has labels for 46,837 of the 50,000 images of val, and none for 3,163. The split real has those "
        "with labels.",
    ]


def test_labels_are_mapped_by_wordnet_id(tmp_path: Path) -> None:
    first, second, third = imagenet()[:3]
    contents = val_of(tmp_path, [1, 2, 3, 4, 5], Classes.of([third, "n99999999", first]))
    after = attached(tmp_path / "set", contents, [[2, 0], [1], [0, 0, 1], [], [1, 2, 2]])
    rows = after.splits["real"]
    assert [key[-13:] for key in rows.key] == ["00000001.JPEG", "00000003.JPEG", "00000005.JPEG"]
    assert (rows.labels, rows.label.tolist()) == ([[0, 2], [2], [0]], [0, 2, 0])
    assert after.notes[-1] == (
        "real.json has labels for 3 of the 5 images of val, and none for 1; the labels of 1 are classes that are not "
        "here. The split real has those with labels."
    )
    assert second not in contents.classes.ids


def test_classes_that_are_only_numbers_are_imagenets_if_there_are_a_thousand(tmp_path: Path) -> None:
    after = attached(tmp_path / "set", val_of(tmp_path, [2], Classes.numbered_to(1000)), [[1], [999, 3]])
    assert after.splits["real"].labels == [[999, 3]]
    found = refusal(tmp_path / "set", val_of(tmp_path, [2], Classes.numbered_to(999)), [[1], [998]])
    assert found == (
        f"{tmp_path}/set/real.json: its labels are ImageNet's classes, but this dataset has other classes (0, 1, 2, "
        f"...). "
        "Remove it to read the set without it."
    )


@pytest.mark.parametrize("form", ["{:08}.JPEG", "{:08}_n01440764.JPEG", "{:08}.png"])
def test_a_part_of_val_is_matched_by_image_number(tmp_path: Path, form: str) -> None:
    contents = val_of(tmp_path, [3, 1], Classes.of(imagenet()), form)
    after = attached(tmp_path / "set", contents, [[7], [8], [9]])
    assert after.splits["real"].labels == [[9], [7]]


def test_the_file_may_be_in_a_folder_and_is_added_to_the_stamp(tmp_path: Path) -> None:
    (tmp_path / "set/labels").mkdir(parents=True)
    contents = val_of(tmp_path, [1], Classes.of(imagenet()))
    (tmp_path / "set/labels/real.json").write_text("[[5]]")
    after = attach(contents, open_tree(tmp_path / "set", tmp_path))
    assert after.splits["real"].labels == [[5]]
    assert {str(tmp_path), str(tmp_path / "set/labels/real.json")} <= set(after.stamp)
    with pytest.raises(TenchError) as error:
        attached(tmp_path / "set", contents, "[[5]]")
    assert str(error.value) == f"{tmp_path}/set has labels/real.json and real.json. Keep one of them."


def test_nothing_changes_without_the_file_or_without_val(tmp_path: Path) -> None:
    contents = val_of(tmp_path, [1], Classes.of(imagenet()))
    assert attach(contents, open_tree(tmp_path, tmp_path)) is contents
    train = dataclasses.replace(contents, splits={"train": contents.splits["val"]})
    assert attached(tmp_path / "set", train, [[1]]) is train


def test_a_file_with_that_name_next_to_other_images_is_ignored(tmp_path: Path) -> None:
    contents = val_of(tmp_path, [1, 2], Classes.of(["cat", "dog"]), "{:07}.JPEG")
    assert attached(tmp_path / "set", contents, {"real": [], "fake": []}) is contents


def test_an_image_of_val_without_an_entry_is_an_error_that_names_it(tmp_path: Path) -> None:
    contents = val_of(tmp_path, [2, 3], Classes.of(imagenet()))
    remedy = "download it again, or remove it to read the set without it."
    where = f"real.json is for the 50,000 validation images of ILSVRC2012: {remedy}"
    key = f"{imagenet()[3]}/ILSVRC2012_val_00000003.JPEG"
    expected = f"{tmp_path}/set/real.json: {key} of val has no entry: there are 2. {where}"
    assert refusal(tmp_path / "set", contents, [[1], [1]]) == expected
    val = dataclasses.replace(contents.splits["val"], key=["x/ILSVRC2012_val_00000001.JPEG", "x/val_2.JPEG"])
    other = dataclasses.replace(contents, splits={"val": val})
    expected = f"{tmp_path}/set/real.json: x/val_2.JPEG of val is not called ILSVRC2012_val_########. {where}"
    assert refusal(tmp_path / "set", other, [[1], [1]]) == expected
    assert "00000000.JPEG of val has no entry" in refusal(
        tmp_path / "set", val_of(tmp_path, [0], Classes.of(imagenet())), [[1]]
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[[1], [2]", " is not JSON (Expecting ',' delimiter: line 1 column 10 (char 9))."),
        ("[" * 100_000, " is not JSON (maximum recursion depth exceeded"),
        ('{"a": []}', " contains a dict; expected a list of 50,000."),
        ("[[1], 7]", ": entry 1 (counted from 0) is 7; expected a list of whole numbers."),
        ('[["7"]]', ": entry 0 (counted from 0) is ['7']; expected a list of whole numbers."),
        ("[[true]]", ": entry 0 (counted from 0) is [True]; expected a list of whole numbers."),
        ("[[1.5]]", ": entry 0 (counted from 0) is [1.5]; expected a list of whole numbers."),
        ("[[], [999, 1000]]", ": entry 1 (counted from 0) has label 1000; expected 0 to 999."),
        ("[[-1]]", ": entry 0 (counted from 0) has label -1; expected 0 to 999."),
        (json.dumps([[]] * 50_001), " has 50,001 entries; expected 50,000, one per image."),
    ],
)
def test_a_file_with_that_name_but_other_content_is_an_error(tmp_path: Path, text: str, error: str) -> None:
    found = refusal(tmp_path / "set", val_of(tmp_path, [1], Classes.of(imagenet())), text)
    assert found.startswith(f"{tmp_path}/set/real.json{error}")
    assert found.endswith(AGAIN)


def test_without_labelled_images_there_is_no_split_real_and_a_note_says_so(tmp_path: Path) -> None:
    after = attached(tmp_path / "set", val_of(tmp_path, [1, 2], Classes.of(imagenet())), [[], []])
    assert list(after.splits) == ["val"]
    assert real.SPLIT not in after.splits
    assert after.notes[-1] == "real.json has no labels for the 2 images of val, so there is no split real."
