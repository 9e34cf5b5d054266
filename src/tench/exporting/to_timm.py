"""Write timm's folder of a trained network, which `timm.create_model("local-dir:FOLDER", pretrained=True)` reads."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tench.compat import import_timm
from tench.errors import TenchError
from tench.files import write_text
from tench.models.from_timm import EPS_IF_TRAINED
from tench.weights.files import complete_safetensors
from tench.weights.own import ModelCard, plain_copy
from tench.weights.recognise import CONFIG, HUB_FILES
from tench.weights.same_logits import probe_images, same_logits
from tench.weights.timm_folder import ARCHITECTURE


def write_timm(folder: Path, name: str, network: nn.Module, card: ModelCard, license_name: str | None) -> None:
    """Write config.json and model.safetensors for a network of timm into a folder.

    Raises TenchError if timm, reading the folder, does not give the same logits.
    """
    from safetensors.torch import save_file

    weights, problem = folder / HUB_FILES[0], ""
    with complete_safetensors(weights) as part:
        save_file({key: plain_copy(tensor) for key, tensor in network.state_dict().items()}, part)
    images = probe_images(card.channels, card.image_size)
    with torch.inference_mode():
        expected = network.eval()(images)
    # timm does not list the networks that accept img_size, so try without it first and keep what gives our logits.
    for sized in ({}, {"img_size": card.image_size}):
        text = json.dumps(_config(name, network, card, license_name, sized), indent=1, ensure_ascii=False)
        write_text(folder / CONFIG, text + "\n")
        try:
            found = _logits_in_timm(folder, images)
        except Exception as error:  # timm has no error of its own for an image size that does not fit
            problem = problem or str(error).partition("\n")[0]
            continue
        if same_logits(found, expected, within=1e-5):
            return
        problem = problem or "the logits differ"
    raise TenchError(
        f"timm cannot load {name} at {card.image_size} px with equal logits ({problem}). Nothing was written."
    )


def _logits_in_timm(folder: Path, images: torch.Tensor) -> torch.Tensor:
    timm: Any = import_timm()
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        logits: torch.Tensor = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()(images)
    return logits


def _config(
    name: str, network: nn.Module, card: ModelCard, license_name: str | None, sized: dict[str, int]
) -> dict[str, Any]:
    """The content of config.json. Everything in pretrained_cfg describes these weights, not those that timm publishes.

    first_conv, classifier and fixed_input_size belong to the network, so they are timm's.
    """
    theirs: Any = network.pretrained_cfg
    is_bgr = card.channel_order == "bgr"  # the weights have been reversed to RGB
    arguments: dict[str, Any] = sized | ({"in_chans": card.channels} if card.channels != 3 else {})
    if name in EPS_IF_TRAINED:
        arguments["bn_eps"] = next(one.eps for one in network.modules() if isinstance(one, nn.BatchNorm2d))
    ids, names = card.classes.ids, card.classes.names
    described = {
        "tag": "tench",
        "custom_load": False,
        "input_size": [card.channels, card.image_size, card.image_size],
        "fixed_input_size": bool(theirs.get("fixed_input_size", False)),
        "interpolation": card.interpolation,
        "crop_pct": crop_pct(card.image_size, card.eval_resize),
        "crop_mode": "squash" if card.squash else "center",
        "mean": list(card.mean[::-1] if is_bgr else card.mean),
        "std": list(card.std[::-1] if is_bgr else card.std),
        "num_classes": len(card.classes),
        "pool_size": None,
        "first_conv": theirs.get("first_conv"),
        "classifier": theirs.get("classifier"),
        "license": license_name,
    }
    found = {
        ARCHITECTURE: name.partition(".")[0],
        "num_classes": len(card.classes),
        "num_features": network.num_features,
        "label_names": list(ids),
        "label_descriptions": dict(zip(ids, names, strict=True)),
        "pretrained_cfg": described,
    }
    return found | ({"model_args": arguments} if arguments else {})


def crop_pct(size: int, resize: int) -> float:
    """The crop_pct for which timm's floor(size / crop_pct) is `resize`."""
    fraction = size / resize
    return fraction if math.floor(size / fraction) == resize else math.nextafter(fraction, 0)
