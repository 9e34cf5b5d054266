import dataclasses
from typing import Any

import pytest
from tests.bench.results import made_up

from tench.bench.measure import Rate
from tench.bench.result import Remedy, Result, Row
from tench.bench.verdict import bound, keeps_up, verdict

SHARES = {"read": 0.05, "decode": 0.7, "resize": 0.25}


def rate(median: float) -> Rate:
    return Rate(median, 0.9 * median, 1.1 * median, 100, 5)


def result(one: float = 500, two: float = 1000, **values: Any) -> Result:
    """A result on two cores. By default, the loader reaches 500 images/s with one thread and 1,000 with two."""
    more = values.pop("more", [])
    rows = [Row("whole", 1, rate(one)), Row("whole", 2, rate(two)), *more]
    return dataclasses.replace(made_up(rows, SHARES), **values)


def cold(reading: float, whole: float) -> list[Row]:
    return [Row("read-cold", 1, rate(reading)), Row("whole-cold", 2, rate(whole))]


def remedy(options: str, before: float, after: float, room: float) -> Remedy:
    return Remedy(options, rate(before), rate(after), room)


JPEG = remedy("--max-side 512 --quality 90", 1000, 2500, 0.4)
RAW = remedy("--format pixels --max-side 256", 1000, 1080, 1.8)
CAUTION = "Smaller images have less detail for crops: compare the accuracy before you rely on them."


@pytest.mark.parametrize("stage", ["read", "decode", "resize", "augment"])
def test_the_stage_that_takes_most_of_the_time_is_the_limit(stage: str) -> None:
    shares = dict.fromkeys(("read", "decode", "resize", "augment"), 0.1) | {stage: 0.7}
    found = result(shares=shares)
    assert bound(found) == stage
    doing = {"read": "reading", "decode": "decoding", "resize": "resizing", "augment": "augmentation"}[stage]
    assert verdict(found)[0].startswith(f"Limited by {doing}: 2 cores give 1,000 images/s. ")


@pytest.mark.parametrize(
    ("shares", "named"),
    [
        ({"read": 0.1, "decode": 0.45, "resize": 0.45}, "several"),
        ({"read": 0.34, "decode": 0.33, "resize": 0.33}, "several"),
        ({"read": 0.25, "decode": 0.25, "resize": 0.25, "augment": 0.25}, "several"),
        ({"read": 0.1, "decode": 0.5, "resize": 0.4}, "decode"),
        ({"read": 0.6, "decode": 0.2, "resize": 0.2}, "read"),
    ],
)
def test_a_stage_more_than_twice_as_fast_as_the_whole_is_not_the_limit(shares: dict[str, float], named: str) -> None:
    found = result(shares=shares)
    assert bound(found) == named
    if named == "several":
        assert verdict(found)[0].startswith("Limited by several stages: 2 cores give 1,000 images/s. ")


@pytest.mark.parametrize(
    ("reading", "whole", "is_limit"),
    [(60, 87, True), (87, 87, True), (174, 87, True), (175, 87, False), (1980, 362, False), (400, 790, True)],
)
def test_the_disk_is_only_the_limit_if_it_reads_hardly_faster_than_the_whole(
    reading: float, whole: float, is_limit: bool
) -> None:
    told = verdict(result(more=cold(reading, whole)))[1]
    assert ("limited by the disk" in told) is is_limit
    assert ("The disk is not the limit" in told) is not is_limit


def test_the_first_sentence_gives_the_share_of_each_stage() -> None:
    assert verdict(result()) == [
        "Limited by decoding: 2 cores give 1,000 images/s. Time per image in one thread: reading 5 %, decoding 70 %, "
        "resizing 25 %.",
        "More cores would help.",
    ]


def test_threads_that_do_not_scale_are_the_limit() -> None:
    found = result(one=500, two=550, remedies=[dataclasses.replace(JPEG, after=rate(1050))])
    assert bound(found) == "threads"
    assert verdict(found) == [
        "Limited by threads that wait for each other: 2 cores give 550 images/s, only 1.1 times the rate of one "
        "thread; Python's lock and memory are shared, or other programs use the cores. Time per image in one thread: "
        "reading 5 %, decoding 70 %, resizing 25 %.",
        "Preparing the images in another form would gain less than 10 %; more cores would help little.",
    ]


def test_more_threads_than_cores_are_not_expected_to_scale() -> None:
    found = result(one=500, two=510, cores=1)
    assert bound(found) == "decode"
    assert verdict(found)[0].startswith("Limited by decoding: 2 threads on 1 core give 510 images/s. ")


def test_a_single_core_is_written_in_the_singular() -> None:
    found = result(cores=1, rows=[Row("whole", 1, rate(512.3))])
    assert verdict(found)[0].startswith("Limited by decoding: 1 core gives 512 images/s. ")


def test_a_remedy_that_helps_is_named_with_its_gain_and_room() -> None:
    assert verdict(result(remedies=[RAW, JPEG]))[1:] == [
        "tench prepare /data/flowers DEST --max-side 512 --quality 90 gives 2,500 images/s (2.5 times as fast) and "
        "takes 0.4 times the space.",
        CAUTION,
    ]


def test_remedies_are_listed_in_the_order_of_their_gain() -> None:
    raw = dataclasses.replace(RAW, after=rate(4000))
    first, second, _ = verdict(result(remedies=[JPEG, raw]))[1:]
    assert "--format pixels --max-side 256 gives 4,000 images/s (4.0 times as fast) and takes 1.8 times the " in first
    assert "--max-side 512 --quality 90" in second


