import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.support.processes import child, is_running, wait_until

from tench.data.source import open_source
from tench.errors import TenchError
from tench.input import loader as module
from tench.input import partner as module_of_partner
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.partner import CAN_FORK, Partner, end
from tench.input.views import EvalView

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="the system does not fork safely")
SHAPE = (4, 2, 2, 1)
NO_DRAWS = np.zeros((3, 0))


def write_row(row: int, draws: npt.NDArray[np.float64], out: npt.NDArray[np.uint8]) -> None:
    out[:] = row + 10 * draws.sum()


def test_a_partner_fills_images_using_the_rows_and_numbers_it_is_given() -> None:
    partner = Partner(write_row, SHAPE)
    out = np.zeros((3, 2, 2, 1), np.uint8)
    partner.fill([5, 6, 7], np.array([[0.0], [1.0], [2.0]]), out)
    assert out[:, 0, 0, 0].tolist() == [5, 16, 27]
    partner.fill([1], np.zeros((1, 0)), out[:1])
    assert out[:, 1, 1, 0].tolist() == [1, 16, 27]
    end([partner])
    assert not is_running(partner._pid)


def test_an_error_in_a_partner_is_raised_here_and_the_partner_continues() -> None:
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
    end([partner])


def test_a_partner_that_is_killed_is_an_error_with_its_rows() -> None:
    def die(row: int, draws: npt.NDArray[np.float64], out: npt.NDArray[np.uint8]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    partner = Partner(die, SHAPE)
    with pytest.raises(TenchError, match=r"ended \(exit code -9\) at row 1\."):
        partner.fill([1, 2, 3], NO_DRAWS, np.zeros((3, 2, 2, 1), np.uint8))
    end([partner])


def test_the_current_row_is_reported_while_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(row: int, draws: npt.NDArray[np.float64], out: npt.NDArray[np.uint8]) -> None:
        time.sleep(0.3 if row == 8 else 0)

    monkeypatch.setattr(module_of_partner, "_POLL_SECONDS", 0.02)
    partner, told = Partner(slow, SHAPE), list[int]()
    partner.fill([7, 8, 9], NO_DRAWS, np.zeros((3, 2, 2, 1), np.uint8), told.append)
    assert 8 in told
    assert told == sorted(told)  # on a loaded machine, 7 may be reported as slow too
    end([partner])


def test_an_unexpected_error_comes_with_its_traceback() -> None:
    class LocalError(Exception):
        """An error of a class that cannot be pickled."""

    def fault(row: int, draws: npt.NDArray[np.float64], out: npt.NDArray[np.uint8]) -> None:
        raise IndexError("no such draw") if row == 1 else LocalError("not to be pickled")

    partner = Partner(fault, SHAPE)
    with pytest.raises(IndexError, match="no such draw") as error:
        partner.fill([1, 2, 3], NO_DRAWS, np.zeros((3, 2, 2, 1), np.uint8))
    assert "in fault" in error.value.__notes__[0]
    with pytest.raises(RuntimeError, match=r"(?s)in fault.*not to be pickled"):
        partner.fill([2, 3, 4], NO_DRAWS, np.zeros((3, 2, 2, 1), np.uint8))
    end([partner])


def test_many_threads_get_processes_and_closing_ends_them(photo_folder: Path) -> None:
    table = open_source(photo_folder).splits["train"]
    order = Order(num_rows=len(table), batch_size=6)
    for threads in (module.THREADS_ALONE, module.THREADS_ALONE + 1):
        with Loader(table, EvalView(size=8, resize=8), order, channels=3, threads=threads) as loader:
            assert len(next(loader.batches(0)).rows) == 6
            pids = [partner._pid for partner in loader._partners]
            assert len(pids) == (0 if threads == module.THREADS_ALONE else threads)
            assert all(map(is_running, pids))
        wait_until(lambda: not any(map(is_running, pids)), "the end of the partners")  # noqa: B023


def test_a_compressed_archive_is_only_read_by_threads(photo_folder: Path) -> None:
    table = open_source(photo_folder).splits["train"]
    table.indexes["an index"] = "an archive"
    order = Order(num_rows=len(table), batch_size=6)
    with Loader(table, EvalView(size=8, resize=8), order, channels=3, threads=module.THREADS_ALONE + 1) as loader:
        assert loader._partners == []


def test_partners_end_when_the_process_they_belong_to_is_killed(photo_folder: Path) -> None:
    code = f"""
import time
from tench.data.source import open_source
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.views import EvalView
table = open_source({str(photo_folder)!r}).splits["train"]
order = Order(num_rows=len(table), batch_size=6)
loader = Loader(table, EvalView(size=8, resize=8), order, channels=3, threads=3, processes=True)
next(loader.batches(0))
print(*[partner._pid for partner in loader._partners], flush=True)
time.sleep(3600)
"""
    with child([sys.executable, "-c", code]) as process:
        process.wait_for_output("\n")
        pids = process.stdout.split()
        assert len(pids) == 3
        process.send_signal(signal.SIGKILL)  # kills only this process; its partners must notice
        assert process.wait() == -signal.SIGKILL
        wait_until(lambda: not any(is_running(int(pid)) for pid in pids), "the end of the partners")
