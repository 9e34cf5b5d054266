"""Which folders are splits and which are classes: tiny copies of real dataset structures, read correctly or refused.

A structure is written as paths with shell braces. Every file contains its own path, minus the parts listed in `alike`,
so that only copies are equal."""

import re
import shlex
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support.errors import error_of

from tench.data.files.tree import open_tree
from tench.data.layouts import folder
from tench.data.options import SourceOptions
from tench.data.source import open_source
from tench.data.table import Dataset, made
from tench.errors import TenchError

Truth = dict[str, dict[str | None, int]]
"""By split: the number of images of each class; None stands for images without a label."""


def expanded(pattern: str) -> list[str]:
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    if numbers := re.fullmatch(r"(\d+)\.\.(\d+)", found[1]):
        choices = [f"{number:0{len(numbers[1])}}" for number in range(int(numbers[1]), int(numbers[2]) + 1)]
    else:
        choices = found[1].split(",")
    return [path for one in choices for path in expanded(pattern[: found.start()] + one + pattern[found.end() :])]


def make(path: Path, *patterns: str, alike: tuple[str, ...] = ()) -> Path:
    for name in [name for pattern in patterns for name in expanded(pattern)]:
        if name.endswith("/"):
            (path / name).mkdir(parents=True)
            continue
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        content = name
        for part in alike:
            content = content.replace(part, "")
        (path / name).write_text(content)
    return path


def read(path: Path, **options: Any) -> Dataset:
    contents = folder.read(open_tree(path, path.parent / "spool", SourceOptions(**options)))
    return made(contents, source=str(path), layout=folder.NAME)


def counts(dataset: Dataset) -> Truth:
    """The number of images of each class by split. Checks that each row's class is in its path or its label is -1."""
    found: Truth = {}
    for split, table in dataset.splits.items():
        of_rows = [dataset.classes.ids[label] if label >= 0 else None for label in table.labels]
        for row, class_id in enumerate(of_rows):
            assert class_id is None or class_id in table.read(row).decode()
        found[split] = dict(Counter(of_rows))
    return found


def refusal(path: Path, **options: Any) -> str:
    return error_of(read)(path, **options).replace(str(path), "SOURCE")


def each(*names: str, count: int = 3) -> dict[str | None, int]:
    return dict.fromkeys(names, count)


