"""Datasets of torchvision whose labels or splits are in files next to the images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tests.data.published.arrays import by_split, torchvision_set
from tests.data.published.making import Form, Miniature, Published, archive, cells, folder, mat, records

ATTRIBUTES = ["5_o_Clock_Shadow", "Eyeglasses", "Male", "Smiling"]


def celeba(m: Miniature) -> None:
    """40 attributes, each -1 or 1, and the person's identity: several labels for each image, but no class."""
    lines: dict[str, list[str]] = {"attr": [], "partition": [], "identity": [], "bbox": [], "landmarks": []}
    for number in range(12):
        name, smiling = f"{number + 1:06}.jpg", number % 2
        split = ("train", "val", "test")[min(number // 4, 2)]
        m.image(f"celeba/img_align_celeba/{name}", split, "1" if smiling else "-1")
        values = [-1 if number % 3 else 1, -1 if number % 5 else 1, 1 if number % 4 > 1 else -1, 1 if smiling else -1]
        lines["attr"].append(f"{name} " + " ".join(f"{value:2}" for value in values))
        lines["partition"].append(f"{name} {min(number // 4, 2)}")
        lines["identity"].append(f"{name} {2880 + number // 3}")
        lines["bbox"].append(f"{name}    95  71  226  313")
        lines["landmarks"].append(f"{name} 69  109  106  113   77  142   73  152  108  154")
    m.text("celeba/list_attr_celeba.txt", "12", " ".join(ATTRIBUTES) + " ", *lines["attr"])
    m.text("celeba/list_eval_partition.txt", *lines["partition"])
    m.text("celeba/identity_CelebA.txt", *lines["identity"])
    m.text("celeba/list_bbox_celeba.txt", "12", "image_id x_1 y_1 width height", *lines["bbox"])
    eyes = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    m.text("celeba/list_landmarks_align_celeba.txt", "12", eyes, *lines["landmarks"])


def celeba_by_torchvision(root: Path) -> Mapping[str, Any]:
    def smiling(attributes: Any) -> int:
        return int(attributes[ATTRIBUTES.index("Smiling")])

    return {
        ours: torchvision_set("CelebA", root, split=its, target_transform=smiling)
        for ours, its in (("train", "train"), ("val", "valid"), ("test", "test"))
    }


def dtd(m: Miniature) -> None:
    """Ten ways to split. In the first, image k of a class is train, val or test if k modulo 3 is 0, 1 or 2."""
    classes = ["banded", "blotchy", "zigzagged"]
    names = [f"{label}/{label}_{number:04}.jpg" for label in classes for number in range(6)]
    for position, name in enumerate(names):
        m.image(f"dtd/dtd/images/{name}", ("train", "val", "test")[position % 3], name.partition("/")[0])
    for partition in range(1, 11):
        for place, split in enumerate(("train", "val", "test")):
            m.text(f"dtd/dtd/labels/{split}{partition}.txt", *names[(place + partition - 1) % 3 :: 3])
    m.text("dtd/dtd/labels/labels_joint_anno.txt", *(f"{name} {name.partition('/')[0]} " for name in names))
    m.files["dtd/dtd/imdb/imdb.mat"] = mat(images=records([{"id": 1, "name": names[0]}]))


AIRCRAFT = [
    ("Boeing", "Boeing 737", "737-300"),
    ("Boeing", "Boeing 737", "737-400"),
    ("Boeing", "Boeing 747", "747-400"),
    ("Airbus", "A320", "A320"),
    ("McDonnell Douglas", "F/A-18", "F/A-18"),
]


def aircraft(m: Miniature) -> None:
    """Three levels of labels, in images_variant_trainval.txt and similar files; images_train.txt has names only."""
    top = "fgvc-aircraft-2013b/data"
    rows: dict[str, list[tuple[str, tuple[str, str, str]]]] = {"train": [], "val": [], "test": []}
    for number in range(15):
        split = ("train", "val", "test")[number // 5]
        kind = AIRCRAFT[number % 5]
        m.image(f"{top}/images/{1000000 + number * 77:07}.jpg", split, kind[2])
        rows[split].append((f"{1000000 + number * 77:07}", kind))
    for split, parts in (("train", ["train"]), ("val", ["val"]), ("test", ["test"]), ("trainval", ["train", "val"])):
        of_split = [row for part in parts for row in rows[part]]
        m.text(f"{top}/images_{split}.txt", *(name for name, _ in of_split))
        for place, level in enumerate(("manufacturer", "family", "variant")):
            m.text(f"{top}/images_{level}_{split}.txt", *(f"{name} {kind[place]}" for name, kind in of_split))
    for place, levels in enumerate(("manufacturers", "families", "variants")):
        m.text(f"{top}/{levels}.txt", *sorted({kind[place] for kind in AIRCRAFT}))
    m.text(f"{top}/images_box.txt", *(f"{name} 1 1 9 9" for split in rows.values() for name, _ in split))
    m.text("fgvc-aircraft-2013b/README.html", "<html>")
    m.text("fgvc-aircraft-2013b/vl_argparse.m", "function [conf, args] = vl_argparse(conf, args)")


def flowers102(m: Miniature) -> None:
    """imagelabels.mat has labels from 1 by image number; the splits are lists of image numbers."""
    labels = np.array([[77, 77, 1, 1, 102, 102, 9, 9, 77, 1, 102, 9, 77, 1, 102]], np.uint8)
    numbers = np.arange(1, 16, dtype=np.uint16)[None]
    for number, label in zip(numbers[0], labels[0], strict=True):
        split = ("train", "val", "test")[(number - 1) % 3]
        m.image(f"flowers-102/jpg/image_{number:05}.jpg", split, f"{label}")
    m.files["flowers-102/imagelabels.mat"] = mat(labels=labels)
    m.files["flowers-102/setid.mat"] = mat(trnid=numbers[:, 0::3], valid=numbers[:, 1::3], tstid=numbers[:, 2::3])


def food101(m: Miniature) -> None:
    names = {"apple_pie": "Apple pie", "baby_back_ribs": "Baby back ribs", "waffles": "Waffles"}
    rows: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for label, spelled in names.items():
        for number in range(4):
            split = "test" if number == 1 else "train"
            m.image(f"food-101/images/{label}/{1000 + number * 337}.jpg", split, f"{label} | {spelled}")
            rows[split].setdefault(label, []).append(f"{label}/{1000 + number * 337}")
    for split, by_class in rows.items():
        m.json(f"food-101/meta/{split}.json", by_class)
        m.text(f"food-101/meta/{split}.txt", *(name for listed in by_class.values() for name in listed))
    m.text("food-101/meta/classes.txt", *names)
    m.text("food-101/meta/labels.txt", *names.values())
    m.text("food-101/README.txt", "Food-101")
    m.text("food-101/license_agreement.txt", "Food-101")


def oxford_pet(m: Miniature) -> None:
    """images/ also contains MATLAB files. annotations/trimaps/ has a mask for each image, and files left by macOS."""
    breeds = {"Abyssinian": 1, "american_bulldog": 2, "Bengal": 1, "yorkshire_terrier": 2}
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for number, (breed, species) in enumerate(breeds.items(), start=1):
        for image in range(1, 6):
            split = "test" if image > 3 else "train"
            name = f"{breed}_{image if image != 3 else 100}"
            m.image(f"oxford-iiit-pet/images/{name}.jpg", split, breed)
            m.image(f"oxford-iiit-pet/annotations/trimaps/{name}.png", mode="L")
            m.files[f"oxford-iiit-pet/annotations/trimaps/._{name}.png"] = b"\0\5\x16\7"
            m.text(f"oxford-iiit-pet/annotations/xmls/{name}.xml", "<annotation></annotation>")
            rows[split].append(f"{name} {number} {species} {1 + (number - 1) // 2}")
    m.files["oxford-iiit-pet/images/Abyssinian_100.mat"] = mat(x=[1])
    head = ["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids", "#SPECIES: 1:Cat 2:Dog"]
    m.text("oxford-iiit-pet/annotations/list.txt", *head, *sorted(rows["train"] + rows["test"]))
    m.text("oxford-iiit-pet/annotations/trainval.txt", *rows["train"])
    m.text("oxford-iiit-pet/annotations/test.txt", *rows["test"])
    m.text("oxford-iiit-pet/annotations/README", "The Oxford-IIIT Pet Dataset")


def stanford_cars(m: Miniature) -> None:
    names = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "smart fortwo Convertible 2012"]
    boxes = {"bbox_x1": 1, "bbox_y1": 1, "bbox_x2": 9, "bbox_y2": 9}
    for split, labels in (("train", [3, 1, 2, 1, 3]), ("test", [2, 3, 1])):
        rows = []
        for number, label in enumerate(labels, start=1):
            m.image(f"stanford_cars/cars_{split}/{number:05}.jpg", split, f"{names[label - 1]} | {label}")
            rows.append(boxes | {"class": label, "fname": f"{number:05}.jpg"})
        with_labels = "devkit/cars_train_annos.mat" if split == "train" else "cars_test_annos_withlabels.mat"
        m.files[f"stanford_cars/{with_labels}"] = mat(annotations=records(rows))
    without = [{name: value for name, value in row.items() if name != "class"} for row in rows]
    m.files["stanford_cars/devkit/cars_test_annos.mat"] = mat(annotations=records(without))
    m.files["stanford_cars/devkit/cars_meta.mat"] = mat(class_names=cells(names))
    m.text("stanford_cars/devkit/README.txt", "This file documents the devkit of the Cars dataset.")
    m.text("stanford_cars/devkit/train_perfect_preds.txt", "3", "1", "2", "1", "3")
    m.text("stanford_cars/devkit/eval_train.m", "function accuracy = eval_train(pred)")


def voc(m: Miniature) -> None:
    """Every class has a list that says for each image whether it is visible (1), not (-1) or hard to see (0)."""
    top = "VOCdevkit/VOC2012"
    kinds = ["aeroplane", "person", "tvmonitor"]
    seen = [("aeroplane",), ("person",), ("person", "tvmonitor"), ("tvmonitor",), ("aeroplane", "person"), ("person",)]
    names = [f"2008_{number:06}" for number in range(len(seen))]
    parts = {"train": names[:4], "val": names[4:], "trainval": names}
    for name, present in zip(names, seen, strict=True):
        m.image(f"{top}/JPEGImages/{name}.jpg")
        objects = "".join(f"<object><name>{one}</name></object>" for one in present)
        m.text(f"{top}/Annotations/{name}.xml", f"<annotation><filename>{name}.jpg</filename>{objects}</annotation>")
    m.image(f"{top}/SegmentationClass/{names[0]}.png", mode="P")
    m.image(f"{top}/SegmentationObject/{names[0]}.png", mode="P")
    for split, listed in parts.items():
        m.text(f"{top}/ImageSets/Main/{split}.txt", *listed)
        for kind in kinds:
            m.text(f"{top}/ImageSets/Main/{kind}_{split}.txt",
                   *(f"{name} {1 if kind in seen[names.index(name)] else -1:2}" for name in listed))  # fmt: skip


SETS = [
    Published(
        "CelebA",
        celeba,
        (
            Form(
                "`img_align_celeba/` and its lists",
                "celeba",
                refused="several labels for each image: choose one with `--label`",
                says=("list_attr_celeba.txt", "--label"),
            ),
            Form("`img_align_celeba/` and its lists", "celeba", options={"label": "Smiling"}),
            Form(
                "`img_align_celeba.zip` and the lists",
                "celeba",
                {"celeba/img_align_celeba.zip": "celeba/img_align_celeba/"},
                options={"label": "Smiling"},
            ),
        ),
        celeba_by_torchvision,
    ),
    Published(
        "DTD",
        dtd,
        (
            Form(
                "`dtd/`",
                "dtd/dtd",
                refused="ten ways to split: choose one with `--split-from`",
                says=("labels/train1.txt", "--split-from 1"),
            ),
            Form("`dtd/`", "dtd/dtd", options={"split_from": "1"}),
            Form(
                "`dtd-r1.0.1.tar.gz`",
                "dtd/dtd-r1.0.1.tar.gz",
                {"dtd/dtd-r1.0.1.tar.gz": "dtd/dtd/"},
                options={"split_from": "1"},
            ),
        ),
        by_split("DTD", "train", "val", "test"),
    ),
    Published(
        "FGVCAircraft",
        aircraft,
        (
            Form(
                "`fgvc-aircraft-2013b/`",
                "fgvc-aircraft-2013b",
                refused="three levels of labels: choose one with `--label`",
                says=("variant", "family", "manufacturer", "--label"),
            ),
            folder("fgvc-aircraft-2013b", options={"label": "variant"}),
            archive("fgvc-aircraft-2013b.tar.gz", "fgvc-aircraft-2013b/", options={"label": "variant"}),
        ),
        by_split("FGVCAircraft", "train", "val", "test"),
    ),
    Published(
        "Flowers102",
        flowers102,
        (
            Form("`jpg/` with `imagelabels.mat` and `setid.mat`", "flowers-102"),
            Form(
                "`102flowers.tgz` with both `.mat` files",
                "flowers-102",
                {"flowers-102/102flowers.tgz": "flowers-102/jpg/"},
            ),
        ),
        by_split("Flowers102", "train", "val", "test"),
        named=False,
    ),
    Published(
        "Food101",
        food101,
        (folder("food-101"), archive("food-101.tar.gz", "food-101/")),
        by_split("Food101", "train", "test"),
    ),
    Published(
        "OxfordIIITPet",
        oxford_pet,
        (
            Form("`images/` and `annotations/`", "oxford-iiit-pet"),
            Form(
                "`images.tar.gz` and `annotations.tar.gz`",
                "oxford-iiit-pet",
                {
                    "oxford-iiit-pet/images.tar.gz": "oxford-iiit-pet/images/",
                    "oxford-iiit-pet/annotations.tar.gz": "oxford-iiit-pet/annotations/",
                },
            ),
        ),
        by_split("OxfordIIITPet", "train=trainval", "test"),
    ),
    Published(
        "StanfordCars",
        stanford_cars,
        (
            Form("the folders and `.mat` files unpacked", "stanford_cars"),
            Form(
                "the `.tgz` files",
                "stanford_cars",
                {
                    "stanford_cars/cars_train.tgz": "stanford_cars/cars_train/",
                    "stanford_cars/cars_test.tgz": "stanford_cars/cars_test/",
                    "stanford_cars/car_devkit.tgz": "stanford_cars/devkit/",
                },
            ),
        ),
        by_split("StanfordCars", "train", "test"),
    ),
    Published(
        "VOCDetection",
        voc,
        (
            Form(
                "`VOC2012/`",
                "VOCdevkit/VOC2012",
                refused="images of several classes: write a CSV of those to tell apart",
                says=("ImageSets/Main",),
            ),
        ),
    ),
]
