"""The recipe: every setting that affects the results of training, in one typed, documented, frozen tree.

The YAML form, the flags of `tench train` and the reference page are derived from these fields. When a run starts, each
`auto` is resolved and stored with the run.
"""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import yaml

from tench.data.images.orientation import Exif
from tench.data.options import SourceOptions
from tench.errors import UsageError, nearest
from tench.flags import Flag
from tench.input.views import Decode, TestTime
from tench.training.bounds import (
    Bounds,
    Count,
    Length,
    NotNegative,
    Pixels,
    Positive,
    Rising,
    Share,
    ShareBelow1,
    WordOrCode,
)
from tench.training.duration import DurationText, PositiveDuration

Auto = Literal["auto"]
Own = Literal["own"]
"""The value that the network's authors chose."""

Init = Literal[Own, "mxnet", "xavier", "msra", "orthogonal", "normal", "uniform", "one", "zero", "nnabla", "edgeai"]

TrainView = Literal["random-resized-crop", "resize-crop", "pad-crop", "mxnet"]

Area = Annotated[float, Bounds(above=0, at_most=1)]
Stride = Annotated[int, Bounds(at_least=1, at_most=2)]
Epoch = Annotated[float, Bounds(at_least=0, at_most=1_000_000)]
Hue = Annotated[float, Bounds(at_least=0, at_most=0.5)]
Channels = Length((1, 3))
PositivePair = Annotated[tuple[Positive, Positive], Rising()]
AreaPair = Annotated[tuple[Area, Area], Rising()]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    arch: Annotated[str, Flag(aliases=("-a",), metavar="ARCH")] = "auto"
    """Network: a name that tench models lists. Or a function of your own, package.module:function, called with
    num_classes, and with image_size and channels if it takes them. auto: the network of the weights, or resnet18."""
    weights: str = ""
    """Fine-tune a run, a file or published weights. Published weights are torchvision:NAME or timm:NAME. Every auto in
    the input section gets the value of the weights. If the classes differ, the head is reinitialised. Empty: random
    initialisation. needed: the recipe fine-tunes, so training stops unless weights are given."""
    init: Init = "own"
    """How weights are initialised. own: by the network's own rule; the others: by MXNet's --initializer of that name
    (mxnet: its default for most networks), NNabla's example or TI's edgeailite."""
    dropout: ShareBelow1 | Own = "own"
    """Probability of dropping a feature before the last layer."""
    drop_path: ShareBelow1 | Own = "own"
    """Stochastic depth: probability of skipping the last residual branch for an image. From the first branch to the
    last, the probability rises linearly to this value."""
    strides: tuple[Stride, Stride, Stride, Stride, Stride] | Own = "own"
    """edgeai networks: strides of the stem and of the parts after it; 1 keeps the size. own: all 2, but the first ones
    are 1 for small images. A regnetx ignores the second one, as TI's code does."""
    blurpool: bool = False
    """Put a fixed 3 x 3 blur before each convolution with stride 2 and at least 16 channels (arXiv:1904.11486)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    image_size: Pixels | Auto = "auto"
    """Input size in evaluation, pixels. auto: the images' own side if all are square and
    at most 64 pixels, else 224."""
    train_size: Pixels | Auto = "auto"
    """Side of training images, pixels. auto: image_size. A slightly smaller size costs less and raises accuracy
    (FixRes: 176 for 224)."""
    ramp_from: Pixels | Auto = "auto"
    """Progressive resizing: side of training images before the ramp. auto: train_size, no ramp."""
    ramp_epochs: Annotated[tuple[Epoch, Epoch], Rising()] = (0.0, 0.0)
    """Epochs after which the linear ramp from ramp_from to train_size starts and ends; the size is constant within an
    epoch."""
    ramp_multiple: Count = 32
    """Sizes during the ramp are rounded to a multiple of this, pixels."""
    exif: Exif | Auto = "auto"
    """EXIF orientation, in training and wherever the model is used. apply: turn photos from phones upright; ignore: use
    images as they are stored. auto: ignore for published sets, as their reference programs do, else apply."""
    channels: Literal[1, 3] | Auto = "auto"
    """Channels of the input. auto: 1 if the dataset contains only raw grey pixels, else 3."""
    train_view: TrainView | Auto = "auto"
    """How a training image is cropped. resize-crop: resize to a random size, then crop a random square; mxnet: as
    MXNet's ImageRecordIter augments. auto: pad-crop up to 64 pixels, else random-resized-crop."""
    scale: AreaPair = (0.08, 1.0)
    """random-resized-crop: smallest and largest share of the image's area to crop."""
    ratio: PositivePair = (3 / 4, 4 / 3)
    """random-resized-crop: smallest and largest width : height of the crop."""
    train_interpolation: Literal["bilinear", "bicubic", "random"] = "bilinear"
    """random-resized-crop: resize filter. random: one of the two for each image (timm)."""
    short_side: Annotated[tuple[Pixels, Pixels], Rising(strictly=True)] = (256, 480)
    """resize-crop: the shorter side is resized to a random whole number of pixels from the first up to, but not
    including, the second."""
    stretch: PositivePair = (1.0, 1.0)
    """resize-crop: the longer side is first multiplied by a random factor from the first to the second."""
    pad: Annotated[int, Bounds(at_least=0, at_most=16_384)] | Auto = "auto"
    """pad-crop: width of the border, pixels. auto: an eighth of the image size."""
    pad_fill: Annotated[int, Bounds(at_least=0, at_most=255)] | Literal["reflect"] = 0
    """pad-crop: value of the border, or reflect to mirror the image at its edge."""
    decode: Decode = "reduced"
    """random-resized-crop: how JPEGs are decoded. full: at full size. reduced: at 1/2, 1/4 or 1/8 if the crop is at
    least that many times larger than the input. fast: like reduced, with less exact arithmetic."""
    flip: Share = 0.5
    """Probability of mirroring a training image left to right (with mxnet, set mirror and rand_mirror instead)."""
    flip_form: Literal["random", "alternate"] = "random"
    """How mirroring is decided. random: by chance in every epoch; alternate: by chance in the first epoch, then toggled
    in each epoch (arXiv:2404.00498). alternate does not work with mxnet."""
    mxnet_level: Literal["0", "1", "2", "3", "cifar10", "imagenet"] = "1"
    """mxnet: the settings of the programs in example/image-classification. 1: random crop and mirror; 2: also hue,
    saturation and lightness; 3: also rotation, shear and aspect ratio; cifar10: 1 with a border; imagenet: random
    resized crop, mirror, colour and PCA noise; 0: nothing."""
    mxnet_parameters: str = ""
    """mxnet: changes to the level, as parameters of ImageRecordIter, such as "resize=256 max_rotate_angle=10
    inter_method=2 rotate_list=0,90"."""
    repeats: Count = 1
    """Repeated augmentation: number of views of an image in a row. The number of steps per epoch does not change, so an
    epoch sees that many times fewer images. Several processes share the views of an image; in a single process,
    mix_form timm mixes different images."""
    eval_resize: Annotated[int, Bounds(at_least=1, at_most=32_768)] | Auto = "auto"
    """Evaluation: the shorter side is resized to this, then the centre is cropped. auto: the image size divided by
    0.875, or the image size itself up to 64 pixels."""
    crop_mode: Literal["center", "squash"] | Auto = "auto"
    """Evaluation: squash resizes both sides to eval_resize, which changes the aspect ratio. auto: as the weights that
    training starts from expect it, else center."""
    interpolation: Literal["bilinear", "bicubic"] | Auto = "auto"
    """Resize filter in evaluation. auto: bilinear."""
    mean: Annotated[tuple[Annotated[float, Bounds(at_least=-1_000_000, at_most=1_000_000)], ...], Channels] | Auto = (
        "auto"
    )
    """Subtracted from pixels scaled to 0..1, one per channel (three are averaged for a one-channel input). auto: 0.485
    0.456 0.406, ImageNet's."""
    std: Annotated[tuple[Annotated[float, Bounds(at_least=1e-6, at_most=1_000_000)], ...], Channels] | Auto = "auto"
    """Pixels are then divided by this, one per channel. auto: 0.229 0.224 0.225, ImageNet's."""
    channel_order: Literal["rgb", "bgr"] | Auto = "auto"
    """Order of the network's input channels, and of mean and std. auto: the order stored with the weights; else bgr if
    the name of the network or of the weights contains bgr (mean and std, given as RGB, are then reversed); else rgb."""
    test_time: TestTime = "none"
    """Evaluation: views whose predictions are averaged. mirror: the image and its mirror; mirror-shift: half of the
    result is mirror, the other half mirror of the image shifted diagonally by one pixel in both directions; ten-crop:
    the corners and the centre of eval_resize x eval_resize pixels, and their mirrors."""
    val_fraction: Annotated[float, Bounds(above=0, below=1)] = 0.1
    """Share of each class to hold out for validation if the dataset has neither val nor test; always the same
    images."""
    bad: Literal["fail", "skip", "fix"] = "fail"
    """Images that do not decode. fail: stop; skip: leave them out; fix: decode JPEGs as far as possible, with the
    rest grey, and leave out images for which that fails. With skip and fix, all images are checked once before
    training, and bad_images.json lists the bad ones."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    policy: str = "none"
    """Random operations on each training image after its crop: none, randaugment-N-M (N operations of magnitude M of
    30), trivialaugment-wide, autoaugment-imagenet, autoaugment-cifar10, autoaugment-svhn, timm's form of RandAugment,
    such as rand-m9-n2-mstd0.5-inc1, or a function of your own, package.module:function, called with the image (H, W, C)
    uint8 and a numpy generator."""
    policy_filter: Literal["nearest", "bilinear"] = "nearest"
    """Filter of the policy's shears and rotations: nearest as in torchvision's classes, bilinear as in its training
    script. timm's form always picks bilinear or bicubic at random."""
    color_jitter: tuple[NotNegative, NotNegative, NotNegative, Hue] = (0.0, 0.0, 0.0, 0.0)
    """Change of brightness, contrast, saturation and hue, applied in random order: a factor from 1 - x to 1 + x; for
    hue, a shift of up to x turns in either direction. 0: no change. Hue is by far the slowest."""
    lighting: NotNegative = 0.0
    """Standard deviation of AlexNet's colour noise along ImageNet's principal components (AlexNet: 0.1). 0: none."""
    cutout: Annotated[int, Bounds(at_least=0, at_most=16_384)] = 0
    """Side, pixels, of a square at a random position in each training image; it is filled with the mean. 0: none."""
    augment_batch: Annotated[str, WordOrCode(("none",))] = "none"
    """A function of your own, package.module:function, called last with each batch on the device: normalised images (B,
    C, H, W) float32 and targets; returns both."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    mixup: NotNegative = 0.0
    """Mixup: blend each image and label with another of the batch; the share of the first is drawn from Beta(mixup,
    mixup). 0: off."""
    cutmix: NotNegative = 0.0
    """Cutmix: replace a rectangle with one from another image of the batch; the area outside it is drawn from
    Beta(cutmix, cutmix). 0: off."""
    mix_prob: Share = 1.0
    """Probability of applying mixup or cutmix."""
    mix_switch: Share = 0.5
    """Probability of cutmix rather than mixup if both are on."""
    mix_mode: Literal["batch", "pair", "elem"] = "batch"
    """Draw once for a batch, for each pair of images, or for each image. pair and elem: with mix_form timm only."""
    mix_form: Literal["torchvision", "timm"] = "torchvision"
    """Which image is the other one: the previous one in the batch (torchvision), or the one at the same position in the
    reversed batch (timm). NNabla's mixup is timm with mode elem."""
    erasing: Share = 0.0
    """Random erasing: probability of filling a rectangle of a normalised image. 0: off."""
    erasing_value: Literal["zero", "channel", "pixel"] = "zero"
    """Random erasing: fill with zeros (torchvision; const in timm), or with normal noise: one number for each channel
    (rand in timm) or for each pixel (pixel in timm)."""
    erasing_area: AreaPair = (0.02, 0.33)
    """Smallest and largest share of the image's area to erase. timm: 0.02 to 1/3."""
    erasing_ratio: PositivePair = (0.3, 3.3)
    """Smallest and largest height : width of a rectangle, drawn log-uniformly. timm: 0.3 to 1/0.3."""
    erasing_count: Annotated[int, Bounds(at_least=1, at_most=100)] = 1
    """Largest number of rectangles in an image; the number is drawn, and the rectangles share the area (timm)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Optimizer:
    optimizer: Literal["sgd", "lamb", "lars", "rmsprop", "rmsprop-tf", "adamw", "muon"] = "sgd"
    """Optimizer. rmsprop-tf: TensorFlow's form (eps inside the root, the average starts at 1, learning rate inside the
    momentum). lamb: the gradients are clipped to norm 1. muon: airbench's, for convolution filters; the other
    parameters use SGD with Nesterov momentum 0.85 and the learning rates other_lr and head_lr, and each group's weight
    decay is weight_decay divided by its learning rate."""
    lr: Annotated[Positive, Flag(aliases=("--learning-rate",))] = 0.1
    """Peak learning rate, for the global batch size."""
    momentum: ShareBelow1 = 0.9
    """Momentum of sgd, lars, rmsprop, rmsprop-tf and muon."""
    nesterov: bool = False
    """sgd, lars: Nesterov momentum."""
    lr_inside: bool = False
    """sgd: multiply by the learning rate inside the momentum buffer, as NNabla, MXNet and TensorFlow do, so that a
    change of the learning rate takes effect slowly. Otherwise it is multiplied outside, as in PyTorch."""
    betas: tuple[ShareBelow1, ShareBelow1] = (0.9, 0.999)
    """adamw, lamb: decay of the averages of the gradient and of its square."""
    alpha: ShareBelow1 = 0.9
    """rmsprop, rmsprop-tf: decay of the average of the squared gradient."""
    eps: NotNegative | Auto = "auto"
    """adamw, lamb, rmsprop, rmsprop-tf: added to a denominator. auto: 1e-8; 1e-6 for lamb, 1e-3 for rmsprop-tf."""
    trust: Positive = 0.001
    """lars: trust coefficient, the size of a step relative to the norm of the weights."""
    other_lr: Positive = 0.053
    """muon: peak learning rate of norms and biases."""
    head_lr: Positive = 0.67
    """muon: peak learning rate of the last layer."""
    weight_decay: Annotated[NotNegative, Flag(aliases=("--wd",))] = 1e-4
    """L2 penalty, added to the gradient; with adamw and lamb added to the update."""
    decay: Literal["all", "not-norms", "not-norms-and-biases", "not-biases", "not-named-bn"] = "all"
    """Which parameters have weight decay (not with muon): all; all except those of normalisation layers (torchvision's
    and NNabla's rule); all except those and biases (timm's); all except biases, those of norms included (MXNet's); or
    all except those with bn in their name (ffcv-imagenet's)."""
    norm_bias_lr: Positive = 1.0
    """Factor on the learning rate of the biases of norms, whose weight decay does not change (airbench: 64); not with
    muon."""
    clip_norm: NotNegative = 0.0
    """Largest norm of all gradients together; larger ones are scaled down. 0: no clipping."""
    freeze: str = ""
    """Parameters that are no longer trained from freeze_from on, by name or by the first parts of the name: layer1 or
    layer1.0.conv1 for layer1.0.conv1.weight; several are separated by spaces. Empty: all are trained."""
    freeze_from: DurationText = "0 epochs"
    """Time from which freeze applies, such as "3 epochs"."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    schedule: Literal["constant", "step", "cosine", "polynomial", "exponential"] = "cosine"
    """Shape of the learning rate after the warm-up. Linear is polynomial with power 1."""
    schedule_per: Literal["step", "epoch"] = "step"
    """How often the learning rate changes. epoch: constant within an epoch, as in the programs of torchvision, timm and
    NNabla."""
    schedule_from: Literal["warmup", "start"] = "warmup"
    """cosine, polynomial: whether the curve starts after the warm-up, or at the first step with its beginning replaced
    by the warm-up (timm, edgeai)."""
    warmup: DurationText = "0 epochs"
    """Length of the linear warm-up, such as "5 epochs", "500 steps" or "10 %" of the training."""
    warmup_from: Share = 0.01
    """Learning rate at the start of the warm-up, relative to the peak."""
    warmup_least: Share = 0.0
    """Lowest learning rate in the warm-up, relative to the peak (edgeai, which starts at 0: 0.001)."""
    hold: DurationText = "0 epochs"
    """Time at the peak learning rate between the warm-up and the decay."""
    milestones: Annotated[tuple[Epoch, ...], Rising(strictly=True)] = ()
    """step: epochs after which the learning rate drops. Empty: every step_every."""
    step_every: PositiveDuration = "30 epochs"
    """step, exponential: time between two drops, counted from the start of the training."""
    gamma: Annotated[float, Bounds(above=0, at_most=1)] = 0.1
    """step, exponential: factor of a drop. step applies it at once; exponential spreads it over the interval."""
    power: Positive = 2.0
    """polynomial: exponent of the remaining share of the decay."""
    final_lr: NotNegative = 0.0
    """cosine, polynomial: learning rate at the end; at most lr."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Average:
    average: Literal["none", "ema", "lookahead"] = "none"
    """Running average of the weights and buffers. ema: validate and save the average. lookahead: pull the network
    itself back towards the average, less and less (airbench)."""
    average_decay: ShareBelow1 | Auto = "auto"
    """Share of its old value that the average keeps at each update; for lookahead, the share per step at the end of the
    training. auto: 0.9999, but at most 1 - 10 / updates for the plain form; 0.95 for lookahead."""
    average_every: Count | Auto = "auto"
    """Steps between two updates of the average. auto: 1; 5 for lookahead."""
    average_form: Literal["plain", "torchvision", "timm"] = "plain"
    """ema: form of the decay. torchvision: 1 - average_decay is multiplied by batch_size * average_every / epochs, and
    during the warm-up the average is a copy. timm: the decay rises to average_decay as 1 - (1 + step)^(-2/3)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    epochs: Annotated[int | float, Bounds(above=0, at_most=1_000_000)] = 90
    """Passes over the training images. The last one may be partial, as in 9.9."""
    batch_size: Annotated[int, Bounds(at_least=1, at_most=10**12), Flag(aliases=("-b",))] = 256
    """Images per optimizer update, over all processes (pytorch/examples counts them per node)."""
    validate_every: Count = 1
    """Epochs between two validations; the last epoch is always validated. Only a validated epoch can be the best."""
    drop_last: bool = True
    """Leave out the last batch of an epoch if it is not full."""
    accumulate: Count = 1
    """Gradient accumulation: number of parts in which each batch goes through the network, one after the other: less
    memory, but batch norms see only one part at a time. At most batch_size."""
    loss: Annotated[str, WordOrCode(("cross-entropy", "bce"))] = "cross-entropy"
    """Loss. bce: binary cross-entropy of each class separately, averaged over the classes too (arXiv:2110.00476). Or a
    function of your own, package.module:function, called with logits (B, K) and targets."""
    bce_threshold: ShareBelow1 = 0.0
    """bce: targets above it count as 1, others as 0. 0: use the targets unchanged."""
    label_smoothing: ShareBelow1 = 0.0
    """Share of the target that is spread equally over all classes."""
    seed: Annotated[int, Bounds(at_least=0, at_most=2**63 - 1)] = 0
    """Seed of initial weights, order, augmentation and dropout."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network's arithmetic; weights stay fp32. auto: bf16 if the hardware has it, else fp32."""
    memory_format: Literal["auto", "nchw", "nhwc"] = "auto"
    """Memory order of images and filters. auto: nhwc (channels last) for networks with convolutions."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the network with torch.compile. auto: a training of an hour or more tries it at the start, and keeps it
    if the measured time saved is larger than the time spent."""
    recompute: bool = False
    """Keep only the inputs of residual blocks, and compute the rest again in the backward pass: less memory, more time,
    the same numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Every setting that affects the results of training, in sections; docs/recipes.md documents every value.

    >>> recipe = tench.load_recipe("digits").replace(epochs=3, lr=0.2)
    >>> recipe.training.epochs, recipe.optimizer.lr
    (3, 0.2)
    """

    source: SourceOptions = dataclasses.field(default_factory=SourceOptions)
    model: Model = dataclasses.field(default_factory=Model)
    input: Input = dataclasses.field(default_factory=Input)
    augment: Augment = dataclasses.field(default_factory=Augment)
    mix: Mix = dataclasses.field(default_factory=Mix)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    average: Average = dataclasses.field(default_factory=Average)
    training: Training = dataclasses.field(default_factory=Training)

    def to_yaml(self) -> str:
        """Every value, in the order of the fields."""
        return yaml.safe_dump(_plain(dataclasses.asdict(self)), sort_keys=False)

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """("optimizer.lr", 0.1), ... for every value."""
        for section in dataclasses.fields(self):
            for name, value in dataclasses.asdict(getattr(self, section.name)).items():
                yield f"{section.name}.{name}", value

    def replace(self, **values: Any) -> Self:
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


SECTIONS: dict[str, Any] = typing.get_type_hints(Recipe)
"""The dataclass of each section."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedInput(Input):
    """The input section of a resolved recipe."""

    image_size: int
    train_size: int
    ramp_from: int
    exif: Exif
    channels: Literal[1, 3]
    train_view: TrainView
    pad: int
    eval_resize: int
    crop_mode: Literal["center", "squash"]
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: Literal["rgb", "bgr"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedOptimizer(Optimizer):
    """The optimizer section of a resolved recipe."""

    eps: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedAverage(Average):
    """The average section of a resolved recipe."""

    average_decay: float
    average_every: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedTraining(Training):
    """The training section of a resolved recipe."""

    precision: Literal["fp32", "bf16", "fp16"]
    memory_format: Literal["nchw", "nhwc"]
    compile: Literal["on", "off"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Resolved(Recipe):
    """A recipe in which no value is `auto`: what a run trains with and stores."""

    input: ResolvedInput
    optimizer: ResolvedOptimizer
    average: ResolvedAverage
    training: ResolvedTraining

    @classmethod
    def of(cls, recipe: Recipe, where: str = "recipe") -> Self:
        """The same values as a resolved recipe. Raises UsageError if one of them is `auto`."""
        left = [
            f"{section.name}.{field.name}"
            for section in dataclasses.fields(Recipe)
            for field in dataclasses.fields(SECTIONS[section.name])
            if field.default == "auto" and getattr(getattr(recipe, section.name), field.name) == "auto"
        ]
        if left:
            raise UsageError(f"{where}: {', '.join(left)} must have a value here, not auto.")
        hints = typing.get_type_hints(cls)
        return cls(
            **{
                section.name: hints[section.name](**_values_of(getattr(recipe, section.name)))
                for section in dataclasses.fields(Recipe)
            }
        )


def _values_of(section: Any) -> dict[str, Any]:
    return {field.name: getattr(section, field.name) for field in dataclasses.fields(section)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
