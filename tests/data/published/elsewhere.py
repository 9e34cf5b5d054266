"""Popular datasets for which torchvision has no reader, and exports of labelling tools."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from tests.data.photos import encoded
from tests.data.published.making import Form, Miniature, Published, archive, decoded, folder, mat, npz, unpacked


def stanford_dogs(m: Miniature) -> None:
    """Annotation files have no suffix; the splits are in lists.tar, as MATLAB files."""
    breeds = ["n02085620-Chihuahua", "n02086240-Shih-Tzu", "n02116738-African_hunting_dog"]
    lists: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for number, breed in enumerate(breeds, start=1):
        for image in range(5):
            split = "test" if image > 2 else "train"
            name = f"{breed}/{breed[:9]}_{image * 37}"
            m.image(f"Images/{name}.jpg", split, f"{breed} | {breed[10:]}")
            m.text(f"Annotation/{name}", f"<annotation><object><name>{breed[10:]}</name></object></annotation>")
            lists[split].append((name, number))
    for split, rows in lists.items():
        names = np.array([[f"{name}.jpg"] for name, _ in rows] + [[None]], object)[:-1]
        notes = np.array([[name] for name, _ in rows] + [[None]], object)[:-1]
        labels = np.array([[label] for _, label in rows], np.uint8)
        m.files[f"{split}_list.mat"] = mat(file_list=names, annotation_list=notes, labels=labels)
    m.files["file_list.mat"] = mat(file_list=names)


def cub200(m: Miniature) -> None:
    """Five text files joined by image number."""
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "200.Common_Yellowthroat"]
    rows = [(name, label, image) for label, name in enumerate(names, start=1) for image in range(5)]
    top = "CUB_200_2011"
    for name, _, image in rows:
        path = f"{top}/images/{name}/{name[4:]}_{image:04}_{796111 + image}.jpg"
        m.image(path, "train" if image % 2 else "test", f"{name} | {name[4:]}")
    paths = [f"{name}/{name[4:]}_{image:04}_{796111 + image}.jpg" for name, _, image in rows]
    m.text(f"{top}/images.txt", *(f"{n} {path}" for n, path in enumerate(paths, 1)))
    m.text(f"{top}/image_class_labels.txt", *(f"{n} {label}" for n, (_, label, _) in enumerate(rows, 1)))
    m.text(f"{top}/train_test_split.txt", *(f"{n} {image % 2}" for n, (_, _, image) in enumerate(rows, 1)))
    m.text(f"{top}/classes.txt", *(f"{n} {name}" for n, name in enumerate(names, 1)))
    m.text(f"{top}/bounding_boxes.txt", *(f"{n} 1.0 1.0 9.0 9.0" for n in range(1, len(rows) + 1)))
    m.text(f"{top}/parts/parts.txt", "1 back", "2 beak")
    m.text(f"{top}/attributes/image_attribute_labels.txt", "1 1 0 3 27.7080")
    m.text(f"{top}/README", "Caltech-UCSD Birds-200-2011")
    m.text("attributes.txt", "1 has_bill_shape::curved_(up_or_down)")


def imagenet100(m: Miniature) -> None:
    names = ["n01440764 | tench", "n01443537 | goldfish", "n01484850 | great white shark", "n01491361 | tiger shark"]
    for number, label in enumerate(names):
        wnid = label[:9]
        m.images(f"train.X{1 + number // 2}/{{label}}/{wnid}_{{number}}.JPEG", "train", [label])
        m.images(f"val.X/{{label}}/ILSVRC2012_val_{number:04}{{number:04}}.JPEG", "val", [label], count=2)
    m.json("Labels.json", {label[:9]: label[12:] for label in names})


def tiny_imagenet(m: Miniature) -> None:
    names = {
        "n01443537": "goldfish, Carassius auratus",
        "n01629819": "European fire salamander",
        "n02124075": "Egyptian cat",
    }
    rows: list[str] = []
    for wnid, spelled in names.items():
        m.images(f"tiny-imagenet-200/train/{{label}}/images/{wnid}_{{number}}.JPEG", "train", [f"{wnid} | {spelled}"])
        m.text(
            f"tiny-imagenet-200/train/{wnid}/{wnid}_boxes.txt", *(f"{wnid}_{n}.JPEG\t0\t10\t9\t11" for n in (1, 2, 3))
        )
        for _ in range(2):
            m.image(f"tiny-imagenet-200/val/images/val_{len(rows)}.JPEG", "val", f"{wnid} | {spelled}")
            rows.append(f"val_{len(rows)}.JPEG\t{wnid}\t0\t3\t9\t11")
    m.image("tiny-imagenet-200/test/images/test_0.JPEG", "test", None)
    m.text("tiny-imagenet-200/val/val_annotations.txt", *rows)
    m.text("tiny-imagenet-200/wnids.txt", *reversed(names))
    m.text("tiny-imagenet-200/words.txt", "n00001740\tentity", *(f"{wnid}\t{name}" for wnid, name in names.items()))


def split_folders(
    train: str, test: str, classes: list[str], ours: str = "test", file: str = "{number}.jpg"
) -> Callable[[Miniature], None]:
    """Class folders below split folders with non-standard names."""

    def make(m: Miniature) -> None:
        m.images(f"{train}/{{label}}/{file}", "train", classes)
        m.images(f"{test}/{{label}}/{file}", ours, classes, count=2, first=20000)

    return make


def intel(m: Miniature) -> None:
    split_folders("seg_train/seg_train", "seg_test/seg_test", ["buildings", "forest", "sea"])(m)
    m.image("seg_pred/seg_pred/10004.jpg", "pred", None)


def cat_and_dog(m: Miniature) -> None:
    split_folders("training_set/training_set", "test_set/test_set", ["cats", "dogs"], file="{label:.3}.{number}.jpg")(m)
    m.text("training_set/training_set/cats/_DS_Store", "")
    m.text("test_set/test_set/dogs/_DS_Store", "")


def dogs_vs_cats(m: Miniature) -> None:
    m.images("train/{label}.{number}.jpg", "train", ["cat", "dog"], first=0)
    for number in (1, 2):
        m.image(f"test1/{number}.jpg", "test", None)
    m.text("sampleSubmission.csv", "id,label", "1,0", "2,0")


def pet_images(m: Miniature) -> None:
    """Some files left by Windows are among the images."""
    m.images("PetImages/{label}/{number}.jpg", "train", ["Cat", "Dog"], first=0)
    m.files["PetImages/Cat/Thumbs.db"] = m.files["PetImages/Dog/Thumbs.db"] = b"\xd0\xcf\x11\xe0"
    m.files["MSR-LA - 3467.docx"] = b"PK\3\4"
    m.text("readme[1].txt", "Cats and dogs")


def plant_village(m: Miniature) -> None:
    for kind in ("color", "grayscale", "segmented"):
        for label in ("Apple___Apple_scab", "Corn_(maize)___healthy"):
            for number in range(3):
                split = "train" if kind == "color" else ""
                name = f"{number:08}-0000___FREC_Scab {3335 + number}.JPG"
                m.image(
                    f"plantvillage dataset/{kind}/{label}/{name}", split, label, "L" if kind == "grayscale" else "RGB"
                )


def pacs(m: Miniature) -> None:
    for domain in ("art_painting", "cartoon", "photo", "sketch"):
        m.images(f"kfold/{domain}/{{label}}/pic_{{number:03}}.jpg", domain, ["dog", "guitar", "person"])


OFFICE_HOME = "OfficeHomeDataset_10072016"


def office_home(m: Miniature) -> None:
    for domain in ("Art", "Clipart", "Product", "Real World"):
        m.images(f"{OFFICE_HOME}/{domain}/{{label}}/{{number:05}}.jpg", domain, ["Alarm_Clock", "Bed", "TV"])
    m.text(f"{OFFICE_HOME}/ImageInfo.csv", ",image,category,domain", "0,Art_Alarm_Clock_00001,Alarm_Clock,Art")
    m.text(f"{OFFICE_HOME}/imagelist.txt", "Art/Alarm_Clock/00001.jpg")


def med_mnist(m: Miniature) -> None:
    arrays: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        labels = np.array([[0], [3], [8], [3]], np.uint8)
        arrays[f"{split}_images"] = np.stack([m.raw(split, str(label), 28, 28) for label in labels[:, 0]])
        arrays[f"{split}_labels"] = labels
    m.files["pathmnist.npz"] = npz(**arrays)
    m.without_images = [str(label) for label in range(9)]


def chest_mnist(m: Miniature) -> None:
    """Fourteen findings; an image can have any number of them."""
    images = np.stack([m.pixels(28, 28, "L")[..., 0] for _ in range(4)])
    labels = np.eye(4, 14, dtype=np.uint8)
    labels[3] = labels[0] | labels[1]
    arrays = {f"{split}_images": images for split in ("train", "val", "test")}
    m.files["chestmnist.npz"] = npz(**arrays, **{name.replace("images", "labels"): labels for name in arrays})


def aptos(m: Miniature) -> None:
    rows = [(f"{number * 0xABCDEF:012x}", number % 5) for number in range(10)]
    for name, grade in rows:
        m.image(f"train_images/{name}.png", "train", str(grade))
    for number in (1, 2):
        m.image(f"test_images/{number * 0xFEDCBA:012x}.png", "test", None)
    m.text("train.csv", "id_code,diagnosis", *(f"{name},{grade}" for name, grade in rows))
    m.text("test.csv", "id_code", *(f"{number * 0xFEDCBA:012x}" for number in (1, 2)))
    m.text("sample_submission.csv", "id_code,diagnosis", *(f"{number * 0xFEDCBA:012x},0" for number in (1, 2)))


def cassava(m: Miniature) -> None:
    names = {"0": "Cassava Bacterial Blight (CBB)", "3": "Cassava Mosaic Disease (CMD)", "4": "Healthy"}
    rows = [(f"{1000015157 + number * 7919}.jpg", "034"[number % 3]) for number in range(9)]
    for name, label in rows:
        m.image(f"train_images/{name}", "train", f"{label} | {names[label]}")
    m.image("test_images/2216849948.jpg", "test", None)
    m.text("train.csv", "image_id,label", *(f"{name},{label}" for name, label in rows))
    m.text("sample_submission.csv", "image_id,label", "2216849948.jpg,4")
    m.json("label_num_to_disease_map.json", {**names, "1": "Brown Streak", "2": "Green Mottle"})
    m.without_images = ["1 | Brown Streak", "2 | Green Mottle"]


def plant_pathology(m: Miniature) -> None:
    """A cell may list several diseases; the first is the class."""
    labels = ["healthy", "scab", "scab frog_eye_leaf_spot complex", "rust", "complex", "healthy"]
    for number, label in enumerate(labels):
        m.image(f"train_images/{number:016x}.jpg", "train", label.split()[0])
    m.without_images = ["frog_eye_leaf_spot"]
    m.text("train.csv", "image,labels", *(f"{number:016x}.jpg,{label}" for number, label in enumerate(labels)))
    m.text("sample_submission.csv", "image,labels", "85f8cb619c66b863.jpg,healthy")


def covid_radiography(m: Miniature) -> None:
    top = "COVID-19_Radiography_Dataset"
    for label in ("COVID", "Lung_Opacity", "Viral Pneumonia"):
        for number in (1, 2, 3):
            m.image(f"{top}/{label}/images/{label}-{number}.png", "train", label, "L")
            m.image(f"{top}/{label}/masks/{label}-{number}.png", mode="L")
        m.files[f"{top}/{label}.metadata.xlsx"] = b"PK\3\4"
    m.text(f"{top}/README.md.txt", "COVID-19 CHEST X-RAY DATABASE")


def ham10000(m: Miniature) -> None:
    kinds = ["akiec", "bkl", "nv"]
    rows = [(f"ISIC_{24306 + number:07}", kinds[number % 3]) for number in range(9)]
    for number, (name, kind) in enumerate(rows):
        m.image(f"HAM10000_images_part_{1 + number // 5}/{name}.jpg", "train", kind)
    lines = (f"HAM_{number // 2:07},{name},{kind},histo,80.0,male,scalp" for number, (name, kind) in enumerate(rows))
    m.text("HAM10000_metadata.csv", "lesion_id,image_id,dx,dx_type,age,sex,localization", *lines)
    pixels = ",".join(f"pixel{number:04}" for number in range(64))
    m.text("hmnist_8_8_L.csv", f"{pixels},label", ",".join(["169"] * 64) + ",2")


def chest_xray(m: Miniature) -> None:
    """The archive repeats everything twice: in chest_xray/chest_xray and, as empty files, in __MACOSX."""
    for split in ("train", "val", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            for number in (1, 2):
                name = f"{split}/{label}/{'IM' if label == 'NORMAL' else 'person'}-{number:04}.jpeg"
                m.image(f"chest_xray/{name}", split, label, "L")
                m.files[f"chest_xray/chest_xray/{name}"] = m.files[f"chest_xray/{name}"]
                m.files[f"chest_xray/__MACOSX/chest_xray/{split}/{label}/._{number:04}.jpeg"] = b"\0\5\x16\7"
    m.files["chest_xray/chest_xray/.DS_Store"] = b"\0\0\0\1Bud1"


def flowers_recognition(m: Miniature) -> None:
    m.images("flowers/{label}/{number}_n.jpg", "train", ["daisy", "rose", "tulip"])
    for path, data in list(m.files.items()):
        m.files[f"flowers/{path}"] = data


def roboflow_folder(m: Miniature) -> None:
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        m.images(f"{name}/{{label}}/IMG_{{number}}_jpg.rf.{'ab' * 16}.jpg", split, ["paper", "rock", "scissors"])
    m.text("README.dataset.txt", "# Rock Paper Scissors > 2022")
    m.text("README.roboflow.txt", "The dataset includes 27 images.")


def roboflow_csv(m: Miniature) -> None:
    """Multi-label export: a column of 0 and 1 for each class, and a space after each comma."""
    for split, name in (("train", "train"), ("val", "valid")):
        rows = []
        for number in range(6):
            m.image(f"{name}/IMG_{number}_jpg.rf.{'cd' * 16}.jpg", split, ("paper", "rock", "scissors")[number % 3])
            hot = ", ".join(str(int(place == number % 3)) for place in range(3))
            rows.append(f"IMG_{number}_jpg.rf.{'cd' * 16}.jpg, {hot}")
        m.text(f"{name}/_classes.csv", "filename, paper, rock, scissors", *rows)
    m.text("README.roboflow.txt", "The dataset includes 12 images.")


def label_studio(m: Miniature) -> None:
    tasks, rows = [], []
    for number in range(6):
        name, choice = f"{number:08x}-leaf_{number}.jpg", ("healthy", "rust")[number % 2]
        m.image(f"images/{name}", "train", choice)
        result = [{"value": {"choices": [choice]}, "from_name": "choice", "to_name": "image", "type": "choices"}]
        data = {"image": f"/data/upload/3/{name}"}
        tasks.append({"id": number, "annotations": [{"id": number, "result": result}], "data": data, "project": 3})
        rows.append(f"/data/upload/3/{name},{number},{choice},1,{number},2024-05-01T10:00:00Z,12.3")
    m.json("json/project-3-at-2024-05-01.json", tasks)
    m.text("csv/project-3-at-2024-05-01.csv", "image,id,choice,annotator,annotation_id,created_at,lead_time", *rows)
    for path in [path for path in m.files if path.startswith("images/")]:
        for kind in ("json", "csv"):
            m.files[f"{kind}/{path}"] = m.files[path]


def monkeys(m: Miniature) -> None:
    """The label file names the classes, in columns padded with blanks, and counts their images."""
    names = {"n0": "mantled_howler", "n1": "patas_monkey", "n2": "bald_uakari"}
    labels = [f"{label} | {name}" for label, name in names.items()]
    m.images("training/training/{label}/{label}{number:03}.jpg", "train", labels)
    m.images("validation/validation/{label}/{label}0{number}.jpg", "val", labels, count=2)
    head = "Label, Latin Name              , Common Name                   , Train Images , Validation Images"
    m.text(
        "monkey_labels.txt",
        head,
        *(f"{label}   , alouatta_palliata\t  , {name}  , 3, 2" for label, name in names.items()),
    )


def fruits360(m: Miniature) -> None:
    """Photographs of several fruits have no class. A folder of papers contains images too."""
    split_folders(
        "fruits-360/Training", "fruits-360/Test", ["Apple Red 1", "Banana", "Lemon"], file="{number}_100.jpg"
    )(m)
    m.image("fruits-360/test-multiple_fruits/apple_apricot_nectarine.jpg", "pred", None)
    m.text("fruits-360/readme.md", "# Fruits-360 dataset")
    m.text("fruits-360/LICENSE", "MIT License")


def animals10(m: Miniature) -> None:
    m.images("raw-img/{label}/OIP-{number}.jpeg", "train", ["cane", "gatto", "ragno"])
    m.text("translate.py", 'translate = {"cane": "dog", "gatto": "cat", "ragno": "spider"}')


def isic2018(m: Miniature) -> None:
    """One-hot columns, written as decimals."""
    kinds = "MEL NV BCC AKIEC BKL DF VASC".split()
    rows = []
    for number in range(14):
        name = f"ISIC_{24306 + number:07}"
        m.image(f"ISIC2018_Task3_Training_Input/{name}.jpg", "train", kinds[number % 7])
        rows.append(",".join([name, *(f"{float(place == number % 7)}" for place in range(7))]))
    folder, head = "ISIC2018_Task3_Training_GroundTruth", ",".join(["image", *kinds])
    m.text(f"{folder}/ISIC2018_Task3_Training_GroundTruth.csv", head, *rows)
    m.text(f"{folder}/ATTRIBUTION.txt", "HAM10000")
    m.text("ISIC2018_Task3_Training_Input/LICENSE.txt", "CC-BY-NC")


def english_characters(m: Miniature) -> None:
    rows = []
    for number, character in enumerate("019ABZabz", start=1):
        for image in (1, 2):
            m.image(f"Img/img{number:03}-{image:03}.png", "train", character)
            rows.append(f"Img/img{number:03}-{image:03}.png,{character}")
    m.text("english.csv", "image,label", *rows)


def uc_merced(m: Miniature) -> None:
    m.images("UCMerced_LandUse/Images/{label}/{label}{number:02}.tif", "train", ["agricultural", "airplane", "beach"])
    m.text("UCMerced_LandUse/readme.txt", "UC Merced Land Use Dataset")


def cvat_imagenet(m: Miniature) -> None:
    """CVAT's export "ImageNet 1.0": a folder for each label; images without one go to no_label."""
    m.images("{label}/{label}_frame_{number:06}.jpg", "train", ["cat", "dog"])
    m.text("synsets.txt", "cat", "dog")


