import io
import sys
import types

import pytest
from tests.clock import Clock

from tench.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_as_stderr(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replace stderr. Call this in the test, not in a fixture, because pytest replaces stderr between the two."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return stream


def test_a_quick_task_prints_nothing_without_a_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("check", 10, "images") as advance:
        for _ in range(10):
            clock.seconds += 2
            advance(1, "")
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_line_every_half_minute_shows_count_rate_and_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("check", 1000, "images") as advance:
        for _ in range(8):
            clock.seconds += 10
            advance(100, "2 bad")
    assert capsys.readouterr() == (
        "",
        "check: 300/1000, 10 images/s, 70 s left 2 bad\ncheck: 600/1000, 10 images/s, 40 s left 2 bad\n",
    )


def test_a_line_without_a_note_has_no_trailing_separator(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("check", 100, "images") as advance:
        clock.seconds += 50
        advance(50, "")
    assert capsys.readouterr().err == "check: 50/100, 1 images/s, 50 s left\n"


def test_no_rate_is_shown_before_anything_is_done(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("check", 100, "images") as advance:
        clock.seconds += 50
        advance(0, "waiting")
    assert capsys.readouterr() == ("", "")


def test_a_quick_task_draws_no_bar(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_as_stderr(monkeypatch)
    with progress("check", 10, "images") as advance:
        for _ in range(10):
            clock.seconds += 0.1
            advance(1, "")
    assert "check" not in terminal.getvalue()


def test_a_terminal_gets_a_bar_with_rate_and_note(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_as_stderr(monkeypatch)
    with progress("check", 100, "images") as advance:
        clock.seconds += 5
        advance(50, "2 bad")
    shown = terminal.getvalue()
    assert "check" in shown
    assert "50/100" in shown
    assert "10 images/s" in shown
    assert "2 bad" in shown


def test_printing_while_a_bar_is_shown_still_goes_to_the_same_stream(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = terminal_as_stderr(monkeypatch)
    with progress("check", 100, "images") as advance:
        print("| a row | of a table |")
        advance(50, "")
    assert capsys.readouterr().out == "| a row | of a table |\n"
    assert "a row" not in terminal.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_an_error_inside_the_block_is_raised(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_terminal:
        terminal_as_stderr(monkeypatch)

    def fail() -> None:
        with progress("check", 10, "images") as advance:
            advance(1, "")
            raise ValueError("bad image")

    with pytest.raises(ValueError, match="bad image"):
        fail()


def test_work_done_earlier_does_not_count_towards_the_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("epoch", 1000, "images", done=500) as advance:
        clock.seconds += 50
        advance(100, "")
    assert capsys.readouterr().err == "epoch: 600/1000, 2 images/s, 200 s left\n"


def test_a_bar_starts_at_the_work_done_earlier(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_as_stderr(monkeypatch)
    with progress("epoch", 1000, "images", done=500) as advance:
        clock.seconds += 50
        advance(100, "")
    assert "600/1000" in terminal.getvalue()
    assert "2 images/s" in terminal.getvalue()


def test_a_long_note_is_shown_in_full_on_a_narrow_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_as_stderr(monkeypatch)
    monkeypatch.setenv("COLUMNS", "60")
    note = "step 237  lr 6.85e-05  data 1 %  run 1:23:45 left  loss 2.118  top-1 20.2 % (to step 230)"
    with progress("epoch 3/90", 100, "images") as advance:
        clock.seconds += 5
        advance(50, note)
    assert all(word in terminal.getvalue() for word in note.split())


class Shown:
    """Records what is passed to a notebook's display() and its updates."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> "Shown":
        assert raw
        assert display_id
        self.texts.append(data["text/plain"])
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.texts.append(data["text/plain"])


def test_in_a_notebook_one_line_is_updated_in_place_and_emptied_at_the_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Shown()
    monkeypatch.setattr("IPython.display.display", shown.display)
    monkeypatch.setattr("IPython.get_ipython", lambda: types.SimpleNamespace(kernel=None))
    with progress("epoch 1/2", 100, "images") as advance:
        for _ in range(4):
            clock.seconds += 1
            advance(25, "loss \x1b 0.5")
    assert shown.texts == [
        "epoch 1/2: 50/100, 25 images/s, 2 s left ████████████░░░░░░░░░░░░ loss \\x1b 0.5",
        "epoch 1/2: 75/100, 25 images/s, 1 s left ██████████████████░░░░░░ loss \\x1b 0.5",
        "epoch 1/2: 100/100, 25 images/s, 0 s left ████████████████████████ loss \\x1b 0.5",
        "",
    ]
    assert capsys.readouterr() == ("", "")
