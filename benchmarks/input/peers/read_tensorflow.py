"""tf.data as in its guide: interleaved TFRecord files, decoding only the crop of a JPEG, tf.image.resize."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import clock
import tensorflow as tf

SHUFFLE_BUFFER = 1000  # encoded images
FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
}


def batches(asked: Any) -> Iterator[tuple[Any, Any]]:
    def view(record: Any) -> tuple[Any, Any]:
        parsed = tf.io.parse_single_example(record, FEATURES)
        encoded = parsed["image/encoded"]
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.io.extract_jpeg_shape(encoded),
            tf.constant([0.0, 0.0, 1.0, 1.0], shape=[1, 1, 4]),
            min_object_covered=0.0,
            aspect_ratio_range=clock.RATIO,
            area_range=clock.SCALE,
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        window = tf.concat([begin[:2], size[:2]], axis=0)  # top, left, height, width
        image = tf.io.decode_and_crop_jpeg(encoded, window, channels=3)
        image = tf.image.resize(image, [clock.SIZE, clock.SIZE], antialias=asked.antialias)
        image = tf.image.random_flip_left_right(image)
        return tf.cast(tf.round(image), tf.uint8), parsed["image/class/label"] - 1

    options = tf.data.Options()
    options.threading.private_threadpool_size = asked.workers
    options.autotune.cpu_budget = asked.workers
    files = tf.data.Dataset.from_tensor_slices(sorted(map(str, Path(asked.data).glob("train-*"))))
    dataset = (
        files.shuffle(1024)
        .interleave(tf.data.TFRecordDataset, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
        .repeat()
        .shuffle(SHUFFLE_BUFFER)
        .map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
        .batch(asked.batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )
    yield from dataset


if __name__ == "__main__":
    parser = clock.parser()
    parser.add_argument("--antialias", action="store_true")
    asked = parser.parse_args()
    tf.config.threading.set_inter_op_parallelism_threads(asked.workers)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    filter_ = "bilinear, antialiased" if asked.antialias else "bilinear, not antialiased"
    clock.measure(asked, batches(asked), filter_=filter_, packages=("tensorflow-cpu",))
