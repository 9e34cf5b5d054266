"""The recipe: everything that decides the numbers of a training, in one typed, documented, frozen tree.

The YAML form, the flags of `tench train` and the reference page all come from these fields. An `auto` is resolved
once, at the start of a run, and written into it.
"""

import dataclasses
import math
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import tyro
import yaml

from tench.data.split import VAL_FRACTION
from tench.errors import UsageError, nearest
from tench.input.views import Decode

Auto = Literal["auto"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    arch: Annotated[str, tyro.conf.arg(aliases=["-a"])] = "resnet18"
    """Network, by the name `tench models` lists it under."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    image_size: int | Auto = "auto"
    """Side of the square the network sees in evaluation, pixels. auto: the images' own side when all are square and at
    most 64 pixels, else 224."""
    train_size: int | Auto = "auto"
    """Side of training images, pixels. auto: image_size. Somewhat smaller ones cost less and raise accuracy (FixRes:
    176 for 224)."""
    ramp_from: int | Auto = "auto"
    """Progressive resizing: side of training images until the ramp. auto: train_size, no ramp."""
    ramp_epochs: tuple[float, float] = (0.0, 0.0)
    """Epochs after which the ramp from ramp_from to train_size starts and ends; linear, one size for an epoch."""
    ramp_multiple: int = 32
    """Sizes within the ramp are rounded to a multiple of this, pixels."""
    channels: Literal[1, 3] | Auto = "auto"
    """Channels of the input. auto: 1 when the dataset holds raw grey pixels only, else 3."""
    train_view: Literal["random-resized-crop", "pad-crop", "mxnet"] | Auto = "auto"
    """How a training image is cut; mxnet: as MXNet's ImageRecordIter augments. auto: pad-crop up to 64 pixels, else
    random-resized-crop."""
    scale: tuple[float, float] = (0.08, 1.0)
    """random-resized-crop: smallest and largest part of the image's area."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """random-resized-crop: smallest and largest width : height of the part."""
    pad: int | Auto = "auto"
    """pad-crop: width of the border, pixels. auto: an eighth of the image size."""
    pad_fill: int | Literal["reflect"] = 0
    """pad-crop: value of the border, 0 to 255, or reflect: the image mirrored at its edge."""
    decode: Decode = "reduced"
    """random-resized-crop: how JPEGs are decoded. full: at their size. reduced: at 1/2, 1/4 or 1/8 where the part is so
    many times as large as the input, or larger. fast: the same with less exact arithmetic."""
    flip: float = 0.5
    """Probability that a training image is mirrored left to right (mxnet: mirror and rand_mirror instead)."""
    mxnet_level: Literal["0", "1", "2", "3", "cifar10", "imagenet"] = "1"
    """mxnet: what the programs of example/image-classification set. 1: random crop and mirror; 2: also hue, saturation
    and lightness; 3: also rotation, shear and aspect ratio; cifar10: 1 with a border; imagenet: random resized crop,
    mirror, colour and PCA noise; 0: nothing."""
    mxnet_parameters: str = ""
    """mxnet: what differs from the level, in ImageRecordIter's words, such as "resize=256 max_rotate_angle=10
    inter_method=2 rotate_list=0,90"."""
    repeats: int = 1
    """Repeated augmentation: so many views of an image in a row. An epoch keeps its number of steps and sees so many
    times fewer images. Ranks share the views out; on a single one, mix_form timm mixes different images."""
    eval_resize: int | Auto = "auto"
    """Evaluation: the shorter side is resized to this, then the centre is cut. auto: the image size divided by 0.875,
    or the image size itself up to 64 pixels."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Filter of the evaluation view."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Subtracted from pixels scaled to 0..1, one per channel (three are averaged for a one-channel input)."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Pixels are then divided by this, one per channel."""
    channel_order: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels the network sees, and of mean and std."""
    val_fraction: float = VAL_FRACTION
    """Part of each class held out for validation when the dataset has neither val nor test; the same images always."""
    val_per_class: int = 0
    """So many training images of each class, drawn with a stated seed, become the split val of a dataset that has none;
    0: none. (ImageNet-11K: 50.)"""
    min_images: int = 0
    """Classes with fewer training images are left out. (ImageNet-11K: 500.)"""
    bad: Literal["fail", "skip", "fix"] = "fail"
    """Images that do not decode: stop; leave them out; decode JPEGs as far as they go, the rest grey, and leave out
    what cannot be fixed so. With skip and fix all images are checked first, once; bad_images.json lists them."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    policy: str = "none"
    """Operations at random on each training image, after its cut: none, randaugment-N-M (N operations of magnitude M
    of 30), trivialaugment-wide, autoaugment-imagenet, autoaugment-cifar10, autoaugment-svhn, or timm's form of
    RandAugment, such as rand-m9-n2-mstd0.5-inc1."""
    policy_filter: Literal["nearest", "bilinear"] = "nearest"
    """Filter of the policy's shears and turns: nearest as in torchvision's classes, bilinear as in its training script.
    timm's form always takes bilinear and bicubic at random."""
    color_jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Brightness, contrast, saturation and hue, changed in a random order: by a factor from 1 - x to 1 + x, the hue by
    up to x turns either way; 0: not. Hue is by far the slowest."""
    lighting: float = 0.0
    """Standard deviation of AlexNet's colour noise along ImageNet's principal components (0.1 there); 0: none."""
    cutout: int = 0
    """Side of a square, pixels, that is filled with the mean at a random place of each training image; 0: none."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    mixup: float = 0.0
    """Mixup: images and labels are blended with those of another image of the batch, the own share drawn from
    Beta(mixup, mixup). 0: off."""
    cutmix: float = 0.0
    """Cutmix: a rectangle is taken from another image of the batch, the area outside it drawn from
    Beta(cutmix, cutmix). 0: off."""
    mix_prob: float = 1.0
    """Probability of mixing at all."""
    mix_switch: float = 0.5
    """Probability of cutmix rather than mixup where both are on."""
    mix_mode: Literal["batch", "pair", "elem"] = "batch"
    """Drawn once for a batch, for each pair of images, or for each image. pair and elem: form timm only."""
    mix_form: Literal["torchvision", "timm"] = "torchvision"
    """The other image: the one before in the batch (torchvision), or the batch is met in reverse (timm). NNabla's mixup
    is timm with mode elem."""
    erasing: float = 0.0
    """Random erasing: probability that a rectangle of a normalised image is filled. 0: off."""
    erasing_value: Literal["zero", "channel", "pixel"] = "zero"
    """Filled with zeros (torchvision; const in timm), or with normal noise, one number for each channel (rand in timm)
    or for each pixel (pixel in timm)."""
    erasing_area: tuple[float, float] = (0.02, 0.33)
    """Smallest and largest part of the image's area that is erased. timm: 0.02 to 1/3."""
    erasing_ratio: tuple[float, float] = (0.3, 3.3)
    """Smallest and largest height : width of a rectangle, drawn log-uniformly. timm: 0.3 to 1/0.3."""
    erasing_count: int = 1
    """Most rectangles of an image, which share the area; how many is drawn (timm)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Optimizer:
    lr: Annotated[float, tyro.conf.arg(aliases=["--learning-rate"])] = 0.1
    """Learning rate at its height, for the global batch size."""
    momentum: float = 0.9
    """Momentum of SGD, PyTorch's form: the learning rate stands outside the momentum buffer."""
    nesterov: bool = False
    """Nesterov's form of momentum."""
    weight_decay: Annotated[float, tyro.conf.arg(aliases=["--wd"])] = 1e-4
    """L2 penalty, added to the gradient."""
    decay: Literal["all", "not-norms", "not-norms-and-biases"] = "all"
    """Which parameters the weight decay pulls: all, all but normalisation layers' (torchvision's rule), or all but
    those and biases (timm's rule)."""
    clip_norm: float = 0.0
    """Largest norm of all gradients together; larger ones are scaled down. 0: no clipping."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    schedule: Literal["constant", "step", "cosine", "polynomial", "exponential"] = "cosine"
    """Course of the learning rate after the warm-up."""
    warmup: str = "0 epochs"
    """Length of the linear warm-up, such as "5 epochs" or "500 steps"."""
    warmup_from: float = 0.01
    """Where the warm-up starts, as a part of the learning rate."""
    step_every: str = "30 epochs"
    """step, exponential: time between two drops, counted from the start of the training."""
    gamma: float = 0.1
    """step, exponential: factor of a drop. exponential applies it smoothly, step at once."""
    power: float = 2.0
    """polynomial: exponent of the part of the time that is left."""
    final_lr: float = 0.0
    """cosine, polynomial: learning rate at the end."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    epochs: int = 90
    """Passes over the training images."""
    batch_size: Annotated[int, tyro.conf.arg(aliases=["-b"])] = 256
    """Images per optimizer update, over all processes together (in pytorch/examples: per node)."""
    label_smoothing: float = 0.0
    """Part of the target given to all classes equally."""
    seed: int = 0
    """Of initial weights, order, augmentation and dropout."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network's arithmetic; weights stay fp32. auto: bf16 where the hardware has it, else fp32."""
    memory_format: Literal["auto", "nchw", "nhwc"] = "auto"
    """Memory order of images and filters. auto: nhwc (channels last) for networks with convolutions."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides the numbers of a training."""

    model: Model = dataclasses.field(default_factory=Model)
    input: Input = dataclasses.field(default_factory=Input)
    augment: Augment = dataclasses.field(default_factory=Augment)
    mix: Mix = dataclasses.field(default_factory=Mix)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    training: Training = dataclasses.field(default_factory=Training)

    def to_yaml(self) -> str:
        """Every value, in the order of the fields."""
        return yaml.safe_dump(_plain(dataclasses.asdict(self)), sort_keys=False)

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """("optimizer.lr", 0.1), ... for every value."""
        for section in dataclasses.fields(self):
            for name, value in dataclasses.asdict(getattr(self, section.name)).items():
                yield f"{section.name}.{name}", value

    def replace(self, **values: Any) -> "Recipe":
        """A recipe with some values changed, named by their fields: `recipe.replace(epochs=3, lr=0.2)`.

        Raises UsageError for an unknown name.
        """
        changed = {}
        for section in dataclasses.fields(self):
            part = getattr(self, section.name)
            mine = {field.name: values.pop(field.name) for field in dataclasses.fields(part) if field.name in values}
            changed[section.name] = dataclasses.replace(part, **mine)
        if values:
            known = [path.split(".")[1] for path, _ in self.leaves()]
            name = next(iter(values))
            raise UsageError(f"{name!r}: no such recipe value.{nearest(name, known)}")
        return dataclasses.replace(self, **changed)


@dataclasses.dataclass(frozen=True)
class Duration:
    """A length of time in a training: a count of epochs or of steps."""

    count: float
    unit: Literal["epochs", "steps"]

    @classmethod
    def parse(cls, text: str, name: str) -> "Duration":
        """From "5 epochs" or "500 steps". Raises UsageError naming the field."""
        number, _, unit = text.strip().partition(" ")
        unit = {"epoch": "epochs", "step": "steps"}.get(unit.strip(), unit.strip())
        try:
            count = float(number)
        except ValueError:
            count = -1.0
        if not 0 <= count < math.inf or unit not in ("epochs", "steps"):
            raise UsageError(f'{name}: expected a duration such as "5 epochs" or "500 steps", found {text!r}.')
        return cls(count, typing.cast(Literal["epochs", "steps"], unit))

    def steps(self, steps_per_epoch: int) -> int:
        return round(self.count * (steps_per_epoch if self.unit == "epochs" else 1))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
