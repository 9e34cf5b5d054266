"""Export a classifier to one file that gives its answers elsewhere, verified on real images before it appears."""

import dataclasses
import importlib.util
import json
import os
import tempfile
from pathlib import Path
from typing import Literal

from tench.arguments import checked_arguments
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.data.source import Source
from tench.errors import TenchError, UsageError
from tench.evaluation.evaluate import Model, chosen_for
from tench.exporting.compare import Comparison, compare
from tench.exporting.onnx_client import client
from tench.exporting.onnx_graph import onnx_model
from tench.files import complete_file, is_there, user_path, write_text
from tench.weights.load import load
from tench.weights.onnx_file import ONNX, GraphInput, require_weights
from tench.weights.own import Classifier


@checked_arguments()
def export(
    model: Model,
    dest: str | os.PathLike[str],
    *,
    input: GraphInput = "image",
    source: Source | None = None,
    split: str | None = None,
    verify: int | Literal["all"] = 2000,
    max_drop: float = 0.1,
    options: SourceOptions = NO_OPTIONS,
) -> Comparison:
    """Export a classifier to ONNX, and return how the file compares with the model on real images.

    model: as for `evaluate`. dest: a new file with the suffix .onnx. Beside it appear a .json with the comparison and,
    if the input is image, a .py that classifies images with only onnxruntime, NumPy and Pillow.

    input: what the graph accepts. image: uint8 (B, H, W, C), RGB of any size; it resizes, crops and normalises as the
    evaluation does. view: uint8 (B, S, S, C), resized and cropped. Both give probabilities (B, classes). normalised:
    float32 (B, C, S, S); gives logits. The batch size is free.

    source, split: labelled images to verify the file on; by default those that `evaluate` uses. verify: how many,
    evenly spread over the split, or "all". max_drop: loss of top-1, in points, above which the file is refused.

    Raises UsageError if dest exists, TenchError if ONNX cannot represent the network, or if the file's answers are
    worse than allowed; then no file appears.

    >>> comparison = tench.export("runs/digits", "digits.onnx", verify=100)
    >>> comparison.images, comparison.agreement
    (100, 1.0)
    """
    target = user_path(os.fspath(dest))
    if target.suffix != ONNX:
        raise UsageError(f"{target}: an exported file must have the suffix {ONNX}.")
    beside = [target.with_suffix(".json"), *([target.with_suffix(".py")] if input == "image" else [])]
    for path in (target, *beside):
        if is_there(path):
            raise UsageError(f"{path} exists. Remove it, or name a new destination.")
    if verify != "all" and verify < 1:
        raise UsageError(f"verify must be at least 1, or all, got {verify}.")
    _require_packages()
    require_weights(model.source if isinstance(model, Classifier) else os.fspath(model))
    classifier = model if isinstance(model, Classifier) else load(model, "cpu")
    chosen = chosen_for(classifier, source, split, options=options)
    content = onnx_model(classifier, input).SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / target.name
        trial.write_bytes(content)
        num_images = len(chosen.table) if verify == "all" else verify
        found = compare(classifier, trial, input, chosen.table, num_images)
    if found.drop > max_drop:
        raise TenchError(
            f"{classifier.source}: top-1 on {found.images:,} images of {chosen.name} is {found.top1_export:.2%} after "
            f"the export and {found.top1_model:.2%} before. The loss of {found.drop:.2f} points exceeds max_drop, "
            f"{max_drop:g}. Nothing was written."
        )
    facts = dataclasses.asdict(found) | {"source": chosen.name, "input": input}
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if input == "image":
            write_text(target.with_suffix(".py"), client(classifier.card, target.name))
        write_text(target.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
        with complete_file(target) as part:
            part.write_bytes(content)
    except BaseException:
        for path in beside:
            path.unlink(missing_ok=True)
        raise
    return found


def _require_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"Exporting needs {', '.join(missing)}: pip install 'tench[export]'.")
