"""Options for reading a source, for facts that the source itself does not state."""

import dataclasses
import re
from typing import Annotated, Any

from tench.errors import UsageError
from tench.flags import Flag
from tench.plain import typed


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RecordKeys:
    """The keys, columns or arrays that contain the images and the labels; None: the layout finds them."""

    image: str | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SourceOptions:
    """How to read a source whose files do not say so themselves. An option that has no effect on a source is refused.

    >>> options = tench.SourceOptions(exclude=("masks",), val_per_class=10)
    >>> options.given()
    {'exclude': ('masks',), 'val_per_class': 10}
    """

    classes_at: str | None = None
    """Which folders are the classes: their depth (2 is CLASS in train/CLASS) or a pattern (*/images/CLASS)."""
    split_from: str | None = None
    """Where the split is named: the depth of a folder (1), a column (fold, or fold=0 for val), or a regular expression
    whose first group names the split in the path of an image."""
    label: str | None = None
    """Column or key with the label (breed); folder: label images by their folders, not by a label file."""
    label_from: str | None = None
    """Regular expression whose first group is the class in a file name ('^([a-z]+)' for cat.0.jpg)."""
    images: str | None = None
    """Use only the images in this folder of the source (images/large)."""
    exclude: Annotated[tuple[str, ...], Flag(metavar="PATTERN", repeated=True)] = ()
    """Leave out files and folders that match this pattern (masks, '*_mask.png'); may be given several times."""
    keys: str | None = None
    """Keys, columns or arrays of a container with the images and the labels (image=jpeg,label=fine)."""
    min_images: int = 0
    """Leave out classes with fewer training images. (ImageNet-11K: 500.)"""
    val_per_class: int = 0
    """Training images per class to hold out as val, with a fixed seed, if the source has no val. (ImageNet-11K: 50.)"""

    def check(self) -> None:
        """Raise UsageError for a number below 0."""
        for name in ("min_images", "val_per_class"):
            if getattr(self, name) < 0:
                raise UsageError(f"{flag(name)} must be at least 0, got {getattr(self, name)}.")
        self.record_keys()

    def record_keys(self) -> "RecordKeys":
        """The keys set by --keys and --label (another way to set the label key). Raises UsageError if --keys is
        malformed."""
        asked: dict[str, str | None] = {"image": None, "label": self.label}
        for part in (self.keys or "").split(",") if self.keys is not None else ():
            what, _, key = part.strip().partition("=")
            if what not in asked or not key:
                raise UsageError(f"--keys must be image=KEY,label=KEY, or one of the two, got {self.keys!r}.")
            asked[what] = key
        return RecordKeys(**asked)

    def given(self) -> dict[str, Any]:
        """The options that differ from the default, by field name."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }

    def to_json(self) -> dict[str, Any]:
        """The options that differ from the default, as JSON values; `SourceOptions.from_json` reads them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.given().items()}

    @classmethod
    def from_json(cls, data: Any, where: str) -> "SourceOptions":
        """The options in `data`. where: its key, for messages. Raises PlainError for an unknown name or a wrong
        type."""
        options: SourceOptions = typed(data, cls, where)
        return options


NO_OPTIONS = SourceOptions()

EVERY_SOURCE, EVERY_TREE = frozenset({"min_images", "val_per_class"}), frozenset({"exclude"})
"""Options that do not depend on the layout: those of all sources, and those of sources made of files."""


def flag(name: str) -> str:
    """The option as written on the command line: --classes-at."""
    return "--" + name.replace("_", "-")


def pattern_of(option: str, text: str, what: str) -> re.Pattern[str]:
    """The regular expression given for an option. Raises UsageError if it is invalid or has no group.

    what: the part of a name that the first group matches, for the error ("class").
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"{flag(option)} must be a valid regular expression, got {text!r} ({error}).") from error
    if not pattern.groups:
        raise UsageError(
            f"{flag(option)} {text!r} has no group. Put parentheses around the part that names the {what}."
        )
    return pattern
