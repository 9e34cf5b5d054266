"""Explain the result in sentences: what limits the input, whether that matters, and what would help by how much.

The verdict is a pure function of the result, so each case can be tested with made-up numbers. A stage is named as the
limit only if its own rate is not well above the overall rate. A remedy is suggested only if it gains enough.
"""

import math

from tench.bench.remedy import ADDRESSABLE
from tench.bench.result import READ_COLD, RESIDENT, STEP, WHOLE, WHOLE_COLD, Remedy, Result, Row
from tench.bench.texts import figures
from tench.errors import counted
from tench.input.loader import THREADS_ALONE

MIN_GAIN = 1.1
"""A remedy that gains less is not suggested, because it costs disk space and time."""
_SCALES = 0.6
"""If the rate is below this fraction of one thread's rate times the cores, threads are waiting for each other."""
_COLD = 0.8
"""If the rate from disk is below this fraction of the rate from memory, the difference gets a sentence."""
_WELL_ABOVE = 2.0
"""A stage whose own rate is more than this many times the overall rate is not the limit."""


def bound(result: Result) -> str:
    """What limits the input: read, decode, resize or augment; several (no stage alone); threads (they wait for each
    other); or none (the images stay in memory)."""
    if result.is_resident:
        return "none"
    whole = _whole(result)
    used = min(whole.threads, result.cores)
    ratio = result.ratio(whole)
    if used > 1 and ratio is not None and ratio < _SCALES * used:
        return "threads"
    stage = max(result.shares, key=lambda stage: result.shares[stage])
    return stage if result.shares[stage] * _WELL_ABOVE >= 1 else "several"


def keeps_up(result: Result) -> bool:
    """Whether the network barely waits for images; False if no network was measured.

    On a CPU the network and the loader share the cores: then the loader must take less than a tenth of the time.
    """
    step = result.find(STEP)
    if step is None:
        return False
    return _loader_share(result, step) < 0.1 if result.device == "cpu" else _input_rate(result) >= step.rate.median


def verdict(result: Result) -> list[str]:
    """Sentences on the limit, reading from disk, the network and the remedies."""
    if result.is_resident:
        kept = (
            "Training decodes these images once and keeps them in memory, which gives "
            f"{figures(_input_rate(result))} images/s; the loader's rates apply only to that first pass."
        )
        return [kept, *(_network(result) or ["To see whether a network waits for images, add --model."])]
    return [_bound(result), *_cold(result), *_network(result), *_remedies(result)]


def _bound(result: Result) -> str:
    whole, by = _whole(result), bound(result)
    gives = f"{_cores(whole, result)} {figures(whole.rate.median)} images/s"
    parts = ", ".join(f"{_DOING[stage]} {_percent(share)}" for stage, share in result.shares.items())
    if by == "threads":
        shared = "Python's lock and memory are shared" if whole.threads <= THREADS_ALONE else "memory is shared"
        return (
            f"Limited by threads that wait for each other: {gives}, only {result.ratio(whole):.1f} times the rate of "
            f"one thread; {shared}, or other programs use the cores. Time per image in one thread: {parts}."
        )
    limited = "Limited by several stages" if by == "several" else f"Limited by {_DOING[by]}"
    return f"{limited}: {gives}. Time per image in one thread: {parts}."


def _cold(result: Result) -> list[str]:
    if result.cold != "dropped":
        why = {
            "kept": "The system keeps the files in memory (tmpfs?)",
            "unknown": "This system does not report whether files are in memory",
        }[result.cold]
        return [f"{why}, so reading from disk was not measured: these rates are for files in memory."]
    cold, read = result.find(WHOLE_COLD), result.find(READ_COLD)
    if cold is None or read is None or cold.rate.median >= _COLD * _whole(result).rate.median:
        return []
    rate = (
        f"{figures(cold.rate.median)} images/s from disk (in the first epoch, and in every epoch if the dataset is "
        "larger than memory)"
    )
    if read.rate.median > _WELL_ABOVE * cold.rate.median:
        return [
            f"{rate}. The disk is not the limit: one thread alone reads {figures(read.rate.median)} images/s. The "
            "threads wait for their own reads; more of them (-j) may help."
        ]
    return [f"{rate}, limited by the disk: one thread can only read {figures(read.rate.median)} images/s."]