def cvat_images(m: Miniature) -> None:
    """CVAT's own export, with a tag for each image."""
    entries = []
    for number in range(4):
        m.image(f"images/frame_{number:06}.png", "train", ("cat", "dog")[number % 2])
        tag = f'<tag label="{("cat", "dog")[number % 2]}" source="manual"></tag>'
        entries.append(f'<image id="{number}" name="frame_{number:06}.png" width="16" height="12">{tag}</image>')
    m.text("annotations.xml", '<?xml version="1.0" encoding="utf-8"?>', "<annotations>", *entries, "</annotations>")


def image_folder(m: Miniature) -> None:
    """Hugging Face's imagefolder with metadata: a JSONL next to the images of each split."""
    for split, name in (("train", "train"), ("val", "validation")):
        rows = []
        for number in range(6):
            m.image(f"{name}/{number:04}.png", split, ("cat", "dog")[number % 2])
            rows.append(f'{{"file_name": "{number:04}.png", "label": "{("cat", "dog")[number % 2]}"}}')
        m.text(f"{name}/metadata.jsonl", *rows)
    m.text("README.md", "---", "license: mit", "---")


def save_to_disk(m: Miniature) -> None:
    """`DatasetDict.save_to_disk` of Hugging Face: a stream of Arrow for each split, the class names in its schema."""
    names = ["cat", "dog", "horse"]
    label = {"names": names, "_type": "ClassLabel"}
    info = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for split in ("train", "test"):
        images = []
        for number in range(6):
            data = encoded(Image.fromarray(m.pixels()), "PNG")
            m.know(split, names[number % 3], decoded(data))
            images.append({"bytes": data, "path": None})
        schema = pa.schema([("image", image_type), ("label", pa.int64())], {"huggingface": json.dumps(info)})
        stream = io.BytesIO()
        with pa.ipc.new_stream(stream, schema) as writer:
            writer.write(pa.record_batch([pa.array(images, image_type), pa.array([0, 1, 2] * 2)], schema=schema))
        m.files[f"{split}/data-00000-of-00001.arrow"] = stream.getvalue()
        m.json(f"{split}/dataset_info.json", info["info"])
        state: dict[str, Any] = {
            "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
            "_fingerprint": "87ffb77edc3a35c6",
        }
        state |= {"_format_columns": None, "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False}
        m.json(f"{split}/state.json", {**state, "_split": split})
    m.json("dataset_dict.json", {"splits": ["train", "test"]})


def one(name: str, maker: Callable[[Miniature], None], *forms: Form, **more: Any) -> Published:
    return Published(name, maker, forms or (unpacked(),), **more)


DOMAINS = "the folder of one domain, or all with `--classes-at 2`"
BEFORE_DOT = {"label_from": "^([a-z]+)"}
SETS = [
    one("10 Monkey Species", monkeys),
    one("Animals-10", animals10),
    one("APTOS 2019", aptos, unpacked(says=("diagnosis",))),
    one("Cassava Leaf Disease", cassava, unpacked(says=("train.csv",))),
    one(
        "Cats and Dogs (Microsoft)",
        pet_images,
        folder("PetImages"),
        Form("the folder of `PetImages/`"),
        archive("kagglecatsanddogs_5340.zip", ""),
    ),
    one("cat-and-dog (Kaggle)", cat_and_dog),
    one("Chest X-Ray Images (Pneumonia)", chest_xray, folder("chest_xray"), archive("archive.zip", "chest_xray")),
    one("COVID-19 Radiography", covid_radiography, folder("COVID-19_Radiography_Dataset", says=("masks",))),
    one("CUB-200-2011", cub200, folder("CUB_200_2011"), archive("CUB_200_2011.tgz", "")),
    one("CVAT, ImageNet 1.0", cvat_imagenet),
    one("CVAT for images 1.1", cvat_images),
    one(
        "Dogs vs. Cats",
        dogs_vs_cats,
        unpacked(refused="the class is in the file's name: `--label-from`", says=("--label-from", "cat.0.jpg")),
        unpacked(options=BEFORE_DOT),
        Form("`train.zip` and `test1.zip`", "", {"train.zip": "train/", "test1.zip": "test1/"}, BEFORE_DOT),
    ),
    one("English Handwritten Characters", english_characters),
    one("Fruits-360", fruits360,
        folder("fruits-360", says=("test-multiple_fruits",)),
        folder("fruits-360", options={"exclude": ("test-multiple_fruits",)})),
    one("ISIC 2018, task 3", isic2018),
    one("Flowers Recognition (Kaggle)", flowers_recognition, folder("flowers")),
    one("HAM10000", ham10000,
        unpacked(says=("column 'dx'",)),
        unpacked(options={"label": "dx"}, says=("column 'dx'",))),
    one("Hugging Face imagefolder", image_folder),
    one("Hugging Face save_to_disk", save_to_disk),
    one("ImageNet-100 (Kaggle)", imagenet100, unpacked(), archive("archive.zip", "")),
    one("Intel Image Classification", intel, unpacked(), archive("archive.zip", "")),
    one("Label Studio, CSV", label_studio, folder("csv", only=("csv/",), says=("choice",))),
    one("Label Studio, JSON", label_studio, folder("json", only=("json/",))),
    one("MedMNIST, one label", med_mnist, Form("`pathmnist.npz`", "pathmnist.npz")),
    one(
        "MedMNIST, several labels",
        chest_mnist,
        Form("`chestmnist.npz`", "chestmnist.npz", refused="several labels for each image",
             says=("train_labels", "several labels")),
    ),
    one(
        "Office-Home",
        office_home,
        folder(OFFICE_HOME, refused=DOMAINS, says=("Art", "Real World", "--classes-at")),
        Form("`Clipart/`", f"{OFFICE_HOME}/Clipart", splits=("Clipart",), together=True),
        folder(OFFICE_HOME, options={"classes_at": "2"}, together=True),
    ),
    one(
        "PACS",
        pacs,
        folder("kfold", refused=DOMAINS, says=("art_painting", "sketch", "--classes-at")),
        Form("`photo/`", "kfold/photo", splits=("photo",), together=True),
        folder("kfold", options={"classes_at": "2"}, together=True),
    ),
    one(
        "Plant Pathology 2021",
        plant_pathology,
        unpacked(says=("scab frog_eye_leaf_spot complex", "the first is the class")),
    ),
    one(
        "PlantVillage",
        plant_village,
        folder("plantvillage dataset", refused="three variants of each image: pass the folder of one",
               says=("color", "grayscale", "segmented")),
        Form("`color/`", "plantvillage dataset/color"),
    ),
    one("Roboflow, folders", roboflow_folder, unpacked(), archive("Rock Paper Scissors.folder.zip", "")),
    one("Roboflow, multi-label CSV", roboflow_csv),
    one("Stanford Dogs", stanford_dogs,
        Form("`Images/`, `Annotation/` and the lists"),
        Form("the three `.tar` files", "",
             {"lists.tar": "*.mat", "images.tar": "Images/", "annotation.tar": "Annotation/"}),
        folder("Images", only=("Images/",), together=True)),
    one("Tiny-ImageNet-200", tiny_imagenet, folder("tiny-imagenet-200"),
        archive("tiny-imagenet-200.zip", "tiny-imagenet-200/")),
    one("UC Merced Land Use", uc_merced, folder("UCMerced_LandUse"),
        archive("UCMerced_LandUse.zip", "UCMerced_LandUse/")),
]  # fmt: skip