READ_RIGHT: dict[str, tuple[tuple[str, ...], Truth, tuple[str, ...]]] = {
    "seg_train/seg_train, an unlabelled seg_pred (Intel scenes)": (
        (
            "seg_train/seg_train/{forest,sea}/{0..2}.jpg",
            "seg_test/seg_test/{forest,sea}/{3..5}.jpg",
            "seg_pred/seg_pred/{6..8}.jpg",
        ),
        {"train": each("forest", "sea"), "test": each("forest", "sea")},
        (
            "Read as the split train: seg_train.",
            "Read as the split test: seg_test.",
            "Classes are the folders in seg_train/seg_train.",
            "Left out: images in folders next to the split folders seg_test, seg_train "
            "(3 files, such as seg_pred/seg_pred/6.jpg).",
        ),
    ),
    "training_set/training_set (cat-and-dog)": (
        ("training_set/training_set/{cats,dogs}/{0..2}.jpg", "test_set/test_set/{cats,dogs}/{3..5}.jpg"),
        {"train": each("cats", "dogs"), "test": each("cats", "dogs")},
        (
            "Read as the split train: training_set.",
            "Read as the split test: test_set.",
            "Classes are the folders in training_set/training_set.",
        ),
    ),
    "TrainSet and ValSet": (
        ("{TrainSet,ValSet}/{a,b}/{0..2}.jpg",),
        {"train": each("a", "b"), "val": each("a", "b")},
        ("Read as the split train: TrainSet.", "Read as the split val: ValSet."),
    ),
    "train_data and test_data": (
        ("{train_data,test_data}/{a,b}/{0..2}.jpg",),
        {"train": each("a", "b"), "test": each("a", "b")},
        ("Read as the split train: train_data.", "Read as the split test: test_data."),
    ),
    "train.X1, train.X2 and val.X (ImageNet-100)": (
        (
            "train.X1/n0{1,2}/{0..2}.JPEG",
            "train.X2/n0{3,4}/{0..2}.JPEG",
            "val.X/n0{1,2,3,4}/{3..5}.JPEG",
            "Labels.json",
        ),
        {"train": each("n01", "n02", "n03", "n04"), "val": each("n01", "n02", "n03", "n04")},
        (
            "Read as the split train: train.X1, train.X2.",
            "Read as the split val: val.X.",
            "Left out: files that may contain labels and were not read (1 file: Labels.json).",
        ),
    ),
    "Final_Training/Images, a flat Final_Test/Images (GTSRB)": (
        (
            "GTSRB/Final_Training/Images/0000{0,1}/{0..2}.ppm",
            "GTSRB/Final_Training/Images/0000{0,1}/GT.csv",
            "GTSRB/Final_Test/Images/{00..02}.ppm",
            "GTSRB/Readme-Images.txt",
        ),
        {"train": each("00000", "00001"), "test": {None: 3}},
        (
            "Read as the split train: Final_Training.",
            "Read as the split test: Final_Test.",
            "Classes are the folders in GTSRB/Final_Training/Images.",
            "test has no class folders, so its images have no labels.",
            "Left out: files that are not images, by their suffix "
            "(2 files, such as GTSRB/Final_Training/Images/00000/GT.csv).",
        ),
    ),
    "rps, rps-test-set and a flat rps-validation (rock, paper, scissors)": (
        (
            "rps/rps/{rock,paper}/{0..2}.png",
            "rps-test-set/rps-test-set/{rock,paper}/{0..2}.png",
            "rps-validation/{rock1,paper2}.png",
        ),
        {"train": each("paper", "rock"), "val": {None: 2}, "test": each("paper", "rock")},
        (
            "Read as the split train: rps.",
            "Read as the split val: rps-validation.",
            "Read as the split test: rps-test-set.",
            "Classes are the folders in rps/rps.",
            "val has no class folders, so its images have no labels.",
        ),
    ),
    "training/training (10 monkey species)": (
        ("training/training/n{0,1}/{0..2}.jpg", "validation/validation/n{0,1}/{0..2}.jpg", "monkey_labels.txt"),
        {"train": each("n0", "n1"), "val": each("n0", "n1")},
        (
            "Classes are the folders in training/training.",
            "Left out: files that may contain labels and were not read (1 file: monkey_labels.txt).",
        ),
    ),
    "trainval and test": (
        ("{trainval,test}/{a,b}/{0..2}.jpg",),
        {"train": each("a", "b"), "test": each("a", "b")},
        ("Read as the split train: trainval.",),
    ),
    "images/train/CLASS": (
        ("images/{train,val}/{a,b}/{0..2}.jpg",),
        {"train": each("a", "b"), "val": each("a", "b")},
        ("Classes are the folders in images/train.",),
    ),
    "a set of another form next to the plain split folders (Fruits-360)": (
        ("{Training,Test}/{Apple Braeburn,Kiwi}/{0..2}_100.jpg", "test-multiple_fruits/{0..2}.jpg"),
        {"train": each("Apple Braeburn", "Kiwi"), "test": each("Apple Braeburn", "Kiwi")},
        (
            "Left out: images in folders next to the split folders Test, Training "
            "(3 files, such as test-multiple_fruits/0.jpg).",
        ),
    ),
    "splits inside of the class folders (ModelNet views)": (
        ("{airplane,bathtub}/train/{0..3}.jpg", "{airplane,bathtub}/test/{4..5}.jpg"),
        {"train": each("airplane", "bathtub", count=4), "test": each("airplane", "bathtub", count=2)},
        ("Splits are folders inside the class folders, such as airplane/train.",),
    ),
    "a wrapper (EuroSAT)": (
        ("EuroSAT/2750/{Forest,River}/{0..2}.jpg",),
        {"train": each("Forest", "River")},
        ("No folder is named like a split, so all images are train.", "Classes are the folders in EuroSAT/2750."),
    ),
    "wrappers over four levels, and a picture next to one": (
        ("a/b/c/d/{Cat,Dog}/{00..20}.jpg", "a/preview.png", "a/README.md"),
        {"train": each("Cat", "Dog", count=21)},
        (
            "No folder is named like a split, so all images are train.",
            "Classes are the folders in a/b/c/d.",
            "Left out: images above the class folders (1 file: a/preview.png).",
        ),
    ),
    "data/CLASS next to a README": (
        ("data/{cat,dog}/{0..2}.jpg", "README.md", "LICENSE.txt"),
        {"train": each("cat", "dog")},
        ("No folder is named like a split, so all images are train.", "Classes are the folders in data."),
    ),
    "class folders of one folder each (LFW of Kaggle)": (
        ("lfw/{A_B/A_B,C_D/C_D}/0{1..3}.jpg",),
        {"train": each("A_B", "C_D")},
        ("No folder is named like a split, so all images are train.", "Classes are the folders in lfw."),
    ),
    "letters above the classes, some a level deeper (SUN397)": (
        ("SUN397/{a/abbey,a/apartment_building/outdoor,b/badlands,b/bakery/shop}/{0..2}.jpg",),
        {"train": each("abbey", "apartment_building/outdoor", "badlands", "bakery/shop")},
        (
            "No folder is named like a split, so all images are train.",
            "The class folders are in single-letter folders; a class is the path below the letter.",
        ),
    ),
    "letters next to a flat val (Places365)": (
        ("data_large/{a/airfield,a/alley,b/bakery/shop,b/barn}/{0..2}.jpg", "val_large/{0..2}.jpg"),
        {"train": each("airfield", "alley", "bakery/shop", "barn"), "val": {None: 3}},
        (
            "Read as the split train: data_large.",
            "Read as the split val: val_large.",
            "The class folders are in single-letter folders; a class is the path below the letter.",
            "val has no class folders, so its images have no labels.",
        ),
    ),
    "letters that are classes (sign language)": (
        ("{A,B,C}/{A,B,C}{0..2}.jpg",),
        {"train": each("A", "B", "C", count=9)},
        ("No folder is named like a split, so all images are train.",),
    ),
    "a second copy of the classes (flowers)": (
        ("{daisy,rose}/{0..2}.jpg", "flowers/{daisy,rose}/{0..2}.jpg"),
        {"train": each("daisy", "rose")},
        (
            "No folder is named like a split, so all images are train.",
            "Left out: a second copy of the folders next to it (6 files, such as flowers/daisy/0.jpg).",
        ),
    ),
    "a second copy of the splits (chest X-rays)": (
        (
            "{train,test,val}/{NORMAL,PNEUMONIA}/{0..2}.jpeg",
            "chest_xray/{train,test,val}/{NORMAL,PNEUMONIA}/{0..2}.jpeg",
        ),
        {split: each("NORMAL", "PNEUMONIA") for split in ("train", "val", "test")},
        ("Left out: a second copy of the folders next to it (18 files, such as chest_xray/test/NORMAL/0.jpeg).",),
    ),
    "a folder of all images next to the classes": (
        ("{kitten,all}/kitten{0..3}.jpg", "{puppy,all}/puppy{0..3}.jpg"),
        {"train": each("kitten", "puppy", count=4)},
        (
            "No folder is named like a split, so all images are train.",
            "Left out: the same images as in the other class folders (8 files, such as all/kitten0.jpg).",
        ),
    ),
    "masks next to the images of each class (COVID-19 radiography)": (
        ("{COVID,Normal}/{images,masks}/x-{1..3}.png", "COVID.metadata.xlsx"),
        {"train": each("COVID", "Normal")},
        (
            "No folder is named like a split, so all images are train.",
            "Left out: masks or annotations, by the name of their folder (6 files, such as COVID/masks/x-1.png).",
            "Left out: files that may contain labels and were not read (1 file: COVID.metadata.xlsx).",
        ),
    ),
    "masks by suffix (BUSI)": (
        ("{benign,normal}/x ({1..3}).png", "{benign,normal}/x ({1..3})_mask.png", "benign/x (1)_mask_1.png"),
        {"train": each("benign", "normal")},
        (
            "No folder is named like a split, so all images are train.",
            "Left out: masks or annotations, by their file names (7 files, such as benign/x (1)_mask.png).",
        ),
    ),
    "ground truth by suffix": (
        ("{a,b}/{0..2}.jpg", "{a,b}/{0..2}_GT.png"),
        {"train": each("a", "b")},
        (
            "No folder is named like a split, so all images are train.",
            "Left out: masks or annotations, by their file names (6 files, such as a/0_GT.png).",
        ),
    ),
    "segmentations in a folder of their own (CUB)": (
        ("images/{001.A,002.B}/{0..2}.jpg", "segmentations/{001.A,002.B}/{0..2}.png"),
        {"train": each("001.A", "002.B")},
        (
            "No folder is named like a split, so all images are train.",
            "Classes are the folders in images.",
            "Left out: masks or annotations, by the name of their folder (6 files, such as segmentations/001.A/0.png).",
        ),
    ),
    "a folder seg with the names of the images next to it": (
        ("{a,b}/{0..2}.jpg", "{a,b}/seg/{0..2}.png"),
        {"train": each("a", "b")},
        (
            "No folder is named like a split, so all images are train.",
            "Left out: masks or annotations, by the name of their folder (6 files, such as a/seg/0.png).",
        ),
    ),
    "classes that are called mask (face masks)": (
        ("{mask,no_mask}/{0..2}.png",),
        {"train": each("mask", "no_mask")},
        ("No folder is named like a split, so all images are train.",),
    ),
    "WithMask and WithoutMask": (
        ("Face Mask Dataset/{Train,Test}/{WithMask,WithoutMask}/{0..2}.png",),
        {"train": each("WithMask", "WithoutMask"), "test": each("WithMask", "WithoutMask")},
        ("Classes are the folders in Face Mask Dataset/Train.",),
    ),
    "an unlabelled test/test": (
        ("train/{a,b}/{0..2}.jpg", "test/test/{0..2}.jpg"),
        {"train": each("a", "b"), "test": {None: 3}},
        ("test has no class folders, so its images have no labels.",),
    ),
    "an unlabelled test1": (
        ("train/{a,b}/{0..2}.jpg", "test1/{0..2}.jpg"),
        {"train": each("a", "b"), "test": {None: 3}},
        ("Read as the split test: test1.", "test has no class folders, so its images have no labels."),
    ),
    "an unlabelled test/unknown, and more without a split": (
        ("train/{a,b}/{0..2}.jpg", "test/unknown/{0..2}.jpg", "unlabeled/{0..2}.jpg"),
        {"train": each("a", "b"), "test": {None: 3}},
        (
            "test has no class folders, so its images have no labels.",
            "Left out: images in folders next to the split folders test, train (3 files, such as unlabeled/0.jpg).",
        ),
    ),
    "a class called test_tube": (
        ("{beaker,flask,test_tube}/{0..2}.jpg",),
        {"train": each("beaker", "flask", "test_tube")},
        ("No folder is named like a split, so all images are train.",),
    ),
    "bus, car and train": (
        ("{bus,car,train}/{0..2}.jpg",),
        {"train": each("bus", "car", "train")},
        ("No folder is named like a split, so all images are train.",),
    ),
    "frames of videos inside of the classes (UCF-101)": (
        ("{Archery/v_Archery,Biking/v_Biking}_g{01..02}/{0..2}.jpg",),
        {"train": each("Archery", "Biking", count=6)},
        (
            "No folder is named like a split, so all images are train.",
            "Some class folders contain only folders, whose images belong to the class: Archery, Biking.",
        ),
    ),
    "augmented images inside of the classes": (
        ("{cat,dog}/{0..2}.jpg", "{cat,dog}/augmented/{3..5}.jpg"),
        {"train": each("cat", "dog", count=6)},
        (
            "No folder is named like a split, so all images are train.",
            "Folders inside class folders belong to the class, such as cat/augmented.",
        ),
    ),
    "empty class folders": (
        ("{cat,dog}/{0..2}.jpg", "bird/"),
        {"train": each("cat", "dog")},
        (
            "No folder is named like a split, so all images are train.",
            "1 class folder has no images and is left out: bird.",
        ),
    ),
    "a hidden class in each split, next to a single other": (
        ("{train,val}/{.net,java}/{0..2}.jpg",),
        {"train": {".net": 3, "java": 3}, "val": {".net": 3, "java": 3}},
        ("Hidden folders that contain images next to the class folders are classes too: train/.net, val/.net.",),
    ),
    "a hidden class": (
        ("{.net,java,python}/{0..2}.png", ".cache/0.png", ".ipynb_checkpoints/0.png", "java/.thumbs/0.png"),
        {"train": each(".net", "java", "python")},
        (
            "No folder is named like a split, so all images are train.",
            "Hidden folders that contain images next to the class folders are classes too: .net.",
        ),
    ),
    "a list of noisy labels next to the splits (Imagewoof)": (
        ("imagewoof2/{train,val}/{n02086240,n02087394}/{0..2}.JPEG", "imagewoof2/noisy_imagewoof.csv"),
        {"train": each("n02086240", "n02087394"), "val": each("n02086240", "n02087394")},
        (
            "Classes are the folders in imagewoof2/train.",
            "Left out: files that may contain labels and were not read (1 file: imagewoof2/noisy_imagewoof.csv).",
        ),
    ),
}


