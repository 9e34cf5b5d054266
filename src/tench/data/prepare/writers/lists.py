"""Image lists over class folders, in the style of a program that will read them.

    plain       train.txt, val.txt                  train/n01440764/n01440764_10026.JPEG 0
    caffe       train.txt, val.txt                  n01440764/n01440764_10026.JPEG 0      synsets.txt, synset_words.txt
    nnabla      train_label, val_label              n01440764/n01440764_10026.JPEG 0      label_wordnetid.csv
    mxnet       train.lst, val.lst                  17<TAB>0.000000<TAB>train/n01440764/n01440764_10026.JPEG
    apm5        data/train_label.txt, ...           n01440764/n01440764_10026.JPEG 448    data/label_to_content.json
    tensorflow  synset_labels.txt                   n01440764, a line per validation image; these are in one folder
    kaggle      ILSVRC/ImageSets/CLS-LOC/, LOC_*    n01440764/n01440764_10026 1           LOC_synset_mapping.txt

Paths are relative to the images of the split (NNabla's -T and -V, Caffe's root folders); in plain and mxnet, to the
destination. apm5 numbers ImageNet's classes from 0 in the order of the development kit, all others in sorted order.
Kaggle's solution file names the class of each val image, without boxes.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence

from tench.data.formats.class_files import text_of, words_csv
from tench.data.formats.wordnet import devkit_order, imagenet, position_of
from tench.data.prepare.writers import VAL_WORDS, Content
from tench.data.prepare.writers.folder import FolderWriter, numbered_classes
from tench.data.prepare.writers.recordio import lst_line
from tench.errors import UsageError

Texts = dict[str, str]


class ListsWriter(FolderWriter):
    """Class folders with lists beside them."""

    def __init__(self, content: Content, style: str) -> None:
        super().__init__(content)
        self._style = style
        if style == "kaggle":
            _check_kaggle(content)

    def path(self, split: str, name: str) -> str:
        if self._style == "kaggle":
            return f"ILSVRC/Data/CLS-LOC/{split}/{name if split == 'train' else _base(name)}"
        if self._style == "tensorflow":
            return f"train/{name}" if split == "train" else f"{VAL_WORDS[split]}/{_base(name)}"
        return super().path(split, name)

    def folders(self) -> Sequence[str]:
        return [] if self._style == "kaggle" else super().folders()

    def files_beside(self) -> Mapping[str, str]:
        return STYLES[self._style](self._content)


def _lines(content: Content, split: str, line: Callable[[str, int], str]) -> str:
    return "".join(map(line, content.names[split], content.labels[split]))


def _word_and_number(name: str, label: int) -> str:
    return f"{name} {label}\n"


def _classes(content: Content) -> Texts:
    return dict(text_of(content.classes) or numbered_classes(content))


def _plain(content: Content) -> Texts:
    texts = _classes(content)
    for split in content.names:
        rows = zip(content.names[split], content.labels[split], strict=True)
        texts[f"{split}.txt"] = "".join(_word_and_number(f"{split}/{name}", label) for name, label in rows)
    return texts


def _caffe(content: Content) -> Texts:
    texts = {f"{split}.txt": _lines(content, split, _word_and_number) for split in content.names}
    texts["synsets.txt"] = "".join(f"{class_id}\n" for class_id in content.classes.ids)
    return texts | {"synset_words.txt": _pairs(content, " ")}


def _nnabla(content: Content) -> Texts:
    texts = {f"{split}_label": _lines(content, split, _word_and_number) for split in content.names}
    ids = io.StringIO()
    csv.writer(ids).writerows(enumerate(content.classes.ids))
    texts["label_wordnetid.csv"] = ids.getvalue()
    return texts | {"label_words.csv": words_csv(content.classes)}


def _mxnet(content: Content) -> Texts:
    texts = _classes(content)
    for split in content.names:
        lines = (lst_line(content, split, row, f"{split}/") for row in range(len(content.names[split])))
        texts[f"{split}.lst"] = "".join(lines)
    return texts


def _apm5(content: Content) -> Texts:
    classes = content.classes
    ids = devkit_order() if classes.ids == imagenet() else classes.ids
    place_of = position_of(ids)
    number = {label: place_of[class_id] for label, class_id in enumerate(classes.ids)} | {-1: -1}
    texts = {
        f"data/{VAL_WORDS[split]}_label.txt": _lines(
            content, split, lambda name, label: _word_and_number(name, number[label])
        )
        for split in content.names
    }
    names = dict(zip(classes.ids, classes.names, strict=True))
    short = {str(place): names[of].split(",")[0].replace(" ", "_") for place, of in enumerate(ids)}
    return texts | {"data/label_to_content.json": json.dumps(short)}


def _tensorflow(content: Content) -> Texts:
    ids, texts = content.classes.ids, Texts()
    if "val" in content.names:
        by_file = sorted(zip(map(_base, content.names["val"]), content.labels["val"], strict=True))
        texts["synset_labels.txt"] = "".join(f"{ids[label]}\n" for _, label in by_file)
    texts["imagenet_lsvrc_2015_synsets.txt"] = "".join(f"{class_id}\n" for class_id in ids)
    return texts | {"imagenet_metadata.txt": _pairs(content, "\t")}


def _kaggle(content: Content) -> Texts:
    ids, texts = content.classes.ids, {"LOC_synset_mapping.txt": _pairs(content, " ")}
    for split in content.names:
        stems = [name.removesuffix(".JPEG") for name in content.names[split]]
        listed = stems if split == "train" else [_base(stem) for stem in stems]
        numbered = "".join(f"{stem} {number}\n" for number, stem in enumerate(listed, 1))
        texts[f"ILSVRC/ImageSets/CLS-LOC/{'train_cls' if split == 'train' else split}.txt"] = numbered
        if split == "val":
            rows = (f"{_base(stem)},{ids[label]}\n" for stem, label in zip(stems, content.labels[split], strict=True))
            texts["LOC_val_solution.csv"] = "ImageId,PredictionString\n" + "".join(rows)
    return texts


def _pairs(content: Content, between: str) -> str:
    """A line for each class with its id and name."""
    pairs = zip(content.classes.ids, content.classes.names, strict=True)
    return "".join(f"{class_id}{between}{' '.join(name.split())}\n" for class_id, name in pairs)


STYLES: Mapping[str, Callable[[Content], Texts]] = {
    "plain": _plain,
    "caffe": _caffe,
    "nnabla": _nnabla,
    "mxnet": _mxnet,
    "apm5": _apm5,
    "tensorflow": _tensorflow,
    "kaggle": _kaggle,
}
"""What each style writes, by file name."""
READABLE = ("plain", "caffe", "nnabla", "mxnet")
"""The styles that `open_source` reads regardless of the images' names."""


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _check_kaggle(content: Content) -> None:
    for split, names in content.names.items():
        for name in names:
            if not name.endswith(".JPEG"):
                raise UsageError(
                    f"Kaggle's lists omit the suffix .JPEG, so every image must have it, but {split}/{name} has "
                    "another. Choose another --style."
                )
