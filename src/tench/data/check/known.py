"""Published datasets: the checksums of their files, their classes and image counts.

A dataset is known only if its classes are exactly those of the published set; if the classes say little, like
MNIST's digits, its image counts must match too. Missing images are then reported exactly. Sources: the sets' own pages
and readers, devkit of ILSVRC2012; timm, torchvision.datasets, tensorflow/datasets.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tench.data.download.download import SETS
from tench.data.formats import wordnet
from tench.data.layouts import (
    caltech,
    cifar,
    digits,
    ilsvrc,
    imagenet_eval,
    kaggle,
    mnist,
    stl10,
    svhn,
    synsets,
)
from tench.data.table import Dataset
from tench.errors import counted, some


@dataclasses.dataclass(frozen=True)
class Published:
    """A published file. name: with its folder if the name alone says little. checksum: MD5 or SHA-256."""

    name: str
    checksum: str
    num_bytes: int | None = None

    @property
    def algorithm(self) -> str:
        return "MD5" if len(self.checksum) == 32 else "SHA-256"


KNOWN_FILES = (
    *(Published(file.name, file.md5, file.num_bytes) for known in SETS.values() for file in known.files),
    Published("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e", 147_897_477_120),
    Published("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622", 6_744_924_160),
    Published("ILSVRC2012_img_test_v10102019.tar", "e1b8681fff3d63731c599df9b4b6fc02"),
    Published("ILSVRC2012_img_test.tar", "fe64ceb247e473635708aed23ab6d839"),
    Published("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf"),
    Published("ILSVRC2012_img_train_t3.tar", "ccaf1013018ac1037801578038d370da"),
    Published("ILSVRC2012_bbox_train_v2.tar.gz", "9271167e2176350e65cfe4e546f14b17"),
    Published("ILSVRC2012_bbox_val_v3.tgz", "f4cd18b5ea29fe6bbea62ec9c20d80f0"),
    Published("ILSVRC2012_bbox_train_dogs.tar.gz", "61ebd3cc0e4793899a841b6b27f3d6d8"),
    Published("ILSVRC2012_bbox_test_dogs.zip", "2dfdb2677fd9661585d17d5a5d027624"),
    Published("imagenet_2012_validation_synset_labels.txt", "eaa6788f6a51fca5fb184f235d0c4e62", 500_000),
    Published("winter21_whole.tar.gz", "ab313ce03179fd803a401b02c651c0a2"),
    Published(
        "imagenetv2-matched-frequency.tar.gz",
        "a32004f9e773279307499059d320336a23ccdc62cb32063da29bae9bd04c122c",
        1_253_959_680,
    ),
    Published(
        "imagenetv2-threshold0.7.tar.gz",
        "bf2e2d9b625ae29c6e44982928f36220af62359b74602a995518a06840d0d76e",
        605_399_040,
    ),
    Published(
        "imagenetv2-top-images.tar.gz",
        "1ced1ef684934a84af854658bc8ff9adbbec553631e6eef3535ef816c3d3b98f",
        606_351_360,
    ),
    Published("imagenet-a.tar", "c3e55429088dc681f30d81f4726b6595", 687_552_512),
    Published("imagenet-r.tar", "a61312130a589d0ca1a8fca1f2bd3337", 2_191_079_936),
    Published("tiny-imagenet-200/wnids.txt", "6c81990e2d7ae3bd3c88dceb97b46342"),
    Published("tiny-imagenet-200/val/val_annotations.txt", "e9a8a28f9975223592f4c6da9fd2369b"),
    Published("cifar-10-batches-py/data_batch_1", "c99cafc152244af753f735de768cd75f"),
    Published("cifar-10-batches-py/data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
    Published("cifar-10-batches-py/data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
    Published("cifar-10-batches-py/data_batch_4", "634d18415352ddfa80567beed471001a"),
    Published("cifar-10-batches-py/data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    Published("cifar-10-batches-py/test_batch", "40351d587109b95175f43aff81a1287e"),
    Published("cifar-10-batches-py/batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
    Published("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 170_052_171),
    Published("cifar-100-python/train", "16019d7e3df5f24257cddd939b257f8d"),
    Published("cifar-100-python/test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
    Published("cifar-100-python/meta", "7973b15100ade9c7d40fb424638fde48"),
    Published("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", 168_513_733),
    Published("101_ObjectCategories.tar.gz", "b224c7392d521a49829488ab0f1120d9"),
)
"""Files with known checksums. Some share a name: MNIST's and Fashion-MNIST's."""


@dataclasses.dataclass(frozen=True)
class KnownSet:
    """A published dataset.

    ids: a function that returns the class ids; or their number if all are WordNet ids. images: by split. per_class: by
    split, the smallest and largest number of images in a class. named: the class ids alone identify the set; otherwise
    all counts must match.
    """

    title: str
    ids: Callable[[], tuple[str, ...]] | int
    images: Mapping[str, int]
    per_class: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    named: bool = True


_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""
_FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"

KNOWN_SETS = (
    KnownSet(
        "ILSVRC2012",
        wordnet.imagenet,
        {"train": 1_281_167, "val": 50_000, "test": 100_000},
        {"train": (732, 1300), "val": (50, 50)},
    ),
    KnownSet("ImageNet-V2", wordnet.imagenet, {"test": 10_000}, {"test": (10, 10)}, named=False),
    KnownSet("ImageNet-Sketch", wordnet.imagenet, {"test": 50_889}, named=False),
    KnownSet("ImageNet-A", lambda: wordnet.subset("a"), {"test": 7_500}),
    KnownSet("ImageNet-R", lambda: wordnet.subset("r"), {"test": 30_000}),
    KnownSet("ImageNet-21K of fall 2011", 21_841, {"train": 14_197_122}),
    KnownSet("ImageNet-11K", 11_221, {"train": 11_797_630}, named=False),
    KnownSet("ImageNet-21K-P of fall 2011", 11_221, {"train": 11_797_632, "val": 561_052}, named=False),
    KnownSet("ImageNet-21K-P of winter 2021", 10_450, {"train": 11_060_223, "val": 522_500}, named=False),
    KnownSet(
        "Tiny-ImageNet-200",
        wordnet.tiny_imagenet,
        {"train": 100_000, "val": 10_000, "test": 10_000},
        {"train": (500, 500), "val": (50, 50)},
    ),
    KnownSet(
        "CIFAR-10",
        lambda: tuple(_CIFAR10.split()),
        {"train": 50_000, "test": 10_000},
        {"train": (5_000, 5_000), "test": (1_000, 1_000)},
    ),
    KnownSet(
        "CIFAR-100",
        lambda: tuple(_CIFAR100.split()),
        {"train": 50_000, "test": 10_000},
        {"train": (500, 500), "test": (100, 100)},
    ),
    KnownSet(
        "Fashion-MNIST",
        lambda: tuple(_FASHION.split(",")),
        {"train": 60_000, "test": 10_000},
        {"train": (6_000, 6_000), "test": (1_000, 1_000)},
    ),
    KnownSet(
        "MNIST",
        lambda: tuple("0123456789"),
        {"train": 60_000, "test": 10_000},
        {"train": (5_421, 6_742), "test": (892, 1_135)},
        named=False,
    ),
)


def sentences(dataset: Dataset) -> list[str]:
    """Which known set this is, or what is missing from it; empty if it is not a known set.

    A complete set is described by its split sizes and its number of classes: "1,281,167 / 50,000 / 1000: this is
    ILSVRC2012."
    """
    alike = [known for known in KNOWN_SETS if _has_classes_of(dataset, known)]
    for known in alike:
        if not list(_differences(dataset, known)):
            numbers = [f"{len(dataset.splits[split]):,}" for split in known.images if split in dataset.splits]
            absent = [split for split in list(known.images)[:2] if split not in dataset.splits]
            without = f", without {absent[0]}" if absent else ""
            return [f"{' / '.join([*numbers, str(len(dataset.classes))])}: this is {known.title}{without}."]
    if dataset.classes.numbered or dataset.layout == imagenet_eval.NAME:
        return []  # counts do not identify a set; V2 and Sketch have ILSVRC2012's classes, and their layout says more
    return [sentence for known in alike if known.named for sentence in _differences(dataset, known)]


def is_published(dataset: Dataset) -> bool:
    """Whether this is a published set or a part of one, judged by its layout, classes or counts."""
    if not _PUBLISHED_LAYOUTS.isdisjoint(dataset.layout.split(" + ")):
        return True
    if all(map(wordnet.WNID.fullmatch, dataset.classes.ids)):
        return True
    return any(
        (known.named and not dataset.classes.numbered) or not list(_differences(dataset, known))
        for known in KNOWN_SETS
        if _has_classes_of(dataset, known)
    )


_PUBLISHED_LAYOUTS = frozenset(
    layout.NAME for layout in (caltech, cifar, digits, ilsvrc, imagenet_eval, kaggle, mnist, stl10, svhn, synsets)
)
"""Layouts that belong to a single published set."""


def _has_classes_of(dataset: Dataset, known: KnownSet) -> bool:
    ids = dataset.classes.ids
    if not set(known.images) & set(dataset.splits):
        return False
    if isinstance(known.ids, int):
        return len(ids) == known.ids and all(wordnet.WNID.fullmatch(class_id) for class_id in ids)
    if dataset.classes.numbered:  # then the class sizes must identify the set, unless all are equal
        uneven = [split for split, (smallest, largest) in known.per_class.items() if smallest < largest]
        return len(ids) == len(known.ids()) and not set(uneven).isdisjoint(dataset.splits)
    return set(ids) == set(known.ids())


def _differences(dataset: Dataset, known: KnownSet) -> Iterator[str]:
    """How the existing splits differ from those of the known set."""
    for split, expected in known.images.items():
        if split not in dataset.splits:
            continue
        found = len(dataset.splits[split])
        if found != expected:
            lack = f"{expected - found:,} missing" if found < expected else f"{found - expected:,} too many"
            yield f"{known.title} has {expected:,} images in {split}, but this dataset has {found:,}: {lack}."
        if split in known.per_class:
            yield from _uneven(dataset, split, *known.per_class[split])


def _uneven(dataset: Dataset, split: str, smallest: int, largest: int) -> Iterator[str]:
    """Which classes have too few or too many images."""
    labels = dataset.splits[split].labels
    counts = np.bincount(labels[labels >= 0], minlength=len(dataset.classes))
    outside = np.flatnonzero((counts < smallest) | (counts > largest))
    should = f"{smallest:,}" if smallest == largest else f"{smallest:,} to {largest:,}"
    if len(outside):
        told = some([f"{dataset.classes.ids[label]} {counts[label]:,}" for label in outside.tolist()])
        differ = "differs" if len(outside) == 1 else "differ"
        yield f"Each class should have {should} images in {split}; {counted(len(outside), 'class')} {differ}: {told}."
    elif (counts.min(), counts.max()) != (smallest, largest):
        yield (
            f"The classes of {split} should have {should} images; here the smallest has {counts.min():,} and the "
            f"largest {counts.max():,}."
        )
