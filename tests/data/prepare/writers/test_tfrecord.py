"""Frames are parsed with Google's protobuf, using a definition of tf.train.Example that is written here."""

import struct
from typing import Any

import google_crc32c
import pytest

from tench.data.images.image import ImageInfo
from tench.data.prepare.writers import Content, ImageRecord
from tench.data.prepare.writers.tfrecord import TFRecord
from tench.data.table import Classes

descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2", reason="needs protobuf: make install")

WNIDS = Classes.of(["n01440764", "n01443537"], ["tench, Tinca tinca", "goldfish, Carassius auratus"])


def example_class() -> Any:
    """The message class of tf.train.Example, from its definition in TensorFlow's example.proto and feature.proto."""
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")
    kind = descriptor_pb2.FieldDescriptorProto
    for name, value in (("BytesList", kind.TYPE_BYTES), ("FloatList", kind.TYPE_FLOAT), ("Int64List", kind.TYPE_INT64)):
        message = file.message_type.add(name=name)
        message.field.add(name="value", number=1, type=value, label=kind.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, of) in enumerate(
        (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")), 1
    ):
        feature.field.add(
            name=name,
            number=number,
            type=kind.TYPE_MESSAGE,
            type_name=f".tensorflow.{of}",
            label=kind.LABEL_OPTIONAL,
            oneof_index=0,
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=kind.TYPE_MESSAGE, type_name=".tensorflow.Feature", label=kind.LABEL_OPTIONAL
    )
    features.field.add(
        name="feature",
        number=1,
        type=kind.TYPE_MESSAGE,
        type_name=".tensorflow.Features.FeatureEntry",
        label=kind.LABEL_REPEATED,
    )
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features",
        number=1,
        type=kind.TYPE_MESSAGE,
        type_name=".tensorflow.Features",
        label=kind.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def features_of(frame: bytes) -> dict[str, list[Any]]:
    """The features of one record, after checking its framing and checksums."""
    (length,) = struct.unpack("<Q", frame[:8])
    assert len(frame) == 8 + 4 + length + 4
    payload = frame[12:-4]
    for data, stored in ((frame[:8], frame[8:12]), (payload, frame[-4:])):
        crc = google_crc32c.value(data)
        masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32
        assert stored == struct.pack("<I", masked)
    example = example_class().FromString(payload)
    assert not example.DiscardUnknownFields()
    found = {}
    for key, feature in example.features.feature.items():
        found[key] = list(getattr(feature, feature.WhichOneof("kind")).value)
    return found


def content_of(classes: Classes, names: list[str], labels: list[int]) -> Content:
    return Content(classes, {"train": names}, {"train": labels}, shards={"train": 1024, "val": 128})


INFO = ImageInfo("JPEG", 375, 500, "RGB")


def test_a_record_has_the_fifteen_keys_of_slim() -> None:
    writer = TFRecord(content_of(WNIDS, ["n01443537/n01443537_2.JPEG"], [1]))
    boxes = [[0.125, 0.25, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]]
    assert features_of(b"".join(writer.frame(ImageRecord("train", 0, b"the jpeg", INFO, boxes)))) == {
        "image/height": [375],
        "image/width": [500],
        "image/colorspace": [b"RGB"],
        "image/channels": [3],
        "image/class/label": [2],
        "image/class/synset": [b"n01443537"],
        "image/class/text": [b"goldfish, Carassius auratus"],
        "image/object/bbox/xmin": [0.125, 0.0],
        "image/object/bbox/ymin": [0.25, 0.0],
        "image/object/bbox/xmax": [0.5, 1.0],
        "image/object/bbox/ymax": [1.0, 1.0],
        "image/object/bbox/label": [2, 2],
        "image/format": [b"JPEG"],
        "image/filename": [b"n01443537_2.JPEG"],
        "image/encoded": [b"the jpeg"],
    }


@pytest.mark.parametrize("size", [1, 100, 127, 128, 16_000, 16_384, 3_000_000])
def test_an_image_of_any_size_is_preserved(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    writer = TFRecord(content_of(WNIDS, ["n01440764/a.jpg"], [0]))
    assert features_of(b"".join(writer.frame(ImageRecord("train", 0, data, INFO))))["image/encoded"] == [data]


def test_an_image_without_boxes_has_the_keys_with_empty_lists() -> None:
    writer = TFRecord(content_of(WNIDS, ["n01440764/a.jpg"], [0]))
    found = features_of(b"".join(writer.frame(ImageRecord("train", 0, b"x", INFO))))
    for name in ("xmin", "ymin", "xmax", "ymax", "label"):
        assert found[f"image/object/bbox/{name}"] == []


def test_an_image_without_a_label_has_minus_one_and_no_class() -> None:
    writer = TFRecord(content_of(WNIDS, ["a.jpg"], [-1]))
    found = features_of(b"".join(writer.frame(ImageRecord("train", 0, b"x", INFO))))
    assert found["image/class/label"] == [-1]
    assert "image/class/synset" not in found
    assert "image/class/text" not in found


def test_classes_that_have_only_numbers_have_no_synset() -> None:
    writer = TFRecord(content_of(Classes.numbered_to(10), ["3/a.jpg"], [3]))
    found = features_of(b"".join(writer.frame(ImageRecord("train", 0, b"x", INFO))))
    assert found["image/class/label"] == [4]
    assert found["image/class/text"] == [b"3"]
    assert "image/class/synset" not in found
    assert found["image/filename"] == [b"3/a.jpg"]


@pytest.mark.parametrize(
    ("mode", "colours", "channels"),
    [("RGB", b"RGB", 3), ("L", b"Grayscale", 1), ("CMYK", b"CMYK", 4), ("P", b"RGB", 3)],
)
def test_the_colour_space_is_that_of_the_stored_image(mode: str, colours: bytes, channels: int) -> None:
    writer = TFRecord(content_of(WNIDS, ["n01440764/a.png"], [0]))
    found = features_of(b"".join(writer.frame(ImageRecord("train", 0, b"x", ImageInfo("PNG", 3, 4, mode)))))
    assert (found["image/colorspace"], found["image/channels"]) == ([colours], [channels])
    assert (found["image/format"], found["image/height"], found["image/width"]) == ([b"PNG"], [3], [4])


def test_file_names_keep_folders_that_are_not_just_the_class() -> None:
    names = ["n01440764/a.jpg", "n01440764/b/a.jpg"]
    writer = TFRecord(content_of(WNIDS, names, [0, 0]))
    found = [features_of(b"".join(writer.frame(ImageRecord("train", row, b"x", INFO)))) for row in range(2)]
    assert [features["image/filename"] for features in found] == [[name.encode()] for name in names]


def test_files_are_named_as_the_official_readers_expect() -> None:
    writer = TFRecord(content_of(WNIDS, [], []))
    assert writer.file_name("train", 1023) == "train-01023-of-01024"
    assert writer.file_name("val", 0) == "validation-00000-of-00128"


def test_labels_txt_keeps_zero_for_the_background() -> None:
    assert TFRecord(content_of(WNIDS, [], [])).files_beside() == {
        "labels.txt": "0:background\n1:tench, Tinca tinca\n2:goldfish, Carassius auratus\n",
        "classes.txt": "n01440764\ttench, Tinca tinca\nn01443537\tgoldfish, Carassius auratus\n",
    }
