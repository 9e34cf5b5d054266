"""Write a transformers classifier with save_pretrained, and its logits and processed pixels.

    python network_transformers.py KIND FOLDER

KIND: resnet18, resnet50, resnet50-384, vit or vit-384. Writes the folder with preprocessor_config.json, and logits.npy
for default_rng(11).standard_normal((2, 3, SIZE, SIZE)). The weights and the batch-norm statistics are
random. Also writes photo.npy, the processed pixels of photo.png, which must be in the folder.
"""

import json
import os
import sys
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

VIT = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}


def made(kind: str) -> tuple[Any, Any, int]:
    """(model, image processor, side of the images)"""
    labels = dict(enumerate(("ant", "bee", "cat", "dog", "eel")))
    named = {"id2label": labels, "label2id": {name: index for index, name in labels.items()}}
    size = 384 if kind.endswith("384") else 224
    if kind.startswith("vit"):
        model = transformers.ViTForImageClassification(transformers.ViTConfig(image_size=size, **VIT, **named))
        return model, transformers.ViTImageProcessor(size={"height": size, "width": size}), size
    small = {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]}
    config = transformers.ResNetConfig(**(small if kind == "resnet18" else {}), **named)
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": size}, crop_pct=0.875)
    return transformers.ResNetForImageClassification(config), processor, size


def main() -> None:
    kind, folder = sys.argv[1:]
    torch.manual_seed(0)
    model, processor, size = made(kind)
    norms: list[Any] = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        torch.nn.init.normal_(layer.running_mean, 0, 0.1)
        torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
        torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
        torch.nn.init.normal_(layer.bias, 0, 0.1)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    images = np.random.default_rng(11).standard_normal((2, 3, size, size)).astype(np.float32)
    with torch.inference_mode():
        np.save(os.path.join(folder, "logits.npy"), model(torch.from_numpy(images)).logits.numpy())
    photo = Image.open(os.path.join(folder, "photo.png"))
    np.save(os.path.join(folder, "photo.npy"), np.asarray(processor(photo, return_tensors="np")["pixel_values"]))
    print(json.dumps("written"))


if __name__ == "__main__":
    main()
