"""The model card: README.md beside weights that are written for other programs, as the Hugging Face hub shows it."""

import html
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import yaml

import tench
from tench.errors import counted
from tench.files import is_there, user_path
from tench.weights.own import Classifier, ModelCard
from tench.weights.recognise import RECIPE, is_tench_weights

README = "README.md"
_MAX_CLASSES = 100
"""With more classes, the list is left out."""


def readme(classifier: Classifier, library: str, name: str, license_name: str | None, use: str) -> str:
    """The text of the card: what the weights are, how good they are, and on which data they were trained.

    name: of the network in the library. use: Python code that loads it. What is unknown is left out.
    """
    card = classifier.card
    head: dict[str, Any] = {"library_name": library} if library == "timm" else {}
    head |= {"pipeline_tag": "image-classification", "tags": ["image-classification", library]}
    head |= {"license": license_name} if license_name else {}
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {name}, {counted(len(card.classes), 'class')}",
        f"{library}'s `{name}`, exported by tench {tench.__version__}.",
        f"```python\n{use}\n```",
        "## Input",
        _table(_input(card)),
    ]
    if card.metrics:
        parts += ["## Result", _table(_results(card))]
    if card.trained_on:
        parts += ["## Data", _table(_data(card.trained_on))]
    if len(card.classes) <= _MAX_CLASSES and not card.classes.numbered:
        parts += ["## Classes", "\n".join(_classes(card))]
    if (recipe := _recipe(classifier)) is not None:
        parts += ["## Recipe", f"<details>\n\n```yaml\n{recipe.strip()}\n```\n\n</details>"]
    return "\n\n".join(parts) + "\n"


def _table(rows: list[tuple[str, object]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {label} | {value} |" for label, value in rows)])


def _input(card: ModelCard) -> list[tuple[str, object]]:
    side, resize = card.image_size, card.eval_resize
    how = f"both sides to {resize} px" if card.squash else f"the shorter side to {resize} px"
    is_bgr = card.channel_order == "bgr"
    rows: list[tuple[str, object]] = [
        ("images", f"{side} x {side} px, {'RGB' if card.channels == 3 else 'grey'}"),
        ("resize", f"{how}, {card.interpolation}, antialiased" + ("; then crop the centre" if resize > side else "")),
        ("mean (pixels 0 to 1)", ", ".join(f"{value:.4g}" for value in (card.mean[::-1] if is_bgr else card.mean))),
        ("std (pixels 0 to 1)", ", ".join(f"{value:.4g}" for value in (card.std[::-1] if is_bgr else card.std))),
    ]
    if card.exif == "apply":
        rows.append(("EXIF orientation", "applied before resizing"))
    return rows


def _results(card: ModelCard) -> list[tuple[str, object]]:
    found = card.metrics
    rows: list[tuple[str, object]] = [
        (f"validation {name}", f"{found[key]:.2%}")
        for key, name in (("top1", "top-1"), ("top5", "top-5"))
        if key in found and (key == "top1" or len(card.classes) > 5)
    ]
    rows += [("validation loss", f"{found['loss']:.4f}")] if "loss" in found else []
    rows += [("epoch", found["epoch"])] if "epoch" in found else []
    if card.test_time != "none":
        rows.append(("test-time augmentation", f"{card.test_time} (used for the numbers above)"))
    return rows


def _data(trained_on: dict[str, Any]) -> list[tuple[str, object]]:
    """What the weights were trained on. Folder names are left out, because they belong to the machine."""
    source = trained_on.get("source", "")
    names = [PurePath(one).name for one in ([source] if isinstance(source, str) else source)]
    rows: list[tuple[str, object]] = [("dataset", _text(", ".join(names)))]
    for key, label in (
        ("layout", "layout"),
        ("fingerprint", "fingerprint of the training data"),
        ("val_fingerprint", "fingerprint of the validation data"),
        ("val_fraction", "fraction held out for validation"),
    ):
        if trained_on.get(key):
            rows.append((label, trained_on[key]))
    return rows


def _classes(card: ModelCard) -> Iterator[str]:
    for index, (class_id, name) in enumerate(zip(card.classes.ids, card.classes.names, strict=True)):
        yield f"{index}. {_text(class_id)}" + (f" ({_text(name)})" if name != class_id else "")


def _text(name: str) -> str:
    """A name as Markdown text on one line."""
    return html.escape(" ".join(name.split()), quote=False).replace("`", "'").replace("|", "&#124;")


def _recipe(classifier: Classifier) -> str | None:
    """The recipe of the run, without the folder of the weights it began with; None if the weights are not a run's."""
    place = user_path(classifier.source)
    folder = place if place.is_dir() else place.parent
    if not is_tench_weights(place) or not is_there(folder / RECIPE):
        return None
    recipe = yaml.safe_load((folder / RECIPE).read_text("utf-8"))
    if isinstance(recipe, dict) and isinstance(model := recipe.get("model"), dict) and model.get("weights"):
        model["weights"] = PurePath(str(model["weights"])).name
    return yaml.safe_dump(recipe, sort_keys=False)
