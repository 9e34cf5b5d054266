"""Datasets whose images are pixels in arrays: MNIST and its relatives, CIFAR, and binary, MATLAB and HDF5 files."""

import bz2
import pickle
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.data.photos import encoded
from tests.data.published.making import Form, Miniature, Pixels, Published, archive, decoded, folder, h5, idx, lmdb, mat

DIGITS = [f"{digit} | {digit} - {name}" for digit, name in enumerate(
    "zero one two three four five six seven eight nine".split()
)]  # fmt: skip
CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
KANA = "o ki su tsu na ha ma ya re wo".split()
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()
CIFAR100 = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm"
).split()
STL10 = "airplane bird car cat deer dog horse monkey ship truck".split()
MERGED = set("cijklmopsuvwxyz")  # letters whose two cases EMNIST merges
EMNIST = {
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "bymerge": string.digits + string.ascii_uppercase + "".join(sorted(set(string.ascii_lowercase) - MERGED)),
    "balanced": string.digits + string.ascii_uppercase + "".join(sorted(set(string.ascii_lowercase) - MERGED)),
    "letters": string.ascii_uppercase,
    "digits": string.digits,
    "mnist": string.digits,
}


def torchvision_set(name: str, *arguments: Any, **options: Any) -> Any:
    import torchvision.datasets

    return getattr(torchvision.datasets, name)(*arguments, **options)


def train_and_test(name: str, **options: Any) -> Callable[[Path], Mapping[str, Any]]:
    """torchvision's readers with an argument `train`."""
    return lambda root: {
        split: torchvision_set(name, root, train=split == "train", **options) for split in ("train", "test")
    }


def by_split(name: str, *splits: str, **options: Any) -> Callable[[Path], Mapping[str, Any]]:
    """torchvision's readers with an argument `split`; "our name=its name" if the names differ."""
    pairs = [(split.partition("=")[0], split.rpartition("=")[2]) for split in splits]
    return lambda root: {ours: torchvision_set(name, root, split=its, **options) for ours, its in pairs}


def stack(m: Miniature, split: str, labels: Sequence[str | None], side: int, mode: str = "RGB") -> Pixels:
    """An image of each label: (n, side, side, channels)."""
    return np.stack([m.raw(split, label, side, side, mode) for label in labels])


