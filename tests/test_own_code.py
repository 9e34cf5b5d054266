"""Names of the user's own code, and what importing it may do."""

import functools
import sys
from pathlib import Path

import pytest
import torch
from tests.own import CODE, OwnModule

from tench.errors import TenchError, UsageError
from tench.own_code import code_name, described, errors_name, import_code, names_code, trusted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nets:small", True),
        ("my.package.nets:Net", True),
        ("nets:Net.create", True),
        ("object:<lambda>", True),
        ("resnet18", False),
        ("rand-m9-n2-mstd0.5-inc1", False),
        ("mxnet:resnet-50", False),
        ("C:/weights", False),
        ("nets:", False),
        (":small", False),
        ("", False),
    ],
)
def test_code_is_named_by_module_and_function(text: str, expected: bool) -> None:
    assert names_code(text) == expected


def test_a_function_that_can_be_imported_is_named_by_its_module_and_name(own_module: OwnModule) -> None:
    small = import_code(f"{own_module.name}:small")
    assert code_name(small) == f"{own_module.name}:small"
    assert code_name(torch.nn.Linear) == "torch.nn.modules.linear:Linear"


def local(num_classes: int) -> torch.nn.Module:
    return torch.nn.Linear(1, num_classes)


def test_code_that_cannot_be_imported_is_named_as_an_object() -> None:
    def inner() -> None: ...

    assert code_name(lambda: None) == "object:<lambda>"
    assert code_name(inner) == "object:inner"
    assert code_name(functools.partial(local, 3)) == "object:partial"
    assert code_name(torch.nn.Linear(1, 1)) == "object:Linear"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "{module}_missing:small",
            "{module}_missing:small: there is no module {module}_missing. It must be installed or importable from "
            "{here}: run the command in the folder that contains {module}_missing or {module}_missing.py, or add that "
            "folder to PYTHONPATH.",
        ),
        ("{module}:smal", "{module}:smal: {file} has no 'smal'. Did you mean 'small'?"),
        ("{module}:NUMBER", "{module}:NUMBER is int, not a function."),
    ],
)
def test_an_unknown_module_or_function_is_refused_with_a_remedy(own_module: OwnModule, name: str, message: str) -> None:
    known = {"module": own_module.name, "file": own_module.path, "here": Path.cwd()}
    with pytest.raises(UsageError) as refused:
        import_code(name.format(**known))
    assert str(refused.value) == message.format(**known)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import torch\n\nx = undefined_name\n", "NameError: name 'undefined_name' is not defined ({file}, line 3)"),
        ("import nothing_like_this\n", "ModuleNotFoundError: No module named 'nothing_like_this' ({file}, line 1)"),
        ("def f(:\n", "SyntaxError: invalid syntax ({file}, line 1)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 ({file}, line 2)"),
    ],
)
def test_a_module_that_fails_is_refused_with_its_error_and_line(own_module: OwnModule, text: str, reason: str) -> None:
    own_module.path.write_text(text)
    with pytest.raises(TenchError) as refused:
        import_code(f"{own_module.name}:small")
    assert str(refused.value) == (
        f"{own_module.name}:small: importing {own_module.name} failed: {reason.format(file=own_module.path)}."
    )


def test_untrusted_code_is_not_imported(own_module: OwnModule) -> None:
    with pytest.raises(UsageError) as refused:
        trusted(f"{own_module.name}:small", "r.yaml: model.arch", "Do this.", trust_code=False)
    assert str(refused.value) == (
        f"r.yaml: model.arch is {own_module.name}:small. That is Python code, which runs when it is imported, so it "
        "is only imported if you ask for it. Do this."
    )
    assert own_module.name not in sys.modules
    assert trusted(f"{own_module.name}:small", "r.yaml: model.arch", "", trust_code=True).__name__ == "small"


def test_an_object_is_refused_even_if_trusted() -> None:
    with pytest.raises(UsageError) as refused:
        trusted("object:Net", "R/model.json: arch", "Pass it again.", trust_code=True)
    assert str(refused.value) == (
        "R/model.json: arch is object:Net: it was passed from Python and cannot be imported. Pass it again."
    )


def test_an_error_names_the_users_line_and_not_that_of_a_library(own_module: OwnModule) -> None:
    focal = import_code(f"{own_module.name}:focal")
    line = next(number for number, text in enumerate(CODE.splitlines(), start=1) if "cross_entropy(" in text)
    with pytest.raises(TenchError) as failed, errors_name("mine", "called"):
        focal(torch.zeros(2, 3), torch.zeros(5, dtype=torch.int64))
    assert str(failed.value).startswith("mine failed when called: ValueError: Expected input batch_size (2)")
    assert str(failed.value).endswith(f"({own_module.path}, line {line}).")


def test_running_out_of_memory_is_not_an_error_in_the_code() -> None:
    with pytest.raises(torch.OutOfMemoryError), errors_name("mine", "called"):
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_an_error_without_a_text_is_described_by_its_type() -> None:
    assert described(ValueError()) == "ValueError"
