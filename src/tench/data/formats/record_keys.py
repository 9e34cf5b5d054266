"""Which keys of TFRecord examples contain the image and the label, judged from a sample of the records.

The keys of the official converter, of Slim and of TFDS are used if present. Otherwise the image is the one key whose
bytes begin as an image file, or have the size of raw pixels with the height, width and depth next to it; the label is
the one whole number with the name of a label, or else the only one that varies. If there are several candidates, the
error lists keys, types and example values, and the person chooses with `--keys image=KEY,label=KEY`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tench.data.images.image import format_of_start
from tench.data.options import RecordKeys
from tench.errors import TenchError

IMAGE = ("image/encoded", "image")
LABEL = ("image/class/label", "label")
SYNSET, TEXT = "image/class/synset", "image/class/text"
FILE = ("image/filename", "file_name")
BOX = ("image/object/bbox/xmin", "image/object/bbox/ymin", "image/object/bbox/xmax", "image/object/bbox/ymax")
"""Keys of features. The first key that a record has is used, beginning with that of the official converter and Slim."""

_IMAGE_WORDS = ("image", "img", "jpeg", "jpg", "png", "encoded")
_LABEL_WORDS = ("class", "label", "labels", "target", "category", "cls", "y", "class_id", "label_id", "category_id")
_FILE_WORDS = ("image_name", "filename", "image_id", "file", "id", "name")
_SIDES = ("height", "width", "depth")
_DEPTH_WORDS = ("depth", "channels", "channel")
_MAX_TEXT_BYTES = 64

Sample = Mapping[str, tuple[type, int, Any]]
"""A record: (int, float or bytes; the number of values; the first value, of bytes (the first 64, their length))."""


@dataclasses.dataclass(frozen=True)
class Keys:
    """The keys to read. synset: of a text label. raw: of height, width and depth, if images are pixels.

    found: whether they are not the usual keys; `told` is then a note that names them.
    """

    image: tuple[str, ...] = IMAGE
    label: tuple[str, ...] = LABEL
    synset: tuple[str, ...] = (SYNSET,)
    file: tuple[str, ...] = FILE
    raw: tuple[str, ...] = ()
    found: bool = False
    told: str = ""

    @property
    def wanted(self) -> frozenset[str]:
        return frozenset((*self.image, *self.label, *self.synset, TEXT, *self.file, *BOX, *self.raw))

    def note(self) -> list[str]:
        """A note that names keys that are not the usual ones."""
        return [self.told] if self.found else []


def keys_of_records(samples: Sequence[Sample], asked: RecordKeys, where: str) -> Keys:
    """The keys to read. asked: given by --keys. Raises TenchError if they are ambiguous."""
    there = {key for sample in samples for key in sample}
    if not samples:
        return Keys()
    for what, key in (("image", asked.image), ("label", asked.label)):
        if key is not None and key not in there:
            raise TenchError(f"{where}: no record has the key {key!r} for the {what}. {_listing(samples)}")
    image = (asked.image,) if asked.image else _image(samples, there, where)
    raw = _raw(samples, image[0]) if image != IMAGE or not _is_encoded(samples, image) else ()
    if asked.image and not raw and not _is_encoded(samples, image):
        raise TenchError(f"{where}: the key {asked.image!r} contains no image file or pixels. {_listing(samples)}")
    kinds = {sample[key][0] for sample in samples for key in LABEL if key in sample}
    if asked.label is None and image == IMAGE and (SYNSET in there or (kinds and bytes not in kinds)):
        return Keys(raw=raw, file=_file(there))
    label = asked.label or _label(samples, there, where)
    kind = next(sample[label][0] for sample in samples if label in sample)
    text = kind is bytes
    return Keys(
        image=image,
        label=() if text else (label,),
        synset=(label,) if text else (),
        file=_file(there),
        raw=raw,
        found=True,
        told=f"Images: key {next(key for key in image if key in there)}; labels: key {label}.",
    )


def _image(samples: Sequence[Sample], there: set[str], where: str) -> tuple[str, ...]:
    if there & {*IMAGE}:
        return IMAGE
    able = [key for key in sorted(there) if _is_encoded(samples, (key,))]
    if not able:
        able = [key for key in sorted(there) if _raw(samples, key)]
    named = [key for key in able if _last(key) in _IMAGE_WORDS]
    if len(able) != 1 and len(named) != 1:
        found = f"the keys {', '.join(able)} may" if able else "no key does"
        raise TenchError(
            f"{where}: it is unclear which key contains the image. By their values, {found}. {_listing(samples)}"
        )
    return (able[0] if len(able) == 1 else named[0],)


def _label(samples: Sequence[Sample], there: set[str], where: str) -> str:
    able = {}
    for key in sorted(there):
        values = [sample[key] for sample in samples if key in sample]
        scalar = all(count == 1 for _, count, _ in values)
        kinds = {kind for kind, _, _ in values}
        words = kinds == {bytes} and all(value[1] <= _MAX_TEXT_BYTES for _, _, value in values)
        if scalar and len(values) == len(samples) and (kinds == {int} or (words and _last(key) in _LABEL_WORDS)):
            able[key] = len({str(value) for _, _, value in values}) > 1
    named = [key for key in able if _last(key) in _LABEL_WORDS]
    numbers = [key for key in named if all(sample[key][0] is int for sample in samples)]
    varying = [key for key, varies in able.items() if varies and _last(key) not in (*_SIDES, *_DEPTH_WORDS)]
    for chosen in (named, numbers, [] if named else varying):
        if len(chosen) == 1:
            return chosen[0]
    found = f"the keys {', '.join(named or varying)} may" if named or varying else "no key does"
    raise TenchError(
        f"{where}: it is unclear which key contains the label. By their values, {found}. {_listing(samples)}"
    )


def _is_encoded(samples: Sequence[Sample], keys: Sequence[str]) -> bool:
    """Whether all records with one of these keys have an image file under the first of them."""
    values = [next((sample[key] for key in keys if key in sample), None) for sample in samples]
    return any(values) and all(
        value is None or (value[0] is bytes and value[1] == 1 and format_of_start(value[2][0])) for value in values
    )


def _raw(samples: Sequence[Sample], key: str) -> tuple[str, ...]:
    """The keys of height, width and depth, if their product is the image's number of bytes; else empty."""
    first = samples[0] if samples else {}
    beside = {_last(other): other for other in first if first[other][0] is int and first[other][1] == 1}
    depth = next((beside[word] for word in _DEPTH_WORDS if word in beside), None)
    if "height" not in beside or "width" not in beside:
        return ()
    sides = (beside["height"], beside["width"], *((depth,) if depth else ()))
    for sample in samples:
        value = sample.get(key)
        if value is None or value[0] is not bytes or value[1] != 1 or any(side not in sample for side in sides):
            return ()
        height, width, *more = (sample[side][2] for side in sides)
        if value[2][1] not in ([height * width * more[0]] if more else [height * width, 3 * height * width]):
            return ()
    return sides


def _file(there: set[str]) -> tuple[str, ...]:
    """The keys that name the image, if one of the usual ones is present."""
    others = [key for word in _FILE_WORDS for key in sorted(there) if _last(key) == word]
    return FILE if there & {*FILE} or not others else (others[0],)


def _last(key: str) -> str:
    return key.rpartition("/")[2].lower()


def _listing(samples: Sequence[Sample]) -> str:
    """The keys with their types and examples, and what to do."""
    shown = {}
    for sample in samples:
        for key, (kind, count, value) in sample.items():
            if key in shown:
                continue
            if kind is bytes:
                start, length = value
                name = format_of_start(start)
                example = f"{name} of {length:,} bytes" if name else repr(start[:24]) + ("..." if length > 24 else "")
            else:
                example = f"{value:.6g}" if kind is float else str(value)
            many = f"{count:,} x " if count > 1 else ""
            shown[key] = f"{key!r} ({many}{kind.__name__}, {example})"
    listed = ", ".join(shown[key] for key in sorted(shown)) or "none"
    return f"Their keys are: {listed}. Choose with --keys image=KEY,label=KEY."
