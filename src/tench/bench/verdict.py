"""The figures in words: what bounds the input, whether that matters, and what would help by how much.

A pure function of the result, so that each case can be tested on made-up numbers. A remedy is named with the gain that
was measured for it, and only where it gains something.
"""

import math

from tench.bench.remedy import ADDRESSABLE
from tench.bench.result import READ_COLD, RESIDENT, STEP, WHOLE, WHOLE_COLD, Remedy, Result, Row
from tench.bench.texts import figures
from tench.input.loader import THREADS_ALONE

MIN_GAIN = 1.1
"""A remedy that gains less is not suggested: it costs disk space and an hour."""
_SCALES = 0.6
"""Of cores times one thread's rate; below it, threads wait for each other rather than work."""
_COLD = 0.8
"""Where less of the rate is left with files from the disk, the disk bounds."""


def bound(result: Result) -> str:
    """What limits the input: read, decode, resize, augment, threads (they wait for each other), or none (resident)."""
    if result.is_resident:
        return "none"
    whole = _whole(result)
    used = min(whole.threads, result.cores)
    ratio = result.ratio(whole)
    if used > 1 and ratio is not None and ratio < _SCALES * used:
        return "threads"
    return max(result.shares, key=lambda stage: result.shares[stage])


def keeps_up(result: Result) -> bool:
    """Whether the network hardly waits for images; False where none was measured.

    On a processor network and loader share the cores: then whether the loader takes less than a tenth of the time.
    """
    step = result.find(STEP)
    if step is None:
        return False
    return _loader_share(result, step) < 0.1 if result.device == "cpu" else _input_rate(result) >= step.rate.median


def verdict(result: Result) -> list[str]:
    """Sentences: the bound, reading from the disk, the network, the remedies."""
    if result.is_resident:
        kept = (
            "Training decodes these images once and keeps them in memory, from where batches come at "
            f"{figures(_input_rate(result))} images/s; the loader's rates are those of the first time."
        )
        return [kept, *(_network(result) or ["Whether a network waits for them is told with --model."])]
    return [_bound(result), *_cold(result), *_network(result), *_remedies(result)]


def _bound(result: Result) -> str:
    whole, by = _whole(result), bound(result)
    gives = f"{_cores(whole, result)} {figures(whole.rate.median)} images/s"
    parts = ", ".join(f"{_DOING[stage]} {_percent(share)}" for stage, share in result.shares.items())
    if by == "threads":
        shared = "Python's lock and memory are shared" if whole.threads <= THREADS_ALONE else "memory is shared"
        return (
            f"Bound by threads that wait for each other: {gives}, only {result.ratio(whole):.1f} times what one thread "
            f"does; {shared}, or other programs use the cores. Of an image's time in one thread: {parts}."
        )
    return f"{by.capitalize()}-bound: {gives}. Of an image's time in one thread: {parts}."


def _cold(result: Result) -> list[str]:
    if result.cold != "dropped":
        why = {
            "kept": "The files stay in memory whatever is asked (tmpfs?)",
            "unknown": "Whether files leave the memory cannot be seen here",
        }[result.cold]
        return [f"{why}, so reading from the disk was not measured: these are the rates of files in memory."]
    cold, read = result.find(WHOLE_COLD), result.find(READ_COLD)
    if cold is None or read is None or cold.rate.median >= _COLD * _whole(result).rate.median:
        return []
    return [
        f"From the disk it is {figures(cold.rate.median)} images/s (in the first epoch; in every one, where the set is "
        f"larger than memory): the disk bounds, one thread reads {figures(read.rate.median)} images/s from it."
    ]


def _network(result: Result) -> list[str]:
    step = result.find(STEP)
    if step is None:
        return []
    takes, gives = step.rate.median, _input_rate(result)
    if result.device == "cpu":
        share = _loader_share(result, step)
        both = (
            f"{result.arch} learns {figures(takes)} images/s on the same cores, so that both together make "
            f"{figures(1 / (1 / takes + 1 / gives))} images/s, and the input takes {_percent(share)} of the time"
        )
        return [f"{both}: nothing needs to be done." if keeps_up(result) else f"{both}."]
    if result.is_resident:
        network = f"{result.arch} takes {figures(takes)} images/s on {result.device}"
        if keeps_up(result):
            return [f"{network}: nothing needs to be done."]
        return [f"{network}, more than the {figures(gives)} that come from memory, so it waits for images."]
    enough = _cores_for(takes, gives, result)
    if keeps_up(result):
        are = "is" if enough == 1 else "are"
        return [
            f"{result.arch} takes {figures(takes)} images/s on {result.device}, so the network bounds, and about "
            f"{enough} of {result.cores} cores {are} enough for the input: nothing needs to be done."
        ]
    return [
        f"{result.arch} takes {figures(takes)} images/s on {result.device}, so it waits for images: about {enough} "
        "cores would keep up as they are."
    ]


def _remedies(result: Result) -> list[str]:
    if keeps_up(result):
        return []
    good = sorted((one for one in result.remedies if one.gain >= MIN_GAIN), key=lambda one: -one.gain)
    if good:
        caution = "Smaller images hold less detail for crops: compare the accuracy before you rely on them."
        smaller = any(one.options != ADDRESSABLE for one in good)
        return [*(_remedy(result, one) for one in good), *([caution] if smaller else [])]
    cores = "would help little" if bound(result) == "threads" else "would help"
    tried = "Nothing that tench prepare can store would help (less than 10 %); m" if result.remedies else "M"
    return [f"{tried}ore cores {cores}."]


def _remedy(result: Result, remedy: Remedy) -> str:
    text = (
        f"{result.command(remedy)} gives {figures(remedy.after.median)} images/s "
        f"({remedy.gain:.1f} times), and takes {_room(remedy.room)}"
    )
    if remedy.options == ADDRESSABLE:
        text += ", with the same pixels"
    step = result.find(STEP)
    if step is None or result.device == "cpu":
        return f"{text}."
    enough = _cores_for(step.rate.median, remedy.after.median, result)
    return f"{text}; about {enough} {'core' if enough == 1 else 'cores'} would keep up."


_DOING = {"read": "reading", "decode": "decoding", "resize": "resizing", "augment": "augmentation"}


def _whole(result: Result) -> Row:
    whole = result.find(WHOLE)
    assert whole is not None
    return whole


def _input_rate(result: Result) -> float:
    """What training gets: from memory where the set lives there, else from the loader."""
    resident = result.find(RESIDENT)
    return (resident or _whole(result)).rate.median


def _loader_share(result: Result, step: Row) -> float:
    """The part of the time that the input takes when it shares the cores with the network."""
    return step.rate.median / (step.rate.median + _input_rate(result))


def _cores_for(wanted: float, given: float, result: Result) -> int:
    """So many cores for a rate, if each gives what each does now."""
    return math.ceil(wanted / given * min(_whole(result).threads, result.cores))


def _cores(whole: Row, result: Result) -> str:
    if whole.threads > result.cores:
        return f"{whole.threads} threads on {result.cores} {'core' if result.cores == 1 else 'cores'} give"
    return "1 core gives" if whole.threads == 1 else f"{whole.threads} cores give"


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def _room(part: float) -> str:
    if 0.95 <= part < 1.05:
        return "as much room"
    return f"{part:.1f} of the room" if part < 1 else f"{part:.1f} times the room"
