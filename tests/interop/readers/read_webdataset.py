"""Print as JSON the samples that the webdataset package reads from shards: python read_webdataset.py PATTERN

PATTERN may have braces, such as `train-{00000..00003}-of-00004.tar`. Images are represented by their SHA-256.
"""

import hashlib
import json
import sys

import webdataset as wds


def main(pattern: str) -> None:
    samples = []
    for sample in wds.WebDataset(pattern, shardshuffle=False):
        parts = {name: data for name, data in sample.items() if isinstance(data, bytes)}
        samples.append(
            {"key": sample["__key__"], "shard": sample["__url__"]}
            | {
                name: data.decode() if name in ("cls", "json") else hashlib.sha256(data).hexdigest()
                for name, data in parts.items()
            }
        )
    print(json.dumps(samples))


if __name__ == "__main__":
    main(sys.argv[1])
