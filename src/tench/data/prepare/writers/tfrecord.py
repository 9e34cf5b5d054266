"""TFRecord files with the fifteen keys of Slim, which include those of the official converter, so that all readers can
use them.

    train-00000-of-01024, validation-00000-of-00128; labels.txt, in which 0 is the background

Labels count from 1; -1 means none. `image/class/synset` holds the class id, if classes have names; `image/class/text`
its display name. Colours, channels and format are those of the stored image; the original converters always write
RGB, 3 and JPEG. Images without boxes have empty lists. The image comes last in a record, so that a reader that needs
everything else reads one block.
Sources: tensorflow/tpu, tools/datasets/imagenet_to_gcs.py; tensorflow/models, research/slim/datasets/
build_imagenet_data.py; the wire format of Protocol Buffers.
"""

import functools
import struct
from collections.abc import Mapping, Sequence

import google_crc32c

from tench.data.formats.class_files import text_of
from tench.data.formats.tfrecord import masked, masked_crc32c
from tench.data.images.image import ImageInfo
from tench.data.prepare.writers import VAL_WORDS, Content, ImageRecord

_BYTES, _FLOATS, _INTS = 1, 2, 3
"""The kinds of list in a Feature, by field number."""

_COLOURS = {"L": (b"Grayscale", 1), "1": (b"Grayscale", 1), "I;16": (b"Grayscale", 1), "CMYK": (b"CMYK", 4)}


class TFRecord:
    """Records of tf.train.Example."""

    needs_info = True
    end = b""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._file_names = {split: _file_names(content, split) for split in content.names}

    def file_name(self, split: str, number: int) -> str:
        return f"{VAL_WORDS[split]}-{number:05}-of-{self._content.shards[split]:05}"

    def frame(self, record: ImageRecord) -> Sequence[bytes]:
        assert record.info is not None
        name = self._file_names[record.split][record.row].encode()
        label = self._content.labels[record.split][record.row]
        entries = [
            self._of_class(label),
            _of_header(record.info),
            _entry("image/filename", _BYTES, _texts([name])),
            _of_boxes(record.boxes, label) if record.boxes else _NO_BOXES,
        ]
        # The part of the last entry that precedes the image: its tags and lengths, from the inside out.
        head = b"\x0a" + _varint(len(record.data))
        head = _tag(_BYTES) + _varint(len(head) + len(record.data)) + head
        head = b"\x12" + _varint(len(head) + len(record.data)) + head
        head = _text(b"image/encoded") + head
        features = b"".join([*entries, b"\x0a", _varint(len(head) + len(record.data)), head])
        example = b"\x0a" + _varint(len(features) + len(record.data)) + features
        length = struct.pack("<Q", len(example) + len(record.data))
        crc = google_crc32c.extend(google_crc32c.value(example), record.data)
        before = length + struct.pack("<I", masked_crc32c(length)) + example
        return before, record.data, struct.pack("<I", masked(crc))

    def files_beside(self) -> Mapping[str, str]:
        classes = self._content.classes
        names = ["background", *(" ".join(name.split()) for name in classes.names)]
        slim = "".join(f"{number}:{name}\n" for number, name in enumerate(names))
        return text_of(classes) | {"labels.txt": slim}

    @functools.cache  # noqa: B019 - a writer lives until the end of the command
    def _of_class(self, label: int) -> bytes:
        """The entries that are the same for all images of a class."""
        entries = [_entry("image/class/label", _INTS, _ints([label + 1 if label >= 0 else -1]))]
        if label >= 0:
            classes = self._content.classes
            if not classes.numbered:
                entries.append(_entry("image/class/synset", _BYTES, _texts([classes.ids[label].encode()])))
            entries.append(_entry("image/class/text", _BYTES, _texts([classes.names[label].encode()])))
        return b"".join(entries)


@functools.lru_cache(2**12)
def _of_header(info: ImageInfo) -> bytes:
    """The entries for an image's header. Cached, because most images of a dataset have one of a few sizes."""
    colours, channels = _COLOURS.get(info.mode, (b"RGB", 3))
    return b"".join(
        (
            _entry("image/height", _INTS, _ints([info.height])),
            _entry("image/width", _INTS, _ints([info.width])),
            _entry("image/colorspace", _BYTES, _texts([colours])),
            _entry("image/channels", _INTS, _ints([channels])),
            _entry("image/format", _BYTES, _texts([info.format.encode()])),
        )
    )


def _of_boxes(boxes: Sequence[Sequence[float]], label: int) -> bytes:
    entries = [
        _entry(f"image/object/bbox/{side}", _FLOATS, _floats([box[position] for box in boxes]))
        for position, side in enumerate(("xmin", "ymin", "xmax", "ymax"))
    ]
    return b"".join([*entries, _entry("image/object/bbox/label", _INTS, _ints([label + 1] * len(boxes)))])


def _file_names(content: Content, split: str) -> Sequence[str]:
    """File names without their folder, as the converters write them, if class and file name together make the key."""
    names, classes = content.names[split], content.classes
    bases = [name.rpartition("/")[2] for name in names]
    for name, base, label in zip(names, bases, content.labels[split], strict=True):
        if name != (base if label < 0 or classes.numbered else f"{classes.ids[label]}/{base}"):
            return names
    return bases


def _entry(key: str, kind: int, values: bytes) -> bytes:
    """An entry of the map of features: key and a list of values."""
    listed = _tag(kind) + _varint(len(values)) + values
    body = _key(key) + b"\x12" + _varint(len(listed)) + listed
    return b"\x0a" + _varint(len(body)) + body


@functools.cache
def _key(key: str) -> bytes:
    return _text(key.encode())


def _tag(kind: int) -> bytes:
    return bytes([kind << 3 | 2])


def _text(text: bytes) -> bytes:
    return b"\x0a" + _varint(len(text)) + text


def _texts(texts: Sequence[bytes]) -> bytes:
    return b"".join(map(_text, texts))


def _ints(values: Sequence[int]) -> bytes:
    packed = b"".join(_varint(value & 0xFFFFFFFFFFFFFFFF) for value in values)
    return _text(packed) if values else b""


def _floats(values: Sequence[float]) -> bytes:
    return _text(struct.pack(f"<{len(values)}f", *values)) if values else b""


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_NO_BOXES = _of_boxes([], -1)
