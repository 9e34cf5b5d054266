"""Use a file of `tench export` as a classifier, through onnxruntime.

The metadata of the file has the model's card. What the graph does itself, resizing or normalising, is not done before.
"""

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from tench.errors import TenchError, UsageError
from tench.files import user_path
from tench.plain import parse_json, require_file
from tench.weights.own import Classifier, ModelCard, Normalise

ONNX = ".onnx"
GraphInput = Literal["image", "view", "normalised"]
"""What an exported graph accepts: whole images, views that are cut, or normalised views."""


class OnnxNetwork(nn.Module):
    """A graph as a module: (B, C, H, W), uint8 or normalised floats -> logits (B, classes).

    If the graph gives probabilities, the logits are their logarithms. It has one parameter, by which its user finds the
    device.
    """

    def __init__(self, session: Any, takes_bytes: bool) -> None:
        super().__init__()
        self._session, self._takes_bytes = session, takes_bytes
        self._name = session.get_inputs()[0].name
        self.place = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        given = images.permute(0, 2, 3, 1) if self._takes_bytes else images
        (found,) = self._session.run(None, {self._name: given.contiguous().numpy()})
        answers = torch.from_numpy(found)
        return answers.clamp_min(torch.finfo(answers.dtype).tiny).log() if self._takes_bytes else answers


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CardOfBytes(ModelCard):
    """The card of a graph that normalises images itself."""

    def normalise(self, device: torch.device) -> Normalise:
        return _Unchanged((0.0,), (1.0,), device)


class _Unchanged(Normalise):
    def __call__(self, images: Tensor) -> Tensor:
        return images


def load_onnx(path: Path, device: str | torch.device = "auto") -> Classifier:
    """The classifier in an ONNX file, on the CPU.

    Raises UsageError if tench did not write it or for another device, TenchError if it is damaged.
    """
    if str(device) not in ("auto", "cpu"):
        raise UsageError(
            f"{path}: an ONNX file runs on the CPU, so device={str(device)!r} has no effect. Leave it out."
        )
    if importlib.util.find_spec("onnxruntime") is None:
        raise UsageError(f"{path}: this needs onnxruntime: pip install 'tench[export]'.")
    import onnxruntime

    require_file(path)
    _require_self_contained(path)
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception for each of its status codes, without a common class
        reason = str(error).strip().partition("\n")[0]
        raise TenchError(f"{path}: onnxruntime cannot load it ({reason}). Export the model again.") from error
    facts = session.get_modelmeta().custom_metadata_map
    try:
        kind = parse_json(facts["tench.input"])
        card = ModelCard.from_json(parse_json(facts["tench.card"]))
    except KeyError as error:
        raise UsageError(
            f"{path} has no description of its model. Only files from tench export can be used."
        ) from error
    except ValueError as error:
        raise TenchError(f"{path} does not describe a model ({error}).") from error
    if kind not in get_args(GraphInput):
        known = ", ".join(get_args(GraphInput))
        raise TenchError(f"{path}: tench.input is {json.dumps(kind)}, but should be one of {known}.")
    # The views that are averaged are inside, so the graph's own input is the larger view.
    card = dataclasses.replace(card, test_time="none", image_size=card.test_view.size)
    takes_bytes = kind != "normalised"
    if takes_bytes:
        fields = {field.name: getattr(card, field.name) for field in dataclasses.fields(card)}
        card = _CardOfBytes(**fields)
    return Classifier(OnnxNetwork(session, takes_bytes), card, str(path), whole_images=kind == "image")


def require_weights(source: str) -> None:
    """Raise UsageError for an exported file, where weights are needed."""
    if user_path(source).suffix == ONNX:
        raise UsageError(
            f"{source} is an exported file, whose weights cannot be used. Name the run that it was made from."
        )


def _require_self_contained(path: Path) -> None:
    """Raise TenchError if a file refers to others, which could be anywhere, or is not ONNX at all."""
    if importlib.util.find_spec("onnx") is None:
        return
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own error, which depends on its version
        raise TenchError(f"{path} is not an ONNX file. It may be damaged; copy it again.") from error
    if any(one.data_location == onnx.TensorProto.EXTERNAL for one in model.graph.initializer):
        raise TenchError(f"{path} has its weights in other files, which tench export never does.")
