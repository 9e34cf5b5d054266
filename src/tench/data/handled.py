"""Bad images, which do not decode: the policies, and what was done under them."""

from typing import Literal, TypedDict, get_args

Policy = Literal["fail", "skip", "fix"]
"""What to do about an image that does not decode: stop; leave it out; decode a JPEG as far as its data goes, and leave
out what cannot be fixed so. What was done is counted, and listed with file and reason."""
POLICIES = get_args(Policy)


class Handled(TypedDict):
    """A bad image, and what was done about it: "skipped" or "fixed"."""

    split: str
    row: int
    key: str
    file: str
    reason: str
    done: str
