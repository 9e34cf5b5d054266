"""What a recipe does with images: the training view of each epoch, the evaluation view, and operations on batches."""

import torch

from tench.input.augment import Augmentation, Augmented, ColorJitter, Cutout, Lighting, mean_colour, named_policy
from tench.input.erasing import Erasing
from tench.input.mix import BatchMix
from tench.input.mxnet_augment import mxnet_augment
from tench.input.on_batch import OnBatch
from tench.input.order import Order
from tench.input.resize_crop import ResizeCrop
from tench.input.views import EvalView, PadCrop, RandomResizedCrop, View
from tench.training.recipe import Recipe, Resolved, ResolvedInput
from tench.weights.own import Normalise
from tench.weights.test_time import test_time_view


def train_view(recipe: Resolved, epoch: int = 0, policy: Augmentation | None = None) -> View:
    """The training view of a recipe in an epoch, counted from 0.

    policy: used instead of the one that the recipe names.
    """
    cut = _cut(recipe.input, train_size(recipe, epoch))
    augmentations = _augmentations(recipe, policy)
    return Augmented(cut, augmentations) if augmentations else cut


def train_size(recipe: Resolved, epoch: int) -> int:
    """The side of training images in an epoch, counted from 0. Source of the ramp: ffcv-imagenet, train_imagenet.py."""
    view = recipe.input
    start, end = view.ramp_epochs
    if epoch >= end:
        return view.train_size
    if epoch <= start:
        return view.ramp_from
    size = view.ramp_from + (view.train_size - view.ramp_from) * (epoch - start) / (end - start)
    rounded = round(size / view.ramp_multiple) * view.ramp_multiple
    return min(max(rounded, view.ramp_from), view.train_size)


def at_size(recipe: Recipe, image_size: int) -> Recipe:
    """The recipe for another image size, pixels; the other sizes become auto, without a ramp."""
    goes_with_it = dict.fromkeys(("eval_resize", "train_size", "ramp_from"), "auto")
    return recipe.replace(image_size=image_size, ramp_epochs=(0.0, 0.0), **goes_with_it)


def eval_view(recipe: Resolved) -> EvalView:
    """The evaluation view of a recipe."""
    view = recipe.input
    squash = view.crop_mode == "squash"
    return EvalView(size=view.image_size, resize=view.eval_resize, interpolation=view.interpolation, squash=squash)


def test_view(recipe: Resolved) -> EvalView:
    """The view used in validation: the evaluation view, or a larger view if several crops of it are averaged."""
    return test_time_view(eval_view(recipe), recipe.input.test_time)


def on_batch(recipe: Recipe, order: Order, num_classes: int) -> OnBatch:
    """The recipe's operations on normalised batches: erasing and mixing."""
    asked = recipe.mix
    erasing = Erasing(
        prob=asked.erasing,
        area=asked.erasing_area,
        ratio=asked.erasing_ratio,
        count=asked.erasing_count,
        value=asked.erasing_value,
    )
    mix = BatchMix(
        mixup=asked.mixup,
        cutmix=asked.cutmix,
        prob=asked.mix_prob,
        switch_prob=asked.mix_switch,
        mode=asked.mix_mode,
        form=asked.mix_form,
    )
    is_mixed = asked.mixup > 0 or asked.cutmix > 0
    return OnBatch(order, num_classes, erasing if asked.erasing else None, mix if is_mixed else None)


def make_normalise(recipe: Resolved, device: torch.device) -> Normalise:
    """A function that turns pixels into the network's input."""
    view = recipe.input
    return Normalise(view.mean, view.std, device, memory_format(recipe), view.channel_order)


def memory_format(recipe: Resolved) -> torch.memory_format:
    """The memory format of images and filters."""
    return torch.channels_last if recipe.training.memory_format == "nhwc" else torch.contiguous_format


def _cut(view: ResolvedInput, size: int) -> View:
    if view.train_view == "random-resized-crop":
        return RandomResizedCrop(
            size=size,
            scale=view.scale,
            ratio=view.ratio,
            interpolation=view.train_interpolation,
            flip=view.flip,
            flip_form=view.flip_form,
            decode=view.decode,
        )
    if view.train_view == "resize-crop":
        return ResizeCrop(
            size=size,
            short_side=view.short_side,
            stretch=view.stretch,
            flip=view.flip,
            flip_form=view.flip_form,
            decode=view.decode,
        )
    if view.train_view == "mxnet":
        return mxnet_augment(size, view.mxnet_level, view.mxnet_parameters)
    return PadCrop(size=size, pad=view.pad, flip=view.flip, flip_form=view.flip_form, fill=view.pad_fill)


def _augmentations(recipe: Resolved, policy: Augmentation | None) -> tuple[Augmentation, ...]:
    """The recipe's augmentations of single images, in the order of its fields."""
    asked, mean = recipe.augment, mean_colour(recipe.input.mean)
    if recipe.input.channel_order == "bgr":  # the mean is BGR, but pixels are RGB until they are normalised
        mean = mean[::-1]
    policy = policy or named_policy(asked.policy, mean=mean, resample=asked.policy_filter)
    brightness, contrast, saturation, hue = asked.color_jitter
    jitter = ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    return (
        *([policy] if policy else []),
        *([jitter] if any(asked.color_jitter) else []),
        *([Lighting(std=asked.lighting)] if asked.lighting else []),
        *([Cutout(side=asked.cutout, fill=mean)] if asked.cutout else []),
    )
