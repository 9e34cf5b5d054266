import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from tench.compat import import_torchvision
from tench.data.table import Classes
from tench.errors import UsageError
from tench.evaluation.predict import predict
from tench.weights.own import Classifier, ModelCard
from tench.weights.prediction import Guess, Prediction

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def classifier_of(image_size: int, eval_resize: int, num_classes: int = 7, channels: int = 3) -> Classifier:
    names = [f"name {index}" for index in range(num_classes)]
    card = ModelCard(
        arch="mlp",
        classes=Classes.of([f"id{index}" for index in range(num_classes)], names),
        channels=channels,
        image_size=image_size,
        eval_resize=eval_resize,
        interpolation="bilinear",
        mean=MEAN[:channels],
        std=STD[:channels],
    )
    torch.manual_seed(1)
    return Classifier(card.create_module().eval(), card, "here")


@pytest.fixture
def photos(photo_folder: Path) -> list[str]:
    """RGB photographs of several sizes and shapes, JPEG and PNG."""
    return [str(photo_folder / "train" / name) for name in ("water/0.jpg", "water/2.png", "petal/3.jpg", "petal/5.jpg")]


def torchvisions(classifier: Classifier) -> Callable[[str], npt.NDArray[np.float32]]:
    """A function that computes probabilities with torchvision's transforms of Pillow's image."""
    import_torchvision()
    transforms: Any = importlib.import_module("torchvision.transforms")
    card = classifier.card
    mode = "RGB" if card.channels == 3 else "L"
    prepare = transforms.Compose(
        [
            transforms.Resize(card.eval_resize),
            transforms.CenterCrop(card.image_size),
            transforms.ToTensor(),
            transforms.Normalize(card.mean, card.std),
        ]
    )

    def of(path: str) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            logits = classifier.module(prepare(Image.open(path).convert(mode))[None])
        probabilities: npt.NDArray[np.float32] = logits.softmax(dim=1)[0].numpy()
        return probabilities

    return of


@pytest.mark.parametrize(("image_size", "eval_resize"), [(24, 24), (28, 32), (16, 40), (64, 73)])
def test_probabilities_match_torchvisions_preprocessing(photos: list[str], image_size: int, eval_resize: int) -> None:
    classifier = classifier_of(image_size, eval_resize)
    expected = torchvisions(classifier)
    found = list(predict(classifier, photos, top=7, threads=2))
    assert [prediction.image for prediction in found] == photos
    for prediction in found:
        by_id = {guess.id: guess.probability for guess in prediction.predictions}
        probabilities = expected(prediction.image)
        assert by_id == pytest.approx({f"id{index}": value for index, value in enumerate(probabilities)}, abs=2e-3)
        assert prediction.error is None


def test_a_network_for_grey_images_gets_grey_images(photos: list[str]) -> None:
    classifier = classifier_of(24, 24, channels=1)
    found = next(iter(predict(classifier, photos, top=1)))
    assert found.predictions[0].probability == pytest.approx(torchvisions(classifier)(photos[0]).max(), abs=2e-3)


def test_the_likeliest_classes_come_first(photos: list[str]) -> None:
    classifier = classifier_of(24, 24)
    best = np.argsort(-torchvisions(classifier)(photos[0]))[:3]
    found = next(iter(predict(classifier, photos, top=3)))
    assert [guess.id for guess in found.predictions] == [f"id{index}" for index in best]
    assert [guess.name for guess in found.predictions] == [f"name {index}" for index in best]
    assert len(found.predictions) == 3


def test_if_there_are_fewer_classes_than_requested_all_are_listed(photos: list[str]) -> None:
    found = next(iter(predict(classifier_of(24, 24, num_classes=2), photos, top=5)))
    assert len(found.predictions) == 2
    assert sum(guess.probability for guess in found.predictions) == pytest.approx(1)


def test_an_unreadable_file_yields_an_error_and_the_others_are_classified(photos: list[str], tmp_path: Path) -> None:
    text, cut = tmp_path / "text.jpg", tmp_path / "cut.jpg"
    text.write_text("this is no image")
    cut.write_bytes(Path(photos[0]).read_bytes()[:100])
    paths = [photos[0], str(text), str(cut), photos[1], photos[2]]
    found = list(predict(classifier_of(24, 24), paths))
    assert [prediction.image for prediction in found] == paths
    assert [prediction.error is None for prediction in found] == [True, False, False, True, True]
    assert [len(prediction.predictions) for prediction in found] == [5, 0, 0, 5, 5]
    assert found[1].to_json() == {"image": str(text), "predictions": [], "error": found[1].error}
    alone = list(predict(classifier_of(24, 24), [photos[0], photos[1], photos[2]]))
    for mixed, expected in zip([found[0], found[3], found[4]], alone, strict=True):
        assert [guess.id for guess in mixed.predictions] == [guess.id for guess in expected.predictions]
        assert mixed.predictions[0].probability == pytest.approx(expected.predictions[0].probability)