@pytest.mark.parametrize(("structure", "truth", "notes"), READ_RIGHT.values(), ids=READ_RIGHT)
def test_the_structure_is_read_correctly_and_the_notes_say_how(
    tmp_path: Path, structure: tuple[str, ...], truth: Truth, notes: tuple[str, ...]
) -> None:
    dataset = read(make(tmp_path / "set", *structure, alike=("flowers/", "chest_xray/", "kitten/", "puppy/", "all/")))
    assert (counts(dataset), dataset.notes) == (truth, notes)


QUESTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "domains above the classes (PACS)": (
        ("kfold/{art_painting,cartoon}/{dog,elephant}/{0..2}.jpg",),
        "SOURCE/kfold: the folders art_painting (6 images), cartoon (6 images) contain only folders, which have the "
        "same names in each. Choose which folders are the classes:\n  dog, elephant, each merged from all of "
        "art_painting, cartoon: --classes-at 3\n  art_painting, cartoon: --classes-at 2\n  dog, elephant of "
        "art_painting only: pass SOURCE/kfold/art_painting\n  art_painting/dog and so on, each path a class: "
        "--classes-at '*/CLASS/CLASS'",
    ),
    "a domain called photo": (
        ("{art,photo}/{dog,elephant}/{0..2}.jpg",),
        "SOURCE: the folders art (6 images), photo (6 images) contain only folders, which have the same names in "
        "each. Choose which folders are the classes:\n  dog, elephant, each merged from all of art, photo: "
        "--classes-at 2\n  art, photo: --classes-at 1\n  dog, elephant of art only: pass SOURCE/art\n  art/dog and "
        "so on, each path a class: --classes-at 'CLASS/CLASS'",
    ),
    "color, grayscale and segmented (PlantVillage)": (
        ("{color,grayscale,segmented}/{Apple___scab,Corn___rust}/{0..2}.JPG",),
        "SOURCE: the folders color (6 images), grayscale (6 images), segmented (6 images) contain only folders, "
        "which have the same names in each. Choose which folders are the classes:\n  Apple___scab, Corn___rust, each "
        "merged from all of color, grayscale, segmented: --classes-at 2\n  color, grayscale, segmented: --classes-at "
        "1\n  Apple___scab, Corn___rust of color only: pass SOURCE/color\n  color/Apple___scab and so on, each path "
        "a class: --classes-at 'CLASS/CLASS'",
    ),
    "domains, a folder images, classes (Office-31)": (
        ("{amazon,dslr}/images/{bike,mug}/{0..2}.jpg",),
        "SOURCE: the folders amazon (6 images), dslr (6 images) contain only folders, which have the same names in "
        "each. Choose which folders are the classes:\n  bike, mug, each merged from all of amazon, dslr: "
        "--classes-at 3\n  amazon, dslr: --classes-at 1\n  bike, mug of amazon only: pass SOURCE/amazon\n  "
        "amazon/bike and so on, each path a class: --classes-at 'CLASS/*/CLASS'",
    ),
    "folds": (
        ("fold{1..3}/{cat,dog}/{0..2}.jpg",),
        "SOURCE: the folders fold1 (6 images), fold2 (6 images), fold3 (6 images) contain only folders, which have "
        "the same names in each. Choose which folders are the classes:\n  cat, dog, each merged from all of fold1, "
        "fold2, fold3: --classes-at 2\n  fold1, fold2, fold3: --classes-at 1\n  cat, dog of fold1 only: pass "
        "SOURCE/fold1\n  fold1/cat and so on, each path a class: --classes-at 'CLASS/CLASS'\n  fold3 as val and the "
        "others as train: --split-from '(?P<val>fold3)/'",
    ),
    "patients above the classes (IDC)": (
        ("{10253,10254}/{0,1}/{0..2}.png",),
        "SOURCE: the folders 10253 (6 images), 10254 (6 images) contain only folders, which have the same names in "
        "each. Choose which folders are the classes:\n  0, 1, each merged from all of 10253, 10254: --classes-at "
        "2\n  10253, 10254: --classes-at 1\n  0, 1 of 10253 only: pass SOURCE/10253\n  10253/0 and so on, each path "
        "a class: --classes-at 'CLASS/CLASS'",
    ),
    "a taxonomy (BreakHis)": (
        (
            "benign/SOB/{adenosis,fibroadenoma}/{40X,100X}/{0..2}.png",
            "malignant/SOB/{ductal,lobular}/{40X,100X}/{0..2}.png",
        ),
        "SOURCE: the folders benign (12 images), malignant (12 images) contain only folders, which may be classes "
        "too. Choose which folders are the classes:\n  adenosis, ductal, fibroadenoma, lobular: --classes-at 3\n  "
        "100X, 40X: --classes-at 4\n  benign, malignant: --classes-at 1",
    ),
    "defects below the splits of each object (MVTec AD)": (
        (
            "{bottle,cable}/train/good/{0..2}.png",
            "{bottle,cable}/test/{good,bent}/{0..2}.png",
            "bottle/ground_truth/bent/0_mask.png",
        ),
        "SOURCE: the folders bottle (9 images), cable (9 images) contain only folders, which have the same names in "
        "each. Choose which folders are the classes:\n  bent, good, each merged from all of bottle, cable: "
        "--classes-at 3\n  bottle, cable: --classes-at 1\n  bent, good of bottle only: pass SOURCE/bottle\n  "
        "bottle/bent and so on, each path a class: --classes-at 'CLASS/*/CLASS'",
    ),
    "a folder images next to the classes": (
        ("{cat,dog}/{0..2}.jpg", "images/{0..2}.jpg"),
        "SOURCE: the folder images is next to cat, dog, but does not look like a class. Leave it out with --exclude "
        "/images. If it is a class, pass --classes-at 1.",
    ),
    "the originals of all classes next to their copies": (
        ("{augmented,original}/{cat,dog}/{0..2}.jpg",),
        "SOURCE: the folders augmented (6 images), original (6 images) contain only folders, which have the same "
        "names in each. Choose which folders are the classes:\n  cat, dog, each merged from all of augmented, "
        "original: --classes-at 2\n  augmented, original: --classes-at 1\n  cat, dog of augmented only: pass "
        "SOURCE/augmented\n  augmented/cat and so on, each path a class: --classes-at 'CLASS/CLASS'",
    ),
    "folders of the same names with other images": (
        ("{cat,dog}/{0..2}.jpg", "more/{cat,dog}/{3..5}.jpg"),
        "SOURCE/more contains folders with the same names as those next to it (cat, dog), but not the same images. "
        "Leave one out: --exclude /more, or pass only SOURCE/more.",
    ),
    "two classes with the same images": (
        ("{kitten,puppy,pony}/{0..3}.jpg",),
        "SOURCE: kitten and puppy contain the same images, for example 0, so one of them is not a class. Leave it out, "
        "for example with --exclude /puppy.",
    ),
    "two copies of a whole set next to each other": (
        ("{kitten,puppy}/a/{0..3}.jpg", "{kitten,puppy}/b/{4..7}.jpg"),
        "SOURCE: kitten and puppy contain the same images, for example 0, so one of them is not a class. Leave it out, "
        "for example with --exclude /puppy.",
    ),
    "three folders with the same images, none of which contains more than the others": (
        ("{kitten,puppy,KITTEN}/{0..3}.jpg",),
        "SOURCE: KITTEN and kitten contain the same images, for example 0, so one of them is not a class. Leave it "
        "out, for example with --exclude /kitten.",
    ),
    "another set next to flat split folders (Market-1501)": (
        ("bounding_box_{test,train}/{0..2}.jpg", "query/{0..2}.jpg"),
        "SOURCE: folders named like splits (bounding_box_test, bounding_box_train) are next to other folders "
        "(query). If the former are splits, leave out the others: --exclude /query. If all are classes: --classes-at "
        "1.",
    ),
    "two folders of one split (horse2zebra)": (
        ("{train,test}{A,B}/{0..2}.jpg",),
        "SOURCE has both testA and testB, and both would be the split 'test'. Leave one out, for example with "
        "--exclude /testB. If they are classes: --classes-at 1.",
    ),
    "train and val together, and val": (
        ("{trainval,val}/{a,b}/{0..2}.jpg",),
        "SOURCE: trainval contains train and val together, and val repeats val, so validation images would be "
        "trained on. Leave one out, for example with --exclude /trainval.",
    ),
    "a split in another": (
        ("{train,test}/train/{a,b}/{0..2}.jpg",),
        "SOURCE/test is in the split test, but contains the folder train, which names the split train. Choose one "
        "with --split-from DEPTH, or leave the folder out with --exclude test/train.",
    ),
    "splits in some class folders only": (
        ("a/{train,test}/{0..2}.jpg", "b/{0..2}.jpg"),
        "SOURCE: b is in no split folder, but a/test is; 3 images are affected. Leave them out with --exclude "
        "PATTERN, or name the split folders with --split-from.",
    ),
    "a class that only test has": (
        ("train/{a,b}/{0..2}.jpg", "test/{a,b,c d}/{0..2}.jpg"),
        "SOURCE: 1 of the 3 class folders of test are not in train: 'c d' (in test/c d). Every class must be in "
        "train. Rename the folders, or leave them out, for example with --exclude 'test/c d'.",
    ),
    "an image next to the class folders": (
        ("{a,b}/{0..2}.jpg", "x.jpg"),
        "SOURCE: 1 image is directly in this folder, such as x.jpg. Their class is unknown. Put each image into a "
        "folder named after its class, or leave them out, for example with --exclude /x.jpg.",
    ),
    "lists of the splits next to the classes (Food-101)": (
        ("images/{apple_pie,waffles}/{0..2}.jpg", "meta/{train,test}.{json,txt}"),
        "SOURCE: the folders contain classes and no splits. meta/test.json, meta/test.txt, meta/train.json, ... (4 in "
        "all) may define the splits, but were not read. To read all images as train: --exclude /meta",
    ),
    "one list of the splits next to the classes (CUB)": (
        ("images/{001.A,002.B}/{0..2}.jpg", "{images,train_test_split}.txt"),
        "SOURCE: the folders contain classes and no splits. train_test_split.txt may define the splits, but was not "
        "read. To read all images as train: --exclude /train_test_split.txt",
    ),
    "a single class in a wrapper": (
        ("mine/cats/{0..2}.jpg",),
        "SOURCE: all 3 images are in the folder mine/cats. A classifier needs at least two classes. Put the images "
        "of each class into a separate folder, or add a CSV file of file names and labels.\nFound:\n  mine/cats/  3 "
        "images: 0.jpg\nTo classify them with a trained model: tench predict RUN FOLDER.",
    ),
    "labels in file names (Dogs vs. Cats)": (
        ("train/{cat,dog}.{0..5}.jpg", "test1/{1..5}.jpg", "sampleSubmission.csv"),
        "SOURCE: all 12 images are in the folder train. A classifier needs at least two classes. Put the images of "
        "each class into a separate folder, or add a CSV file of file names and labels.\nIf the file names contain "
        "the class (found: cat (6), dog (6)): --label-from '^(.+)[._ -]\\d+\\.\\w+$'\nFound:\n  ./  2 folders, 17 "
        "images, 1 other file\n  test1/  5 images: 1.jpg\n  train/  12 images: cat.0.jpg\nFiles that may contain "
        "labels and were not read: sampleSubmission.csv\nTo classify them with a trained model: tench predict RUN "
        "FOLDER.",
    ),
    "images and trimaps (Oxford-IIIT Pet)": (
        (
            "images/{Abyssinian,american_bulldog}_{1..3}.jpg",
            "annotations/trimaps/{Abyssinian,american_bulldog}_{1..3}.png",
            "annotations/list.txt",
        ),
        "SOURCE: all 6 images are in the folder images. A classifier needs at least two classes. Put the images of "
        "each class into a separate folder, or add a CSV file of file names and labels.\nIf the file names contain "
        "the class (found: Abyssinian (3), american_bulldog (3)): --label-from '^(.+)[._ -]\\d+\\.\\w+$'\nFound:\n  "
        "annotations/  1 folder, 6 images, 1 other file\n  annotations/trimaps/  6 images: Abyssinian_1.png\n  "
        "images/  6 images: Abyssinian_1.jpg\nFiles that may contain labels and were not read: "
        "annotations/list.txt\nTo classify them with a trained model: tench predict RUN FOLDER.",
    ),
    "images in numbered pieces (ChestX-ray14)": (
        ("images_{001..003}/images/{a,b,c,d}.png", "Data_Entry_2017.csv"),
        "SOURCE: all 12 images are in 3 folders that name no class. A classifier needs at least two classes. Put the "
        "images of each class into a separate folder, or add a CSV file of file names and labels.\nFound:\n  ./  3 "
        "folders, 12 images, 1 other file\n  images_001/images/  4 images: a.png\n  images_002/images/  4 images: "
        "a.png\n  images_003/images/  4 images: a.png\nFiles that may contain labels and were not read: "
        "Data_Entry_2017.csv\nTo classify them with a trained model: tench predict RUN FOLDER.",
    ),
    "images and label files of a detector (YOLO)": (
        ("images/{train,val}/{0..3}.jpg", "labels/{train,val}/{0..3}.txt", "data.yaml"),
        "SOURCE: all 4 images are in the folder images/train. A classifier needs at least two classes. Put the "
        "images of each class into a separate folder, or add a CSV file of file names and labels.\nFound:\n  ./  2 "
        "folders, 8 images, 9 other files\n  images/train/  4 images: 0.jpg\n  images/val/  4 images: 0.jpg\n  "
        "labels/train/  4 other files: 0.txt\n  labels/val/  4 other files: 0.txt\nFiles that may contain labels and "
        "were not read: labels/train/*.txt (4 files), labels/val/*.txt (4 files)\nTo classify them with a trained "
        "model: tench predict RUN FOLDER.",
    ),
}