def test_a_remedy_that_needs_as_much_disk_space_as_the_source_says_so() -> None:
    assert verdict(result(remedies=[dataclasses.replace(JPEG, room=1.0)]))[1].endswith("and takes as much space.")


def test_a_remedy_that_keeps_all_pixels_needs_no_warning() -> None:
    kept = remedy("--addressable", 1000, 1400, 1.01)
    assert verdict(result(remedies=[kept]))[1:] == [
        "tench prepare /data/flowers DEST --addressable gives 1,400 images/s (1.4 times as fast) and takes as much "
        "space, with the same pixels."
    ]
    assert verdict(result(remedies=[kept, JPEG]))[-1] == CAUTION


def test_remedies_that_gain_less_than_a_tenth_are_not_suggested() -> None:
    assert verdict(result(remedies=[RAW]))[1:] == [
        "Preparing the images in another form would gain less than 10 %; more cores would help."
    ]


def test_a_source_with_a_space_in_its_name_is_quoted_and_several_sources_are_abbreviated() -> None:
    assert "tench prepare '/data/my flowers' DEST" in verdict(result(source="/data/my flowers", remedies=[JPEG]))[1]
    assert "tench prepare SOURCE DEST" in verdict(result(source="/data/a + /data/b", remedies=[JPEG]))[1]


def test_a_slower_disk_is_reported() -> None:
    assert verdict(result(more=cold(60, 87.25)))[1] == (
        "87.2 images/s from disk (in the first epoch, and in every epoch if the dataset is larger than memory), "
        "limited by the disk: one thread can only read 60.0 images/s."
    )


def test_a_disk_that_keeps_up_is_not_mentioned() -> None:
    assert verdict(result(more=cold(5000, 950)))[1:] == ["More cores would help."]


def test_a_missing_cold_measurement_is_explained() -> None:
    assert "The system keeps the files in memory (tmpfs?)" in verdict(result(cold="kept"))[1]
    assert "This system does not report whether files are in memory" in verdict(result(cold="unknown"))[1]


def network(images_per_second: float, device: str, **values: Any) -> Result:
    more = [Row("step", 2, rate(images_per_second))]
    return result(more=more, device=device, arch="resnet50", step_batch=64, **values)


def test_the_verdict_on_a_gpu_faster_than_the_loader_gives_the_cores_it_needs() -> None:
    found = network(2600, "cuda", remedies=[JPEG])
    assert not keeps_up(found)
    assert verdict(found)[1:] == [
        "resnet50 trains on 2,600 images/s on cuda, so it waits for images: with the images unchanged, about 6 "
        "cores would keep up.",
        "tench prepare /data/flowers DEST --max-side 512 --quality 90 gives 2,500 images/s (2.5 times as fast) and "
        "takes 0.4 times the space; about 3 cores would keep up.",
        CAUTION,
    ]


def test_a_gpu_slower_than_the_loader_gets_no_advice() -> None:
    found = network(400, "cuda", remedies=[JPEG])
    assert keeps_up(found)
    assert verdict(found)[1:] == [
        "resnet50 trains on 400 images/s on cuda, so the network is the limit, and about 1 of 2 cores is enough for "
        "the input: nothing needs to be done."
    ]


def test_a_cpu_shares_its_cores_between_network_and_loader() -> None:
    assert verdict(network(10, "cpu", remedies=[JPEG]))[1:] == [
        "resnet50 trains on 10.0 images/s on the same cores, so both together reach 9.90 images/s, and the input "
        "takes less than 1 % of the time: nothing needs to be done."
    ]
    found = network(1000, "cpu", remedies=[JPEG])
    assert not keeps_up(found)
    assert verdict(found)[1] == (
        "resnet50 trains on 1,000 images/s on the same cores, so both together reach 500 images/s, and the input "
        "takes 50 % of the time."
    )
    assert verdict(found)[2].startswith("tench prepare ")


def test_a_resident_dataset_gets_no_advice_only_if_the_network_is_slower() -> None:
    more = [Row("resident", 2, rate(51_234))]
    kept = (
        "Training decodes these images once and keeps them in memory, which gives 51,200 images/s; the loader's rates "
        "apply only to that first pass."
    )
    found = result(is_resident=True, more=more)
    assert bound(found) == "none"
    assert verdict(found) == [kept, "To see whether a network waits for images, add --model."]
    found = result(is_resident=True, more=[*more, Row("step", 2, rate(9000))], device="cuda", arch="resnet20")
    assert verdict(found) == [kept, "resnet20 trains on 9,000 images/s on cuda: nothing needs to be done."]
    found = result(is_resident=True, more=[*more, Row("step", 2, rate(80_000))], device="cuda", arch="resnet20")
    assert verdict(found) == [
        kept,
        "resnet20 trains on 80,000 images/s on cuda, more than the 51,200 images/s from memory, so it waits for "
        "images.",
    ]
    found = result(is_resident=True, more=[*more, Row("step", 2, rate(51_234))], device="cpu", arch="mlp")
    assert verdict(found)[1].endswith("and the input takes 50 % of the time.")


def test_json_output_has_rows_and_remedies() -> None:
    found = result(remedies=[JPEG]).to_json()
    assert found["rows"][1] == {
        "stage": "whole",
        "threads": 2,
        "images_per_second": 1000,
        "min": 900,
        "max": 1100,
        "images": 100,
        "repeats": 5,
        "ratio": 2.0,
        "memory_bytes": None,
    }
    assert found["remedies"][0]["command"] == "tench prepare /data/flowers DEST --max-side 512 --quality 90"
    assert (found["remedies"][0]["gain"], found["remedies"][0]["room"]) == (2.5, 0.4)
    assert found["source"] == "/data/flowers"
    assert found["shares"] == SHARES
