"""Augment the images of a record file with MXNet's ImageRecordIter, with several sets of its parameters.

    python augment_mxnet.py FILE.rec FILE.npz '[[SIDE, {"rotate": "30"}], ...]'

Writes an array (N, SIDE, SIDE, 3) uint8, RGB, ordered by label, for each set, named by the number of the set. Prints
the version of MXNet.
"""

import json
import sys
from pathlib import Path

import mxnet as mx
import numpy as np


def main() -> None:
    file, to, sets = sys.argv[1:]
    found = {}
    for number, (side, parameters) in enumerate(json.loads(sets)):
        batches = mx.io.ImageRecordIter(
            path_imgrec=file,
            path_imgidx=str(Path(file).with_suffix(".idx")),
            data_shape=(3, side, side),
            batch_size=1,
            dtype="uint8",
            preprocess_threads=1,
            **parameters,
        )
        images = {int(batch.label[0].asscalar()): batch.data[0].asnumpy()[0] for batch in batches}
        found[str(number)] = np.stack([images[label] for label in sorted(images)]).transpose(0, 2, 3, 1)
    np.savez(to, **found)  # type: ignore[arg-type]  # the stub mistakes a name for allow_pickle
    print(json.dumps({"mxnet": mx.__version__}))


if __name__ == "__main__":
    main()
