import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tench.data.source import open_source
from tench.errors import TenchError
from tench.input import loader as module
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.partner import CAN_FORK, Partner
from tench.input.views import EvalView

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="the system does not fork safely")
SHAPE = (4, 2, 2, 1)
NO_DRAWS = np.zeros((3, 0))


def write_row(row: int, draws: npt.NDArray[np.float64], out: npt.NDArray[np.uint8]) -> None:
    out[:] = row + 10 * draws.sum()


def test_a_partner_fills_images_with_the_rows_and_numbers_it_is_given() -> None:
    partner = Partner(write_row, SHAPE)
    out = np.zeros((3, 2, 2, 1), np.uint8)
    partner.fill([5, 6, 7], np.array([[0.0], [1.0], [2.0]]), out)
    assert out[:, 0, 0, 0].tolist() == [5, 16, 27]
    partner.fill([1], np.zeros((1, 0)), out[:1])
    assert out[:, 1, 1, 0].tolist() == [1, 16, 27]
    partner.close()
    assert multiprocessing.active_children() == []


def test_what_goes_wrong_in_a_partner_is_raised_here_and_it_goes_on() -> None:
    def refuse(row: int, draws: npt.NDArray[np.float64], out: npt.NDArray[np.uint8]) -> None:
        if row == 2:
            raise TenchError("row 2 is bad")
        out[:] = row

    partner = Partner(refuse, SHAPE)
    out = np.zeros((3, 2, 2, 1), np.uint8)
    with pytest.raises(TenchError, match="row 2 is bad"):
        partner.fill([1, 2, 3], NO_DRAWS, out)
    partner.fill([3, 4, 5], NO_DRAWS, out)
    assert out[:, 0, 0, 0].tolist() == [3, 4, 5]
    partner.close()


def test_a_partner_that_is_killed_is_an_error_with_its_rows() -> None:
    def die(row: int, draws: npt.NDArray[np.float64], out: npt.NDArray[np.uint8]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    partner = Partner(die, SHAPE)
    with pytest.raises(TenchError, match=r"ended \(exit code -9\) at one of the rows \[1, 2, 3\]"):
        partner.fill([1, 2, 3], NO_DRAWS, np.zeros((3, 2, 2, 1), np.uint8))
    partner.close()


def test_many_threads_have_processes_and_closing_ends_them(photo_folder: Path) -> None:
    table = open_source(photo_folder).splits["train"]
    order = Order(num_rows=len(table), batch_size=6)
    for threads in (module.THREADS_ALONE, module.THREADS_ALONE + 1):
        with Loader(table, EvalView(size=8, resize=8), order, channels=3, threads=threads) as loader:
            assert len(next(loader.batches(0)).rows) == 6
            assert len(multiprocessing.active_children()) == (0 if threads == module.THREADS_ALONE else threads)
        assert multiprocessing.active_children() == []


def test_partners_end_when_the_process_they_belong_to_is_killed(photo_folder: Path) -> None:
    code = f"""
import multiprocessing, sys, time
from tench.data.source import open_source
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.views import EvalView
table = open_source({str(photo_folder)!r}).splits["train"]
order = Order(num_rows=len(table), batch_size=6)
loader = Loader(table, EvalView(size=8, resize=8), order, channels=3, threads=3, processes=True)
next(loader.batches(0))
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = process.stdout.readline().split()
        assert len(pids) == 3
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(is_running(pid) for pid in pids)


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
