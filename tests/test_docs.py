"""The commands and code in README and docs/ work as shown."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from tests.data.photos import encoded, part
from tests.support import processes

from tench.cli.commands import COMMANDS
from tench.cli.main import main
from tench.training.recipe_file import load_recipe, packaged_recipes

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def environment(cache: Path) -> dict[str, str]:
    """This environment, with our commands first on the path and a separate cache."""
    scripts = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "TENCH_CACHE": str(cache)}


def commands(block: str) -> list[str]:
    """The commands of a console block, without prompts and comments."""
    return [line[2:].split("   #")[0].strip() for line in block.splitlines() if line.startswith("$ ")]


def run(command: list[str], folder: Path, cache: Path) -> str:
    done = processes.run(command, cwd=folder, env=environment(cache), deadline_seconds=1500)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("page", "count"),
    [
        ("getting-started.md", 9),
        ("prepare.md", 3),
        ("augmentation.md", 3),
        ("bench.md", 5),
        ("training.md", 8),
        ("optimizers.md", 1),
        ("python.md", 6),
        ("weights.md", 2),
    ],
)
def test_every_block_of_the_page_runs(page: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in BLOCK.findall((ROOT / "docs" / page).read_text()) if block[0] != "text"]
    assert len(blocks) >= count
    names = {"__name__": "__main__"}  # shared by all blocks of a page, as in a reader's session
    for language, block in blocks:
        if language == "console":
            for command in commands(block):
                tench, *arguments = shlex.split(command)
                assert tench == "tench"
                assert main(arguments) == 0, command
        else:
            assert language == "python"
            exec(compile(block, page, "exec"), names)


def test_the_first_block_of_the_readme_shows_two_make_targets() -> None:
    _, block = BLOCK.findall((ROOT / "README.md").read_text())[0]
    assert commands(block) == ["make demo", "make test"]


def test_make_demo_trains_evaluates_and_predicts(tmp_path: Path) -> None:
    venv = Path(sys.prefix)
    if not (venv / ".installed").exists():
        pytest.skip("this environment was not made by `make install`, so `make demo` would make another one")
    shown = run(["make", "-f", str(ROOT / "Makefile"), f"VENV={venv}", "demo"], tmp_path, tmp_path / "cache")
    top1 = re.search(r"top-1 (\d+\.\d+)%", shown)
    assert top1 is not None
    assert float(top1[1]) >= 98.5
    assert "359 images, each counted once" in shown
    assert shown.count("digit-") == 10


def test_ci_runs_the_readmes_test_command() -> None:
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\nmake test")


def test_every_command_of_the_readme_exists() -> None:
    used = set(re.findall(r"^\$ tench (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert used <= set(COMMANDS)
    assert {"train", "evaluate", "predict"} <= used


@pytest.mark.parametrize("page", ["api.md", "commands.md", "recipes.md", "data.md"])
def test_the_generated_pages_are_current(page: str, tmp_path: Path) -> None:
    run([sys.executable, str(ROOT / "docs" / "generate.py"), str(tmp_path)], ROOT, tmp_path)
    assert (tmp_path / page).read_text() == (ROOT / "docs" / page).read_text(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_a_target(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", BLOCK.sub("", page.read_text())):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which does not exist"


def test_the_page_on_training_names_every_recipe_with_its_network() -> None:
    rows = re.findall(r"^\| `.*", (ROOT / "docs" / "training.md").read_text(), re.MULTILINE)
    for name in packaged_recipes():
        row = next((row for row in rows if f"`{name}`" in row.split("|")[1]), None)
        assert row is not None, f"{name} is not in the table of docs/training.md"
        arch = load_recipe(name).model.arch
        assert f"`{arch}`" in row or arch in ("auto", name)


def test_the_loader_tables_match_the_measurements() -> None:
    spec = importlib.util.spec_from_file_location("table", ROOT / "benchmarks/input/table.py")
    assert spec is not None
    assert spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    tables = table.all_tables(table.HERE)
    assert {"originals", "summary", "memory"} <= set(tables)
    for page in table.PAGES:
        text = page.read_text(encoding="utf-8")
        assert "<!-- input: " in text
        assert table.filled(text, tables) == text


@pytest.fixture(scope="module")
def contributed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the changes shown in CONTRIBUTING.md."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("needs git to apply the changes")
    copy = tmp_path_factory.mktemp("contributed")
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", copy / "docs")
    diffs = [block for language, block in BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text()) if language == "diff"]
    assert len(diffs) == 4
    for number, diff in enumerate(diffs):
        (copy / f"{number}.diff").write_text(diff)
        applied = processes.run([git, "apply", f"{number}.diff"], cwd=copy)
        assert applied.returncode == 0, applied.stderr
    return copy


def tench_of(copy: Path, *arguments: str | Path, code: int = 0) -> str:
    """The output of a command that is run by the package in a copy."""
    command = [sys.executable, "-m", "tench", *map(str, arguments)]
    done = processes.run(command, cwd=copy, env={"PYTHONPATH": str(copy / "src")})
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_the_layout_that_contributing_shows_reads_its_files(contributed: Path, tmp_path: Path) -> None:
    images = {split: [encoded(part(24 + number, 20, number)) for number in range(4)] for split in ("train", "val")}
    for split, pictures in images.items():
        lines = [b"%s %d\n" % ((b"cat", b"great owl")[n % 2], len(data)) for n, data in enumerate(pictures)]
        (tmp_path / f"{split}.album").write_bytes(b"".join(a + b for a, b in zip(lines, pictures, strict=True)))
    facts = json.loads(tench_of(contributed, "info", tmp_path, "--json").splitlines()[0])
    assert (facts["layout"], facts["classes"]) == ("album", 2)
    assert {split: count["images"] for split, count in facts["splits"].items()} == {"train": 4, "val": 4}
    assert "0 bad" in tench_of(contributed, "check", tmp_path)
    tench_of(contributed, "prepare", tmp_path, contributed / "folder", "--to", "folder")
    written = sorted((contributed / "folder/train").rglob("*.*"))
    assert sorted(path.read_bytes() for path in written) == sorted(images["train"])
    assert {path.parent.name for path in written} == {"cat", "great owl"}
    (tmp_path / "train.album").write_bytes(b"cat 99\n")
    assert f"{tmp_path}/train.album: no image begins at byte 0. Copy the file again." in tench_of(
        contributed, "info", tmp_path, code=1
    )


def test_training_works_with_the_network_augmentation_and_recipe_that_contributing_shows(contributed: Path) -> None:
    assert "583,978" in tench_of(contributed, "models", "allcnn")
    options = ["--recipe", "mnist-allcnn", "--image-size", "8", "--epochs", "0.1", "--grey", "0.5", "--run", "run"]
    assert "allcnn" in tench_of(contributed, "train", "digits", *options)
    assert "grey: 0.5" in (contributed / "run/recipe.yaml").read_text()
    assert "grey must be at least 0 and at most 1" in tench_of(contributed, "train", "--grey", "2", code=2)
