"""The commands by purpose, and the dataclass with each command's options."""

import importlib
import typing

GROUPS = {
    "Data": {
        "info": "describe a dataset or weights",
        "check": "decode every image of a source once and list the bad ones",
        "prepare": "write a source in another layout: webdataset, folder, list, tfrecord, recordio",
        "download": "download a public dataset by name: mnist, cifar10, ..., imagenet",
    },
    "Train": {
        "train": "train a classifier (no SOURCE: scikit-learn's handwritten digits)",
        "recipes": "list the packaged recipes, or print one in full",
        "models": "list the networks with their parameters and GMACs",
    },
    "Use": {
        "evaluate": "top-1, top-5 and loss of a run or weights, counting each image once",
        "predict": "class names and probabilities for images",
        "export": "one ONNX file that gives the model's answers, verified on real images",
        "weights": "read weights of PyTorch, Hugging Face, NNabla, MXNet or Gluon; export to timm or torchvision",
    },
    "Measure": {
        "bench": "speed on this machine and what limits it: bench input SOURCE, train, models",
    },
    "This machine": {
        "doctor": "the capabilities and limits of this machine",
        "completion": "shell completion for bash, zsh or fish",
    },
}

COMMANDS = {command: text for group in GROUPS.values() for command, text in group.items()}


def forms(command: str) -> dict[str, type]:
    """The dataclasses of a command by the words they are called with: "train", or "bench input", "bench train", ..."""
    module = importlib.import_module(f"tench.cli.{command}")
    found = getattr(module, "FORMS", None)
    if found is None:
        return {command: getattr(module, command.capitalize())}
    return {f"{command} {form}": kind for form, kind in typing.cast(dict[str, type], found).items()}
