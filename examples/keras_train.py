"""Train a Keras model on TFRecords that `tench prepare` wrote, with TensorFlow alone.

    tench prepare SOURCE records --to tfrecord            once; then, where TensorFlow is installed:
    python keras_train.py records --epochs 10
    python keras_train.py records --network ResNet50 --image-size 224 --batch-size 256 --epochs 90

The folder contains train-00000-of-00128, ..., validation-00000-of-00008, ..., labels.txt and prepared.json. TensorFlow
opens all of them. Each record is an image with these keys, of which this script reads the first two:

    image/encoded              the bytes of the JPEG or PNG
    image/class/label          from 1; 0 is the background class in labels.txt; -1: no label
    image/class/synset, image/class/text, image/filename, image/format, image/colorspace
    image/height, image/width, image/channels
    image/object/bbox/xmin, ymin, xmax, ymax, label       none, or one value for each box

This script does not import tench: copy it and change it.
"""

import argparse
import json
import math
from typing import Any

import tensorflow as tf

KEYS = {
    "image/encoded": tf.io.FixedLenFeature((), tf.string),
    "image/class/label": tf.io.FixedLenFeature((), tf.int64, -1),
}
VALIDATION_RESIZE = 256 / 224
"""The shorter side is resized to this multiple of the image size before the centre is cropped."""


def parsed(record: Any) -> tuple[Any, Any]:
    """(encoded image, class index from 0; -2 if there is no label)."""
    found = tf.io.parse_single_example(record, KEYS)
    return found["image/encoded"], found["image/class/label"] - 1


def random_view(encoded: Any, size: int, min_area: float, flip: bool) -> Any:
    """A random part of an image, resized. Returns (size, size, 3) float32 in 0..255.

    Of a JPEG, only this part is decoded, because decoding takes most of the time.
    """
    is_jpeg = tf.io.is_jpeg(encoded)
    shape = tf.io.extract_jpeg_shape(encoded) if is_jpeg else tf.shape(decoded(encoded))
    whole = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    begin, extent, _ = tf.image.sample_distorted_bounding_box(
        shape, whole, min_object_covered=0.0, area_range=(min_area, 1.0), aspect_ratio_range=(3 / 4, 4 / 3)
    )
    top, left, height, width = begin[0], begin[1], extent[0], extent[1]
    if is_jpeg:
        part = tf.image.decode_and_crop_jpeg(encoded, tf.stack([top, left, height, width]), channels=3)
    else:
        part = decoded(encoded)[top : top + height, left : left + width]
    image = tf.image.resize(part, (size, size))
    return tf.image.random_flip_left_right(image) if flip else image


def central_view(encoded: Any, size: int) -> Any:
    """The centre of an image whose shorter side was resized. Returns (size, size, 3) float32 in 0..255."""
    image = decoded(encoded)
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = round(size * VALIDATION_RESIZE) / tf.reduce_min(sides)
    image = tf.image.resize(image, tf.cast(tf.round(sides * scale), tf.int32))
    return tf.image.resize_with_crop_or_pad(image, size, size)


def decoded(encoded: Any) -> Any:
    """The image, (H, W, 3) uint8; decode_jpeg also decodes PNG."""
    return tf.io.decode_jpeg(encoded, channels=3)


def training_batches(folder: str, asked: argparse.Namespace) -> tf.data.Dataset:
    """Endless batches of (images, labels).

    The shards already contain the records in random order. The random order of the shards and a buffer shuffle them
    again in each epoch. Images without a label are left out.
    """
    files = tf.data.Dataset.list_files(f"{folder}/train-*-of-*", shuffle=True)
    records = files.interleave(
        tf.data.TFRecordDataset, cycle_length=10, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False
    )
    return (
        records.shuffle(asked.shuffle_buffer)
        .repeat()
        .map(parsed, num_parallel_calls=tf.data.AUTOTUNE)
        .filter(lambda _, label: label >= 0)
        .map(
            lambda encoded, label: (random_view(encoded, asked.image_size, asked.min_area, asked.flip), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(asked.batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def validation_batches(folder: str, asked: argparse.Namespace) -> tuple[tf.data.Dataset, int]:
    """(batches with each validation image once, of which the last may be smaller; the number of images)."""
    files = tf.data.Dataset.list_files(f"{folder}/validation-*-of-*", shuffle=False)
    records = files.interleave(tf.data.TFRecordDataset).map(parsed, num_parallel_calls=tf.data.AUTOTUNE)
    labelled = records.filter(lambda _, label: label >= 0)
    num_images = int(labelled.reduce(0, lambda count, _: count + 1))
    batches = (
        labelled.map(
            lambda encoded, label: (central_view(encoded, asked.image_size), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(asked.batch_size)
        .apply(tf.data.experimental.assert_cardinality(math.ceil(num_images / asked.batch_size)))
        .prefetch(tf.data.AUTOTUNE)
    )
    return batches, num_images


def num_training_images(folder: str) -> int:
    """The number of training images according to prepared.json; counting the records would read all of them."""
    with tf.io.gfile.GFile(f"{folder}/prepared.json") as file:
        return int(json.load(file)["images"]["train"])


def class_names(folder: str) -> list[str]:
    """The class names in labels.txt, without the background in line 0."""
    with tf.io.gfile.GFile(f"{folder}/labels.txt") as file:
        return [line.rstrip("\n").partition(":")[2] for line in file][1:]


def network(name: str, size: int, num_classes: int) -> tf.keras.Model:
    """An untrained network, `small` or one of keras.applications: images in 0..255 -> logits."""
    layers = tf.keras.layers
    images = tf.keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    if name != "small":
        make = getattr(tf.keras.applications, name)
        body = make(weights=None, input_shape=(size, size, 3), classes=num_classes, classifier_activation=None)
        return tf.keras.Model(images, body(x))
    for width in (32, 64, 128):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(x))
    return tf.keras.Model(images, layers.Dense(num_classes)(layers.GlobalAveragePooling2D()(x)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a Keras model on TFRecords that tench prepare wrote.")
    parser.add_argument("folder")
    parser.add_argument("--network", default="small", help="small, or a name in keras.applications")
    parser.add_argument("--image-size", type=int, default=64, help="side of the square input of the network")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate after a warm-up of one epoch")
    parser.add_argument("--min-area", type=float, default=0.08, help="smallest crop, as a fraction of the image's area")
    parser.add_argument("--no-flip", dest="flip", action="store_false", help="do not mirror training images")
    parser.add_argument("--shuffle-buffer", type=int, default=2000, help="records kept in memory for shuffling")
    asked = parser.parse_args()

    names = class_names(asked.folder)
    steps = num_training_images(asked.folder) // asked.batch_size
    validation, num_validation = validation_batches(asked.folder, asked)
    model = network(asked.network, asked.image_size, len(names))
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps * max(asked.epochs - 1, 1), warmup_target=asked.lr, warmup_steps=steps
    )
    model.compile(
        optimizer=tf.keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        training_batches(asked.folder, asked),
        steps_per_epoch=steps,
        epochs=asked.epochs,
        validation_data=validation,
        verbose=2,
    )
    _, accuracy = model.evaluate(validation, verbose=0)
    print(f"{len(names)} classes, validation accuracy {100 * accuracy:.2f} % of {num_validation} images")


if __name__ == "__main__":
    main()
