"""An option of `prepare` either has an effect or is refused."""

from pathlib import Path
from typing import Any, get_args

import pytest
from tests.data import miniature

import tench
from tench.data.images.encode import Encoding
from tench.data.prepare.planning import LayoutName, Link, PrepareOptions, Style, plan
from tench.data.prepare.writers.lists import STYLES
from tench.data.source import Source, open_source
from tench.errors import UsageError

SHARDS, TREES = ("webdataset", "tfrecord", "recordio"), ("folder", "list")


def refusal(dest: Path, to: Any, **options: Any) -> str:
    """The error for preparing the digits with these options, which must come before anything is written."""
    with pytest.raises(UsageError) as error:
        tench.prepare("digits", dest, to, options=PrepareOptions(**options))
    assert not dest.exists()
    return str(error.value)


def test_the_layout_is_the_one_in_the_call_whatever_the_options(tmp_path: Path) -> None:
    tench.prepare("digits", tmp_path / "out", "tfrecord", options=PrepareOptions(shards=(2,)))
    assert open_source(tmp_path / "out").layout == "tfrecord"
    assert len(list((tmp_path / "out").glob("train-*-of-00002"))) == 2


@pytest.mark.parametrize("to", TREES)
@pytest.mark.parametrize(
    ("options", "flag"),
    [({"shards": (2,)}, "--shards"), ({"shard_bytes": 1000}, "--shard-size"), ({"shuffle": False}, "--no-shuffle")],
)
def test_shard_options_are_refused_for_layouts_with_one_file_per_image(
    tmp_path: Path, to: str, options: dict[str, Any], flag: str
) -> None:
    assert refusal(tmp_path / "out", to, **options) == (
        f"{flag} has no effect on the layout {to}; it is for layouts of shards. Leave it out."
    )


@pytest.mark.parametrize("to", SHARDS)
@pytest.mark.parametrize("link", get_args(Link))
def test_links_are_refused_for_shards(tmp_path: Path, to: str, link: str) -> None:
    assert refusal(tmp_path / "out", to, link=link) == (
        f"--link has no effect on the layout {to}; it is for the layouts folder and list. Leave it out."
    )


@pytest.mark.parametrize("to", [*SHARDS, "folder"])
def test_the_list_style_is_refused_for_other_layouts(tmp_path: Path, to: str) -> None:
    assert refusal(tmp_path / "out", to, style="caffe") == (
        f"--style has no effect on the layout {to}; it is for the layout list. Leave it out."
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"encoding": Encoding()}, "re-encoding"),
        ({"addressable": True}, "--addressable"),
        ({"bad": "skip"}, "--bad skip"),
        ({"bad": "fix"}, "--bad fix"),
    ],
)
@pytest.mark.parametrize("link", ["hard", "symbolic"])
def test_links_are_refused_if_every_image_is_re_encoded(
    tmp_path: Path, options: dict[str, Any], why: str, link: str
) -> None:
    assert refusal(tmp_path / "out", "folder", link=link, **options) == (
        f"--link {link} has no effect with {why}, which copies images. Leave one out."
    )


def test_a_number_of_shards_and_a_shard_size_are_refused_together(tmp_path: Path) -> None:
    assert refusal(tmp_path / "out", "webdataset", shards=(2,), shard_bytes=1000) == (
        "--shards and --shard-size both set the number of files. Give only one of them."
    )


def test_a_shard_size_applies_to_recordio_too(tmp_path: Path) -> None:
    tench.prepare("digits", tmp_path / "one", "recordio")
    assert [path.name for path in (tmp_path / "one").glob("train*.rec")] == ["train.rec"]
    tench.prepare("digits", tmp_path / "more", "recordio", options=PrepareOptions(shard_bytes=50_000))
    assert len(list((tmp_path / "more").glob("train-*.rec"))) > 2


@pytest.mark.parametrize("format_", ["png", "pixels"])
def test_a_quality_is_refused_for_lossless_formats(format_: Any) -> None:
    with pytest.raises(UsageError) as error:
        Encoding(format=format_, quality=90)
    assert str(error.value) == f"--quality has no effect on the format {format_}; it is for jpeg and webp."


def test_an_interpolation_is_refused_if_no_size_changes() -> None:
    with pytest.raises(UsageError) as error:
        Encoding(interpolation="bilinear")
    assert str(error.value) == "--interpolation has no effect without --short-side, --max-side or --square."


def test_an_unknown_layout_lists_the_known_ones(tmp_path: Path) -> None:
    assert refusal(tmp_path / "out", "tfrecords") == (
        "Unknown --to 'tfrecords'. Did you mean 'tfrecord' or 'recordio'? "
        "Known: webdataset, folder, list, tfrecord, recordio."
    )


def test_every_style_can_be_written() -> None:
    assert get_args(Style) == tuple(STYLES)


def test_a_note_says_that_a_layout_cannot_store_boxes(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path / "ilsvrc")
    source = open_source(tmp_path / "ilsvrc", boxes=True)
    without: tuple[LayoutName, ...] = ("folder", "list", "recordio")
    for to in without:
        notes = plan(source, tmp_path / "out", to, splits=("val",), threads=1).notes
        assert f"The boxes are not written: {to} cannot store them. tfrecord and webdataset can." in notes
    storing: tuple[LayoutName, ...] = ("tfrecord", "webdataset")
    for to in storing:
        notes = plan(source, tmp_path / "out", to, splits=("val",), threads=1).notes
        assert not any("boxes" in note for note in notes)


def test_the_source_may_be_a_path_several_paths_or_an_open_dataset(photo_folder: Path, tmp_path: Path) -> None:
    sources: tuple[Source, ...] = (str(photo_folder), [photo_folder / "train"], open_source(photo_folder))
    made = [tench.prepare(source, tmp_path / str(number)).images for number, source in enumerate(sources)]
    assert made == [{"train": 18, "val": 6}, {"train": 18}, {"train": 18, "val": 6}]


def test_prepare_accepts_splits_and_fractions(photo_folder: Path, tmp_path: Path) -> None:
    done = tench.prepare(photo_folder, tmp_path / "out", splits=("train",), val_fraction=1 / 3, test_fraction=1 / 6)
    assert done.images == {"train": 9, "val": 6, "test": 3}
