"""Every published dataset, as a miniature of its structure, is read correctly or refused with the right remedy."""

import importlib.util
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.data.photos import dataset, encoded, part
from tests.data.published.making import Form, Published, Split, decoded, digest
from tests.data.published.sets import FORMS, OUT_OF_SCOPE, SETS, TORCHVISION

import tench
from tench.compat import import_torchvision
from tench.data.images.picture import decode_row
from tench.data.table import Classes, Dataset
from tench.errors import TenchError

SAME_SPLIT = {"valid": "val", "validation": "val", "trainval": "train"}
MAY_BE_LEFT_OUT = {"extra"}


def plain(name: str) -> str:
    """A class name without the parts that readers may change: case, separators, leading zeros."""
    name = " ".join(name.lower().replace("_", " ").replace("-", " ").replace(".", " ").split())
    return str(int(name)) if name.isdecimal() else name


def same_name(published: str, *found: str) -> bool:
    """Whether a class has one of its published names, which are separated by " | "."""
    return bool({plain(name) for name in published.split(" | ")} & {plain(name) for name in found})


def images_of(dataset: Dataset) -> tuple[dict[str, dict[str, int]], list[str]]:
    """The label by split and digest, and a message for each image that appears again in its split."""
    found: dict[str, dict[str, int]] = {}
    again = []
    for name, table in dataset.splits.items():
        split = found.setdefault(SAME_SPLIT.get(name, name), {})
        for row in range(len(table)):
            image = digest(decode_row(table, row, 3))
            if image in split:
                again.append(f"{name} contains {table.key(row)} twice")
            split[image] = int(table.labels[row])
    return found, again


def mistakes(dataset: Dataset, truth: dict[str, Split], without_images: list[str], named: bool) -> list[str]:
    """The differences between a dataset and the truth; empty if it was read correctly."""
    found, wrong = images_of(dataset)
    unlabelled = truth.get("unlabelled", {})
    known = {split: images for split, images in truth.items() if split != "unlabelled"}
    pairs: set[tuple[str, int]] = set()
    for split, images in known.items():
        if split in MAY_BE_LEFT_OUT and split not in found:
            continue
        labels = found.get(split, {})
        missing = Counter(label for image, label in images.items() if image not in labels)
        if missing:
            wrong.append(f"{split} lacks images: {dict(missing)}")
        pairs |= {(str(label), labels[image]) for image, label in images.items() if image in labels}
    for split, labels in found.items():
        strangers = {image: label for image, label in labels.items() if image not in known.get(split, {})}
        if labelled := [label for image, label in strangers.items() if image not in unlabelled or label >= 0]:
            wrong.append(f"{split} contains {len(labelled)} images that it should not")
    for left, right in ((0, 1), (1, 0)):
        for value, count in Counter(pair[left] for pair in pairs).items():
            if count > 1:
                wrong.append(f"{value} goes with {sorted(pair[right] for pair in pairs if pair[left] == value)}")
    ids, names = dataset.classes.ids, dataset.classes.names
    for label, index in sorted(pairs):
        if index < 0:
            wrong.append(f"{label} has no label")
        elif named and not same_name(label, ids[index], names[index]):
            wrong.append(f"class {label} is called {ids[index]} ({names[index]})")
    for index in {*range(len(ids))} - {index for _, index in pairs}:
        if named and not any(same_name(label, ids[index], names[index]) for label in without_images):
            wrong.append(f"{ids[index]} is no class")
    return wrong


def answer(published: Published, form: Form, folder: Path) -> str:
    """The differences from the expected result for this form; empty if there are none."""
    source = published.write(folder, form)
    try:
        dataset = tench.open_source(source, **form.options)
    except TenchError as error:
        said = str(error).replace(str(folder), "")
        if not form.refused:
            return f"refused: {said}"
        missing = [words for words in form.says if words not in said]
        return f"refused, but {missing} is not in: {said}" if missing else ""
    if form.refused:
        counts = {name: len(table) for name, table in dataset.splits.items()}
        return f"read, as {list(dataset.classes.ids)[:6]}: {counts}"
    miniature = published.miniature
    wrong = mistakes(dataset, form.truth(miniature), miniature.without_images, published.named)
    unsaid = [f"no note names {words}" for words in form.says if not any(words in note for note in dataset.notes)]
    return "; ".join(wrong + unsaid)


def needed(published: Published) -> None:
    if published.needs and importlib.util.find_spec(published.needs) is None:
        pytest.skip(f"{published.name} is made with {published.needs}, which is not installed")


@pytest.mark.parametrize(
    ("published", "form"),
    [pytest.param(published, form, id=name) for name, (published, form) in FORMS.items()],
)
def test_the_published_form_is_read_correctly_or_refused_with_its_remedy(
    published: Published, form: Form, tmp_path: Path
) -> None:
    needed(published)
    assert answer(published, form, tmp_path) == ""


