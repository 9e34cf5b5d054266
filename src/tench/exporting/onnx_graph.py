"""The ONNX graph of a classifier: the network, and the preprocessing of its evaluation view as ordinary operators.

    image         uint8 (B, H, W, C) of any size -> probabilities (B, classes): resize, crop, normalise
    view          uint8 (B, S, S, C), already resized and cropped -> probabilities (B, classes)
    normalised    float32 (B, C, S, S) -> logits (B, classes)

torch.onnx exports the network; what comes before and after it is written here, node by node, so that resizing happens
on bytes. ONNX's antialiased resize of uint8 differs from Pillow's by single levels at most; on floats by more.
"""

import json
import logging
import warnings
from typing import Any

import torch
from torch import nn

import tench
from tench.errors import TenchError
from tench.weights.onnx_file import GraphInput
from tench.weights.own import Classifier, ModelCard

OPSET = 18
"""The first with an antialiased Resize."""
_NORMALISED, _LOGITS = "normalised", "logits"
_MAX_BYTES = 2**31 - 2**20
"""A model in one file is a message of Protocol Buffers, which has at most 2 GiB."""


def onnx_model(classifier: Classifier, kind: GraphInput) -> Any:
    """The model, an `onnx.ModelProto` with names, view and origin in its metadata.

    Raises TenchError with the reason if ONNX cannot represent the network, or if it is too large for one file.
    """
    import onnx

    card = classifier.card
    model = _network(classifier)
    if kind != "normalised":
        graph = _Before(card)
        graph.view() if kind == "view" else graph.image()
        del model.graph.input[:]
        model.graph.input.append(graph.given)
        network = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend(
            [*graph.nodes, *network, onnx.helper.make_node("Softmax", [_LOGITS], ["probabilities"], axis=1)]
        )
        model.graph.initializer.extend(graph.constants)
        del model.graph.output[:]
        shape: list[str | int] = ["batch", len(card.classes)]
        model.graph.output.append(onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, shape))
    for key, value in metadata(card, kind).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    model.producer_name, model.producer_version = "tench", tench.__version__
    if model.ByteSize() > _MAX_BYTES:
        raise TenchError(f"{classifier.source}: the network is too large for an ONNX file, which has at most 2 GiB.")
    onnx.checker.check_model(model, full_check=True)
    return model


def metadata(card: ModelCard, kind: GraphInput) -> dict[str, str]:
    """What a user of the file needs to know, as JSON by key."""
    view = {"size": card.test_view.size, "resize": card.test_view.resize, "squash": card.squash}
    values = {
        "input": kind,
        "arch": card.arch,
        "classes": list(card.classes.ids),
        "class_names": list(card.classes.names),
        "view": view | {"interpolation": card.interpolation, "exif": card.exif, "test_time": card.test_time},
        "normalisation": {"mean": card.mean, "std": card.std, "channel_order": card.channel_order},
        "fingerprint": card.classes.fingerprint,
        "card": card.to_json(),
    }
    return {f"tench.{key}": json.dumps(value, ensure_ascii=False) for key, value in values.items()}


def _network(classifier: Classifier) -> Any:
    """The network alone, with a dynamic batch."""
    card, size = classifier.card, classifier.card.test_view.size
    images = torch.zeros(2, card.channels, size, size)
    batch = torch.export.Dim("batch", min=1)
    module: nn.Module = classifier.averaged.cpu().eval()
    noisy = logging.getLogger("torch.onnx"), logging.getLogger("onnxscript")
    levels = [logger.level for logger in noisy]
    try:
        for logger in noisy:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                module,
                (images,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                dynamic_shapes=({0: batch},),
                input_names=[_NORMALISED],
                output_names=[_LOGITS],
            )
    except Exception as error:  # torch.export and torch.onnx have dozens of errors without a common class
        raise TenchError(f"{classifier.source}: {card.arch} cannot be exported to ONNX ({_cause(error)}).") from error
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
    return program.model_proto


def _cause(error: BaseException) -> str:
    """The innermost reason, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


class _Before:
    """The nodes before the network: from bytes to `normalised`."""

    def __init__(self, card: ModelCard) -> None:
        self._card, self._view = card, card.test_view
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.given: Any = None

    def view(self) -> None:
        """From uint8 (B, S, S, C)."""
        import onnx

        shape: list[str | int] = ["batch", self._view.size, self._view.size, self._card.channels]
        self.given = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, shape)
        self._normalise(self._node("Transpose", ["images"], perm=[0, 3, 1, 2]))

    def image(self) -> None:
        """From uint8 (B, H, W, C) of any size. A valid graph states the rank of its input, so one image is a batch
        too."""
        import onnx

        shape: list[str | int] = ["batch", "height", "width", self._card.channels]
        self.given = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, shape)
        planes = self._node("Transpose", ["images"], perm=[0, 3, 1, 2])
        shape_of = self._node("Shape", ["images"])
        resized = self._sides(self._node("Gather", [shape_of, self._ints([1, 2])], axis=0))
        # All four sizes, not axes=[2, 3]: onnxruntime 1.32 permutes the sizes as if they were four when it moves the
        # transposition of grey images behind the Resize.
        outer = self._node("Gather", [shape_of, self._ints([0, 3])], axis=0)
        sizes = self._node("Concat", [outer, resized], axis=0)
        attributes: dict[str, Any] = {"mode": "linear"}
        if self._card.interpolation == "bicubic":
            attributes = {"mode": "cubic", "cubic_coeff_a": -0.5}
        pixels = self._node("Resize", [planes, "", "", sizes], antialias=1, exclude_outside=1, **attributes)
        size = self._view.size
        first = self._half_to_even(self._node("Sub", [resized, self._ints([size, size])]))
        end = self._node("Add", [first, self._ints([size, size])])
        self._normalise(self._node("Slice", [pixels, first, end, self._ints([2, 3])]))

    def _sides(self, sides: str) -> str:
        """Height and width after resizing: the shorter side is `resize`, the other one rounded down."""
        resize = self._ints([self._view.resize, self._view.resize])
        if self._view.squash:
            return resize
        shorter = self._node("ReduceMin", [sides], keepdims=1)
        return self._node("Div", [self._node("Mul", [sides, resize]), shorter])

    def _half_to_even(self, doubled: str) -> str:
        """Half of whole numbers, rounded half to even, as Python's round."""
        two = self._ints([2, 2])
        half = self._node("Div", [doubled, two])
        is_odd, half_is_odd = self._node("Mod", [doubled, two]), self._node("Mod", [half, two])
        return self._node("Add", [half, self._node("Mul", [is_odd, half_is_odd])])

    def _normalise(self, pixels: str) -> None:
        """(pixels - 255 mean) / (255 std) per channel, in the network's order of channels."""
        import onnx

        card = self._card
        if card.channel_order == "bgr":
            pixels = self._node("Gather", [pixels, self._ints([2, 1, 0])], axis=1)
        floats = self._node("Cast", [pixels], to=onnx.TensorProto.FLOAT)
        mean, std = (torch.tensor(values).mul(255).view(1, -1, 1, 1).numpy() for values in (card.mean, card.std))
        centred = self._node("Sub", [floats, self._constant(mean)])
        self.nodes.append(onnx.helper.make_node("Div", [centred, self._constant(std)], [_NORMALISED]))

    def _ints(self, values: list[int]) -> str:
        return self._constant(torch.tensor(values).numpy())

    def _constant(self, values: Any) -> str:
        import onnx

        name = f"before/constant{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(values, name))
        return name

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        import onnx

        name = f"before/{operator.lower()}{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name
