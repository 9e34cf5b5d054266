"""Draw weights with MXNet's initialisers, with the arguments of the programs of example/image-classification.

    python initialise_mxnet.py '[[OUT, IN, KH, KW], ...]' FILE.npz

Writes a float32 array NAME/NUMBER for each initialiser and shape, and prints the names. These are the values of
--initializer, with `mxnet` for the default.
"""

import json
import sys

import mxnet as mx
import numpy as np


def main() -> None:
    shapes, to = sys.argv[1:]
    mx.random.seed(0)
    initialisers = {
        "mxnet": mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2),
        "xavier": mx.init.Xavier(),
        "msra": mx.init.MSRAPrelu(),
        "orthogonal": mx.init.Orthogonal(),
        "normal": mx.init.Normal(),
        "uniform": mx.init.Uniform(),
        "one": mx.init.One(),
        "zero": mx.init.Zero(),
    }
    found = {}
    for name, initialiser in initialisers.items():
        for number, shape in enumerate(json.loads(shapes)):
            array = mx.nd.empty(tuple(shape))
            initialiser(mx.init.InitDesc("layer_weight"), array)
            found[f"{name}/{number}"] = array.asnumpy()
    np.savez(to, **found)
    print(json.dumps(list(initialisers)))


if __name__ == "__main__":
    main()