@pytest.mark.parametrize(("structure", "text"), QUESTIONS.values(), ids=QUESTIONS)
def test_the_structure_is_refused_with_the_findings_and_the_option_that_decides(
    tmp_path: Path, structure: tuple[str, ...], text: str
) -> None:
    path = make(tmp_path / "set", *structure, alike=("kitten/", "puppy/", "KITTEN/"))
    assert refusal(path) == text


# The options that decide.


DOMAINS = "kfold/{art,photo}/{cat,dog}/{0..2}.jpg"


@pytest.mark.parametrize(
    ("classes_at", "classes"),
    [
        ("1", None),
        ("2", each("art", "photo", count=6)),
        ("3", each("cat", "dog", count=6)),
        ("*/*/CLASS", each("cat", "dog", count=6)),
        ("*/photo/CLASS", each("cat", "dog")),
        ("*/CLASS/CLASS", each("art/cat", "art/dog", "photo/cat", "photo/dog")),
    ],
)
def test_classes_at_says_where_the_classes_are(
    tmp_path: Path, classes_at: str, classes: dict[str | None, int] | None
) -> None:
    path = make(tmp_path / "set", DOMAINS)
    if classes is None:
        assert refusal(path, classes_at=classes_at).startswith("SOURCE: all 12 images are in 4 folders")
    else:
        assert counts(read(path, classes_at=classes_at)) == {"train": classes}


