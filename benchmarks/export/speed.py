"""Compare the speed of an exported graph that resizes images itself with Pillow's resizing before the network's graph.

Both start from the same decoded photographs, one at a time, in one process, and run in onnxruntime on the CPU. The peer
resizes and crops with Pillow, as most programs around an ONNX file do, and then runs the graph with --input view. They
take turns; the first turn is a warm-up. Weights are random.

Usage: python benchmarks/export/speed.py PHOTOS.tar [--arch resnet18] [--repeats 7] [--output FILE]
    (PHOTOS.tar: members photos/<wnid>_<name>.JPEG; writes speed.json next to this script)
"""

import argparse
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Contender, in_turns, photographs, rates, times_as_fast
from machine import write_result
from networks import classifier_of

from tench.exporting.onnx_graph import onnx_model

GRAPH, PILLOW = "graph of any size", "Pillow, then the graph of views"
RESIZE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def contenders(arch: str, photos: list[np.ndarray[Any, Any]]) -> dict[str, Contender]:
    classifier = classifier_of(arch, eval_resize=256)
    card = classifier.card
    graph, views = (
        onnxruntime.InferenceSession(
            onnx_model(classifier, kind).SerializeToString(), providers=["CPUExecutionProvider"]
        )
        for kind in ("image", "view")
    )

    def in_graph(pixels: np.ndarray[Any, Any]) -> int:
        return int(graph.run(None, {"images": pixels[None]})[0].argmax())

    def in_pillow(pixels: np.ndarray[Any, Any]) -> int:
        image = Image.fromarray(pixels)
        scale = card.eval_resize / min(image.size)
        image = image.resize([int(side * scale) for side in image.size], RESIZE[card.interpolation])
        left, top = ((side - card.image_size) // 2 for side in image.size)
        view = np.asarray(image.crop((left, top, left + card.image_size, top + card.image_size)))
        return int(views.run(None, {"images": view[None]})[0].argmax())

    def running(answer: Any) -> Contender:
        def run() -> float:
            start = time.perf_counter()
            for pixels in photos:
                answer(pixels)
            return time.perf_counter() - start

        return run

    return {GRAPH: running(in_graph), PILLOW: running(in_pillow)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    load = os.getloadavg()[0]
    files = [data for of_class in photographs(args.photos).values() for data in of_class]
    photos = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in files[:100]]
    seconds = in_turns(contenders(args.arch, photos), args.repeats)
    write_result(
        args.output,
        {
            "arch": args.arch,
            "images": len(photos),
            "repeats": args.repeats,
            "load_average_before": round(load, 2),
            "images_per_second": {name: rates(len(photos), taken) for name, taken in seconds.items()},
            "graph_times_as_fast": times_as_fast(seconds[GRAPH], seconds[PILLOW]),
        },
    )


if __name__ == "__main__":
    main()
