"""Read and write NNabla's parameter files (`.h5`), in both layouts and with 3 or 4 input channels.

A file has one HDF5 dataset per parameter, with the attributes `index` (the order of saving) and `need_grad`. It says
neither the architecture nor the layout. The layout follows from the shape of a batch norm's parameters: (1, C, 1, 1)
or (1, 1, 1, C). Reading happens in a child process, because HDF5 can crash on damaged files.
Source: python/src/nnabla/utils/get_file_handle.py of sony/nnabla; convert_parameter_format.py of its ImageNet example.
"""

import dataclasses
import itertools
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tench.data.files.apart import answer_of
from tench.data.formats.hdf5 import CHILD, require_h5py
from tench.errors import TenchError, some
from tench.files import complete_file
from tench.plain import shown
from tench.weights.by_order import Layer
from tench.weights.files import require_plausible

Layout = Literal["nchw", "nhwc"]

_NORM_ROLES = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
_ROLES = {"W": "weight", "b": "bias", **_NORM_ROLES}
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Parameter:
    """One dataset. name: with its groups, as in `conv1/conv/W`. index: the order of saving. need_grad: is trained."""

    name: str
    index: int
    need_grad: bool
    values: npt.NDArray[Any]

    @property
    def layer(self) -> str:
        """The group it is in: `conv1/conv`."""
        return self.name.rpartition("/")[0]

    @property
    def role(self) -> str:
        """W, b, gamma, beta, mean or var."""
        return self.name.rpartition("/")[2]


def read_h5(path: Path) -> list[Parameter]:
    """The parameters of a file in the order of saving. Raises TenchError if it is damaged or has other contents."""
    require_h5py(str(path))
    size = path.stat().st_size
    found: list[Parameter] = []
    total = 0
    for one in answer_of(CHILD, ["list-attributes", str(path)], str(path), num_bytes=size):
        name, given = one["name"], one["attributes"]
        if not {"index", "need_grad"} <= given.keys():
            raise TenchError(
                f"{path}: {shown(name)} has no attribute index or need_grad, so this is not a parameter file of NNabla."
            )
        if np.dtype(one["dtype"]).kind != "f" or not isinstance(given["index"], int):
            raise TenchError(
                f"{path}: {shown(name)} has type {one['dtype']} and index {shown(given['index'])}; expected floats and "
                "an integer. It is damaged, or not a parameter file of NNabla."
            )
        total += math.prod(one["shape"]) * np.dtype(one["dtype"]).itemsize
        require_plausible(path, total)
        found.append(Parameter(name, given["index"], bool(given["need_grad"]), _values(path, one, size)))
    if not found:
        raise TenchError(f"{path} contains no parameters.")
    return sorted(found, key=lambda one: (one.index, one.name))


def _values(path: Path, listed: dict[str, Any], size: int) -> npt.NDArray[Any]:
    shape, dtype, offset = tuple(listed["shape"]), np.dtype(listed["dtype"]), listed["offset"]
    num_bytes = math.prod(shape) * dtype.itemsize
    if offset is None:  # in chunks, or compressed
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "values.npy"
            answer_of(CHILD, ["copy", str(path), listed["name"], str(target)], str(path), num_bytes=num_bytes)
            return np.load(target, allow_pickle=False)  # type: ignore[no-any-return]
    if offset + num_bytes > size:
        raise TenchError(f"{path}: {shown(listed['name'])} ends beyond the file. It was truncated. Copy it again.")
    return np.fromfile(path, dtype, math.prod(shape), offset=offset).reshape(shape)


def write_h5(path: Path, parameters: Sequence[Parameter]) -> None:
    """Write parameters as NNabla does, with their names, order and attributes. The file appears complete or not at
    all."""
    require_h5py(str(path))
    import h5py

    with complete_file(path) as part, h5py.File(part, "w") as file:
        for one in parameters:
            dataset = file.create_dataset(one.name, data=one.values)
            dataset.attrs["need_grad"], dataset.attrs["index"] = one.need_grad, one.index


