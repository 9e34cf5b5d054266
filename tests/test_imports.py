"""Imports go in one direction, and commands that must answer quickly import little."""

import ast
import importlib.metadata
import itertools
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.processes import run_python

import tench

PACKAGE = Path(tench.__file__).parent
LAYERS = ("data", "input", "models", "weights", "run", "evaluation", "training", "exporting", "bench", "cli")
"""Each layer may import only from itself and from those before it."""
DATA_LAYERS = (
    ("options", "handled", "keys", "limits"),
    ("table",),
    ("files",),
    ("hold_out", "splits", "subset"),
    ("images",),
    ("formats",),
    ("labels",),
    ("evidence",),
    ("layouts",),
    ("cache", "source"),
    ("download",),
    ("check",),
    ("policy", "info", "exif"),
    ("prepare",),
    ("image", "picture", "tfrecord"),  # former locations, kept for existing scripts
)
"""The same for the packages inside `data`."""
HELPERS = (
    "arguments",
    "errors",
    "files",
    "flags",
    "machine",
    "own_code",
    "parallel",
    "plain",
    "printable",
    "progress",
    "compat",
)
"""Top-level modules that every module may import, and that import only each other."""
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imported(path: Path) -> Iterator[str]:
    """The modules of tench that a file imports, also inside functions, except those for type checkers only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "tench")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports must use the full module name"
            if node.module and node.module.split(".")[0] == "tench":
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield whole if whole in NAMES else node.module


def layer_of(module: str) -> str:
    """The folder or module just below tench; "" is tench itself."""
    return module.partition(".")[2].partition(".")[0]


def allowed(layer: str) -> set[str]:
    if layer in LAYERS:
        return {"", *HELPERS, *LAYERS[: LAYERS.index(layer) + 1], *(["doctor"] if layer == "cli" else [])}
    return {
        "": set(),  # it imports modules when a name is used
        "__main__": {"cli"},
        "doctor": {"", *HELPERS, *LAYERS[: LAYERS.index("cli")]},
    }.get(layer, {"", *HELPERS})


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_its_own_layer_and_those_below(path: Path) -> None:
    layer = layer_of(name_of(path))
    assert {*(found for found in imported(path) if layer_of(found) not in allowed(layer))} == set()


def data_layer_of(module: str) -> int:
    """The position in DATA_LAYERS of a module below tench.data."""
    name = module.split(".")[2]
    return next(position for position, names in enumerate(DATA_LAYERS) if name in names)


@pytest.mark.parametrize("path", [path for path in MODULES if path.is_relative_to(PACKAGE / "data")], ids=name_of)
def test_a_module_of_data_imports_only_from_its_own_layer_and_those_below(path: Path) -> None:
    name = name_of(path)
    if name == "tench.data":
        return
    found = {other for other in imported(path) if other.startswith("tench.data.")}
    assert {other for other in found if data_layer_of(other) > data_layer_of(name)} == set()


def test_every_module_is_in_the_list_of_layers() -> None:
    assert {layer_of(name) for name in NAMES} - {"", "__main__", "doctor", *HELPERS} <= set(LAYERS)


def test_imports_are_found_anywhere_in_a_module(tmp_path: Path) -> None:
    source = """
import os, tench.data.table
from typing import TYPE_CHECKING
from tench.data import hold_out
from tench.errors import TenchError
if TYPE_CHECKING:
    from tench.cli import main
def function():
    from tench.input import loader
    if TYPE_CHECKING:
        import tench.cli
    else:
        import tench.models
"""
    (tmp_path / "module.py").write_text(source)
    assert set(imported(tmp_path / "module.py")) == {
        "tench.data.table",
        "tench.data.hold_out",
        "tench.errors",
        "tench.input.loader",
        "tench.models",
    }


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh Python has loaded after some code."""
    code += "\nimport json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_only_as_torch_imports_from_a_higher_layer_when_it_is_called() -> None:
    """`Dataset.as_torch` is the only exception to the layers: a method in `data` that returns a PyTorch dataset."""
    late = {
        name_of(path): found
        for path in MODULES
        if path.is_relative_to(PACKAGE / "data")
        and (found := re.findall(r'import_module\("(tench[\w.]*)"', path.read_text(encoding="utf-8")))
    }
    assert late == {"tench.data.table": ["tench.input.torch_dataset"]}


def test_every_imported_library_is_a_dependency() -> None:
    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    declared = {re.split(r"[><=\[; ]", requirement)[0].lower().replace("_", "-") for requirement in requirements}
    homes = importlib.metadata.packages_distributions()
    unknown = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in {name.split(".")[0] for name in names} - {"tench"} - sys.stdlib_module_names:
                found = {home.lower().replace("_", "-") for home in homes.get(name, [name])}
                if not found & declared:
                    unknown.add(name)
    assert unknown == {"scipy", "IPython"}  # scikit-learn requires scipy; notebooks provide IPython


def test_data_never_imports_torch() -> None:
    names = sorted(name for name in NAMES if name.startswith("tench.data"))
    assert len(names) > 10
    loaded = loaded_after("import " + ", ".join(names))
    assert "numpy" in loaded
    assert "torch" not in loaded


def test_import_tench_imports_nothing_else() -> None:
    assert loaded_after("import tench") & {"torch", "numpy", "pyarrow", "PIL", "cv2", "rich", "sklearn"} == set()


@pytest.mark.parametrize("arguments", [["--help"], [], ["--version"], ["trian"]])
def test_help_answers_without_torch_numpy_or_yaml(arguments: list[str]) -> None:
    loaded = loaded_after(f"from tench.cli.main import main; main({arguments})")
    assert loaded & {"torch", "numpy", "pyarrow", "yaml", "rich", "PIL", "cv2", "sklearn"} == set()


def test_reading_a_recipe_and_showing_a_commands_help_do_not_import_torch() -> None:
    loaded = loaded_after("import tench.cli.train, tench.cli.bench_input; tench.cli.train.load_recipe('ffcv-16')")
    assert "yaml" in loaded
    assert "torch" not in loaded


def test_the_package_exports_the_names_it_documents() -> None:
    for name in tench.__all__:
        assert getattr(tench, name) is not None
    with pytest.raises(AttributeError, match="module 'tench' has no attribute 'nothing'"):
        tench.nothing  # noqa: B018
