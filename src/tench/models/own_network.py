"""A network of the user's own: a module, or a function that makes one, checked before it is used.

A function is called with the keyword argument num_classes, and with image_size and channels if its signature has
parameters of these names.
"""

import copy
import inspect
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from tench.errors import UsageError
from tench.models.blurpool import add_blurpool
from tench.models.registry import is_system
from tench.models.source import AS_MADE, ModelOptions, OptionError, require_as_made
from tench.own_code import code_name, errors_name, names_code

OwnNetwork = nn.Module | Callable[..., nn.Module]
"""A module, or a function or class that makes one."""


def is_own(arch: str) -> bool:
    """Whether an architecture's name refers to the user's own code: package.module:function or object:NAME."""
    return names_code(arch) and not is_system(arch.partition(":")[0])


def create_own(
    own: OwnNetwork, *, num_classes: int, image_size: int, channels: int = 3, options: ModelOptions = AS_MADE
) -> nn.Module:
    """The user's network on the CPU: (B, channels, S, S) float -> (B, num_classes) logits, where S is image_size.

    A module is used unchanged. A function draws its weights from torch's global generator. Two images of zeros are
    passed through in evaluation mode. Raises UsageError if the function does not accept num_classes or does not return
    a module, the logits have another shape, or the network cannot be copied or saved; TenchError if the code fails.
    """
    name = code_name(own)
    try:
        require_as_made(options)
    except OptionError as error:
        raise UsageError(f"{name} {error}. Leave that option out.") from error
    if isinstance(own, nn.Module):
        if options.blurpool:
            raise UsageError(
                f"{name} is a module, which is used unchanged. Leave out blurpool, or pass a function that makes the "
                "network."
            )
        network = own.cpu()
    else:
        network = _made(own, name, num_classes, image_size, channels)
        if options.blurpool and not add_blurpool(network):
            raise UsageError(
                f"{name} has no convolution of stride 2 with at least 16 input channels, so there is nothing to blur. "
                "Leave out --blurpool."
            )
    _check_logits(network, name, num_classes, (2, channels, image_size, image_size))
    if not any(True for _ in network.parameters()):
        raise UsageError(f"{name} has no parameters, so there is nothing to train.")
    return network


def _made(own: Callable[..., nn.Module], name: str, num_classes: int, image_size: int, channels: int) -> nn.Module:
    arguments = _arguments(own, name, {"num_classes": num_classes, "image_size": image_size, "channels": channels})
    with errors_name(name, f"called with {', '.join(f'{key}={value}' for key, value in arguments.items())}"):
        network: Any = own(**arguments)
    if not isinstance(network, nn.Module):
        raise UsageError(f"{name} returned {type(network).__name__}, expected a torch.nn.Module.")
    return network.cpu()


def _arguments(own: Callable[..., nn.Module], name: str, offered: dict[str, int]) -> dict[str, int]:
    """The keyword arguments that the function is called with."""
    try:
        parameters = inspect.signature(own).parameters
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: its signature cannot be read ({error}). Pass a Python function.") from error
    named = {key for key, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    if "num_classes" not in named and not takes_any:
        raise UsageError(f"{name} has no parameter num_classes, but it is called with one. Add it.")
    without_default = [
        key for key, one in parameters.items() if one.default is one.empty and key in named and key not in offered
    ]
    if without_default:
        raise UsageError(
            f"{name} needs {', '.join(without_default)}, but is called only with num_classes, image_size and "
            "channels. Give its other parameters defaults."
        )
    return {key: value for key, value in offered.items() if key in named or key == "num_classes"}


def _check_logits(network: nn.Module, name: str, num_classes: int, shape: tuple[int, int, int, int]) -> None:
    """Pass two images through the network, and through a copy of it in training mode, where batch norms count them."""
    for training in (False, True):
        used = _copied(network, name) if training else network
        was_training = used.training
        mode = f"in {'training' if training else 'evaluation'} mode"
        try:
            with (
                errors_name(name, f"called {mode} with images of shape {shape}"),
                torch.no_grad(),
                torch.random.fork_rng(devices=[]),
            ):
                logits = used.train(training)(torch.zeros(shape))
            _require_logits(logits, name, (shape[0], num_classes), f"{mode} for images of shape {shape}")
        finally:
            used.train(was_training)
        _require_state(used, name, network.state_dict().keys())


def _copied(network: nn.Module, name: str) -> nn.Module:
    with errors_name(name, "copied by copy.deepcopy, as averaging and callbacks do"):
        return copy.deepcopy(network)


def _require_state(network: nn.Module, name: str, before: Collection[str]) -> None:
    """Raise UsageError if the state dict would not restore the network. before: its names before any training."""
    state: dict[str, Any] = network.state_dict()
    if others := [key for key, value in state.items() if not isinstance(value, Tensor)]:
        raise UsageError(
            f"{name}: {others[0]!r} in its state_dict() is {type(state[others[0]]).__name__}, but only tensors are "
            "saved. Make it a buffer."
        )
    if lost := [key for key, _ in network.named_parameters() if key not in state]:
        raise UsageError(f"{name}: its state_dict() lacks the parameter {lost[0]!r}, which would not be saved.")
    if new := [key for key in state if key not in before]:
        raise UsageError(
            f"{name}: {new[0]!r} appears in its state_dict() when it is trained, so its weights would not fit a new "
            "network. Register it in __init__."
        )


class CheckedNetwork(nn.Module):
    """A network of the user's own whose errors name it, with its logits checked.

    (B, C, H, W) -> (B, num_classes). name: the network's. Does not wait for the device.
    """

    def __init__(self, module: nn.Module, name: str, num_classes: int) -> None:
        super().__init__()
        self.module, self._name, self._num_classes = module, name, num_classes

    def forward(self, images: Tensor) -> Tensor:
        given = f"in {'training' if self.module.training else 'evaluation'} mode"
        shape = tuple(images.shape)
        with errors_name(self._name, f"called {given} with images of shape {shape}"):
            logits: Tensor = self.module(images)
        _require_logits(logits, self._name, (len(images), self._num_classes), f"{given} for images of shape {shape}")
        return logits


def checked_network(module: nn.Module, arch: str, num_classes: int) -> nn.Module:
    """The network itself or, if the architecture is the user's own, a `CheckedNetwork` of it."""
    return CheckedNetwork(module, arch, num_classes) if is_own(arch) else module


def _require_logits(logits: Any, name: str, shape: tuple[int, int], given: str) -> None:
    found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
    if not isinstance(logits, Tensor) or tuple(logits.shape) != shape:
        raise UsageError(
            f"{name} returned {found} {given}, expected logits of shape {shape}: one number for each class."
        )
    if not logits.is_floating_point():
        raise UsageError(f"{name} returned logits of type {logits.dtype}, expected floating point.")
