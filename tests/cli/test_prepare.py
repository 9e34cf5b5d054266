"""`tench prepare` from the command line, for people and programs."""

import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.photos import encoded, part, photo

from tench.cli.main import main
from tench.data.images.image import decode

Run = Callable[..., tuple[int, str, str]]
CUT = encoded(photo().resize((90, 70)), quality=90)[:3000]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs a command and returns its exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        return main([str(argument) for argument in arguments]), *capsys.readouterr()

    return run


def told(text: str) -> str:
    """A printed plan without the numbers that depend on the machine."""
    text = re.sub(r"needs about [\d.]+ [kMG]B and \d+ s; [\d.]+ [kMGT]B free\n", "NEEDED\n", text)
    return re.sub(r"images, [\d.]+ [kM]B;", "images, SIZE;", text)


def usage_error(run: Run, *arguments: str | Path) -> str:
    code, out, error = run("prepare", *arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in error
    *_, last = error.splitlines()  # preceded by "Reading ... ..."
    assert last.startswith("tench prepare: ")
    return last.removeprefix("tench prepare: ")


def test_the_plan_and_the_result_are_printed(run: Run, photos: Path, tmp_path: Path) -> None:
    dest = tmp_path / "shards"
    code, out, error = run("prepare", photos, dest)
    assert (code, error) == (0, f"Reading {photos} ...\n")
    assert told(out) == (
        f"{photos} (folder, 3 classes) -> {dest}\n"
        "  webdataset: train 18, val 6 images in 2 files, original bytes\n"
        "  NEEDED\n"
        f"{dest}: train 18, val 6 images, SIZE; read back and verified.\n"
    )
    code, out, error = run("prepare", photos, dest)
    assert (code, error) == (0, "")
    assert out.splitlines()[-1] == f"{dest} is already complete: train 18, val 6 images."


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--to", "tfrecord"], "tfrecord: train 18, val 6 images in 2 files, original bytes"),
        (["--shards", "4", "2"], "webdataset: train 18, val 6 images in 6 files, original bytes"),
        (["--shards", "3", "--to", "recordio"], "recordio: train 18, val 6 images in 6 files, original bytes"),
        (["--splits", "val"], "webdataset: val 6 images in 1 file, original bytes"),
        (
            ["--max-side", "32"],
            "webdataset: train 18, val 6 images in 2 files, re-encoded as jpeg, max side 32, quality 90",
        ),
        (["--quality", "75"], "webdataset: train 18, val 6 images in 2 files, re-encoded as jpeg, quality 75"),
        (
            ["--format", "png", "--square", "24"],
            "webdataset: train 18, val 6 images in 2 files, re-encoded as png, square 24",
        ),
        (["--format", "pixels"], "webdataset: train 18, val 6 images in 2 files, re-encoded as pixels"),
        (
            ["--format", "webp", "--quality", "50"],
            "webdataset: train 18, val 6 images in 2 files, re-encoded as webp, quality 50",
        ),
        (["--grey"], "webdataset: train 18, val 6 images in 2 files, re-encoded as jpeg, quality 90"),
        (
            ["--short-side", "64", "--enlarge"],
            "webdataset: train 18, val 6 images in 2 files, re-encoded as jpeg, short side 64, quality 90",
        ),
        (
            ["--splits", "train", "--val-fraction", "0.34", "--test-fraction", "0.34"],
            "webdataset: train 6, val 6, test 6 images in 3 files, original bytes",
        ),
        (["--test-fraction", "0.34"], "webdataset: train 12, val 6, test 6 images in 3 files, original bytes"),
    ],
)
def test_a_dry_run_prints_the_plan_and_writes_nothing(
    run: Run, photos: Path, tmp_path: Path, options: list[str], line: str
) -> None:
    code, out, _ = run("prepare", photos, tmp_path / "new", "--dry-run", *options)
    assert code == 0
    assert told(out) == f"{photos} (folder, 3 classes) -> {tmp_path}/new\n  {line}\n  NEEDED\n"
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_shards_have_approximately_the_requested_size(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("prepare", photos, tmp_path / "new", "--shard-size", "0.03")[0] == 0
    sizes = [file.stat().st_size for file in (tmp_path / "new").glob("train-*.tar")]
    assert len(sizes) > 2
    assert all(20_000 < size < 45_000 for size in sizes)


def test_the_plan_says_how_images_are_linked(run: Run, photos: Path, tmp_path: Path) -> None:
    code, out, _ = run("prepare", photos, tmp_path / "new", "--dry-run", "--to", "folder", "--link", "symbolic")
    assert code == 0
    assert "\n  24 existing image files linked (symbolic)\n" in out
    code, out, _ = run("prepare", photos, tmp_path / "new", "--dry-run", "--to", "folder", "--link", "copy")
    assert "linked" not in out

    (tmp_path / "list").mkdir()
    for number in range(3):
        part(20, 20, number).save(tmp_path / f"list/{number}.jpg")
    (tmp_path / "list/train.lst").write_text("0\t0\t1\t0.jpg\n1\t1\t2\t1.jpg\n2\t2\t0\t2.jpg\n")
    code, out, _ = run("prepare", tmp_path / "list", tmp_path / "new", "--dry-run", "--to", "tfrecord")
    assert code == 0
    assert out.splitlines()[-1] == "  note: Images have several labels; tfrecord stores only the first, the class."


def test_json_is_the_plan_or_the_result(run: Run, photos: Path, tmp_path: Path) -> None:
    dest = tmp_path / "shards"
    code, out, _ = run("prepare", photos, dest, "--dry-run", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found.pop("free_bytes") > 0, found.pop("seconds") >= 0) == (True, True)
    assert 0 < found.pop("bytes") < 200_000
    assert found == {
        "source": str(photos),
        "dest": str(dest),
        "to": "webdataset",
        "images": 24,
        "classes": 3,
        "splits": {"train": 18, "val": 6},
        "files": 2,
        "linked": 0,
        "notes": [],
    }
    code, out, _ = run("prepare", photos, dest, "--json", "--shards", "2")
    files = list(dest.rglob("*.tar"))
    assert len(files) == 4
    expected = {
        "dest": str(dest),
        "images": {"train": 18, "val": 6},
        "bytes": sum(file.stat().st_size for file in files),
        "bad": [],
    }
    assert (code, json.loads(out)) == (0, expected)
    code, out, _ = run("prepare", photos, dest, "--json", "--shards", "2")
    assert (code, json.loads(out)) == (0, expected)


@pytest.mark.parametrize(
    ("options", "size", "mode"),
    [
        (["--max-side", "16"], (12, 16), "RGB"),
        (["--short-side", "16"], (16, 20), "RGB"),
        (["--short-side", "120", "--enlarge"], (120, 150), "RGB"),
        (["--square", "24"], (24, 24), "RGB"),
        (["--grey"], (72, 90), "L"),
    ],
)
def test_options_reach_the_images(
    run: Run, tmp_path: Path, options: list[str], size: tuple[int, int], mode: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"set/{name}").mkdir(parents=True)
        part(72, 90).save(tmp_path / f"set/{name}/1.png")
    assert run("prepare", tmp_path / "set", tmp_path / "new", "--to", "folder", *options)[0] == 0
    with Image.open(tmp_path / "new/train/a/1.jpg") as image:
        assert (image.format, image.size, image.mode) == ("JPEG", size, mode)


def test_quality_format_and_interpolation_reach_the_images(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"set/{name}").mkdir(parents=True)
        part(72, 90).save(tmp_path / f"set/{name}/1.png")

    def made(*options: str) -> bytes:
        dest = tmp_path / "".join(options)
        assert run("prepare", tmp_path / "set", dest, "--to", "folder", *options)[0] == 0
        return next((dest / "train/a").iterdir()).read_bytes()

    assert len(made("--quality", "20")) < len(made("--quality", "80"))
    assert made("--format", "webp").startswith(b"RIFF")
    assert made("--square", "16", "--format", "pixels").startswith(b"P6\n16 16\n255\n")
    assert made("--square", "16", "--interpolation", "bilinear") != made("--square", "16")


def test_without_shuffling_records_are_in_the_order_of_their_keys(run: Run, photos: Path, tmp_path: Path) -> None:
    orders = []
    for option in ("--no-shuffle", "--shuffle"):
        dest = tmp_path / option
        assert run("prepare", photos, dest, "--to", "recordio", option)[0] == 0
        orders.append([int(line.split("\t")[0]) for line in (dest / "train.lst").read_text().splitlines()])
    assert orders[0] == list(range(18))
    assert orders[1] != orders[0]
    assert sorted(orders[1]) == orders[0]


def test_several_sources_become_one_dataset(run: Run, photos: Path, tmp_path: Path) -> None:
    for name in ("roof", "sky"):
        (tmp_path / f"more/train/{name}").mkdir(parents=True)
        part(40, 30).save(tmp_path / f"more/train/{name}/new.jpg")
    code, out, _ = run("prepare", photos, tmp_path / "new", "--with", tmp_path / "more", "--to", "folder")
    assert code == 0
    assert "train 20, val 6 images" in out
    assert (tmp_path / "new/train/roof/new.jpg").exists()
    assert (tmp_path / "new/classes.txt").read_text() == "petal\nroof\nsky\nwater\n"


def test_small_classes_are_left_out_and_val_is_held_out(run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.rmtree(photos / "val")
    for number in (0, 2, 3, 4):
        next((photos / "train/water").glob(f"{number}.*")).unlink()
    options = ("--min-images", "3", "--val-per-class", "2", "--json")
    code, out, _ = run("prepare", photos, tmp_path / "new", "--to", "folder", *options)
    assert code == 0
    assert json.loads(out)["images"] == {"train": 8, "val": 4}
    assert (tmp_path / "new/classes.txt").read_text() == "petal\nroof\n"


def test_boxes_are_written_on_request(run: Run, tmp_path: Path) -> None:
    wnids = ("n01440764", "n01443537")
    for wnid in wnids:
        (tmp_path / f"set/train/{wnid}").mkdir(parents=True)
        part(40, 20).save(tmp_path / f"set/train/{wnid}/{wnid}_1.JPEG")
        (tmp_path / f"set/annotations/{wnid}").mkdir(parents=True)
        (tmp_path / f"set/annotations/{wnid}/{wnid}_1.xml").write_text(
            "<annotation><size><width>40</width><height>20</height></size>"
            f"<object><name>{wnid}</name><bndbox><xmin>10</xmin><ymin>5</ymin><xmax>40</xmax><ymax>20</ymax></bndbox>"
            "</object></annotation>"
        )
    for option in ((), ("--boxes",)):
        dest = tmp_path / f"new{len(option)}"
        assert run("prepare", tmp_path / "set", dest, *option)[0] == 0
        with tarfile.open(next(dest.glob("*.tar"))) as tar:
            described = [tar.extractfile(member) for member in tar if member.name.endswith(".json")]
            boxes = [json.load(file)["boxes"] for file in described if file]
        assert boxes == ([[[0.25, 0.25, 1, 1]]] * 2 if option else [])


def test_bad_images_are_listed_as_skipped_or_fixed(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "train/roof/1.jpg").write_bytes(CUT)
    (photos / "train/water/3.jpg").write_bytes(b"")
    cut, empty = (
        f"{photos}/train/roof/1.jpg: truncated JPEG: Premature end of JPEG file (train, roof/1.jpg)",
        f"{photos}/train/water/3.jpg: empty (0 bytes) (train, water/3.jpg)",
    )
    code, out, _ = run("prepare", photos, tmp_path / "skip", "--bad", "skip")
    assert code == 0
    assert sorted(out.splitlines()[3:5]) == [f"skipped: {cut}", f"skipped: {empty}"]
    assert told(out).splitlines()[-1] == (
        f"{tmp_path}/skip: train 16, val 6 images, SIZE; read back and verified, 2 bad images left out."
    )
    code, out, _ = run("prepare", photos, tmp_path / "fix", "--bad", "fix")
    assert code == 0
    assert sorted(out.splitlines()[3:5]) == [f"fixed: {cut}", f"skipped: {empty}"]
    assert told(out).splitlines()[-1] == (
        f"{tmp_path}/fix: train 17, val 6 images, SIZE; read back and verified, 1 bad image left out, "
        "1 bad image fixed."
    )
    code, out, _ = run("prepare", photos, tmp_path / "json", "--bad", "skip", "--json")
    bad = sorted(json.loads(out)["bad"], key=lambda one: str(one["key"]))
    assert [(one["split"], one["key"], one["done"]) for one in bad] == [
        ("train", "roof/1.jpg", "skipped"),
        ("train", "water/3.jpg", "skipped"),
    ]


def test_re_encoding_a_bad_image_is_an_error_with_its_file_and_the_remedy(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    (photos / "train/roof/1.jpg").write_bytes(CUT)
    code, _, error = run("prepare", photos, tmp_path / "new", "--max-side", "32")
    assert code == 1
    assert error.splitlines()[1:] == [
        f"tench prepare: {photos}/train/roof/1.jpg: truncated JPEG: Premature end of JPEG file.",
        "Leave it out with --bad skip, or decode it as far as possible with --bad fix. 'tench check SOURCE' names "
        "every "
        "bad image.",
    ]


@pytest.mark.parametrize("to", ["webdataset", "folder"])
def test_an_empty_file_is_an_error_before_anything_is_written(run: Run, photos: Path, tmp_path: Path, to: str) -> None:
    (photos / "train/roof/1.jpg").write_bytes(b"")
    (photos / "val/water/6.jpg").write_bytes(b"")
    code, out, error = run("prepare", photos, tmp_path / "new", "--to", to)
    assert (code, out) == (1, "")
    assert error.splitlines()[1:] == [
        f"tench prepare: {photos}/train/roof/1.jpg is empty (0 bytes), and so is 1 more. Leave empty images out "
        f"with --bad skip. 'tench check SOURCE' names every bad image."
    ]
    assert not (tmp_path / "new").exists()
    code, out, _ = run("prepare", photos, tmp_path / "new", "--to", to, "--bad", "skip")
    assert code == 0
    assert "train 17, val 5 images" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ["--short-side", "64", "--square", "32"],
            "--short-side and --square both set the size. Give only one of them.",
        ),
        (["--max-side", "4"], "--max-side must be 8 to 65,500 pixels, got 4."),
        (["--quality", "0"], "--quality must be 1 to 100, got 0."),
        (["--quality", "101"], "--quality must be 1 to 100, got 101."),
        (["--enlarge"], "--enlarge requires --short-side."),
        (["--shards", "0"], "--shards must be one or two numbers of at least 1, for train and for each other split."),
        (
            ["--shards", "1", "2", "3"],
            "--shards must be one or two numbers of at least 1, for train and for each other split.",
        ),
        (["--shard-size", "0"], "--shard-size must be more than 0."),
        (["--shard-size", "nan"], "--shard-size must be a finite number of megabytes, got nan."),
        (["--shard-size", "inf"], "--shard-size must be a finite number of megabytes, got inf."),
        (
            ["--splits", "train", "--val-fraction", "0.6", "--test-fraction", "0.4"],
            "--val-fraction 0.6 and --test-fraction 0.4 leave nothing for train. Together they must be less than 1.",
        ),
        (
            ["--splits", "train", "--val-fraction", "1.5"],
            "The fraction to hold out must be greater than 0 and less than 1, got 1.5. For a tenth of each class, use "
            "0.1.",
        ),
        (
            ["--to", "tfrecord", "--format", "webp"],
            "--format webp: TensorFlow does not decode it. Choose jpeg or png.",
        ),
        (
            ["--to", "tfrecord", "--format", "pixels"],
            "--format pixels: TensorFlow does not decode it. Choose jpeg or png.",
        ),
        (["-j", "-3"], "The number of threads must be at least 1, or 0 for one per core; got -3."),
        (
            ["--splits", "dev"],
            "--splits dev: not a split that can be written. SOURCE has train, val. Splits that can be written: train, "
            "val, test.",
        ),
        (
            ["--splits", "test"],
            "--splits test: not a split that can be written. SOURCE has train, val. Splits that can be written: "
            "train, val, test.",
        ),
        (["--val-fraction", "0.1"], "--val-fraction takes images from train, but there is a split val already."),
        (
            ["--splits", "val", "--test-fraction", "0.1"],
            "--test-fraction takes images from train, but there is no train.",
        ),
        (
            ["--to", "list", "--style", "kaggle"],
            "Kaggle's lists omit the suffix .JPEG, so every image must have it, but train/petal/0.jpg has another. "
            "Choose another --style.",
        ),
    ],
)
def test_an_invalid_option_is_a_usage_error(
    run: Run, photos: Path, tmp_path: Path, options: list[str], text: str
) -> None:
    assert usage_error(run, photos, tmp_path / "new", *options) == text.replace("SOURCE", str(photos))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("--to", "webdatasets", "webdataset"),
        ("--style", "mxnets", "mxnet"),
        ("--link", "soft", "symbolic"),
        ("--bad", "ignore", "skip"),
        ("--format", "gif", "webp"),
        ("--interpolation", "cubic", "bilinear"),
    ],
)
def test_an_unknown_choice_lists_the_known_ones(
    run: Run, photos: Path, tmp_path: Path, option: str, value: str, known: str
) -> None:
    code, out, error = run("prepare", photos, tmp_path / "new", option, value)
    assert (code, out) == (2, "")
    assert value in error
    assert known in error


