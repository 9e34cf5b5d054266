"""Compute the logits of a network of MXNet's example/image-classification for given weights and images.

    python logits_mxnet.py SYMBOLS MODULE '{"num_layers": 18, ...}' FILE.npz TO.npy

SYMBOLS is the folder symbols/ of that example. FILE.npz contains `images` (B, C, H, W), and the network's arguments
(a0, a1, ...) and auxiliary states (s0, s1, ...) in the order in which MXNet lists them. Writes the logits (B, K), and
prints the names of the arguments.
"""

import importlib
import json
import sys

import mxnet as mx
import numpy as np


def main() -> None:
    symbols, module, options, file, to = sys.argv[1:]
    sys.path.insert(0, symbols)
    symbol = importlib.import_module(module).get_symbol(**json.loads(options))
    logits = symbol.get_children()[0]  # the input of SoftmaxOutput
    given = np.load(file)
    names = [name for name in logits.list_arguments() if name != "data"]
    states = logits.list_auxiliary_states()
    counts = [sum(key.startswith(kind) for key in given.files) for kind in ("a", "s")]
    assert counts == [len(names), len(states)], f"{counts} given, but {len(names)} arguments and {len(states)} states"
    bound = logits.simple_bind(mx.cpu(), grad_req="null", data=given["images"].shape)
    for kind, wanted, arrays in (("a", names, bound.arg_dict), ("s", states, bound.aux_dict)):
        for number, name in enumerate(wanted):
            value = given[f"{kind}{number}"]
            assert value.shape == arrays[name].shape, f"{name}: {arrays[name].shape}, given {value.shape}"
            arrays[name][:] = value
    np.save(to, bound.forward(is_train=False, data=mx.nd.array(given["images"]))[0].asnumpy())
    print(json.dumps(names))


if __name__ == "__main__":
    main()
