"""The public names: each is documented and typed, has an example that runs, and is listed in docs/api.md."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tench

ROOT = Path(__file__).parents[1]
NAMES = sorted(tench.__all__)


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines itself, as functions."""
    for name, value in vars(kind).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not name.startswith("_") and isinstance(function, FunctionType):
            yield name, function


def documented(name: str) -> list[tuple[str, Any]]:
    """A public name, and the public members of a class."""
    found = getattr(tench, name)
    below = [(f"{name}.{member}", value) for member, value in members(found)] if inspect.isclass(found) else []
    return [(name, found), *below]


def test_dir_lists_the_public_names_and_no_other_imported_module() -> None:
    assert [name for name in dir(tench) if not name.startswith("__")] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_and_each_member_has_a_docstring(name: str) -> None:
    without = []
    for called, found in documented(name):
        text = vars(found).get("__doc__") if inspect.isclass(found) else found.__doc__
        if not text or text.startswith(f"{name}("):  # defined by every dataclass or NamedTuple
            without.append(called)
    assert without == []


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_and_result_has_a_type(name: str) -> None:
    untyped = []
    for called, found in documented(name):
        if inspect.isclass(found):
            continue
        signature = inspect.signature(found)
        untyped += [
            f"{called}: {one.name}"
            for one in signature.parameters.values()
            if one.annotation is one.empty and one.name not in ("self", "cls")
        ]
        if signature.return_annotation is signature.empty:
            untyped.append(f"{called}: its result")
    assert untyped == []


def examples(found: Any) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(found) or "")


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_has_an_example(name: str) -> None:
    assert examples(getattr(tench, name)), f"the docstring of tench.{name} has no example"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the examples run in: a run of one epoch on the digits, and a picture of a digit."""
    folder = tmp_path_factory.mktemp("examples")
    digits = tench.open_source("digits")
    tench.fit(digits, recipe=tench.load_recipe("digits").replace(epochs=1), run=folder / "runs/digits")
    pixels = np.frombuffer(digits.splits["val"].read(0), np.uint8).reshape(8, 8)
    Image.fromarray(pixels).save(folder / "digit.png")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_in_docstrings_run(
    name: str, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.symlink(workplace / "runs", tmp_path / "runs")
    os.symlink(workplace / "digit.png", tmp_path / "digit.png")
    monkeypatch.chdir(tmp_path)
    for called, found in documented(name):
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        cases = examples(found)
        globs: dict[str, Any] = {"tench": tench, "torch": torch, "np": np}
        shown: list[str] = []
        runner.run(doctest.DocTest(cases, globs, called, None, 0, None), out=shown.append)
        assert runner.failures == 0, "".join(shown)


def chain(node: ast.expr) -> str | None:
    """tench.fit -> "fit"; None for anything else"""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tench":
        return node.attr
    return None


@pytest.mark.parametrize("name", NAMES)
def test_all_examples_use_existing_names_and_parameters(name: str) -> None:
    for _, found in documented(name):
        for example in examples(found):
            for node in ast.walk(ast.parse(example.source)):
                if isinstance(node, ast.Attribute) and (used := chain(node)) is not None:
                    assert used in tench.__all__
                if isinstance(node, ast.Call) and (called := chain(node.func)) is not None:
                    if called.startswith("Stop"):
                        continue  # an exception, which has Python's signature
                    parameters = {one.arg: None for one in node.keywords if one.arg is not None}
                    inspect.signature(getattr(tench, called)).bind(*node.args, **parameters)


def test_the_page_lists_each_public_name_once() -> None:
    heads = re.findall(r"^### tench\.(\w+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    assert sorted(heads) == NAMES


def test_links_on_the_page_lead_to_existing_headings() -> None:
    text = (ROOT / "docs/api.md").read_text()
    anchors = {re.sub(r"[^\w-]", "", head.lower().replace(" ", "-")) for head in re.findall(r"^#+ (.*)", text, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(tench.__path__, "tench."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def test_no_two_public_classes_share_a_name() -> None:
    homes = {
        (value.__module__, name)
        for module in modules()
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__.startswith("tench") and not name.startswith("_")
    }
    own = {home for home in homes if home[1] == vars(sys.modules[home[0]])[home[1]].__name__}
    twice = {name for name, count in Counter(name for _, name in own).items() if count > 1}
    assert sorted(home for home in own if home[1] in twice) == []


def test_no_other_type_has_the_name_of_a_public_one() -> None:
    public = {name: getattr(tench, name) for name in NAMES if inspect.isclass(getattr(tench, name))}
    others = [
        f"{module.__name__}.{name}"
        for module in modules()
        for name, value in vars(module).items()
        if name in public and value is not public[name]
    ]
    assert others == []


def test_a_public_type_is_exported_under_its_own_name() -> None:
    kinds = {name: getattr(tench, name) for name in NAMES}
    assert [name for name, kind in kinds.items() if inspect.isclass(kind) and kind.__name__ != name] == []


def test_dir_and_type_checkers_see_the_public_names() -> None:
    assert set(NAMES) <= set(dir(tench))
    tree = ast.parse(Path(tench.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }
    assert sorted(imported) == NAMES
    for name, home in imported.items():
        module, _, attribute = home.rpartition(".")
        assert getattr(importlib.import_module(module), attribute) is getattr(tench, name)


def test_importing_tench_imports_no_other_module_of_the_package() -> None:
    code = "import sys, tench; print([name for name in sys.modules if name.startswith('tench.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
