"""Export networks to ONNX, run them in onnxruntime, and compare the logits.

    python benchmarks/export/networks.py [NAME ...]

Without names: all networks of NNabla, edgeai and MXNet, tench's own, and one network of each of timm's families with at
most 40 million parameters. Weights are random, the statistics of batch norms are not trivial. Writes networks.json: for
each network the largest difference as a fraction of the logits' standard deviation, or why it cannot be exported.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import onnxruntime
import torch
from machine import write_result

from tench.compat import import_timm
from tench.data.table import Classes
from tench.errors import TenchError
from tench.exporting.onnx_graph import onnx_model
from tench.models import create, find
from tench.models.info import describe
from tench.models.registry import name_in_source, source_of
from tench.weights.own import Classifier, ModelCard

RESULT = Path(__file__).with_name("networks.json")
LARGEST = 40e6


def classifier_of(arch: str, eval_resize: int | None = None) -> Classifier:
    usual = source_of(arch).usual_input(name_in_source(arch))
    size, channels = usual.image_size, usual.channels
    torch.manual_seed(0)
    module = create(arch, num_classes=7, image_size=size, channels=channels).eval()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    card = ModelCard(
        arch=arch,
        classes=Classes.numbered_to(7),
        channels=channels,
        image_size=size,
        eval_resize=eval_resize or size,
        interpolation="bilinear",
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )
    return Classifier(module, card, arch)


def row(arch: str) -> dict[str, Any]:
    classifier = classifier_of(arch)
    card = classifier.card
    images = torch.randn(3, card.channels, card.image_size, card.image_size)
    with torch.inference_mode():
        expected = classifier.module(images).numpy()
    try:
        content = onnx_model(classifier, "normalised").SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"normalised": images.numpy()})
    except (TenchError, RuntimeError) as error:
        return {"arch": arch, "problem": str(error)[:300]}
    spread = expected.std() or 1.0  # a few networks begin with a head of zeros
    return {"arch": arch, "difference": float(np.abs(found - expected).max() / spread)}


def usual_names() -> list[str]:
    names = [name for system in ("nnabla", "edgeai", "mxnet") for name in find(f"{system}:*")]
    names += [name for name in find("*") if source_of(name).NAME == "tench"]
    timm: Any = import_timm()
    seen: set[str] = set()
    for module in timm.list_modules():
        for name in timm.list_models(module=module):
            arch = f"timm:{name}"
            if module in seen:
                break
            try:
                small = describe(arch).parameters <= LARGEST
            except Exception:  # each network has its own error for what it does not accept
                continue
            if small:
                seen.add(module)
                names.append(arch)
    return names


def main() -> None:
    warnings.simplefilter("ignore")
    onnxruntime.set_default_logger_severity(3)
    rows = []
    for arch in sys.argv[1:] or usual_names():
        rows.append(row(arch))
        print(rows[-1], flush=True)
    if not sys.argv[1:]:
        write_result(RESULT, {"rows": rows})


if __name__ == "__main__":
    main()