def test_images_outside_the_folders_at_classes_at_are_left_out_with_a_note(tmp_path: Path) -> None:
    assert read(make(tmp_path / "set", DOMAINS), classes_at="*/photo/CLASS").notes == (
        "No folder is named like a split, so all images are train.",
        "Classes are the folders at --classes-at */photo/CLASS.",
        "Left out: images outside the folders of --classes-at */photo/CLASS (6 files, such as kfold/art/cat/0.jpg).",
    )


def test_split_folders_above_the_folders_at_classes_at_stay_splits(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "{train,test}/{art,photo}/{cat,dog}/{0..2}.jpg")
    assert counts(read(path, classes_at="3")) == {
        "train": each("cat", "dog", count=6),
        "test": each("cat", "dog", count=6),
    }


def test_split_folders_are_classes_if_classes_at_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "{train,test}/{0..2}.jpg")
    assert counts(read(path, classes_at="1")) == {"train": each("train", "test")}


def test_masks_are_classes_if_classes_at_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "{images,masks}/{0..2}.jpg")
    assert counts(read(path, classes_at="1")) == {"train": each("images", "masks")}


@pytest.mark.parametrize("said", ["0", "two", "*/images", "", "-1", "1.5"])
def test_a_classes_at_that_is_neither_a_depth_nor_a_pattern_is_refused(tmp_path: Path, said: str) -> None:
    path = make(tmp_path / "set", DOMAINS)
    assert refusal(path, classes_at=said) == (
        "--classes-at must be the depth of the class folders (1: directly in the source) or a pattern with CLASS in "
        f"place of the class folder, such as '*/images/CLASS', got {said!r}."
    )


