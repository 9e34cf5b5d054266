"""What a network of NNabla's ImageNet example answers, and the parameter file it saves.

    python network_nnabla.py FOLDER ARCH SIZE CHANNELS CLASSES TO.h5 TO.npy

FOLDER contains the example's package `models`. The parameters are random, the statistics of batch norms are not
trivial, and signals keep their size. The input is default_rng(11).standard_normal((2, 3, SIZE, SIZE)), with zeros in a
fourth channel. Writes the parameters and the logits (2, CLASSES).
"""

import json
import sys

import nnabla as nn
import numpy as np


def main() -> None:
    folder, arch, size, channels, classes, parameters, logits = sys.argv[1:]
    sys.path.insert(0, folder)
    from models import build_network

    side = int(size)
    images = np.zeros((2, int(channels), side, side), np.float32)
    images[:, :3] = np.random.default_rng(11).standard_normal((2, 3, side, side))
    given = nn.Variable(images.shape)
    given.d = images
    answer, _ = build_network(given, int(classes), arch)
    rng = np.random.default_rng(7)
    for name, one in nn.get_parameters(grad_only=False).items():
        role = name.rpartition("/")[2]
        if role in ("gamma", "var"):
            one.d = rng.uniform(0.6, 1.0, one.shape) if role == "gamma" else rng.uniform(0.8, 1.4, one.shape)
        elif role in ("beta", "mean", "b"):
            one.d = rng.uniform(-0.3, 0.3, one.shape)
        else:
            fan_in = one.shape[0] if len(one.shape) == 2 else int(np.prod(one.shape[1:]))
            one.d = rng.standard_normal(one.shape) * np.sqrt(1 / fan_in)
    answer.forward(clear_buffer=True)
    nn.save_parameters(parameters)
    np.save(logits, answer.d)
    print(json.dumps("written"))


if __name__ == "__main__":
    main()