@pytest.fixture
def without_checksums(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make torchvision accept any file as the published one, and write its caches into the test's folder."""
    import_torchvision()
    import torchvision.datasets

    def there(path: str | Path, md5: str | None = None) -> bool:
        return Path(path).is_file() or Path(path).suffix in (".zip", ".tgz")

    monkeypatch.chdir(tmp_path)
    for module in vars(torchvision.datasets).values():
        if isinstance(module, types.ModuleType) and hasattr(module, "check_integrity"):
            monkeypatch.setattr(module, "check_integrity", there)


@pytest.mark.usefixtures("without_checksums")
@pytest.mark.filterwarnings("ignore")  # torchvision leaves files open
@pytest.mark.parametrize("published", [one for one in SETS if one.torchvision], ids=lambda published: published.name)
def test_torchvision_reads_the_same_from_the_miniature(published: Published, tmp_path: Path) -> None:
    needed(published)
    assert published.torchvision is not None
    published.write(tmp_path, published.oracle)
    miniature = published.miniature
    for name, theirs in published.torchvision(tmp_path).items():
        truth: Split = {}
        for split in name.split("+"):
            truth |= miniature.splits[split]
        pairs, seen = set(), set()
        for image, label in (theirs[index] for index in range(len(theirs))):
            found = digest(np.asarray(image.convert("RGB")))
            if found in truth:
                seen.add(found)
                pairs.add((truth[found], None if label is None or label == -1 else int(label)))
            else:
                assert found in miniature.aside
        assert seen == set(truth)
        assert len({label for _, label in pairs}) == len({label for label, _ in pairs}) == len(pairs)
        names = getattr(theirs, "classes", None)
        for label, index in pairs:
            if published.named and label is not None and index is not None and names:
                spelled = names[index] if isinstance(names[index], tuple) else (names[index],)
                assert same_name(label, *spelled)


def test_every_form_has_a_unique_name() -> None:
    assert len(FORMS) == sum(len(published.forms) for published in SETS)


def test_every_reader_of_torchvision_is_listed_or_out_of_scope() -> None:
    import_torchvision()
    import torchvision.datasets

    here = {published.name.split()[0].strip(",") for published in TORCHVISION}
    outside = {name for names in OUT_OF_SCOPE.values() for name in names.split()}
    assert not here & outside
    assert here | outside == set(torchvision.datasets.__all__)


CAT, DOG, BIRD = (encoded(part(9, 7, number), "PNG") for number in range(3))
TRUTH: dict[str, Split] = {
    "train": {digest(decoded(CAT)): "cat | 0", digest(decoded(DOG)): "dog | 1"},
    "unlabelled": {digest(decoded(BIRD)): None},
}


@pytest.mark.parametrize(
    ("classes", "splits", "expected"),
    [
        (["cat", "dog"], {"train": [("a", 0, CAT), ("b", 1, DOG)]}, []),
        (["Cat", "01"], {"train": [("a", 0, CAT), ("b", 1, DOG)], "pred": [("c", -1, BIRD)]}, []),
        (
            ["dog", "cat"],
            {"train": [("a", 0, CAT), ("b", 1, DOG)]},
            ["class cat | 0 is called dog (dog)", "class dog | 1 is called cat (cat)"],
        ),
        (["cat", "dog"], {"train": [("a", 0, CAT)]}, ["train lacks images: {'dog | 1': 1}", "dog is no class"]),
        (
            ["cat", "dog"],
            {"train": [("a", 0, CAT)], "val": [("b", 1, DOG)]},
            ["train lacks images: {'dog | 1': 1}", "val contains 1 images that it should not", "dog is no class"],
        ),
        (
            ["cat", "dog"],
            {"train": [("a", 0, CAT), ("b", 1, DOG), ("c", 1, BIRD)]},
            ["train contains 1 images that it should not"],
        ),
        (
            ["cat", "dog"],
            {"train": [("a", 0, CAT), ("b", 0, DOG)]},
            ["0 goes with ['cat | 0', 'dog | 1']", "class dog | 1 is called cat (cat)", "dog is no class"],
        ),
        (["cat", "dog"], {"train": [("a", 0, CAT), ("b", 1, DOG), ("c", 1, DOG)]}, ["train contains c twice"]),
    ],
    ids=["right", "right, spelled differently", "swapped names", "image missing", "image in another split",
         "label for an unlabelled image", "one class for two", "image twice"],
)  # fmt: skip
def test_a_dataset_that_differs_from_the_truth_is_reported(
    classes: list[str], splits: dict[str, list[tuple[str, int, bytes]]], expected: list[str], tmp_path: Path
) -> None:
    found = dataset(tmp_path, Classes.of(classes), splits)
    assert mistakes(found, TRUTH, without_images=[], named=True) == expected


def test_the_digest_of_an_image_does_not_depend_on_its_file() -> None:
    assert digest(decoded(encoded(part(9, 7, 3), "PNG"))) == digest(decoded(encoded(part(9, 7, 3), "BMP")))
    assert digest(decoded(CAT)) != digest(decoded(DOG))
