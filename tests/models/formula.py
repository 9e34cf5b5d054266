"""Weights and images by a formula, so that a test can contain the numbers that another framework computed with them."""

import numpy as np
import torch
from torch import Tensor, nn


def set_weights(network: nn.Module) -> None:
    """Fill convolution or linear layer j, and the batch norm after it, with sines of the positions of their values."""
    layer = 0
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                layer += 1
                _set(module.weight, 0, 2 / module.weight[0].numel() ** 0.5, 1, layer)
                if module.bias is not None:
                    _set(module.bias, 0, 0.1, 2, layer)
            elif isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                _set(module.weight, 1, 0.25, 1, layer)
                _set(module.bias, 0, 0.1, 2, layer)
                _set(module.running_mean, 0, 0.1, 3, layer)
                _set(module.running_var, 1, 0.25, 4, layer)


def image(size: int) -> Tensor:
    """An image of sines, (1, 3, size, size) float32."""
    return torch.from_numpy(_sines(3 * size * size, 0.01, 0)).reshape(1, 3, size, size)


def _set(tensor: Tensor, centre: float, spread: float, step: int, start: int) -> None:
    tensor.copy_(centre + spread * torch.from_numpy(_sines(tensor.numel(), step, start)).reshape(tensor.shape))


def _sines(count: int, step: float, start: int) -> np.ndarray:
    sines: np.ndarray = np.sin(step * np.arange(count, dtype=np.float64) + start).astype(np.float32)
    return sines
