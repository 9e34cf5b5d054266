"""Compare `tench prepare --to tfrecord` with a plain loop over tf.io.TFRecordWriter: images per second on one core.

The loop is the usual one: it reads each file, decodes it with tf.io.decode_jpeg to get its size, and writes it as a
tf.train.Example with the nine keys of the official converter (imagenet_to_gcs.py); tench writes the fifteen of Slim.
Both write the same number of files in random order, and flush each with fsync while the clock runs. The loop's time
excludes the import of TensorFlow and the first call of its decoder; tench's is that of the whole process, with the
table in the cache.
Usage: python benchmarks/prepare/tensorflow_writer.py --photos PHOTOS.tar --python PYTHON [--per-class 20] [--shards 8]
    [--core 0] [--folder DIR] [--repeats 5]
(PYTHON: an interpreter with TensorFlow; writes tensorflow_writer.json next to this script)
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
from machine import write_result

LOOP = r"""
import glob, os, random, sys, time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf

source, dest, num_shards = sys.argv[1], sys.argv[2], int(sys.argv[3])
first = sorted(glob.glob(f"{source}/*/*.JPEG"))[0]
tf.io.decode_jpeg(tf.io.read_file(first), channels=3)
os.mkdir(dest)


def of_bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def of_int(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


start = time.perf_counter()
paths = sorted(glob.glob(f"{source}/*/*.JPEG"))
synsets = sorted({os.path.basename(os.path.dirname(path)) for path in paths})
labels = {synset: number + 1 for number, synset in enumerate(synsets)}
random.seed(0)
random.shuffle(paths)
for shard in range(num_shards):
    file = os.path.join(dest, f"train-{shard:05}-of-{num_shards:05}")
    with tf.io.TFRecordWriter(file) as writer:
        for path in paths[shard * len(paths) // num_shards : (shard + 1) * len(paths) // num_shards]:
            with open(path, "rb") as opened:
                data = opened.read()
            height, width, _ = tf.io.decode_jpeg(data, channels=3).shape
            synset = os.path.basename(os.path.dirname(path))
            features = {
                "image/height": of_int(height),
                "image/width": of_int(width),
                "image/colorspace": of_bytes(b"RGB"),
                "image/channels": of_int(3),
                "image/class/label": of_int(labels[synset]),
                "image/class/synset": of_bytes(synset.encode()),
                "image/format": of_bytes(b"JPEG"),
                "image/filename": of_bytes(os.path.basename(path).encode()),
                "image/encoded": of_bytes(data),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    with open(file, "rb") as written:
        os.fsync(written.fileno())
print(time.perf_counter() - start)
"""
VERSION = "import tensorflow; print(tensorflow.__version__)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tench-benchmark"))
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    os.environ["TENCH_CACHE"] = str(args.folder / "cache")
    photos = common.photographs(args.photos)
    source = common.class_folders(args.folder / f"folder-{args.per_class}", photos, args.per_class)
    one_core, shards = ["taskset", "-c", str(args.core)], str(args.shards)

    def tench(out: Path) -> float:
        common.warm(source)
        command = [*common.TENCH, "prepare", source, out, "--to", "tfrecord", "--shards", shards, "-j", "1"]
        return common.timed(command, prefix=one_core)

    def loop(out: Path) -> float:
        common.warm(source)
        command = [*one_core, str(args.python), "-c", LOOP, str(source), str(out), shards]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    seconds = common.writing_in_turns({"tensorflow": loop, "tench": tench}, args.folder, args.repeats)
    num_images = len(photos) * args.per_class
    version = subprocess.run([args.python, "-c", VERSION], check=True, capture_output=True, text=True).stdout.strip()
    result = {
        "images": num_images,
        "repeats": args.repeats,
        "tensorflow": version,
        "flushed": "fsync of each file, in both",
        "seconds": {name: common.summary(values) for name, values in seconds.items()},
        "images_per_second": {name: common.rates(num_images, values, 0) for name, values in seconds.items()},
        "times_as_fast": common.times_as_fast(seconds["tench"], seconds["tensorflow"]),
    }
    write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
