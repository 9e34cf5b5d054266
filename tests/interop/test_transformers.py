"""Folders that transformers itself writes, read by tench: the same logits and pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.interop.conftest import Ask

from tench.weights.load import load

pytestmark = pytest.mark.interop("transformers")


@pytest.mark.parametrize("kind", ["resnet18", "resnet50", "resnet50-384", "vit", "vit-384"])
def test_a_folder_of_transformers_gives_its_logits_and_pixels(
    kind: str, tmp_path: Path, photo_folder: Path, ask: Ask
) -> None:
    photo = Image.open(next(iter(sorted(photo_folder.rglob("*.jpg"))))).convert("RGB")
    photo.save(tmp_path / "photo.png")
    ask("transformers", "network_transformers.py", kind, tmp_path)
    classifier = load(tmp_path)
    size = classifier.card.image_size
    images = torch.from_numpy(np.random.default_rng(11).standard_normal((2, 3, size, size)).astype("float32"))
    expected = np.load(tmp_path / "logits.npy")
    with torch.inference_mode():
        found = classifier.module(images).numpy()
    assert expected.std() > 0.01, "the logits are constant, so the comparison proves nothing"
    assert np.abs(found - expected).max() < 1e-4 * expected.std()
    assert classifier.classes.names == ("ant", "bee", "cat", "dog", "eel")
    view = torch.from_numpy(classifier.view.pixels(np.asarray(photo)).copy()).permute(2, 0, 1)[None]
    pixels = classifier.card.normalise(torch.device("cpu"))(view).numpy()
    # transformers resizes tensors with torchvision, which differs from Pillow by single levels of 255.
    difference = np.abs(pixels - np.load(tmp_path / "photo.npy"))
    assert difference.mean() < 0.005
    assert difference.max() < 0.1