@pytest.mark.parametrize("said", ["4", "*/paint/CLASS"])
def test_a_classes_at_that_matches_nothing_is_refused(tmp_path: Path, said: str) -> None:
    path = make(tmp_path / "set", DOMAINS)
    assert refusal(path, classes_at=said) == (
        f"SOURCE: --classes-at {said} selects no folder that contains images. The first image is kfold/art/cat/0.jpg."
    )


@pytest.mark.parametrize(
    ("split_from", "truth"),
    [
        ("(?P<val>fold3)/", {"train": each("cat", "dog", count=6), "val": each("cat", "dog")}),
        ("(?P<test>fold1)/|(?P<val>fold2)/", {split: each("cat", "dog") for split in ("train", "val", "test")}),
    ],
)
def test_split_from_assigns_folds_to_splits(tmp_path: Path, split_from: str, truth: Truth) -> None:
    path = make(tmp_path / "set", "fold{1..3}/{cat,dog}/{0..2}.jpg")
    assert counts(read(path, split_from=split_from)) == truth


def test_file_names_can_give_the_split(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "{cat,dog}/{train,test}_{0..2}.jpg")
    assert counts(read(path, split_from="(train|test)_")) == {"train": each("cat", "dog"), "test": each("cat", "dog")}


@pytest.mark.parametrize("depth", ["2", "folder 2"])
def test_a_folder_at_a_depth_can_give_the_split(tmp_path: Path, depth: str) -> None:
    path = make(tmp_path / "set", "{train,test}/{train,test}/{a,b}/{0..2}.jpg")
    assert refusal(path).startswith("SOURCE/test is in the split test, but contains the folder train")
    dataset = read(path, split_from=depth)
    assert {split: len(table) for split, table in dataset.splits.items()} == {"train": 12, "test": 12}


