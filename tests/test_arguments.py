"""The public functions refuse arguments of the wrong type in one sentence, before they read anything."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from tests.support.errors import error_of

import tench
from tench.arguments import checked_arguments, require_type
from tench.errors import UsageError


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, int),
        (np.int64(3), int),
        (3, float),
        (np.float32(0.5), float),
        (None, int | None),
        ("a", str | Path),
        (Path(), str | Path),
        ("", str),
        ("a", Literal["a", "b"]),
        (3, Literal[1, 3]),
        (["a", Path("b")], Sequence[str | Path]),
        ((1, 2), Sequence[int] | None),
        ([1, 2], tuple[int, ...] | None),
        (iter(["a"]), Iterable[str]),
        (print, Callable[..., Any]),
        ("x", os.PathLike[str] | str),
        (object(), Any),
    ],
)
def test_a_value_of_the_type_is_accepted(value: object, kind: Any) -> None:
    require_type(value, kind, "it")


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (True, int, "it must be a whole number, got True."),
        (2.5, int | None, "it must be a whole number or None, got 2.5."),
        ("2", float, "it must be a number, got '2'."),
        (1, bool, "it must be True or False, got 1."),
        (b"x", str | Path | None, "it must be a string, a path or None, got b'x'."),
        ("abc", Sequence[str], "it must be a list of strings, got 'abc'."),
        ([1], Sequence[str | Path], "it must be a list of paths, got [1]."),
        (2, Sequence[int] | None, "it must be a list or None, got 2."),
        ({"a": 1}, Iterable[str], "it must be a list of strings, got {'a': 1}."),
        (5, Callable[..., Any] | None, "it must be a function or None, got 5."),
        ("c", Literal["a", "b"] | None, "it must be 'a' or 'b' or None, got 'c'."),
        (True, Literal[1, 3], "it must be 1 or 3, got True."),
        (5, tench.Classes, "it must be a tench.Classes, got 5."),
        ("", str | Path, "it is an empty string. Pass a string or a path."),
        ("", str | os.PathLike[str], "it is an empty string. Pass a string or a path."),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(value: object, kind: Any, message: str) -> None:
    assert error_of(require_type)(value, kind, "it") == message


def test_a_decorated_function_checks_each_parameter_but_those_it_checks_itself() -> None:
    @checked_arguments("own")
    def function(number: int, own: int = 0, *, name: str = "a", **rest: int) -> tuple[Any, ...]:
        return number, own, name, rest

    assert function(1, own="x", name="b", more="y") == (1, "x", "b", {"more": "y"})  # type: ignore[arg-type]
    assert error_of(function)("1") == "number must be a whole number, got '1'."  # type: ignore[arg-type]
    assert error_of(function)(1, name=None) == "name must be a string, got None."  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda wrong: tench.open_source(wrong),
        lambda wrong: tench.open_source([wrong]),
        lambda wrong: tench.info(wrong),
        lambda wrong: tench.check(wrong),
        lambda wrong: tench.prepare(wrong, "out"),
        lambda wrong: tench.prepare("digits", wrong),
        lambda wrong: tench.prepare("digits", "out", splits=wrong),
        lambda wrong: tench.prepare("digits", "out", threads=wrong),
        lambda wrong: tench.PrepareOptions(shards=wrong),
        lambda wrong: tench.PrepareOptions(shuffle=wrong),
        lambda wrong: tench.Encoding(quality=wrong),
        lambda wrong: tench.Encoding(format=wrong),
        lambda wrong: tench.TrainOptions(log_every=wrong),
        lambda wrong: tench.TrainOptions(device=wrong),
        lambda wrong: tench.evaluate("run", bad=wrong),
        lambda wrong: tench.download(wrong, "out"),
        lambda wrong: tench.download("mnist", "out", mirrors=wrong),
        lambda wrong: tench.load_recipe(wrong),
        lambda wrong: tench.list_models(wrong),
        lambda wrong: tench.model_info(wrong),
        lambda wrong: tench.create_model(wrong),
        lambda wrong: tench.create_model("resnet20", num_classes=wrong),
        lambda wrong: tench.create_model("resnet20", image_size=wrong),
        lambda wrong: tench.create_model("resnet20", pretrained=wrong),
        lambda wrong: tench.preview(wrong, tench.Recipe()),
        lambda wrong: tench.loader(wrong),
        lambda wrong: tench.loader("digits", wrong),
        lambda wrong: tench.loader("digits", batch_size=wrong),
        lambda wrong: tench.loader("digits", threads=wrong),
        lambda wrong: tench.loader("digits", rank=wrong, world_size=2),
        lambda wrong: tench.fit(wrong),
        lambda wrong: tench.fit("digits", wrong),
        lambda wrong: tench.fit("digits", val=wrong),
        lambda wrong: tench.fit("digits", run=wrong),
        lambda wrong: tench.fit("digits", options=wrong),
        lambda wrong: tench.fit("digits", callbacks=wrong),
        lambda wrong: tench.load(wrong),
        lambda wrong: tench.evaluate(wrong),
        lambda wrong: tench.predict(wrong, "x.jpg"),
        lambda wrong: tench.open_source("digits").as_torch(wrong),
        lambda wrong: tench.open_source("digits").as_torch("train", wrong),
    ],
)
def test_every_public_function_refuses_a_wrong_type_and_names_the_argument(
    call: Callable[[Any], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^\w+ must be .*, got \[?1\.5\]?\.$"):
        call(1.5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: tench.open_source(""),
        lambda: tench.prepare("digits", ""),
        lambda: tench.load(""),
        lambda: tench.create_model("resnet20", pretrained=""),
        lambda: tench.fit("digits", run=""),
    ],
)
def test_an_empty_path_does_not_mean_the_current_directory(call: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=r"^\w+ is an empty string\. Pass "):
        call()