def mnist_like(name: str, classes: Sequence[str]) -> Published:
    def make(m: Miniature) -> None:
        for split, file in (("train", "train"), ("test", "t10k")):
            images = stack(m, split, [classes[label] for label in order], 28, "L")
            m.files[f"{name}/raw/{file}-images-idx3-ubyte"] = idx(images[..., 0])
            m.files[f"{name}/raw/{file}-labels-idx1-ubyte"] = idx(np.array(order, np.uint8))

    order = [7, 2, 1, 0, 4, 3, 9, 5, 8, 6, 0, 1]
    files = [f"{file}-{kind}" for file in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    packed = {f"{name}/raw/{file}.gz": f"{name}/raw/{file}" for file in files}
    forms = (Form("`raw/` as torchvision unpacks it", f"{name}/raw"), Form("the four `.gz`", f"{name}/raw", packed))
    return Published(name, make, forms, train_and_test(name))


def emnist(*names: str) -> Callable[[Miniature], None]:
    def make(m: Miniature) -> None:
        for name in names:
            first = 1 if name == "letters" else 0
            characters = EMNIST[name]
            classes = [
                f"{number} | {character}" + (f" | {character}/{character.lower()}" if name == "letters" else "")
                for number, character in enumerate(characters, first)
            ]
            used = [0, 3, len(classes) - 1]
            for split in ("train", "test"):
                images = stack(m, split, [classes[index] for index in used], 28, "L")
                start = f"EMNIST/raw/emnist-{name}-{split}"
                m.files[f"{start}-images-idx3-ubyte"] = idx(images[..., 0])
                m.files[f"{start}-labels-idx1-ubyte"] = idx(np.array(used, np.uint8) + np.uint8(first))
            codes = [f"{n} {ord(c)}" + (f" {ord(c.lower())}" if name == "letters" else "")
                     for n, c in enumerate(characters, first)]  # fmt: skip
            m.text(f"gzip/emnist-{name}-mapping.txt", *codes)
            m.without_images += [label for index, label in enumerate(classes) if index not in used]

    return make


def emnist_archives(*names: str) -> dict[str, str]:
    files = [f"emnist-{name}-{split}-{kind}" for name in names for split in ("train", "test")
             for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]  # fmt: skip
    return {f"gzip/{file}.gz": f"EMNIST/raw/{file}" for file in files}


def qmnist(m: Miniature) -> None:
    for split in ("train", "test"):
        digits = [5, 0, 4, 1, 9, 2, 3, 6, 7, 8]
        images = stack(m, split, [DIGITS[digit] for digit in digits], 28, "L")
        # class, NIST's series of writers, writer, index by writer, NIST's code of the class, overall index, two zeros
        labels = np.array([[digit, 0, 2000 + digit, digit, 48 + digit, digit, 0, 0] for digit in digits], np.int32)
        m.files[f"QMNIST/raw/qmnist-{split}-images-idx3-ubyte"] = idx(images[..., 0])
        m.files[f"QMNIST/raw/qmnist-{split}-labels-idx2-int"] = idx(labels)


def cifar10(m: Miniature) -> None:
    batches = [("train", f"data_batch_{number}") for number in range(1, 6)] + [("test", "test_batch")]
    labels = [6, 9, 3, 0]
    for split, name in batches:
        images = stack(m, split, [CIFAR10[label] for label in labels], 32).transpose(0, 3, 1, 2).reshape(-1, 3072)
        value = {
            "batch_label": name,
            "labels": labels,
            "data": images,
            "filenames": [f"{name}_{n}.png" for n in labels],
        }
        m.files[f"cifar-10-batches-py/{name}"] = pickle.dumps(value, 2)
        binary = np.concatenate([np.array(labels, np.uint8)[:, None], images], 1)
        m.files[f"cifar-10-batches-bin/{name}.bin"] = binary.tobytes()
    meta = {"num_cases_per_batch": 10000, "label_names": CIFAR10, "num_vis": 3072}
    m.files["cifar-10-batches-py/batches.meta"] = pickle.dumps(meta, 2)
    m.text("cifar-10-batches-py/readme.html", "<html>")
    m.text("cifar-10-batches-bin/batches.meta.txt", *CIFAR10, "")
    m.text("cifar-10-batches-bin/readme.html", "<html>")
    m.without_images = [name for index, name in enumerate(CIFAR10) if index not in labels]


def cifar100(m: Miniature) -> None:
    coarse = [f"superclass_{number}" for number in range(20)]
    fine = [19, 29, 0, 99]
    for split in ("train", "test"):
        images = stack(m, split, [CIFAR100[label] for label in fine], 32).transpose(0, 3, 1, 2).reshape(-1, 3072)
        value: dict[str, Any] = {"filenames": [f"{n}.png" for n in fine], "batch_label": f"{split} batch 1 of 1"}
        value |= {"fine_labels": fine, "coarse_labels": [11, 15, 4, 13], "data": images}
        m.files[f"cifar-100-python/{split}"] = pickle.dumps(value, 2)
        both = np.array([[11, 15, 4, 13], fine], np.uint8).T
        m.files[f"cifar-100-binary/{split}.bin"] = np.concatenate([both, images], 1).tobytes()
    m.files["cifar-100-python/meta"] = pickle.dumps({"fine_label_names": CIFAR100, "coarse_label_names": coarse}, 2)
    m.text("cifar-100-python/file.txt~", "")
    m.text("cifar-100-binary/fine_label_names.txt", *CIFAR100)
    m.text("cifar-100-binary/coarse_label_names.txt", *coarse)
    m.without_images = [name for index, name in enumerate(CIFAR100) if index not in fine]


def svhn(m: Miniature) -> None:
    for split in ("train", "test", "extra"):
        digits = np.array([1, 9, 2, 10, 3, 10], np.uint8)  # 10 stands for the digit 0
        images = stack(m, split, [str(digit % 10) for digit in digits], 32)
        m.files[f"{split}_32x32.mat"] = mat(X=images.transpose(1, 2, 3, 0), y=digits[:, None])
    m.without_images = list("45678")


def stl10(m: Miniature) -> None:
    for split in ("train", "test"):
        images = stack(m, split, STL10, 96)
        m.files[f"stl10_binary/{split}_X.bin"] = images.transpose(0, 3, 2, 1).tobytes()  # columns first
        m.files[f"stl10_binary/{split}_y.bin"] = bytes(range(1, 11))
    m.files["stl10_binary/unlabeled_X.bin"] = stack(m, "unlabeled", [None] * 3, 96).transpose(0, 3, 2, 1).tobytes()
    m.text("stl10_binary/class_names.txt", *STL10)
    m.text("stl10_binary/fold_indices.txt", *["0 1 2 3 4 "] * 10)


def black_and_white(m: Miniature, split: str, label: str) -> Pixels:
    grey = m.pixels(16, 16, "L")[..., 0]
    image = np.where(grey > np.median(grey), 255, 0).astype(np.uint8)
    m.know(split, label, image)
    return image


def semeion(m: Miniature) -> None:
    def line(digit: int) -> str:
        image = black_and_white(m, "train", str(digit)).reshape(-1) / 255
        return " ".join([*(f"{value:.4f}" for value in image), *(str(int(n == digit)) for n in range(10))]) + " "

    m.text("semeion.data", *(line(digit) for digit in (0, 3, 9, 1, 2, 4, 5, 6, 7, 8)))
    m.text("semeion.names", "1. Title: Semeion Handwritten Digit Data Set")


def usps(m: Miniature) -> None:
    def line(split: str, label: int) -> str:
        image = black_and_white(m, split, f"{label} | {label - 1}").reshape(-1) / 255 * 2 - 1
        return " ".join([str(label), *(f"{place}:{value:g}" for place, value in enumerate(image, 1))]) + " "

    for split, name in (("train", "usps"), ("test", "usps.t")):
        lines = [line(split, label) + "\n" for label in (7, 6, 5, 8, 4, 10, 1, 2, 3, 9)]
        m.files[f"{name}.bz2"] = bz2.compress("".join(lines).encode())


FER2013 = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


def fer2013(m: Miniature) -> None:
    rows = []
    for usage, split in FER2013.items():
        for emotion in range(7):
            pixels = m.raw(split, str(emotion), 48, 48, "L").reshape(-1)
            rows.append((emotion, " ".join(map(str, pixels)), usage))
    m.text("fer2013/fer2013.csv", "emotion,pixels,Usage", *(f"{e},{pixels},{usage}" for e, pixels, usage in rows))
    m.text("fer2013/README", "label numbers: 0 Angry 1 Disgust 2 Fear 3 Happy 4 Sad 5 Surprise 6 Neutral")
    m.text("fer2013/fer2013.bib", "@COMMENT")
    m.text("icml/icml_face_data.csv", "emotion, Usage, pixels", *(f"{e},{usage},{pixels}" for e, pixels, usage in rows))
    m.text(
        "kaggle/train.csv", "emotion,pixels", *(f'{e},"{pixels}"' for e, pixels, usage in rows if usage == "Training")
    )
    m.text("kaggle/test.csv", "pixels", *(f'"{pixels}"' for _, pixels, usage in rows if usage != "Training"))


def pcam(m: Miniature) -> None:
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        labels = np.array([0, 1, 1, 0], np.uint8)
        images = stack(m, split, [str(label) for label in labels], 96)
        start = f"pcam/camelyonpatch_level_2_split_{name}"
        m.files[f"{start}_x.h5"] = lambda x=images: h5(x=x)  # type: ignore[misc]
        m.files[f"{start}_y.h5"] = lambda y=labels[:, None, None, None]: h5(y=y)  # type: ignore[misc]
        rows = (f"{n},{bool(label)},False,{n},{n},camelyon16_train_normal_033" for n, label in enumerate(labels))
        m.text(f"{start}_meta.csv", ",tumor_patch,center_tumor_patch,coord_y,coord_x,wsi", *rows)


def lsun(m: Miniature) -> None:
    for split in ("train", "val"):
        for name in ("bedroom", "church_outdoor"):
            values = {}
            for number in range(3):
                data = encoded(Image.fromarray(m.pixels()), "WEBP", lossless=True)
                m.know(split, f"{name} | {name}_train | {name}_val", decoded(data))
                values[f"{number:040x}".encode()] = data
            m.files[f"{name}_{split}_lmdb/data.mdb"] = lambda values=values: lmdb(values)  # type: ignore[misc]
            m.files[f"{name}_{split}_lmdb/lock.mdb"] = bytes(8192)


def lsun_by_torchvision(root: Path) -> Mapping[str, Any]:
    names = ("bedroom", "church_outdoor")
    return {
        split: torchvision_set("LSUN", root, classes=[f"{name}_{split}" for name in names])
        for split in ("train", "val")
    }


PCAM = [f"pcam/camelyonpatch_level_2_split_{split}_{kind}.h5" for split in ("train", "valid", "test") for kind in "xy"]
QMNIST = [f"QMNIST/raw/qmnist-{split}-{kind}" for split in ("train", "test")
          for kind in ("images-idx3-ubyte", "labels-idx2-int")]  # fmt: skip

SETS = [
    mnist_like("MNIST", DIGITS),
    mnist_like("FashionMNIST", [f"{number} | {name}" for number, name in enumerate(CLOTHES)]),
    mnist_like("KMNIST", [f"{number} | {name}" for number, name in enumerate(KANA)]),
    Published(
        "EMNIST",
        emnist(*EMNIST),
        (
            Form(
                "`gzip.zip`, with its six sets",
                "gzip.zip",
                {**emnist_archives(*EMNIST), "gzip.zip": "gzip/"},
                refused="six datasets: give the files of one",
                says=("byclass", "letters"),
            ),
        ),
    ),
    *(
        Published(
            f"EMNIST {name}",
            emnist(name),
            (
                Form("the two files of each split, as torchvision unpacks them", "EMNIST/raw", only=("EMNIST/",)),
                Form("the `.gz` files and the mapping", "gzip", emnist_archives(name)),
            ),
            train_and_test("EMNIST", split=name),
        )
        for name in EMNIST
    ),
    Published(
        "QMNIST",
        qmnist,
        (
            Form("`raw/` as torchvision unpacks it", "QMNIST/raw"),
            Form("the four `.gz`", "QMNIST/raw", {f"{file}.gz": file for file in QMNIST}),
        ),
        train_and_test("QMNIST"),
    ),
    Published(
        "CIFAR10",
        cifar10,
        (
            folder("cifar-10-batches-py"),
            folder("cifar-10-batches-bin"),
            archive("cifar-10-python.tar.gz", "cifar-10-batches-py/"),
            archive("cifar-10-binary.tar.gz", "cifar-10-batches-bin/"),
        ),
        train_and_test("CIFAR10"),
    ),
    Published(
        "CIFAR100",
        cifar100,
        (
            folder("cifar-100-python"),
            folder("cifar-100-binary"),
            archive("cifar-100-python.tar.gz", "cifar-100-python/"),
            archive("cifar-100-binary.tar.gz", "cifar-100-binary/"),
        ),
        train_and_test("CIFAR100"),
    ),
    Published(
        "SVHN",
        svhn,
        (
            Form("`train_32x32.mat` and `test_32x32.mat`", only=("t",), splits=("train", "test")),
            Form(
                "the folder of these and `extra_32x32.mat`",
                refused="`--exclude 'extra*'`, or name the files",
                says=("extra_32x32.mat", "--exclude"),
            ),
            Form(
                "the folder of these and `extra_32x32.mat`", options={"exclude": ("extra*",)}, splits=("train", "test")
            ),
            Form("`train_32x32.mat` alone", "train_32x32.mat", only=("train",), splits=("train",)),
        ),
        by_split("SVHN", "train", "test", "extra"),
    ),
    Published(
        "STL10",
        stl10,
        (
            folder("stl10_binary"),
            archive("stl10_binary.tar.gz", "stl10_binary/"),
        ),
        by_split("STL10", "train", "test", "unlabeled"),
    ),
    Published(
        "SEMEION",
        semeion,
        (Form("the folder of `semeion.data`"),),
        lambda root: {"train": torchvision_set("SEMEION", root, download=False)},
    ),
    Published(
        "USPS",
        usps,
        (Form("the folder of `usps.bz2` and `usps.t.bz2`"),),
        train_and_test("USPS"),
    ),
    Published(
        "FER2013",
        fer2013,
        (
            Form("the folder of `fer2013.csv`", "fer2013", only=("fer2013/",)),
            archive("fer2013.tar.gz", "fer2013/", only=("fer2013/",)),
            Form("the folder of `icml_face_data.csv`", "icml", only=("icml/",)),
            Form("Kaggle's `train.csv` and `test.csv`", "kaggle", only=("kaggle/",), unlabelled=("val", "test")),
        ),
        by_split("FER2013", "train", "val+test=test"),
        named=False,
    ),
    Published(
        "PCAM",
        pcam,
        (
            Form("the folder of its `.h5` files", "pcam"),
            Form("the folder of its `.h5.gz` files", "pcam", {f"{file}.gz": file for file in PCAM}),
        ),
        by_split("PCAM", "train", "val", "test"),
        needs="h5py",
    ),
    Published(
        "LSUN",
        lsun,
        (
            Form("the folder of `CLASS_train_lmdb/` and `CLASS_val_lmdb/`"),
            Form(
                "the folder of its `.zip` files",
                archives={
                    f"{name}_{split}_lmdb.zip": f"{name}_{split}_lmdb/"
                    for name in ("bedroom", "church_outdoor")
                    for split in ("train", "val")
                },
            ),
        ),
        lsun_by_torchvision,
        needs="lmdb",
    ),
]