def layout_of(parameters: Sequence[Parameter]) -> Layout:
    """The layout, from the parameters of batch norms. Raises ValueError if there are none, or they differ."""
    shapes = {one.values.shape for one in parameters if one.role == "beta" and one.values.ndim == 4}
    layouts = {_layout_of_norm(shape) for shape in shapes if max(shape) > 1}
    if len(layouts) != 1 or None in layouts:
        found = f"batch norms of shape {some(list(map(str, sorted(shapes))), 3)}" if shapes else "no batch norm"
        raise ValueError(
            f"its layout is unknown: expected batch norms of shape (1, C, 1, 1) or (1, 1, 1, C), found {found}"
        )
    return layouts.pop()  # type: ignore[return-value]


def _layout_of_norm(shape: tuple[int, ...]) -> Layout | None:
    if shape[0] == shape[2] == shape[3] == 1:
        return "nchw"
    return "nhwc" if shape[:3] == (1, 1, 1) else None


def in_channels_of(parameters: Sequence[Parameter]) -> int:
    """Input channels of the first convolution."""
    first = _first_convolution(parameters)
    return int(first.values.shape[1 if layout_of(parameters) == "nchw" else 3])


def _first_convolution(parameters: Sequence[Parameter]) -> Parameter:
    first = next((one for one in parameters if one.role == "W" and one.values.ndim == 4), None)
    if first is None:
        raise ValueError("it has no convolution")
    return first


def converted(parameters: Sequence[Parameter], layout: Layout | None, channels: int | None) -> list[Parameter]:
    """The parameters in another layout or with another number of input channels; None keeps what they have.

    NNabla feeds zeros into a fourth input channel. A new one has weights of zero, and one that is removed is lost, as
    with convert_parameter_format. Raises ValueError if the layout is unknown.
    """
    before = layout_of(parameters)
    after = layout or before
    order = {("nchw", "nhwc"): _TO_NHWC, ("nhwc", "nchw"): _TO_NCHW}.get((before, after))
    first = _first_convolution(parameters)
    found = []
    for one in parameters:
        values = one.values
        if one is first and channels is not None:
            values = _with_channels(values, 1 if before == "nchw" else 3, channels)
        if order is not None and values.ndim == 4:
            values = np.ascontiguousarray(values.transpose(order))
        found.append(dataclasses.replace(one, values=values))
    return found


def _with_channels(values: npt.NDArray[Any], axis: int, channels: int) -> npt.NDArray[Any]:
    present = values.shape[axis]
    if channels == present:
        return values
    if channels > present:
        widths = [(0, 0)] * values.ndim
        widths[axis] = (0, channels - present)
        return np.pad(values, widths)
    return np.ascontiguousarray(np.take(values, range(channels), axis))


def layers_of_h5(parameters: Sequence[Parameter]) -> list[Layer]:
    """The layers in torch's layout, in the order of saving.

    A fourth input channel is left out: NNabla pads its images with a channel of zeros for half precision. Raises
    ValueError for other content than that of a network.
    """
    layout, first = layout_of(parameters), _first_convolution(parameters)
    layers = []
    for name, members in itertools.groupby(parameters, key=lambda one: one.layer):
        tensors = {}
        for one in members:
            if one.role not in _ROLES:
                raise ValueError(f"{shown(one.name)} is not a weight, a bias or a value of a batch norm")
            tensors[_ROLES[one.role]] = _tensor(one, layout, is_first=one is first)
        layers.append(Layer(name, tensors))
    return layers


def _tensor(one: Parameter, layout: Layout, *, is_first: bool) -> Tensor:
    values = one.values.astype(np.float32, copy=False)
    if values.ndim == 4 and layout == "nhwc":
        values = values.transpose(_TO_NCHW)
    if is_first and values.shape[1] == 4:
        values = values[:, :3]
    if values.ndim == 4 and one.role in _NORM_ROLES:
        values = values.reshape(-1)
    elif values.ndim == 2:
        values = values.T  # an affine layer is (in, out)
    return torch.from_numpy(np.ascontiguousarray(values))
