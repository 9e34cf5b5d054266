"""Bad images, which are images that do not decode: the policies, and the record of what was done."""

from typing import Literal, TypedDict, get_args

Policy = Literal["fail", "skip", "fix"]
"""What to do about an image that does not decode. fail: stop. skip: leave it out. fix: decode a JPEG as far as its data
goes, and leave out images that cannot be decoded. All such images are counted, and listed with file and
reason."""
POLICIES = get_args(Policy)


class Handled(TypedDict):
    """A bad image. done: "skipped" or "fixed"."""

    split: str
    row: int
    key: str
    file: str
    reason: str
    done: str
