"""Compare the speed of an MXNet symbol graph, as tench runs it, with our own network of the same structure.

The graph is MXNet's ResNet-50. `tench weights` would recognise it as `mxnet:resnet-50`; here, its nodes are run one by
one, as those of a graph are that tench does not recognise. Both networks have the same weights and must give the same
logits. They take turns in one process, in inference mode, with fp32 images in channels-last format, as in
`tench evaluate` on a CPU. A turn runs the same batches through each; the first turn is a warm-up.

Usage: python benchmarks/weights/symbol_graph.py [--repeats 9] [--output FILE]
    (writes symbol_graph.json next to this script)
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Contender, in_turns, rates, times_as_fast
from machine import write_result
from made import network, resnet_50_symbol, write_mxnet

from tench.weights.by_order import layers_of, state_in_order

GRAPH, OURS = "symbol graph", "mxnet:resnet-50"
BATCHES = [(16, 1), (1, 16)]
"""Images in a batch, and batches in a turn."""


def both() -> dict[str, nn.Module]:
    """The two networks with the same weights, after comparing their logits."""
    with tempfile.TemporaryDirectory() as folder:
        graph = write_mxnet(Path(folder) / "resnet-50", resnet_50_symbol(), 224, 3).eval()
    ours = network(OURS).eval()
    ours.load_state_dict(state_in_order(ours, layers_of(graph.state_dict())))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = ours(images), graph(images)
    assert (found - expected).abs().max() <= 1e-4 * expected.std(), "the graph is not that of our network"
    return {GRAPH: graph, OURS: ours}


def measured(networks: dict[str, nn.Module], batch: int, num_batches: int, repeats: int) -> dict[str, Any]:
    images = torch.randn(batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)

    def running(module: nn.Module) -> Contender:
        def run() -> float:
            with torch.inference_mode():
                began = time.perf_counter()
                for _ in range(num_batches):
                    module(images)
                return time.perf_counter() - began

        return run

    seconds = in_turns({name: running(module) for name, module in networks.items()}, repeats)
    return {
        "batch": batch,
        "images_per_turn": batch * num_batches,
        "images_per_second": {name: rates(batch * num_batches, taken) for name, taken in seconds.items()},
        "graph_times_as_fast": times_as_fast(seconds[GRAPH], seconds[OURS]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    load = os.getloadavg()[0]
    networks = both()
    rows = [measured(networks, batch, num_batches, args.repeats) for batch, num_batches in BATCHES]
    write_result(
        args.output,
        {
            "repeats": args.repeats,
            "load_average_before": round(load, 2),
            "threads": torch.get_num_threads(),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
