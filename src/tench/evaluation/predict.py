"""Classify images one by one."""

from collections.abc import Iterator

import torch

from tench.arguments import checked_arguments
from tench.evaluation.evaluate import Model, classifier_of
from tench.input.given import Images
from tench.weights.prediction import Prediction


@checked_arguments("images")
def predict(
    model: Model, images: Images, *, top: int = 5, threads: int = 0, device: str | torch.device = "auto"
) -> Iterator[Prediction]:
    """Classify images; yields a `Prediction` for each, in order.

    model: a run or its directory, a weights file, published weights, or a `Classifier`. images: a path, a folder (all
    images below it), a PIL image, a uint8 array (H, W), (H, W, 1), (H, W, 3), (H, W, 4) or (N, H, W, C), the bytes of
    an image file, or several of these. top: how many classes each prediction lists. threads: 0 means one per core.
    device: "auto", "cpu", "cuda", ...; not for a `Classifier`.

    The arguments are checked at once; images are read as the predictions are consumed, so a folder of any size fits in
    memory. An image that cannot be read yields a prediction with an `error`. To get all predictions and the
    probabilities of all classes at once, call `load(model).predict(images)`.

    Raises UsageError for a value that is not an image and for a missing path, TenchError for a folder without images.

    >>> [found] = tench.predict("runs/digits", np.zeros((8, 8), np.uint8), top=3)
    >>> found.image, len(found.predictions)
    ('image', 3)
    """
    return classifier_of(model, device).stream(images, top=top, threads=threads)
