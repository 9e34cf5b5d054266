"""Train a network of MXNet's example/image-classification on MNIST, save a checkpoint, and score it.

    python checkpoint_mxnet.py SYMBOLS MODULE '{"num_layers": 8, ...}' MNIST TRAINED_ON PREFIX

SYMBOLS is the folder symbols/ of that example, MNIST has the four files with the suffix .gz, TRAINED_ON is how many of
the training images to use. The settings are those of train_mnist.py, for one epoch. Writes PREFIX-symbol.json and
PREFIX-0001.params, reads them again, writes the probabilities of the test images (10000, 10) to PREFIX.npy, and prints
how many MXNet's metric counts as correct.
"""

import gzip
import importlib
import json
import os
import sys
from typing import Any

import mxnet as mx
import numpy as np


def read(folder: str, split: str) -> tuple[Any, Any]:
    """(images (N, 1, 28, 28) from 0 to 1, labels (N,)), as in train_mnist.py."""
    with gzip.open(os.path.join(folder, f"{split}-images-idx3-ubyte.gz")) as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(os.path.join(folder, f"{split}-labels-idx1-ubyte.gz")) as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images.astype(np.float32) / 255, labels.astype(np.float32)


def main() -> None:
    symbols, module, options, folder, trained_on, prefix = sys.argv[1:]
    sys.path.insert(0, symbols)
    given = {"num_classes": 10, "image_shape": "1,28,28", **json.loads(options)}
    symbol = importlib.import_module(module).get_symbol(**given)
    mx.random.seed(2)
    np.random.seed(2)
    images, labels = (part[: int(trained_on)] for part in read(folder, "train"))
    mx.mod.Module(symbol).fit(
        mx.io.NDArrayIter(images, labels, 64, shuffle=True),
        num_epoch=1,
        initializer=mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2),
        optimizer="sgd",
        optimizer_params={"learning_rate": 0.05, "momentum": 0.9, "wd": 1e-4},
        epoch_end_callback=mx.callback.do_checkpoint(prefix),
    )
    images, labels = read(folder, "t10k")
    network = mx.mod.Module.load(prefix, 1)
    batches = mx.io.NDArrayIter(images, labels, 100)
    network.bind(batches.provide_data, batches.provide_label, for_training=False)
    np.save(prefix + ".npy", network.predict(batches).asnumpy())
    ((_, accuracy),) = network.score(batches, "acc")
    print(json.dumps(round(accuracy * len(labels))))


if __name__ == "__main__":
    main()