def test_a_split_from_that_finds_no_split_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "fold{1..3}/{cat,dog}/{0..2}.jpg")
    advice = (
        "The first group must find train, val or test in every path. Named groups work too: '(?P<val>fold5)/' makes "
        "fold5 val and the rest train."
    )
    assert refusal(path, split_from="(fold.)") == (
        f"SOURCE: --split-from '(fold.)' finds 'fold1' in fold1/cat/0.jpg, which is not a split. {advice}"
    )
    assert refusal(path, split_from="(x)") == (f"SOURCE: --split-from '(x)' does not match fold1/cat/0.jpg. {advice}")
    assert refusal(path, split_from="1") == (
        "SOURCE: --split-from 1: folder 1 of fold1/cat/0.jpg is fold1, which is not a split name. Split folders are "
        "called train, val or test, or similar. For other names, pass a pattern: '(?P<val>fold5)/' makes fold5 val "
        "and the rest train."
    )
    assert "folder 7 of fold1/cat/0.jpg does not exist." in refusal(path, split_from="7")


@pytest.mark.parametrize("option", ["split_from", "label_from"])
def test_an_invalid_regular_expression_or_one_without_a_group_is_refused(tmp_path: Path, option: str) -> None:
    path, flag = make(tmp_path / "set", "{cat,dog}.{0..3}.jpg"), f"--{option.replace('_', '-')}"
    assert refusal(path, **{option: "("}) == (
        f"{flag} must be a valid regular expression, got '(' (missing ), unterminated subpattern at position 0)."
    )
    what = "split" if option == "split_from" else "class"
    assert refusal(path, **{option: "cat"}) == (
        f"{flag} 'cat' has no group. Put parentheses around the part that names the {what}."
    )


