import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.data.photos import array, part

from tench.compat import import_timm, import_torchvision
from tench.input.erasing import Erasing
from tench.input.views import Draws

B, H, W = 16, 22, 30
TIMM: dict[str, Any] = {"area": (0.02, 1 / 3), "ratio": (0.3, 1 / 0.3)}


def images() -> torch.Tensor:
    pixels = np.stack([array(part(W, H, number)) for number in range(B)])
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.225


def draws(erasing: Erasing, number: int, count: int = B) -> Draws:
    return np.random.default_rng(number).random((count, erasing.num_draws))


def erased(erasing: Erasing, numbers: Draws, seed: int = 0) -> torch.Tensor:
    return erasing.apply(images(), erasing.boxes(numbers, H, W), seed)


class Source:
    """A random source that returns the numbers drawn for an image in the order in which its rectangles need them."""

    def __init__(self, numbers: np.ndarray[Any, Any]) -> None:
        self.head = [float(value) for value in numbers[:2]]
        self.rectangles = numbers[2:].reshape(-1, 22).tolist()
        self.tries = 0

    def whether(self) -> float:
        return self.head[0]

    def uniform(self, low: float, high: float) -> float:
        if self.tries == 20:  # the previous rectangle found no place
            self.next()
        self.tries += 1
        return low + (high - low) * float(self.rectangles[0][1 + self.tries])

    def how_many(self, low: int, high: int) -> int:
        return low + int(self.head[1] * (high - low + 1))

    def place(self, axis: int, largest: int) -> int:
        value = int(self.rectangles[0][axis] * (largest + 1))
        if axis == 1:
            self.next()
        return value

    def next(self) -> None:
        self.rectangles.pop(0)
        self.tries = 0


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("area", [(0.02, 1 / 3), (0.5, 1.0)], ids=["timm's area", "many misses"])
def test_with_timms_values_it_matches_timms_random_erasing_on_the_same_draws(
    monkeypatch: pytest.MonkeyPatch, count: int, area: tuple[float, float]
) -> None:
    import_timm()
    from timm.data.random_erasing import RandomErasing

    erasing = Erasing(prob=0.7, count=count, **TIMM | {"area": area})
    theirs = RandomErasing(0.7, *area, max_count=count, device="cpu")
    for number in range(5):
        numbers, expected = draws(erasing, number), images()
        for image, row in zip(expected, numbers, strict=True):
            source = Source(row)
            places: list[int] = []

            def randint(low: int, high: int, source: Source = source, places: list[int] = places) -> int:
                if count > 1 and low == 1:
                    return source.how_many(low, high)
                places.append(high)
                return source.place((len(places) - 1) % 2, high)

            with monkeypatch.context() as patch:
                patch.setattr(random, "random", source.whether)
                patch.setattr(random, "uniform", source.uniform)
                patch.setattr(random, "randint", randint)
                theirs(image)
        assert torch.equal(erased(erasing, numbers), expected)


def test_with_the_defaults_it_matches_torchvisions_random_erasing_on_the_same_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import_torchvision()
    from torchvision.transforms import v2

    erasing = Erasing(prob=0.6)
    theirs = v2.RandomErasing(p=0.6)

    class Uniform:
        def __init__(self, source: Source) -> None:
            self.source = source

        def uniform_(self, low: Any, high: Any) -> torch.Tensor:
            return torch.tensor([self.source.uniform(float(low), float(high))], dtype=torch.float64)

    for number in range(5):
        numbers, expected = draws(erasing, number), []
        for image, row in zip(images(), numbers, strict=True):
            source = Source(row)
            axes = iter((0, 1))

            def randint(
                low: int, high: int, size: Any, source: Source = source, axes: Iterator[int] = axes
            ) -> torch.Tensor:
                return torch.tensor([source.place(next(axes), high - 1)])

            with monkeypatch.context() as patch:
                patch.setattr(torch, "rand", lambda *_, source=source: torch.tensor([source.whether()]))
                patch.setattr(torch, "empty", lambda *_, source=source, **__: Uniform(source))
                patch.setattr(torch, "randint", randint)
                expected.append(theirs(image))
        assert torch.equal(erased(erasing, numbers), torch.stack(expected))


@pytest.mark.parametrize("value", ["channel", "pixel"])
def test_noise_is_normal_per_channel_or_per_pixel_and_a_function_of_the_seed(value: Any) -> None:
    erasing = Erasing(prob=1.0, value=value)
    numbers = draws(erasing, 1)
    found = erased(erasing, numbers, seed=5)
    assert torch.equal(found, erased(erasing, numbers, seed=5))
    assert not torch.equal(found, erased(erasing, numbers, seed=6))
    noise = []
    for image, plain, (box,) in zip(found, images(), erasing.boxes(numbers, H, W).tolist(), strict=True):
        top, left, bottom, right = box
        inside = image[:, top:bottom, left:right].reshape(3, -1)
        assert inside.numel() > 0
        assert (inside.std(dim=1) == 0).all() == (value == "channel") or inside.shape[1] == 1
        noise.append(inside[:, :1] if value == "channel" else inside)
        outside = torch.ones(H, W, dtype=torch.bool)
        outside[top:bottom, left:right] = False
        assert torch.equal(image[:, outside], plain[:, outside])
    drawn = torch.cat([part.ravel() for part in noise])
    assert abs(drawn.mean()) < 4 / len(drawn) ** 0.5
    assert drawn.std() == pytest.approx(1, abs=4 / len(drawn) ** 0.5)


def test_the_fraction_of_erased_images_is_the_probability() -> None:
    erasing = Erasing(prob=0.25)
    boxes = erasing.boxes(draws(erasing, 0, 4000), H, W)
    assert (boxes[:, 0, 2] > 0).mean() == pytest.approx(0.25, abs=0.03)


def test_the_number_and_the_total_area_of_rectangles_are_limited() -> None:
    erasing = Erasing(prob=1.0, count=4, **TIMM)
    boxes = erasing.boxes(draws(erasing, 0, 4000), 200, 200)
    sizes = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    how_many = (sizes > 0).sum(axis=1)
    assert np.bincount(how_many, minlength=5)[1:] == pytest.approx([1000] * 4, abs=150)
    assert sizes.sum(axis=1).max() < 200 * 200 * 0.35
