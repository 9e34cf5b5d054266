"""The helpers in tests/support that keep other tests from hanging."""

import re
import sys

import pytest
from tests.support.processes import child, is_running, run, run_python, wait_until

HANGS = """
import os, subprocess, sys, time
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
print(os.getpid(), other.pid, flush=True)
time.sleep(3600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_hanging_process_is_killed_with_its_children_and_its_output_is_shown() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"was killed after 5 s; the test waited for its end\.") as failure:
        run([sys.executable, "-c", HANGS], deadline_seconds=5)
    found = re.search(r"stdout: (\d+) (\d+)", str(failure.value))
    assert found is not None
    wait_until(lambda: not any(is_running(int(pid)) for pid in found.groups()), "the end of both")


def test_a_process_that_ends_too_early_fails_the_test_at_once() -> None:
    with (
        pytest.raises(pytest.fail.Exception, match=r"ended with 3; the test waited for 'ready'\.\nstdout: not yet\n"),
        child([sys.executable, "-c", "import sys; print('not yet'); sys.exit(3)"]) as process,
    ):
        process.wait_for_output("ready")


def test_output_and_exit_code_of_a_command_are_returned() -> None:
    done = run_python("import sys; print(sys.argv[1]); print('odd', file=sys.stderr); sys.exit(5)", 7)
    assert (done.returncode, done.stdout, done.stderr) == (5, "7\n", "odd\n")