def test_a_pipe_and_a_file_that_is_too_large_for_an_image_are_not_read(photos: list[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(40 * 10**9)
    files = [str(tmp_path / "pipe.jpg"), str(tmp_path / "huge.jpg"), photos[0]]
    pipe, huge, photo = predict(classifier_of(32, 36), files)
    assert pipe.error == "expected a file, found a named pipe. Pass a file or a folder."
    assert str(huge.error).startswith("the file has 40,000,000,000 bytes, but an image may have at most 1,073,741,824.")
    assert not photo.error


def test_unreadable_files_alone_do_not_crash(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    assert [prediction.error for prediction in predict(classifier_of(24, 24), tmp_path)] == ["empty (0 bytes)"]


def test_a_missing_image_is_refused_before_anything_is_classified(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.jpg: no such file or folder"):
        predict(classifier_of(24, 24), str(tmp_path / "gone.jpg"))


def test_a_number_of_classes_below_one_is_refused_at_once(photos: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^top must be at least 1, got 0\.$"):
        predict(classifier_of(24, 24), photos, top=0)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 130])
def test_each_of_many_files_gets_its_own_prediction(photos: list[str], count: int) -> None:
    classifier = classifier_of(24, 24)
    paths = [photos[index % 3] for index in range(count)]
    expected = {path: torchvisions(classifier)(path).max() for path in photos}
    found = list(predict(classifier, paths, top=1, threads=2))
    assert [prediction.image for prediction in found] == paths
    assert [prediction.predictions[0].probability for prediction in found] == pytest.approx(
        [expected[path] for path in paths], abs=2e-3
    )


def test_a_prediction_as_json_has_the_promised_keys() -> None:
    found = Prediction("cat.jpg", (Guess("n01", "cat", 0.75),))
    assert found.to_json() == {
        "image": "cat.jpg",
        "predictions": [{"id": "n01", "name": "cat", "probability": 0.75}],
    }


def test_pipes_devices_and_huge_files_are_named_and_the_others_classified(photos: list[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(40 * 10**9)
    paths = [str(tmp_path / "pipe.jpg"), "/dev/zero", "/dev/null", str(tmp_path / "huge.jpg"), photos[0]]
    found = list(predict(classifier_of(24, 24), paths))
    assert [one.error for one in found] == [
        "expected a file, found a named pipe. Pass a file or a folder.",
        *["expected a file, found a device. Pass a file or a folder."] * 2,
        "the file has 40,000,000,000 bytes, but an image may have at most 1,073,741,824. The file is damaged or "
        "is something else. Replace it, or move it out of the dataset.",
        None,
    ]


def test_an_image_whose_logits_are_not_finite_is_an_error_and_the_others_are_classified(
    photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = classifier_of(24, 24)

    def answer(self: Classifier, views: Any) -> npt.NDArray[np.float32]:
        found = np.full((len(views), 7), 1 / 7, np.float32)
        found[1] = np.nan
        return found

    monkeypatch.setattr(Classifier, "of_views", answer)
    found = list(predict(classifier, photos[:3]))
    assert [one.error for one in found] == [
        None,
        "the network's logits are not finite (NaN or infinity): its weights or its input range are wrong",
        None,
    ]
    assert found[1].predictions == ()


def test_images_of_all_kinds_are_classified_alike(photos: list[str]) -> None:
    classifier = classifier_of(24, 24)
    photo = photos[0]
    with Image.open(photo) as opened:
        opened.load()
    kinds: list[Any] = [photo, Path(photo), Path(photo).read_bytes(), opened, np.asarray(opened)]
    expected = classifier.probabilities(photo)[0].max()
    found = list(predict(classifier, kinds, top=1))
    assert [one.image for one in found] == [photo, photo, "images[2]", "images[3]", "images[4]"]
    assert [one.best.probability for one in found] == pytest.approx([expected] * 5, abs=1e-6)
    for kind in kinds:
        assert next(predict(classifier, kind)).best.probability == pytest.approx(expected, abs=1e-6)


def test_predict_gives_the_same_predictions_as_the_classifier(photos: list[str]) -> None:
    classifier = classifier_of(24, 24)
    assert list(predict(classifier, photos, top=3)) == list(classifier.predict(photos, top=3))
