"""What our own networks share: a batch norm whose scale is fixed."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class FixedScaleBatchNorm2d(nn.BatchNorm2d):
    """A batch norm whose scale is 1 for good (MXNet's fix_gamma); its shift is trained.

    The scale stays a parameter, so that counts and state dicts agree with MXNet's, but asks for no gradient. Whatever a
    state dict holds for it, it is 1 after loading: MXNet stores values there that it never uses.
    """

    def __init__(self, num_features: int, eps: float, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.weight.requires_grad_(False)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        super()._load_from_state_dict(state_dict, *args)
        # Here and not in forward: SyncBatchNorm and export take the weight and leave our forward behind.
        with torch.no_grad():
            self.weight.fill_(1)