def _network(result: Result) -> list[str]:
    step = result.find(STEP)
    if step is None:
        return []
    takes, gives = step.rate.median, _input_rate(result)
    if result.device == "cpu":
        share = _loader_share(result, step)
        both = (
            f"{result.arch} trains on {figures(takes)} images/s on the same cores, so both together reach "
            f"{figures(1 / (1 / takes + 1 / gives))} images/s, and the input takes {_percent(share)} of the time"
        )
        return [f"{both}: nothing needs to be done." if keeps_up(result) else f"{both}."]
    if result.is_resident:
        network = f"{result.arch} trains on {figures(takes)} images/s on {result.device}"
        if keeps_up(result):
            return [f"{network}: nothing needs to be done."]
        return [f"{network}, more than the {figures(gives)} images/s from memory, so it waits for images."]
    enough = _cores_for(takes, gives, result)
    if keeps_up(result):
        are = "is" if enough == 1 else "are"
        return [
            f"{result.arch} trains on {figures(takes)} images/s on {result.device}, so the network is the limit, and "
            f"about {enough} of {counted(result.cores, 'core')} {are} enough for the input: nothing needs to be done."
        ]
    return [
        f"{result.arch} trains on {figures(takes)} images/s on {result.device}, so it waits for images: with the "
        f"images unchanged, about {counted(enough, 'core')} would keep up."
    ]


def _remedies(result: Result) -> list[str]:
    if keeps_up(result):
        return []
    good = sorted((one for one in result.remedies if one.gain >= MIN_GAIN), key=lambda one: -one.gain)
    if good:
        caution = "Smaller images have less detail for crops: compare the accuracy before you rely on them."
        smaller = any(one.options != ADDRESSABLE for one in good)
        return [*(_remedy(result, one) for one in good), *([caution] if smaller else [])]
    cores = "would help little" if bound(result) == "threads" else "would help"
    tried = "Preparing the images in another form would gain less than 10 %; m" if result.remedies else "M"
    return [f"{tried}ore cores {cores}."]


def _remedy(result: Result, remedy: Remedy) -> str:
    text = (
        f"{result.command(remedy)} gives {figures(remedy.after.median)} images/s "
        f"({remedy.gain:.1f} times as fast) and takes {_room(remedy.room)}"
    )
    if remedy.options == ADDRESSABLE:
        text += ", with the same pixels"
    step = result.find(STEP)
    if step is None or result.device == "cpu":
        return f"{text}."
    enough = _cores_for(step.rate.median, remedy.after.median, result)
    return f"{text}; about {counted(enough, 'core')} would keep up."


_DOING = {"read": "reading", "decode": "decoding", "resize": "resizing", "augment": "augmentation"}


def _whole(result: Result) -> Row:
    whole = result.find(WHOLE)
    assert whole is not None
    return whole


def _input_rate(result: Result) -> float:
    """The rate at which training gets images: from memory if the set is kept there, else from the loader."""
    resident = result.find(RESIDENT)
    return (resident or _whole(result)).rate.median


def _loader_share(result: Result, step: Row) -> float:
    """The fraction of the time that the input takes when it shares the cores with the network."""
    return step.rate.median / (step.rate.median + _input_rate(result))


def _cores_for(wanted: float, given: float, result: Result) -> int:
    """The number of cores needed for a rate, if each reaches the same rate as now."""
    return math.ceil(wanted / given * min(_whole(result).threads, result.cores))


def _cores(whole: Row, result: Result) -> str:
    if whole.threads > result.cores:
        return f"{whole.threads} threads on {counted(result.cores, 'core')} give"
    return "1 core gives" if whole.threads == 1 else f"{whole.threads} cores give"


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def _room(part: float) -> str:
    if 0.95 <= part < 1.05:
        return "as much space"
    return f"{part:.1f} times the space"
