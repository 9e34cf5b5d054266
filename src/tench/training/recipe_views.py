"""What a recipe makes of images: its views by epoch, its evaluation view, and what is done to whole batches."""

from tench.input.augment import Augmentation, Augmented, ColorJitter, Cutout, Lighting, mean_colour, named_policy
from tench.input.erasing import Erasing
from tench.input.mix import Mix
from tench.input.mxnet_augment import mxnet_augment
from tench.input.on_batch import OnBatch
from tench.input.order import Order
from tench.input.views import EvalView, PadCrop, RandomResizedCrop, View
from tench.training.recipe import Input, Recipe


def train_view(recipe: Recipe, epoch: int = 0) -> View:
    """The training view of a resolved recipe in an epoch, counted from 0."""
    cut = _cut(recipe.input, train_size(recipe, epoch))
    augmentations = _augmentations(recipe)
    return Augmented(cut, augmentations) if augmentations else cut


def train_size(recipe: Recipe, epoch: int) -> int:
    """The side of training images in an epoch, counted from 0. Source of the ramp: ffcv-imagenet, train_imagenet.py."""
    view = recipe.input
    assert view.train_size != "auto"
    assert view.ramp_from != "auto"
    start, end = view.ramp_epochs
    if epoch >= end:
        return view.train_size
    if epoch <= start:
        return view.ramp_from
    size = view.ramp_from + (view.train_size - view.ramp_from) * (epoch - start) / (end - start)
    rounded = round(size / view.ramp_multiple) * view.ramp_multiple
    return min(max(rounded, view.ramp_from), view.train_size)


def at_size(recipe: Recipe, image_size: int) -> Recipe:
    """The recipe for another image size, pixels; what goes with the size is auto again."""
    return recipe.replace(image_size=image_size, **dict.fromkeys(("eval_resize", "train_size", "ramp_from"), "auto"))


def eval_view(recipe: Recipe) -> EvalView:
    """The evaluation view of a resolved recipe."""
    view = recipe.input
    assert view.image_size != "auto"
    assert view.eval_resize != "auto"
    return EvalView(size=view.image_size, resize=view.eval_resize, interpolation=view.interpolation)


def on_batch(recipe: Recipe, order: Order, num_classes: int) -> OnBatch:
    """What the recipe asks to be done to the batches of an order once they are normalised."""
    asked = recipe.mix
    erasing = Erasing(
        prob=asked.erasing,
        area=asked.erasing_area,
        ratio=asked.erasing_ratio,
        count=asked.erasing_count,
        value=asked.erasing_value,
    )
    mix = Mix(
        mixup=asked.mixup,
        cutmix=asked.cutmix,
        prob=asked.mix_prob,
        switch_prob=asked.mix_switch,
        mode=asked.mix_mode,
        form=asked.mix_form,
    )
    is_mixed = asked.mixup > 0 or asked.cutmix > 0
    return OnBatch(order, num_classes, erasing if asked.erasing else None, mix if is_mixed else None)


def _cut(view: Input, size: int) -> View:
    if view.train_view == "random-resized-crop":
        return RandomResizedCrop(size=size, scale=view.scale, ratio=view.ratio, flip=view.flip, decode=view.decode)
    if view.train_view == "mxnet":
        return mxnet_augment(size, view.mxnet_level, view.mxnet_parameters)
    assert view.train_view == "pad-crop"
    assert view.pad != "auto"
    return PadCrop(size=size, pad=view.pad, flip=view.flip, fill=view.pad_fill)


def _augmentations(recipe: Recipe) -> tuple[Augmentation, ...]:
    """What the recipe asks for, in the order of its fields."""
    asked, mean = recipe.augment, mean_colour(recipe.input.mean)
    if recipe.input.channel_order == "bgr":  # as the mean is; pixels are RGB until they are normalised
        mean = mean[::-1]
    policy_ = named_policy(asked.policy, mean=mean, resample=asked.policy_filter)
    brightness, contrast, saturation, hue = asked.color_jitter
    jitter = ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    return (
        *([policy_] if policy_ else []),
        *([jitter] if any(asked.color_jitter) else []),
        *([Lighting(std=asked.lighting)] if asked.lighting else []),
        *([Cutout(side=asked.cutout, fill=mean)] if asked.cutout else []),
    )
