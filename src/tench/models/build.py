"""Create a network by name, fitted to the size of its images. A bad size is refused before memory is allocated."""

from torch import Tensor, nn

from tench.errors import UsageError
from tench.models.blurpool import add_blurpool
from tench.models.meta import dry_run
from tench.models.registry import name_in_source, source_of
from tench.models.source import AS_MADE, ModelOptions, OptionError, UsualInput
from tench.models.stem import LARGEST_FITTED, adapt_stem


def create(
    arch: str, *, num_classes: int, image_size: int, channels: int = 3, options: ModelOptions = AS_MADE
) -> nn.Module:
    """The named network with fresh weights: (B, channels, S, S) float -> (B, num_classes) logits.

    S is image_size. The name is looked up among ours, then torchvision's, then timm's networks. With a prefix, such as
    timm:resnet50 or nnabla:resnet50, only that system's networks are searched. Nothing is downloaded.
    On images of at most 80 px the stem of torchvision's and timm's networks is fitted to them: see `adapt_stem` for the
    rule and `stem_note` for what it did. Weights are drawn from torch's global generator. Raises UsageError for an
    unknown name, for a size or a number of channels that the network does not accept, and for options it does not have.
    """
    note = _rehearse(arch, num_classes, image_size, channels, options)
    network = _build(arch, num_classes, image_size, channels, options)
    if note is not None:
        adapt_stem(network, image_size)
    if options.blurpool and not add_blurpool(network):
        raise UsageError(
            f"{arch} has no convolution of stride 2 with at least 16 input channels, so there is nothing to blur. "
            "Leave out --blurpool."
        )
    return network


def stem_note(
    arch: str, *, num_classes: int, image_size: int, channels: int = 3, options: ModelOptions = AS_MADE
) -> str | None:
    """A sentence on how `create` changes the stem for this image size, or None. Raises as `create` does."""
    if image_size > LARGEST_FITTED:
        return None
    return _rehearse(arch, num_classes, image_size, channels, options)


def _build(arch: str, num_classes: int, image_size: int, channels: int, options: ModelOptions) -> nn.Module:
    size = {"image_size": image_size, "channels": channels}
    return source_of(arch).build(name_in_source(arch), num_classes=num_classes, options=options, **size)


def _rehearse(arch: str, num_classes: int, image_size: int, channels: int, options: ModelOptions) -> str | None:
    """Pass two images through the network on the meta device. Returns the note on its stem, or raises UsageError."""
    source = source_of(arch)
    for what, value in (("classes", num_classes), ("pixels per side", image_size), ("channels", channels)):
        if value < 1:
            raise UsageError(f"{arch}: the number of {what} must be at least 1, got {value}.")

    def build() -> nn.Module:
        return _build(arch, num_classes, image_size, channels, options)

    def with_fitted_stem(network: nn.Module, images: Tensor) -> str | None:
        note = adapt_stem(network, image_size)
        _check_logits(network(images), num_classes)
        return note

    def as_it_is(network: nn.Module, images: Tensor) -> None:
        _check_logits(network(images), num_classes)

    images = (2, channels, image_size, image_size)
    if source.FITS_STEM and options.fit_stem:
        try:
            return dry_run(build, images, with_fitted_stem)
        except Exception:
            # Networks that depend on the size of a later map (CoAtNet), or that pass the image to two convolutions
            # (RepVGG), run only with their original stem. Networks that fit with neither stem fail again below.
            pass
    try:
        return dry_run(build, images, as_it_is)
    except OptionError as error:
        raise UsageError(f"{arch} {error}. Leave that option out, or name another network.") from error
    except Exception as error:  # each network raises its own kind of error if the images do not fit
        raise UsageError(
            *_refusal(arch, image_size, channels, error, source.usual_input(name_in_source(arch)))
        ) from error


def _check_logits(logits: object, num_classes: int) -> None:
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found != (2, num_classes):
        raise ValueError(f"for two images it returned {found}, expected logits of shape (2, {num_classes})")


def _refusal(arch: str, image_size: int, channels: int, error: Exception, usual: UsualInput) -> tuple[str, str]:
    """The two lines of the error."""
    reason = str(error).strip() or type(error).__name__
    return (
        f"{arch} does not accept images of {_images(image_size, channels)}: {reason.splitlines()[0]}",
        f"It is made for {_images(usual.image_size, usual.channels)}. "
        "Choose another image size or another network; tench models PATTERN lists them.",
    )


def _images(size: int, channels: int) -> str:
    return f"{size} x {size} px with {channels} channel{'' if channels == 1 else 's'}"
