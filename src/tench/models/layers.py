"""A batch norm with a fixed scale, shared by our own networks."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class FixedScaleBatchNorm2d(nn.BatchNorm2d):
    """A batch norm whose scale is always 1 (MXNet's fix_gamma); its shift is trained.

    The scale stays a parameter without gradient, so that counts and state dicts agree with MXNet's. After loading any
    state dict it is 1, because MXNet stores values there that it never uses.
    """

    def __init__(self, num_features: int, eps: float, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.weight.requires_grad_(False)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        super()._load_from_state_dict(state_dict, *args)
        # Here rather than in forward: SyncBatchNorm and export use the weight without our forward.
        with torch.no_grad():
            self.weight.fill_(1)
