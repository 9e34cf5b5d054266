"""Datasets with a folder per class, at any depth and with any split folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.data import miniature as imagenet
from tests.data.published.arrays import by_split, torchvision_set
from tests.data.published.making import Form, Miniature, Published, archive, decoded, folder, mat


def caltech101(m: Miniature) -> None:
    names = ["Faces", "Faces_easy", "Motorbikes", "airplanes", "accordion", "gerenuk"]
    m.images("caltech101/101_ObjectCategories/{label}/image_{number:04}.jpg", "train", names)
    m.image("caltech101/101_ObjectCategories/BACKGROUND_Google/image_0001.jpg")
    m.text("caltech101/101_ObjectCategories/BACKGROUND_Google/tmp", "")
    for name in ("Faces_2", "Faces_3", "Motorbikes_16", "Airplanes_Side_2", "accordion", "gerenuk"):
        for number in (1, 2, 3):
            m.files[f"caltech101/Annotations/{name}/annotation_{number:04}.mat"] = mat(
                box_coord=[[2, 9, 3, 9]], obj_contour=[[1, 2]]
            )
    m.text("caltech101/caltech-101/show_annotation.m", "function show_annotation(imgfile, annotation_file)")


def caltech256(m: Miniature) -> None:
    names = ["001.ak47", "002.american-flag", "003.backpack", "004.baseball-bat"]
    for name in names:
        m.images(
            f"caltech256/256_ObjectCategories/{name}/{name[:3]}_{{number:04}}.jpg", "train", [f"{name} | {name[4:]}"]
        )
    m.image("caltech256/256_ObjectCategories/257.clutter/257_0001.jpg")
    m.text("caltech256/256_ObjectCategories/003.backpack/greg/vision309/056_0004.jpg", "")
    m.text("caltech256/256_ObjectCategories/004.baseball-bat/RENAME2", "#!/usr/bin/perl")


NETTE = {
    "n01440764 | tench": ("n01440764", "n03000684"),
    "n03000684 | chain saw": ("n03000684", "n01440764"),
    "n03888257 | parachute": ("n03888257", "n03888257"),
}


def imagenette(m: Miniature) -> None:
    """noisy_imagenette.csv repeats the path of each image, and has labels that are wrong on purpose."""
    rows = ["path,noisy_labels_0,noisy_labels_1,noisy_labels_5,noisy_labels_25,noisy_labels_50,is_valid"]
    for split in ("train", "val"):
        for label, (wnid, noisy) in NETTE.items():
            for number in range(3):
                path = f"{split}/{wnid}/{wnid}_{number + 10 * (split == 'val')}.JPEG"
                m.image(f"imagenette2-320/{path}", split, label)
                rows.append(f"{path},{wnid},{wnid},{wnid},{wnid},{noisy},{split == 'val'}")
    m.text("imagenette2-320/noisy_imagenette.csv", *rows)
    m.files["imagenette2-320/.DS_Store"] = b"\0\0\0\1Bud1"


def eurosat(m: Miniature) -> None:
    m.images("eurosat/2750/{label}/{label}_{number}.jpg", "train", ["AnnualCrop", "Forest", "SeaLake"])


def gtsrb(m: Miniature) -> None:
    """The training images of each class are in a folder with its own CSV. Another CSV has the labels of test."""
    head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    for label in (0, 1, 14):
        for training in ("GTSRB/Training", "GTSRB/Final_Training/Images"):
            names = [f"{track:05}_{frame:05}.ppm" for track in (0, 1) for frame in (0, 1)]
            m.text(
                f"gtsrb/{training}/{label:05}/GT-{label:05}.csv", head, *(f"{n};16;12;1;1;9;9;{label}" for n in names)
            )
            for name in names:
                path = f"gtsrb/{training}/{label:05}/{name}"
                if training == "GTSRB/Training":
                    m.image(path, "train", str(label))
                else:  # the same images, from an archive with another name
                    m.files[path] = m.files[f"gtsrb/GTSRB/Training/{label:05}/{name}"]
        m.image(f"gtsrb/GTSRB/Final_Test/Images/{label + 7:05}.ppm", "test", str(label))
    m.text("gtsrb/GTSRB/Final_Test/Images/GT-final_test.test.csv", head.removesuffix(";ClassId"),
           *(f"{label + 7:05}.ppm;16;12;1;1;9;9" for label in (0, 1, 14)))  # fmt: skip
    m.text("gtsrb/GT-final_test.csv", head, *(f"{label + 7:05}.ppm;16;12;1;1;9;9;{label}" for label in (0, 1, 14)))
    m.text("gtsrb/GTSRB/Readme-Images.txt", "German Traffic Sign Recognition Benchmark")


OLD_TEST, FIXED = ("gtsrb/GTSRB/Readme", "gtsrb/GTSRB/Final_Test", "gtsrb/GT-final"), ("gtsrb/GTSRB/Training",)


def imagenet_archives(m: Miniature) -> None:
    """ImageNet, from the miniature that its own tests use; its truncated photograph is left out."""
    spelled = {wnid: f"{wnid} | {name} | {name.split(', ')[0]}" for wnid, name in imagenet.CLASSES.items()}
    images = imagenet.photographs()
    for split in ("train", "val"):
        for key, (wnid, data) in images[split].items():
            if key == "n03126707/n03126707_9.JPEG":
                continue
            assert wnid is not None
            m.know(split, spelled[wnid], decoded(data))
            m.files[key if split == "train" else f"val/{key.partition('/')[2]}"] = data
    m.files |= {f"kit/{path}": data for path, data in imagenet.devkit_files().items()}


def country211(m: Miniature) -> None:
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        m.images(f"country211/{name}/{{label}}/{{number}}.jpg", split, ["AD", "ES", "ZW"])


def rendered_sst2(m: Miniature) -> None:
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        m.images(f"rendered-sst2/{name}/{{label}}/{{number:04}}.png", split, ["negative", "positive"])
    m.text("rendered-sst2/README.txt", "The Rendered SST2 Dataset")


INAT = {"Aves": ["Corvus corax", "Parus major"], "Plantae": ["Acer rubrum", "Quercus alba"]}


def inaturalist(year: int) -> Any:
    """2017 to 2019: species folders below a folder for each super-category. From 2018 on, species are numbers."""

    def make(m: Miniature) -> None:
        top = "train_val_images" if year == 2017 else f"train_val{year}"
        species = [(above, name) for above, names in INAT.items() for name in names]
        parts: dict[str, dict[str, list[Any]]] = {"train": {}, "val": {}}
        for number, (above, name) in enumerate(species):
            label = f"{name} | {number} | {above}/{name}" if year == 2017 else f"{number} | {name} | {above}/{number}"
            for image in range(4):
                split = "val" if image == 3 else "train"
                path = f"{top}/{above}/{name if year == 2017 else number}/{number * 10 + image:032x}.jpg"
                m.image(path, split, label)
                part = parts[split]
                part.setdefault("images", []).append(
                    {"id": number * 10 + image, "file_name": path, "width": 16, "height": 12, "license": 3}
                )
                part.setdefault("annotations", []).append(
                    {"id": number * 10 + image, "image_id": number * 10 + image, "category_id": number}
                )
        for split, part in parts.items():
            part["categories"] = [{"id": n, "supercategory": a, "name": name} for n, (a, name) in enumerate(species)]
            m.json(f"{split}{year}.json", {"info": {"year": year}, **part, "licenses": []})

    return make


def inaturalist_forms(year: int) -> tuple[Form, ...]:
    top = "train_val_images" if year == 2017 else f"train_val{year}"
    asked = {"refused": "`--classes-at 2`: species lie below super-categories", "says": ("--classes-at", "Aves")}
    return (
        Form(f"`{top}/` with `train{year}.json` and `val{year}.json`"),
        folder(top, only=(top,), **asked),
        folder(top, only=(top,), options={"classes_at": "2"}, together=True),
        archive(f"{top}.tar.gz", top, only=(top,), options={"classes_at": "2"}, together=True),
    )


SPECIES = [
    "00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris",
    "00001_Animalia_Annelida_Polychaeta_Sabellida_Sabellidae_Sabella_spallanzanii",
    "00002_Plantae_Tracheophyta_Polypodiopsida_Polypodiales_Pteridaceae_Adiantum_capillus",
]


def inaturalist2021(m: Miniature) -> None:
    for split, parts in (("train", range(3)), ("val", range(3, 5))):
        images, annotations = [], []
        for number, label in enumerate(SPECIES):
            for image in parts:
                path = f"{split}/{label}/{number * 10 + image:032x}.jpg"
                m.image(path, split, f"{label} | {label[6:]} | {' '.join(label.split('_')[-2:])}")
                images.append({"id": number * 10 + image, "width": 16, "height": 12, "file_name": path})
                annotations.append({"id": image, "image_id": number * 10 + image, "category_id": number})
        kinds = [{"id": n, "name": " ".join(s.split("_")[-2:]), "image_dir_name": s} for n, s in enumerate(SPECIES)]
        m.json(f"{split}.json", {"images": images, "categories": kinds, "annotations": annotations})


def lfw(m: Miniature) -> None:
    people = {"Aaron_Eckhart": 1, "George_W_Bush": 3, "Zico": 2}
    for name, count in people.items():
        m.images(f"lfw-py/lfw_funneled/{name}/{{label}}_{{number:04}}.jpg", "train", [name], count=count)
    m.text("lfw-py/lfw_funneled/pairs_01.txt", "George_W_Bush\t1\t2")
    m.text("lfw-py/pairs.txt", "10\t300", "George_W_Bush\t1\t2", "Zico\t1\tGeorge_W_Bush\t3")
    m.text("lfw-py/lfw-names.txt", *(f"{name}\t{count}" for name, count in people.items()))
    m.text("lfw-py/people.txt", "2", "1", "Aaron_Eckhart\t1", "2", "George_W_Bush\t3", "Zico\t2")
    m.text("lfw-py/peopleDevTrain.txt", "2", "Aaron_Eckhart\t1", "Zico\t2")
    m.text("lfw-py/peopleDevTest.txt", "1", "George_W_Bush\t3")


def omniglot(m: Miniature) -> None:
    """character01 is a different character in each alphabet."""
    for split, name, alphabets in (
        ("train", "images_background", ("Balinese", "Greek")),
        ("test", "images_evaluation", ("Manipuri",)),
    ):
        for index, alphabet in enumerate(alphabets):
            for character in ("character01", "character02"):
                for drawer in range(1, 4):
                    path = f"omniglot-py/{name}/{alphabet}/{character}/{index:04}_{drawer:02}.png"
                    m.image(path, split, f"{alphabet}/{character}", mode="1")


SCENES = ["/a/abbey", "/a/apartment_building/outdoor", "/b/badlands", "/b/bakery/shop"]


def sun397(m: Miniature) -> None:
    for scene in SCENES:
        m.images(f"SUN397{scene}/sun_{'a' * 14}{{number:03}}.jpg", "train", [f"{scene} | {scene[3:]}"])
    m.text("SUN397/ClassName.txt", *SCENES)
    m.text("SUN397/README.txt", "SUN397 benchmark")


def places365(m: Miniature) -> None:
    for number, scene in enumerate(SCENES):
        m.images(f"data_large{scene}/{{number:08}}.jpg", "train", [f"{scene} | {scene[3:]}"])
        m.image(f"val_large/Places365_val_{number + 1:08}.jpg", "val", f"{scene} | {scene[3:]}")
    for number in (1, 2):
        m.image(f"test_large/Places365_test_{number:08}.jpg", "test", None)
    m.text("categories_places365.txt", *(f"{scene} {number}" for number, scene in enumerate(SCENES)))
    listed = [f"{scene}/{image:08}.jpg {number}" for number, scene in enumerate(SCENES) for image in (1, 2, 3)]
    m.text("places365_train_standard.txt", *listed)
    m.text("places365_val.txt", *(f"Places365_val_{number + 1:08}.jpg {number}" for number in range(len(SCENES))))
    m.text("places365_test.txt", "Places365_test_00000001.jpg", "Places365_test_00000002.jpg")


def places365_by_torchvision(root: Path) -> Mapping[str, Any]:
    (root / "data_large_standard").symlink_to(root / "data_large")  # torchvision renames the folder
    return by_split("Places365", "train=train-standard", "val", "test")(root)


def places365_easy(m: Miniature) -> None:
    names = ["abbey", "apartment_building-outdoor", "bakery-shop"]
    for split in ("train", "val"):
        m.images(f"places365_standard/{split}/{{label}}/{split}_{{number:08}}.jpg", split, names)
        m.text(
            f"places365_standard/{split}.txt",
            *(f"{split}/{name}/{split}_{n:08}.jpg" for name in names for n in (1, 2, 3)),
        )


def clevr(m: Miniature) -> None:
    for split in ("train", "val"):
        scenes = []
        for number in range(6):
            name = f"CLEVR_{split}_{number:06}.png"
            m.image(f"clevr/CLEVR_v1.0/images/{split}/{name}", split, str(3 + number % 3))
            objects = [{"color": "brown", "shape": "cube", "3d_coords": [1.0, 2.0, 0.7]}] * (3 + number % 3)
            scenes.append({"image_index": number, "split": split, "image_filename": name, "objects": objects})
        m.json(f"clevr/CLEVR_v1.0/scenes/CLEVR_{split}_scenes.json", {"info": {"split": split}, "scenes": scenes})
        m.json(f"clevr/CLEVR_v1.0/questions/CLEVR_{split}_questions.json", {"questions": []})
    m.image("clevr/CLEVR_v1.0/images/test/CLEVR_test_000000.png", "test", None)
    m.text("clevr/CLEVR_v1.0/README.txt", "CLEVR")


def by_year(**folders: str) -> Any:
    """torchvision needs a folder named after the version. folders: by split, the version and the published name."""

    def read(root: Path) -> Mapping[str, Any]:
        found = {}
        for split, pair in folders.items():
            version, _, name = pair.partition("=")
            (root / version).symlink_to(root / name)
            found[split.replace("_", "+")] = torchvision_set("INaturalist", root, version=version)
        return found

    return read


IMAGENET = Form(
    "the archives as downloaded",
    archives={
        **{f"{wnid}.tar": f"{wnid}/|" for wnid in imagenet.CLASSES},
        "ILSVRC2012_img_train.tar": "n",
        "ILSVRC2012_img_val.tar": "val/|",
        "ILSVRC2012_devkit_t12.tar.gz": "kit/|",
    },
)
SETS = [
    Published(
        "Caltech101",
        caltech101,
        (
            Form("`101_ObjectCategories/`", "caltech101/101_ObjectCategories", says=("BACKGROUND_Google",)),
            Form(
                "the folder of `101_ObjectCategories/` and `Annotations/`",
                "caltech101",
                only=("caltech101/101", "caltech101/Annotations"),
            ),
            Form(
                "`caltech-101.zip`",
                "caltech101/caltech-101.zip",
                {
                    "caltech101/caltech-101/101_ObjectCategories.tar.gz": "caltech101/|101_ObjectCategories/",
                    "caltech101/caltech-101/Annotations.tar": "caltech101/|Annotations/",
                    "caltech101/caltech-101.zip": "caltech101/caltech-101/",
                },
            ),
        ),
        lambda root: {"train": torchvision_set("Caltech101", root)},
    ),
    Published(
        "Caltech256",
        caltech256,
        (
            Form("`256_ObjectCategories/`", "caltech256/256_ObjectCategories", says=("257.clutter",)),
            Form(
                "`256_ObjectCategories.tar`",
                "caltech256/256_ObjectCategories.tar",
                {"caltech256/256_ObjectCategories.tar": "caltech256/256_ObjectCategories/"},
            ),
        ),
        lambda root: {"train": torchvision_set("Caltech256", root)},
        oracle=Form(
            "without the clutter, whose number torchvision takes from its place",
            only=("caltech256/256_ObjectCategories/0",),
        ),
    ),
    Published(
        "CLEVRClassification",
        clevr,
        (
            Form(
                "`CLEVR_v1.0/`",
                "clevr/CLEVR_v1.0",
                refused="its label, the number of objects in a scene, is no column; write a CSV",
                says=("scenes/CLEVR_train_scenes.json",),
            ),
        ),
        by_split("CLEVRClassification", "train", "val", "test"),
    ),
    Published(
        "Country211",
        country211,
        (folder("country211"), archive("country211.tgz", "country211/")),
        by_split("Country211", "train", "val=valid", "test"),
    ),
    Published(
        "EuroSAT",
        eurosat,
        (
            Form("`2750/`", "eurosat/2750"),
            Form("the folder of `2750/`", "eurosat"),
            Form("`EuroSAT.zip`", "eurosat/EuroSAT.zip", {"eurosat/EuroSAT.zip": "eurosat/2750"}),
        ),
        lambda root: {"train": torchvision_set("EuroSAT", root)},
    ),
    Published(
        "GTSRB",
        gtsrb,
        (
            Form("`GTSRB-Training_fixed.zip` and the test archives, unpacked", "gtsrb", only=OLD_TEST + FIXED),
            Form(
                "`GTSRB_Final_Training_Images.zip` and the test archives, unpacked",
                "gtsrb",
                only=(*OLD_TEST, "gtsrb/GTSRB/Final_Training"),
            ),
            Form(
                "the three `.zip` files",
                "gtsrb",
                {
                    "gtsrb/GTSRB_Final_Training_Images.zip": "gtsrb/GTSRB/Final_Training",
                    "gtsrb/GTSRB_Final_Test_Images.zip": "gtsrb/GTSRB/Final_Test",
                    "gtsrb/GTSRB_Final_Test_GT.zip": "gtsrb/GT-final_test.csv",
                },
                only=(*OLD_TEST, "gtsrb/GTSRB/Final_Training"),
            ),
            Form("the training images alone", "gtsrb/GTSRB/Training", only=FIXED, splits=("train",)),
        ),
        by_split("GTSRB", "train", "test"),
    ),
    Published(
        "ImageNet",
        imagenet_archives,
        (IMAGENET,),
        by_split("ImageNet", "train", "val"),
        oracle=IMAGENET,
    ),
    Published(
        "Imagenette",
        imagenette,
        (
            folder("imagenette2-320", says=("noisy_imagenette.csv",)),
            archive("imagenette2-320.tgz", "imagenette2-320/", says=("noisy_imagenette.csv",)),
        ),
        by_split("Imagenette", "train", "val", size="320px"),
    ),
    *(
        Published(f"INaturalist {year}", inaturalist(year), inaturalist_forms(year), by_year(train_val=f"{year}={top}"))
        for year, top in ((2017, "train_val_images"), (2018, "train_val2018"), (2019, "train_val2019"))
    ),
    Published(
        "INaturalist 2021",
        inaturalist2021,
        (
            Form("`train/` and `val/` with their `.json` files"),
            Form(
                "`train.tar.gz` and `val.tar.gz`",
                archives={"train.tar.gz": "train/", "val.tar.gz": "val/"},
                only=("train/", "val/"),
            ),
        ),
        by_year(train="2021_train=train", val="2021_valid=val"),
    ),
    Published(
        "LFWPeople",
        lfw,
        (
            Form("`lfw_funneled/`", "lfw-py/lfw_funneled"),
            Form("`lfw-funneled.tgz`", "lfw-py/lfw-funneled.tgz", {"lfw-py/lfw-funneled.tgz": "lfw-py/lfw_funneled/"}),
        ),
        lambda root: {"train": torchvision_set("LFWPeople", root, split="10fold")},
    ),
    Published(
        "Omniglot",
        omniglot,
        (
            Form(
                "the two folders of images",
                "omniglot-py",
                refused="`--classes-at '*/CLASS/CLASS'`: each alphabet has its character01",
                says=("--classes-at", "character01"),
            ),
            Form(
                "the two folders of images",
                "omniglot-py",
                options={"classes_at": "*/CLASS/CLASS"},
                together=True,
            ),
            Form(
                "`images_background.zip`",
                "omniglot-py/images_background.zip",
                {"omniglot-py/images_background.zip": "omniglot-py/images_background/"},
                options={"classes_at": "CLASS/CLASS"},
                splits=("train",),
            ),
        ),
        lambda root: {
            split: torchvision_set("Omniglot", root, background=split == "train") for split in ("train", "test")
        },
    ),
    Published(
        "Places365",
        places365,
        (
            Form("the folders of images and the file lists"),
            Form(
                "the `.tar` files",
                archives={
                    "train_large_places365standard.tar": "data_large/",
                    "val_large.tar": "val_large/",
                    "test_large.tar": "test_large/",
                    "filelist_places365-standard.tar": "*.txt",
                },
            ),
        ),
        places365_by_torchvision,
    ),
    Published(
        "Places365, easy directories",
        places365_easy,
        (folder("places365_standard"), archive("places365standard_easyformat.tar", "places365_standard/")),
    ),
    Published(
        "RenderedSST2",
        rendered_sst2,
        (folder("rendered-sst2"), archive("rendered-sst2.tgz", "rendered-sst2/")),
        by_split("RenderedSST2", "train", "val", "test"),
    ),
    Published(
        "SUN397",
        sun397,
        (folder("SUN397"), archive("SUN397.tar.gz", "SUN397/")),
        lambda root: {"train": torchvision_set("SUN397", root)},
    ),
]
