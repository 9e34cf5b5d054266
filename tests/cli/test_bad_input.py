"""Bad input gives one clear error, the right exit code, no traceback and no partial output."""

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tench.cli.main import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs a command and returns its exit code and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        return main([str(argument) for argument in arguments]), capsys.readouterr().err

    return run


def photo(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((16, 16), Image.Resampling.BICUBIC)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Two classes of 16 x 16 pictures, with six in train and two in val each."""
    folder = tmp_path / "pictures"
    for split, count in (("train", 6), ("val", 2)):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                photo(number + 10 * (label == "dog")).save(folder / split / label / f"{number}.jpg")
    return folder


def train(run: Run, source: Path, directory: Path, *more: str) -> tuple[int, str]:
    return run("train", source, "--run", directory, "--arch", "mlp", "--epochs", "1", "-b", "4", *more)


def test_a_missing_path_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    code, error = train(run, tmp_path / "flowers", tmp_path / "run")
    assert code == 2
    assert error.startswith(f"tench train: {tmp_path / 'flowers'}: no such file or folder")
    assert "Traceback" not in error


def test_an_empty_folder_says_what_is_expected(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, error = train(run, tmp_path / "empty", tmp_path / "run")
    assert code == 1
    assert f"{tmp_path / 'empty'} contains no readable images. It is empty." in error


def test_a_folder_with_one_class_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one" / "cat").mkdir(parents=True)
    photo(0).save(tmp_path / "one" / "cat" / "0.jpg")
    code, error = train(run, tmp_path / "one", tmp_path / "run")
    assert code == 1
    assert f"{tmp_path / 'one'}: 1 image is in the folder cat. A classifier needs at least two classes" in error


def test_the_error_about_a_file_that_is_not_an_image_names_the_file_and_its_row(
    run: Run, classes: Path, tmp_path: Path
) -> None:
    bad = classes / "train" / "dog" / "3.jpg"
    bad.write_text("this is no picture")
    code, error = train(run, classes, tmp_path / "run")
    assert code == 1
    assert str(bad) in error
    assert "not an image: starts with" in error
    assert "row 9, stage decode" in error
    assert "tench check" in error
    assert not list((tmp_path / "run").glob("*.safetensors"))
    assert not list((tmp_path / "run").glob(".*.part"))


def test_the_error_about_a_truncated_jpeg_names_the_file(run: Run, classes: Path, tmp_path: Path) -> None:
    bad = classes / "val" / "cat" / "1.jpg"
    bad.write_bytes(bad.read_bytes()[:-40])
    code, error = train(run, classes, tmp_path / "run")
    assert code == 1
    assert str(bad) in error
    assert "truncated JPEG" in error


def test_evaluate_handles_bad_images_as_requested_or_as_in_training(
    run: Run, classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (classes / "val" / "cat" / "1.jpg").write_text("this is no picture")
    assert train(run, classes, tmp_path / "run", "--bad", "skip")[0] == 0
    evaluate = ["evaluate", str(tmp_path / "run")]
    for told in ([], ["--bad", "skip"]):
        assert main([*evaluate, *told]) == 0
        assert "(val): 3 images, each counted once" in capsys.readouterr().out
    code, error = run(*evaluate, "--bad", "fail")
    assert code == 1
    assert str(classes / "val" / "cat" / "1.jpg") in error


def test_check_lists_every_bad_image_and_exits_with_1(classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(classes)]) == 0
    (classes / "train" / "dog" / "3.jpg").write_text("this is no picture")
    (classes / "train" / "cat" / "0.jpg").write_bytes(b"")
    capsys.readouterr()
    assert main(["check", str(classes)]) == 1  # the source is read again, although its folder's time is unchanged
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"bad: {classes / 'train/cat/0.jpg'}: empty (0 bytes) (train, cat/0.jpg)"
    assert shown[1].startswith(
        f"bad: {classes / 'train/dog/3.jpg'}: not an image: starts with bytes b'this is no pictu'"
    )
    assert shown[-2].startswith(f"{classes}: 16 images, 2 bad. ")
    assert shown[-1] == (
        "Training stops at a bad image; --bad skip leaves such images out, --bad fix repairs them if possible."
    )
    assert main(["check", str(classes), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == 16
    assert [(bad["split"], bad["key"]) for bad in report["bad"]] == [("train", "cat/0.jpg"), ("train", "dog/3.jpg")]


def idx(images: int, labels: int, folder: Path) -> None:
    folder.mkdir()
    for name in ("train", "t10k"):
        pixels = np.zeros((images, 28, 28), np.uint8)
        head = np.array([2051, images, 28, 28], ">i4").tobytes()
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + pixels.tobytes()))
        head = np.array([2049, labels], ">i4").tobytes()
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(head + (np.arange(labels) % 10).astype(np.uint8).tobytes())


def test_the_error_about_a_truncated_idx_file_gives_both_sizes(run: Run, tmp_path: Path) -> None:
    idx(20, 20, tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))
    code, error = train(run, tmp_path / "mnist", tmp_path / "run")
    assert code == 1
    assert (
        f"{path}: its header promises 20 images of 28x28 pixels = 15,680 bytes, but the file has 15,580. "
        "Copy or download it again."
    ) in error


def test_a_different_number_of_labels_and_images_is_refused(run: Run, tmp_path: Path) -> None:
    idx(20, 19, tmp_path / "mnist")
    code, error = train(run, tmp_path / "mnist", tmp_path / "run")
    assert code == 1
    folder = tmp_path / "mnist"
    assert (
        f"{folder}/train-images-idx3-ubyte.gz contains 20 images, but {folder}/train-labels-idx1-ubyte contains 19 "
        "labels. They do not belong together. Copy or download both again."
    ) in error


def cifar(folder: Path) -> None:
    folder.mkdir()
    for name in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
        records = np.zeros((10, 3073), np.uint8)
        records[:, 0] = np.arange(10)
        (folder / name).write_bytes(records.tobytes())


def test_the_error_about_a_truncated_cifar_file_names_the_file(run: Run, tmp_path: Path) -> None:
    cifar(tmp_path / "cifar")
    path = tmp_path / "cifar" / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-7])
    code, error = train(run, tmp_path / "cifar", tmp_path / "run")
    assert code == 1
    assert f"{path} has 30,723 bytes, which is 10.00 records of 3,073 bytes, not a whole number" in error


class Malice:
    """A pickle that would run a command when loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.marker}",)


