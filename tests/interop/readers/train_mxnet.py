"""Train weights with MXNet's optimizers for some steps.

    python train_mxnet.py FILE.npz TO.npz '{"NAME": {"optimizer": "sgd", "momentum": 0.9, ...}, ...}'

FILE contains the learning `rates` (steps,), and for each parameter its initial value NAME (shape) and its gradients
NAME.gradients (steps, *shape). Names end in _weight, _gamma, _beta or _bias, because MXNet distinguishes parameters by
these endings. Writes OPTIMIZER/PARAMETER for each. Prints the version of MXNet.
"""

import json
import sys
from typing import Any

import mxnet as mx
import numpy as np


def main() -> None:
    file, to, optimizers = sys.argv[1:]
    with np.load(file) as given:
        rates = given["rates"]
        starts = {name: given[name] for name in given.files if f"{name}.gradients" in given.files}
        gradients = {name: given[f"{name}.gradients"] for name in starts}
    found: dict[str, Any] = {}
    for label, options in json.loads(optimizers).items():
        names = dict(enumerate(starts))
        optimizer = mx.optimizer.create(options.pop("optimizer"), param_idx2name=names, **options)
        update = mx.optimizer.get_updater(optimizer)
        weights = {name: mx.nd.array(start) for name, start in starts.items()}
        for step, rate in enumerate(rates):
            optimizer.lr = float(rate)
            now = [mx.nd.array(gradients[name][step]) for name in starts]
            if optimizer.aggregate_num:
                # One call for all parameters: LARS compares the learning rate with that of the previous call, even in
                # the same step.
                optimizer.aggregate_num = len(names)
                update([*names], now, [*weights.values()])
            else:
                for number, (gradient, weight) in enumerate(zip(now, weights.values(), strict=False)):
                    update(number, gradient, weight)
        found |= {f"{label}/{name}": weight.asnumpy() for name, weight in weights.items()}
    np.savez(to, **found)
    print(json.dumps({"mxnet": mx.__version__}))


if __name__ == "__main__":
    main()
