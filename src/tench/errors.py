"""The errors that a user can cause and fix. The text says where it happened, what was found, and what to do."""

from collections.abc import Sequence


class TenchError(Exception):
    """Something in the data, a file or the machine stops the work. The command line exits with 1.

    Each argument is one line. A newline inside one comes from a name, and is escaped when printed.

    >>> try:
    ...     tench.load_recipe("digit")
    ... except tench.TenchError as error:
    ...     print(error)
    digit: no such recipe or file. Did you mean 'digits'? Packaged recipes: ...
    """

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class PassingError(TenchError):
    """A failure that may not recur on the next try, so it is never cached: permissions, a network disk, memory.

    >>> issubclass(tench.PassingError, tench.TenchError)
    True
    """


class UsageError(TenchError):
    """An invalid request: an unknown name, an option out of range. The command line exits with 2.

    >>> try:
    ...     tench.prepare("digits", "out", "tfrecord", val_fraction=0.1)
    ... except tench.UsageError as error:
    ...     print(error)
    --val-fraction takes images from train, but there is a split val already.
    """


def nearest(word: str, known: list[str]) -> str:
    """A hint for an unknown name: " Did you mean 'resnet50'?", or nothing when no known word is close."""
    import difflib

    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


def some(names: Sequence[str], at_most: int = 5) -> str:
    """The first few of many names, for a message: "a, b, c, d, e, ... (1,000 in all)"."""
    return ", ".join(names[:at_most]) + (f", ... ({len(names):,} in all)" if len(names) > at_most else "")


def listed(words: Sequence[str], last: str) -> str:
    """A list in a sentence: "a", "a or b", "a, b or c". last: the word before the last item, "or" or "and"."""
    return f" {last} ".join([*filter(None, [", ".join(words[:-1])]), words[-1]])


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 image", "2,000 images", "2 classes"."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith(('s', 'x')) else 's'}"