def test_a_pickle_that_would_run_code_is_refused_without_running_it(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps({"data": Malice(tmp_path / "executed")}, protocol=2))
    code, error = train(run, folder, tmp_path / "run")
    assert code == 1
    assert "system" in error
    assert not (tmp_path / "executed").exists()


def test_the_error_about_an_unknown_network_suggests_the_nearest_name(run: Run, classes: Path, tmp_path: Path) -> None:
    code, error = run("train", classes, "--run", tmp_path / "run", "--arch", "resnet500")
    assert code == 2
    assert "No network is called 'resnet500'. Did you mean 'resnet50'" in error


def test_the_error_about_an_unknown_recipe_key_suggests_the_nearest_key(
    run: Run, classes: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("optimizer: {momentun: 0.8}\n")
    code, error = train(run, classes, tmp_path / "run", "--recipe", str(tmp_path / "mine.yaml"))
    assert code == 2
    assert f"{tmp_path / 'mine.yaml'}: unknown key 'momentun' in optimizer. Did you mean 'momentum'?" in error


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--lr", "-1", "optimizer.lr must be above 0, got -1.0."),
        ("--lr", "fast", "tench train: --lr must be a number, got 'fast'.\n"),
        ("--epochs", "0", "training.epochs must be above 0 and at most 1,000,000, got 0."),
        ("--batch-size", "0", "training.batch_size must be at least 1 and at most 1,000,000,000,000, got 0."),
        ("--warmup", "5", "schedule.warmup must be a duration such as"),
        (
            "--schedule",
            "zigzag",
            "tench train: --schedule must be one of constant, step, cosine, polynomial, exponential, got 'zigzag'.\n",
        ),
        ("--device", "gpu9", "--device gpu9: no such device"),
        ("--image-size", "0", "input.image_size must be at least 1 and at most 16,384, or auto, got 0."),
        ("--threads", "-1", "The number of threads must be at least 1, or 0 for one per core; got -1."),
        ("--print-freq", "0", "tench train: log_every must be at least 1, got 0."),
        ("--save-every", "nan", "save_every_seconds must be >= 0 (0 saves after every step), got nan."),
    ],
)
def test_an_invalid_value_is_an_error_that_says_what_is_valid(
    run: Run, classes: Path, tmp_path: Path, option: str, value: str, expected: str
) -> None:
    code, error = run("train", classes, "--run", tmp_path / "run", option, value)
    assert code == 2
    assert expected in error
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_only_an_option_keeps_a_size_from_following_the_image_size(run: Run, tmp_path: Path) -> None:
    """A folder that is named like an option does not."""
    words = ("train", tmp_path / "eval_resize", "--recipe", "pytorch-examples", "--image-size", "64", "--run")
    note = "Note: image_size is 64 instead of 224: eval_resize 256 becomes 73."
    assert note in run(*words, "eval_resize")[1]
    assert note not in run(*words, tmp_path / "run", "--eval_resize", "64")[1]


