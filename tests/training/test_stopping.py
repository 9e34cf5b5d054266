"""Stopping by signal. test_fit.py tests what a run does then."""

import os
import signal
from collections.abc import Iterator

import pytest

from tench.training.stopping import stop_signals


@pytest.fixture
def _sigint_ignored() -> Iterator[None]:
    """Ignore SIGINT, as in a background job of a shell."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_sigint_ignored")
def test_a_background_job_ignores_sigint_and_stops_on_sigterm() -> None:
    with stop_signals() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert not asked()
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
