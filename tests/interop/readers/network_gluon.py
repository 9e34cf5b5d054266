"""What a network of Gluon's model zoo answers, with its parameters saved in both of Gluon's ways.

    python network_gluon.py NAME SIZE CLASSES FOLDER

Writes `weights.params` (save_parameters), `network-symbol.json` with `network-0000.params` (export), and `logits.npy`
for default_rng(11).standard_normal((2, 3, SIZE, SIZE)). The parameters are random, the statistics of batch norms are
not trivial, and signals keep their size.
"""

import json
import os
import sys

import mxnet as mx
import numpy as np
from mxnet.gluon.model_zoo import vision


def main() -> None:
    name, size, classes, folder = sys.argv[1:]
    network = vision.get_model(name, classes=int(classes))
    network.initialize()
    images = np.random.default_rng(11).standard_normal((2, 3, int(size), int(size))).astype(np.float32)
    network(mx.nd.array(images))  # creates the parameters
    rng = np.random.default_rng(7)
    for one in network.collect_params().values():
        if one.name.endswith(("gamma", "running_var")):
            value = rng.uniform(0.6, 1.0, one.shape) + 0.3 * one.name.endswith("var")
        elif one.name.endswith(("beta", "running_mean", "bias")):
            value = rng.uniform(-0.3, 0.3, one.shape)
        else:
            value = rng.standard_normal(one.shape) * np.sqrt(1.5 / np.prod(one.shape[1:]))
        one.set_data(mx.nd.array(value))
    network.hybridize()
    np.save(os.path.join(folder, "logits.npy"), network(mx.nd.array(images)).asnumpy())
    network.save_parameters(os.path.join(folder, "weights.params"))
    network.export(os.path.join(folder, "network"))
    print(json.dumps("written"))


if __name__ == "__main__":
    main()