def test_an_image_size_that_a_network_does_not_support_is_an_error_with_the_sizes_it_supports(
    run: Run, classes: Path, tmp_path: Path
) -> None:
    code, error = run("train", classes, "--run", tmp_path / "run", "--arch", "lenet", "--image-size", "8")
    assert code == 2
    assert error.endswith(
        "tench train: lenet does not accept images of 8 x 8 px with 3 channels: LeNet's two 5x5 convolutions and two "
        "poolings need at least 16 px\nIt is made for 28 x 28 px with 1 channel. Choose another image size or "
        "another network; tench models PATTERN lists them.\n"
    )
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_weights_of_another_architecture_are_refused(run: Run, classes: Path, tmp_path: Path) -> None:
    assert train(run, classes, tmp_path / "run")[0] == 0
    card = tmp_path / "run" / "model.json"
    card.write_text(card.read_text().replace('"mlp"', '"resnet20"'))
    code, error = run("evaluate", tmp_path / "run")
    assert code == 1
    assert f"{tmp_path / 'run' / 'best.safetensors'}: the weights do not fit resnet20 for these classes" in error


def test_a_run_is_not_continued_with_another_recipe(run: Run, classes: Path, tmp_path: Path) -> None:
    assert train(run, classes, tmp_path / "run")[0] == 0
    code, error = train(run, classes, tmp_path / "run", "--lr", "0.3")
    assert code == 2
    assert "was started with a different recipe or dataset: optimizer.lr was 0.1, now 0.3." in error


def test_predict_reports_a_bad_image_classifies_the_others_and_exits_with_1(
    run: Run, classes: Path, tmp_path: Path
) -> None:
    assert train(run, classes, tmp_path / "run")[0] == 0
    (tmp_path / "bad.jpg").write_bytes(b"GIF89a nothing more")
    good = classes / "val" / "cat" / "0.jpg"
    code, error = run("predict", tmp_path / "run", tmp_path / "bad.jpg", good)
    assert code == 1
    assert f"tench predict: {tmp_path / 'bad.jpg'}: " in error
    assert str(good) not in error


def test_traceback_prints_where_in_the_code_an_error_occurred(run: Run) -> None:
    code, error = run("info", "nowhere", "--traceback")
    assert code == 2
    assert error.startswith("Traceback (most recent call last)")
    assert "/nowhere: no such file or folder" in error


