"""Training inside other programs: notebooks, threads, child processes, programs with or without their own logging.

As a script, this file trains in the named way: -m tests.training.test_hosts WAY RUN.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

import tench
from tench.training.options import TrainOptions
from tench.training.recipe import Recipe
from tench.training.stopping import stop_signals

SOURCE = "synthetic:images=48,size=16,classes=3,val=24,format=pixels"
SMALL = Recipe().replace(arch="lenet", epochs=2, batch_size=8, lr=0.02, precision="fp32", compile="off")
LIMIT_SECONDS = 120
ROOT = Path(__file__).parents[2]


def train(run: str) -> None:
    tench.fit(SOURCE, SMALL, run=run, options=TrainOptions(device="cpu"))


def run_python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with a time limit, after which the test fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )


@pytest.mark.parametrize("way", ["thread", "spawn", "fork"])
def test_training_works_in_a_thread_and_in_a_child_process_after_training_in_the_parent(
    tmp_path: Path, way: str
) -> None:
    """Because of torch's threads in the parent, a forked child hangs as soon as it uses more than one thread."""
    done = run_python("-m", "tests.training.test_hosts", way, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for run in ("parent", "child"):
        assert [record["epoch"] for record in tench.fit(run=tmp_path / run).metrics("epoch")] == [1, 2]


CALL = f"""
import sys, tench
run = tench.fit({SOURCE!r}, tench.Recipe().replace(arch="mlp", epochs=1, batch_size=8), run="run")
"""


def test_a_script_prints_what_the_command_prints(tmp_path: Path) -> None:
    done = run_python("-c", CALL, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "Run: run" in lines
    assert sum(line.startswith("epoch 1/1") for line in lines) == 1
    assert done.stdout == ""


def test_a_program_with_its_own_logging_keeps_it(tmp_path: Path) -> None:
    code = "import logging, sys; logging.basicConfig(level='INFO', stream=sys.stdout, format='mine: %(message)s')\n"
    done = run_python("-c", code + CALL, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert sum("epoch 1/1" in line for line in lines) == 1
    assert all(line.startswith("mine: ") for line in lines)


def test_no_log_handler_is_left_behind(tmp_path: Path) -> None:
    code = CALL + "import logging; print(logging.getLogger('tench').handlers, logging.getLogger('tench').level)"
    assert run_python("-c", code, folder=tmp_path).stdout == "[] 0\n"


def test_signal_handlers_are_restored_even_those_not_set_from_python(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with stop_signals() as asked:
        assert signal.getsignal(signal.SIGINT) not in before.values()
        signal.raise_signal(signal.SIGINT)
        assert asked()
    assert {number: signal.getsignal(number) for number in before} == before
    real, installed = signal.signal, []

    def from_c(number: int, handler: object) -> None:
        installed.append(handler)

    monkeypatch.setattr(signal, "signal", from_c)  # returns None, as it does for a handler installed by C code
    with stop_signals():
        pass
    assert installed[2:] == [signal.SIG_DFL] * 2
    assert signal.signal is not real


NOTEBOOK = f"""
import os, signal, threading, tench
from tench import progress
progress._QUIET_SECONDS = progress._UPDATE_SECONDS = 0.0
options = tench.TrainOptions(device="cpu", threads=1)
recipe = tench.Recipe().replace(arch="mlp", epochs=2, batch_size=8)
run = tench.fit({SOURCE!r}, recipe, run="run", options=options)
"""
INTERRUPTED = f"""
def interrupt(end):
    if end.epoch == 2:
        os.kill(os.getpid(), signal.SIGINT)  # what a kernel gets if the user interrupts it

tench.fit({SOURCE!r}, recipe.replace(epochs=500), run="long", options=options, callbacks=[interrupt])
"""
ALIVE = """
print("alive", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_a_notebook_shows_progress_and_survives_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    cells = [nbformat.v4.new_code_cell(code) for code in (NOTEBOOK, INTERRUPTED, ALIVE)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(
        notebook,
        timeout=LIMIT_SECONDS,
        kernel_name="python3",
        allow_errors=True,
        resources=resources,
    )
    client.execute()
    first, interrupted, alive = (cell.outputs for cell in notebook.cells)
    printed = "".join(output.get("text", "") for output in first)
    shown = [output.data["text/plain"] for output in first if output.output_type == "display_data"]
    assert "Run: run\n" in printed
    assert "epoch 1/2  loss" in printed
    assert {output.get("name") for output in first if output.output_type == "stream"} == {"stdout"}
    assert shown
    assert set(shown) == {""}  # progress lines are cleared when they are done
    error = interrupted[-1]
    assert error.ename == "StoppedError"
    assert error.evalue.startswith("Stopped after step 13; a checkpoint is saved. Continue with: tench.fit(run='")
    assert torch.load(tmp_path / "long/last.ckpt", weights_only=True)["step"] == 13
    assert [output.text for output in alive] == ["alive True\n"]


def main(way: str) -> None:
    torch.set_num_threads(2)
    train("parent")
    child: threading.Thread | multiprocessing.process.BaseProcess
    if way == "thread":
        child = threading.Thread(target=train, args=("child",), daemon=True)
    else:
        start: multiprocessing.context.BaseContext = multiprocessing.get_context(way)
        child = start.Process(target=train, args=("child",), daemon=True)  # type: ignore[attr-defined]
    child.start()
    child.join(LIMIT_SECONDS / 2)
    sys.exit("the child hangs" if child.is_alive() else 0)


if __name__ == "__main__":
    main(sys.argv[1])
