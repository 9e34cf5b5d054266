"""Labels in file names: `cat.0.jpg`, `american_bulldog_12.jpg`, `0001_c3.png`.

A label is read from a name only if the user passes a regular expression for it. If the names suggest one, an error
offers it with the labels that it finds.
"""

import re
from collections import Counter
from collections.abc import Sequence

_PATTERNS = (
    r"^(.+)[._ -]\d+\.\w+$",  # cat.0.jpg, american_bulldog_12.jpg
    r"^(.+?) ?\(\d+\)\.\w+$",  # cat (1).jpg
    r"^([A-Za-z]+)\d+\.\w+$",  # cat12.jpg
    r"^([^._ -]+)[._ -].+\.\w+$",  # 7_0123ab.png
    r"[._ -]([^._ -]+)\.\w+$",  # 0001_c3.png
    r"^([A-Za-z]+)[^A-Za-z.]",
)
_MAX_NAMES = 20_000
_MAX_LABELS = 1_000


def label_of(pattern: re.Pattern[str], name: str) -> str | None:
    """The label in a file name; None if the pattern does not match, or its first group is empty."""
    found = pattern.search(name)
    return (found[1] or None) if found else None


def suggestion(names: Sequence[str]) -> tuple[str, Counter[str]] | None:
    """A pattern that finds a label in each name, at least two labels, and two images per label on average.

    names: file names without folders; if there are many, a sample is used. Returns the pattern and its labels.
    """
    sample = names[:: max(1, len(names) // _MAX_NAMES)]
    for text in _PATTERNS:
        pattern = re.compile(text)
        labels = Counter(label_of(pattern, name) for name in sample)
        if None not in labels and 2 <= len(labels) <= min(_MAX_LABELS, len(sample) // 2):
            return text, Counter({str(label): count for label, count in labels.items()})
    return None