def test_the_error_about_an_unknown_command_suggests_the_nearest(run: Run) -> None:
    code, error = run("trian")
    assert code == 2
    assert "unknown command 'trian'. Did you mean 'train'" in error


def test_an_image_that_was_modified_in_place_is_noticed(run: Run, classes: Path, tmp_path: Path) -> None:
    assert run("info", classes)[0] == 0
    grown = classes / "train" / "cat" / "2.jpg"
    with grown.open("ab") as file:
        file.write(bytes(100))
    code, error = train(run, classes, tmp_path / "run")
    assert code == 1
    assert f"{grown}: row 2 (cat/2.jpg) covers bytes 0-" in error
    assert "but the file is longer. It has changed since its table was built, or was truncated while copying." in error


def test_a_preview_that_is_not_png_or_has_no_folder_is_a_usage_error(run: Run, classes: Path, tmp_path: Path) -> None:
    picture = tmp_path / "views.jpg"
    assert run("info", classes, "--preview", picture)[0] == 2
    assert run("info", classes, "--preview", picture)[1].endswith(
        f"tench info: {picture}: the preview is written as PNG. Name a file that ends in .png.\n"
    )
    folder = tmp_path / "folder.png"
    folder.mkdir()
    below_a_file = classes / "train" / "cat" / "0.jpg" / "views.png"
    for place, reason in (
        (folder, " is a folder, so the preview cannot be written to it. Name a file."),
        (
            below_a_file,
            f": the preview cannot be written there: {below_a_file.parent} is not writable (Not a directory).",
        ),
    ):
        code, error = run("info", classes, "--preview", place)
        assert code == 2
        assert f"tench info: {place}{reason}" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "pictures"]


def test_a_recipe_without_a_preview_is_a_usage_error(run: Run) -> None:
    code, error = run("info", "digits", "--recipe", "digits")
    assert code == 2
    assert error == ("tench info: --recipe only applies to --preview. Add --preview FILE.png, or leave --recipe out.\n")


def test_an_unknown_augmentation_policy_is_an_error_that_lists_the_forms_and_starts_no_run(
    run: Run, classes: Path, tmp_path: Path
) -> None:
    code, error = train(run, classes, tmp_path / "run", "--policy", "randaugment")
    assert code == 2
    assert "augment.policy is randaugment: unknown augmentation policy. Known: none, randaugment-N-M, " in error
    assert not (tmp_path / "run").exists()


def test_an_error_of_several_lines_keeps_its_lines_and_escapes_a_newline_in_a_name(run: Run, tmp_path: Path) -> None:
    for domain in ("art", "new\nline"):
        for label in ("cat", "dog"):
            (tmp_path / "set" / domain / label).mkdir(parents=True)
            photo(len(domain)).save(tmp_path / "set" / domain / label / "0.png")
    code, error = run("info", tmp_path / "set")
    assert code == 1
    assert error.splitlines() == [
        f"Reading {tmp_path / 'set'} ...",
        f"tench info: {tmp_path / 'set'}: the folders art (2 images), new\\nline (2 images) contain only folders, "
        "which have the same names in each. Choose which folders are the classes:",
        "  cat, dog, each merged from all of art, new\\nline: --classes-at 2",
        "  art, new\\nline: --classes-at 1",
        f"  cat, dog of art only: pass {tmp_path / 'set'}/art",
        "  art/cat and so on, each path a class: --classes-at 'CLASS/CLASS'",
    ]


def test_the_error_about_classes_in_file_names_gives_the_option_on_its_own_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for number in range(4):
        photo(number).save(tmp_path / "set" / f"{('cat', 'dog')[number % 2]}.{number}.png")
    code, error = run("info", tmp_path / "set")
    assert code == 1
    assert error.splitlines()[2:] == [
        "If the file names contain the class (found: cat (2), dog (2)): --label-from '^(.+)[._ -]\\d+\\.\\w+$'",
        "Found:",
        "  ./  4 images: cat.0.png",
        "To classify them with a trained model: tench predict RUN FOLDER.",
    ]