def test_a_missing_source_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    assert usage_error(run, tmp_path / "flowers", tmp_path / "new").startswith(
        f"{tmp_path}/flowers: no such file or folder, and no source of that name."
    )


def test_a_destination_that_is_not_empty_is_a_usage_error(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert usage_error(run, photos, tmp_path / "file") == (
        f"{tmp_path}/file is a file, but the destination must be a folder. Choose another destination."
    )
    (tmp_path / "full").mkdir()
    for name in "dcba":
        (tmp_path / "full" / name).write_text("")
    assert usage_error(run, photos, tmp_path / "full") == (
        f"{tmp_path}/full already contains a, b, c, ... (4 in all), and nothing is overwritten. Choose a folder that "
        "is empty or does not exist."
    )
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == list("abcd")


@pytest.mark.parametrize("inside", ["new", "train/roof/new"])
def test_a_destination_inside_the_source_is_a_usage_error(run: Run, photos: Path, inside: str) -> None:
    before = sorted(photos.rglob("*"))
    assert usage_error(run, photos, photos / inside) == (
        f"{photos / inside} is inside the source {photos}, which is never changed. Choose a folder outside it."
    )
    assert sorted(photos.rglob("*")) == before


def test_other_options_for_a_complete_destination_are_a_usage_error(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("prepare", photos, tmp_path / "new")[0] == 0
    code, _, error = run("prepare", photos, tmp_path / "new", "--to", "tfrecord")
    assert code == 2
    assert error.splitlines()[-1].startswith(
        f"tench prepare: {tmp_path}/new was begun with a different source or different options: to was webdataset, "
        "now tfrecord"
    )


def test_an_unlabelled_test_split_alone_is_refused(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "test").mkdir()
    part(40, 30).save(photos / "test/1.jpg")
    for to in ("webdataset", "folder", "list", "tfrecord", "recordio"):
        assert usage_error(run, photos, tmp_path / "new", "--to", to, "--splits", "test") == (
            "None of the images has a label, so the result would have no classes. Write a labelled split too "
            "(--splits)."
        )
        assert not (tmp_path / "new").exists()


def test_an_incomplete_destination_is_refused_as_a_source(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "train/roof/1.jpg").write_bytes(CUT)
    dest = tmp_path / "new"
    assert run("prepare", photos, dest, "--max-side", "32")[0] == 1
    code, out, error = run("info", dest)
    assert (code, out) == (1, "")
    assert error == (
        f"tench info: {dest}: tench prepare has not finished it. Run the same tench prepare command again.\n"
    )
    assert run("prepare", photos, dest, "--max-side", "32", "--bad", "skip")[0] == 0
    code, out, error = run("info", dest)
    assert code == 0
    assert out.startswith(f"{dest}: webdataset, 3 classes\n")


@pytest.mark.parametrize("source", ["digits", "synthetic:images=12,classes=3"])
def test_sources_without_a_path_are_written_too(run: Run, tmp_path: Path, source: str) -> None:
    code, out, _ = run("prepare", source, tmp_path / "new", "--to", "folder", "--splits", "train", "--json")
    assert code == 0
    files = [path for path in (tmp_path / "new/train").rglob("*.*") if path.is_file()]
    assert len(files) == json.loads(out)["images"]["train"] > 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (119.4, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 h")]
)
def test_durations_are_printed_in_suitable_units(seconds: float, text: str) -> None:
    from tench.cli.prepare import _duration

    assert _duration(seconds) == text


def rotated(orientation: int) -> bytes:
    """A JPEG of 20 x 30 stored pixels with an EXIF orientation."""
    tags = Image.Exif()
    tags[274] = orientation
    return encoded(part(20, 30), exif=tags)


@pytest.mark.parametrize(("choice", "size"), [("auto", (30, 20)), ("apply", (30, 20)), ("ignore", (20, 30))])
def test_re_encoded_images_are_stored_upright_or_unchanged_and_never_tagged(
    run: Run, tmp_path: Path, choice: str, size: tuple[int, int]
) -> None:
    two_photographs(tmp_path / "photos", rotated(6))
    dest = tmp_path / "new"
    code, out, _ = run("prepare", tmp_path / "photos", dest, "--to", "folder", "--format", "png", "--exif", choice)
    assert code == 0
    done = "stored without it and not rotated" if choice == "ignore" else "turned upright"
    assert f"  note: 1 of a sample of 2 images has an EXIF orientation; images are {done}.\n" in out
    expected = decode(rotated(6), upright=choice != "ignore")
    with Image.open(dest / "train/cat/1.png") as made:
        assert (made.size, dict(made.getexif())) == (size, {})
        assert np.array_equal(np.asarray(made), expected)
    other = "apply" if choice == "ignore" else "ignore"
    code, _, error = run("prepare", tmp_path / "photos", dest, "--to", "folder", "--format", "png", "--exif", other)
    assert code == 2
    assert f"exif was {choice.replace('auto', 'apply')}, now {other}" in error


def two_photographs(folder: Path, data: bytes) -> None:
    """One image of class cat, and an upright one of class dog."""
    for name, content in (("cat/1.jpg", data), ("dog/1.jpg", rotated(1))):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)


def test_untouched_images_keep_their_orientation(run: Run, tmp_path: Path) -> None:
    two_photographs(tmp_path / "photos", rotated(6))
    assert run("prepare", tmp_path / "photos", tmp_path / "new", "--to", "folder")[0] == 0
    assert (tmp_path / "new/train/cat/1.jpg").read_bytes() == rotated(6)
    code, _, error = run("prepare", tmp_path / "photos", tmp_path / "other", "--exif", "apply")
    assert code == 2
    assert error.splitlines()[-1] == (
        "tench prepare: --exif only affects re-encoded images; all others keep their EXIF orientation, for readers to "
        "apply or ignore. Leave it out, or re-encode: --max-side 512."
    )


def test_the_readable_part_of_a_damaged_photograph_is_stored_upright(run: Run, tmp_path: Path) -> None:
    two_photographs(tmp_path / "photos", rotated(6)[:-10])
    assert run("prepare", tmp_path / "photos", tmp_path / "new", "--to", "folder", "--bad", "fix")[0] == 0
    with Image.open(tmp_path / "new/train/cat/1.jpg") as made:
        assert (made.size, dict(made.getexif())) == ((30, 20), {})
