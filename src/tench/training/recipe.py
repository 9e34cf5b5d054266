"""The recipe: everything that decides the numbers of a training, in one typed, documented, frozen tree.

The YAML form, the flags of `tench train` and the reference page all come from these fields. An `auto` is resolved
once, at the start of a run, and written into it.
"""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import yaml

from tench.data.options import SourceOptions
from tench.errors import UsageError, nearest
from tench.flags import Flag
from tench.input.views import Decode, TestTime

Auto = Literal["auto"]
Own = Literal["own"]
"""As the authors of the network made it."""

Init = Literal[Own, "mxnet", "xavier", "msra", "orthogonal", "normal", "uniform", "one", "zero", "nnabla", "edgeai"]

TrainView = Literal["random-resized-crop", "resize-crop", "pad-crop", "mxnet"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    arch: Annotated[str, Flag(aliases=("-a",), metavar="ARCH")] = "auto"
    """Network, by the name `tench models` lists it under. auto: that of the weights, or resnet18."""
    weights: str = ""
    """Begin with these weights (fine-tuning): a run, a file, torchvision:NAME or timm:NAME. What is auto in input comes
    with them; the head is made anew where the classes differ. Empty: drawn. needed: a recipe for fine-tuning, which
    wants them to be named."""
    init: Init = "own"
    """How weights are drawn: as the network does, or as MXNet's --initializer of that name (mxnet: its default for most
    networks), NNabla's example or TI's edgeailite."""
    dropout: float | Own = "own"
    """Probability that a feature is dropped before the last layer."""
    drop_path: float | Own = "own"
    """Stochastic depth: probability that a residual branch is left out for an image (the last one's, rising to it)."""
    strides: tuple[int, int, int, int, int] | Own = "own"
    """edgeai networks: strides of the stem and of what follows it; 1 keeps the size. own: all 2, the first ones 1 for
    small images. A regnetx ignores the second one, as in TI's code."""
    blurpool: bool = False
    """A fixed 3 x 3 blur before each convolution of stride 2 with 16 channels or more (arXiv:1904.11486)."""


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
    train_view: TrainView | Auto = "auto"
    """How a training image is cut. resize-crop: resized to a random size, a random square of it; mxnet: as MXNet's
    ImageRecordIter augments. auto: pad-crop up to 64 pixels, else random-resized-crop."""
    scale: tuple[float, float] = (0.08, 1.0)
    """random-resized-crop: smallest and largest part of the image's area."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """random-resized-crop: smallest and largest width : height of the part."""
    train_interpolation: Literal["bilinear", "bicubic", "random"] = "bilinear"
    """random-resized-crop: filter; random: one of both for each image (timm)."""
    short_side: tuple[int, int] = (256, 480)
    """resize-crop: the shorter side becomes a whole number of pixels from the first to below the second."""
    stretch: tuple[float, float] = (1.0, 1.0)
    """resize-crop: the longer side is first multiplied by a number from the first to the second."""
    pad: int | Auto = "auto"
    """pad-crop: width of the border, pixels. auto: an eighth of the image size."""
    pad_fill: int | Literal["reflect"] = 0
    """pad-crop: value of the border, 0 to 255, or reflect: the image mirrored at its edge."""
    decode: Decode = "reduced"
    """random-resized-crop: how JPEGs are decoded. full: at their size. reduced: at 1/2, 1/4 or 1/8 where the part is so
    many times as large as the input, or larger. fast: the same with less exact arithmetic."""
    flip: float = 0.5
    """Probability that a training image is mirrored left to right (mxnet: mirror and rand_mirror instead)."""
    flip_form: Literal["random", "alternate"] = "random"
    """alternate: drawn for the first epoch, then turned round in each epoch (arXiv:2404.00498); not of mxnet."""
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
    interpolation: Literal["bilinear", "bicubic"] | Auto = "auto"
    """Filter of the evaluation view. auto: bilinear."""
    mean: tuple[float, ...] | Auto = "auto"
    """Subtracted from pixels scaled to 0..1, one per channel (three are averaged for a one-channel input). auto: 0.485
    0.456 0.406, ImageNet's."""
    std: tuple[float, ...] | Auto = "auto"
    """Pixels are then divided by this, one per channel. auto: 0.229 0.224 0.225, ImageNet's."""
    channel_order: Literal["rgb", "bgr"] | Auto = "auto"
    """Order of the channels the network sees, and of mean and std. auto: rgb."""
    test_time: TestTime = "none"
    """Evaluation: what an answer is the mean of. mirror: image and mirror; mirror-shift: half of it of both shifted by
    one pixel either way; ten-crop: corners and centre of eval_resize x eval_resize pixels, and their mirrors."""
    val_fraction: float = 0.1
    """Part of each class held out for validation when the dataset has neither val nor test; the same images always."""
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
    optimizer: Literal["sgd", "lamb", "lars", "rmsprop", "rmsprop-tf", "adamw", "muon"] = "sgd"
    """rmsprop-tf: TensorFlow's form (eps inside the root, the average begins at 1, learning rate inside the momentum).
    lamb: the gradients' norm is at most 1. muon: airbench's, on filters; all else is trained by SGD with Nesterov
    momentum 0.85, other_lr and head_lr, and each group's weight decay is weight_decay over its learning rate."""
    lr: Annotated[float, Flag(aliases=("--learning-rate",))] = 0.1
    """Learning rate at its height, for the global batch size."""
    momentum: float = 0.9
    """Momentum of sgd, lars, rmsprop, rmsprop-tf and muon."""
    nesterov: bool = False
    """sgd, lars: Nesterov's form of momentum."""
    lr_inside: bool = False
    """sgd: the learning rate stands inside the momentum buffer, as in NNabla, MXNet and TensorFlow, so that a change of
    it acts slowly; not: outside, as in PyTorch."""
    betas: tuple[float, float] = (0.9, 0.999)
    """adamw, lamb: decay of the averages of the gradient and of its square."""
    alpha: float = 0.9
    """rmsprop, rmsprop-tf: decay of the average of the squared gradient."""
    eps: float | Auto = "auto"
    """adamw, lamb, rmsprop, rmsprop-tf: added to a denominator. auto: 1e-8; 1e-6 for lamb, 1e-3 for rmsprop-tf."""
    trust: float = 0.001
    """lars: part of the weights' norm that a step may be."""
    other_lr: float = 0.053
    """muon: learning rate of norms and biases, at its height."""
    head_lr: float = 0.67
    """muon: learning rate of the last layer, at its height."""
    weight_decay: Annotated[float, Flag(aliases=("--wd",))] = 1e-4
    """L2 penalty, added to the gradient; with adamw and lamb to the update."""
    decay: Literal["all", "not-norms", "not-norms-and-biases", "not-biases", "not-named-bn"] = "all"
    """Which parameters the weight decay pulls (not with muon): all, all but normalisation layers' (torchvision's and
    NNabla's rule), all but those and biases (timm's), all but biases and the shifts of norms (MXNet's), or all but
    those with bn in their name (ffcv-imagenet's)."""
    norm_bias_lr: float = 1.0
    """The shifts of norms learn so many times as fast, their weight decay staying what it was (airbench: 64); not with
    muon."""
    clip_norm: float = 0.0
    """Largest norm of all gradients together; larger ones are scaled down. 0: no clipping."""
    freeze: str = ""
    """Parameters whose name begins so are not trained from freeze_from on, such as "whiten.bias"; several with spaces
    between. Empty: all are trained."""
    freeze_from: str = "0 epochs"
    """Time from which freeze holds, such as "3 epochs"."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    schedule: Literal["constant", "step", "cosine", "polynomial", "exponential"] = "cosine"
    """Course of the learning rate after the warm-up. Linear: polynomial with power 1."""
    schedule_per: Literal["step", "epoch"] = "step"
    """How often the learning rate changes. epoch: constant within an epoch, as torchvision's, timm's and NNabla's
    programs do it."""
    schedule_from: Literal["warmup", "start"] = "warmup"
    """cosine, polynomial: whether the course begins after the warm-up, or began with the training and the warm-up hides
    its beginning (timm, edgeai)."""
    warmup: str = "0 epochs"
    """Length of the linear warm-up, such as "5 epochs", "500 steps" or "10 %" of the training."""
    warmup_from: float = 0.01
    """Where the warm-up starts, as a part of the learning rate."""
    warmup_least: float = 0.0
    """In the warm-up the learning rate is at least this part of it (edgeai, which starts at 0: 0.001)."""
    hold: str = "0 epochs"
    """Time at the full learning rate after the warm-up, before the course goes on."""
    milestones: tuple[float, ...] = ()
    """step: epochs after which the learning rate drops. Empty: every step_every."""
    step_every: str = "30 epochs"
    """step, exponential: time between two drops, counted from the start of the training."""
    gamma: float = 0.1
    """step, exponential: factor of a drop. exponential applies it smoothly, step at once."""
    power: float = 2.0
    """polynomial: exponent of the part of the time that is left."""
    final_lr: float = 0.0
    """cosine, polynomial: learning rate at the end."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Average:
    average: Literal["none", "ema", "lookahead"] = "none"
    """ema: a running average of the weights and buffers is kept; it is what is validated and saved. lookahead: the
    network itself is drawn back to its average, less and less (airbench)."""
    average_decay: float | Auto = "auto"
    """What the average keeps of itself at an update; of lookahead in a step, at the end of the training. auto: 0.9999,
    of the plain form at most 1 - 10 / updates; 0.95 for lookahead."""
    average_every: int | Auto = "auto"
    """Steps between two updates of the average. auto: 1; 5 for lookahead."""
    average_form: Literal["plain", "torchvision", "timm"] = "plain"
    """ema. torchvision: 1 - average_decay is multiplied by batch_size * average_every / epochs, and during the warm-up
    the average is a copy. timm: average_decay is reached as 1 - (1 + step)^(-2/3)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    epochs: int | float = 90
    """Passes over the training images; the last may be a part of one, as in 9.9."""
    batch_size: Annotated[int, Flag(aliases=("-b",))] = 256
    """Images per optimizer update, over all processes together (in pytorch/examples: per node)."""
    validate_every: int = 1
    """Epochs between two validations; the last epoch has one in any case. Only what is validated can be the best."""
    drop_last: bool = True
    """The last batch of an epoch is left out when it is not full."""
    accumulate: int = 1
    """The batch goes through the network in so many parts, one after the other, for one update: less memory; batch
    norms see the parts."""
    loss: Literal["cross-entropy", "bce"] = "cross-entropy"
    """bce: binary cross-entropy of each class by itself, averaged over classes too (arXiv:2110.00476)."""
    bce_threshold: float = 0.0
    """bce: targets above it count as 1, others as 0. 0: as they are."""
    label_smoothing: float = 0.0
    """Part of the target given to all classes equally."""
    seed: int = 0
    """Of initial weights, order, augmentation and dropout."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network's arithmetic; weights stay fp32. auto: bf16 where the hardware has it, else fp32."""
    memory_format: Literal["auto", "nchw", "nhwc"] = "auto"
    """Memory order of images and filters. auto: nhwc (channels last) for networks with convolutions."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the network with torch.compile. auto: in a training of an hour or more it is tried and measured at
    the start, and stays where it saves more than it took."""
    recompute: bool = False
    """Keep only the inputs of residual blocks, and compute the rest once more in the backward pass: less memory, more
    time, the same numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides the numbers of a training."""

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
    channels: Literal[1, 3]
    train_view: TrainView
    pad: int
    eval_resize: int
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