def test_label_from_reads_labels_from_file_names(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/{cat,dog}.{0..5}.jpg", "test1/{1..5}.jpg")
    dataset = read(path, label_from="^([a-z]+)")
    assert counts(dataset) == {"train": each("cat", "dog", count=6), "test": {None: 5}}
    assert dataset.splits["train"].key(0) == "cat/cat.0.jpg"
    assert dataset.notes == (
        "Read as the split test: test1.",
        "Classes are read from file names, by --label-from '^([a-z]+)'.",
        "test has no labels, because --label-from matches none of its file names.",
    )


def test_labels_from_file_names_are_refused_if_some_names_lack_one(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "train/{cat,dog}.{0..5}.jpg", "train/7.jpg", "val/{cat,cow}.0.jpg")
    assert refusal(path, label_from="^([a-z]+)") == (
        "SOURCE: --label-from '^([a-z]+)' does not match 1 of the 13 file names of train, such as train/7.jpg. "
        "Change the pattern, or leave these files out with --exclude."
    )
    assert refusal(path, label_from="^([a-z]+)", exclude=("7.jpg",)) == (
        "SOURCE: --label-from '^([a-z]+)' finds 1 class in val that train does not have: cow. Every class must be in "
        "train."
    )
    assert refusal(path, label_from=r"(jpg)") == (
        "SOURCE: --label-from '(jpg)' finds the same class 'jpg' in all 13 file names. A classifier needs at least two "
        "classes. Change the pattern."
    )


def test_the_folder_of_the_images_can_be_named(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "photos/{a,b}/{0..2}.jpg", "drawings/{a,b}/{3..5}.jpg")
    assert counts(read(path, images="photos")) == {"train": each("a", "b")}
    assert counts(read(path, images="./drawings/")) == {"train": each("a", "b")}
    assert refusal(path, images="prints") == (
        "SOURCE has no folder 'prints' for --images. Its folders: drawings, photos."
    )


# In archives, and with the --exclude that a refusal suggests.


def packed(path: Path, suffix: str) -> Path:
    target = path.parent / f"packed{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(path.rglob("*")):
                archive.write(file, f"{path.name}/{file.relative_to(path)}")
    else:
        with tarfile.open(target, "w:gz" if suffix == ".tgz" else "w") as tar:
            tar.add(path, path.name)
    return target


@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".zip"])
@pytest.mark.parametrize(
    "name",
    [
        "seg_train/seg_train, an unlabelled seg_pred (Intel scenes)",
        "train.X1, train.X2 and val.X (ImageNet-100)",
        "letters above the classes, some a level deeper (SUN397)",
        "a second copy of the classes (flowers)",
        "masks next to the images of each class (COVID-19 radiography)",
        "splits inside of the class folders (ModelNet views)",
        "a hidden class",
    ],
)
def test_an_archive_is_read_like_the_folder_in_it(tmp_path: Path, name: str, suffix: str) -> None:
    structure, truth, notes = READ_RIGHT[name]
    path = make(tmp_path / "set", *structure, alike=("flowers/",))
    dataset = read(packed(path, suffix))
    assert (counts(dataset), dataset.notes) == (truth, notes)
    assert dataset.fingerprint == read(path).fingerprint


@pytest.mark.parametrize("in_tar", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "a folder images next to the classes",
        "folders of the same names with other images",
        "two classes with the same images",
        "two folders of one split (horse2zebra)",
        "train and val together, and val",
        "a split in another",
        "a class that only test has",
        "an image next to the class folders",
        "lists of the splits next to the classes (Food-101)",
        "one list of the splits next to the classes (CUB)",
    ],
)
def test_the_exclude_option_that_a_refusal_suggests_changes_the_answer(tmp_path: Path, name: str, in_tar: bool) -> None:
    path = make(tmp_path / "set", *QUESTIONS[name][0], alike=("kitten/", "puppy/", "KITTEN/"))
    source = packed(path, ".tar") if in_tar else path
    before = refusal(source)
    advised = shlex.split(re.findall(r"--exclude ('[^']+'|\S+)", before)[0])[0].rstrip(".,")
    assert answer(source, exclude=(advised,)) != before


def answer(path: Path, **options: Any) -> str:
    try:
        return f"{read(path, **options).num_images} images"
    except TenchError as error:
        return str(error).replace(str(path), "SOURCE")


def zipped(target: Path, *patterns: str) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for name in [name for pattern in patterns for name in expanded(pattern)]:
            archive.writestr(name, name)


def test_labels_are_read_from_file_names_in_neighbouring_archives(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    zipped(tmp_path / "set/train.zip", "train/{cat,dog}.{0..5}.jpg")
    zipped(tmp_path / "set/test1.zip", "test1/{1..5}.jpg")
    (tmp_path / "set/sampleSubmission.csv").write_text("id,label\n1,0\n2,0\n")
    dataset = open_source(tmp_path / "set", label_from="^([a-z]+)")
    assert counts(dataset) == {"train": each("cat", "dog", count=6), "test": {None: 5}}


def test_the_images_of_a_list_may_be_in_an_archive_next_to_it(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    zipped(tmp_path / "set/images.zip", "images/{0..3}.jpg")
    (tmp_path / "set/train.csv").write_text("image,label\n0.jpg,cat\n1.jpg,dog\n2.jpg,cat\n3.jpg,dog\n")
    dataset = open_source(tmp_path / "set")
    assert dataset.layout == "list"
    assert [dataset.classes.ids[label] for label in dataset.splits["train"].labels] == ["cat", "cat", "dog", "dog"]


def test_an_option_of_class_folders_selects_them_even_if_there_is_a_list(tmp_path: Path) -> None:
    path = make(tmp_path / "set", "photos/{a,b}/{0..2}.jpg")
    (path / "train.csv").write_text("".join(f"photos/{name}/{i}.jpg,{i}\n" for name in "ab" for i in range(3)))
    assert open_source(path).layout == "list"
    dataset = open_source(path, classes_at="2")
    assert (dataset.layout, dataset.classes.ids) == ("folder", ("a", "b"))
