import pytest
import torch
from tests.clock import Clock

from tench.input.loader import Batch
from tench.training.live import Live, _clock
from tench.training.recipe import Recipe


def batch(images: int) -> Batch:
    return Batch(torch.zeros(images, 3, 2, 2, dtype=torch.uint8), torch.zeros(images), torch.arange(images))


def test_a_plain_line_has_rate_progress_and_remaining_time(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Live(Recipe().replace(epochs=3), 100).epoch(1, 0, batch_size=16) as line:
        for _ in range(10):
            clock.seconds += 3.1
            line.step(16, 0.05125, waited_seconds=0.31)
    epoch, note = capsys.readouterr().err.rstrip().split(" left ", 1)
    assert epoch == "epoch 2/3: 160/1600, 5 images/s, 279 s"
    # 90 steps of this epoch and 100 of the next at 3.1 s each.
    assert note == "step 110  lr 0.0512  data 10 %  run 0:09:49 left"


def test_loss_and_top1_are_shown_with_their_step(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Live(Recipe().replace(epochs=1), 100).epoch(0, 0, batch_size=16) as line:
        for number in range(20):
            clock.seconds += 2
            line.step(16, 0.1, 0.0)
            if number == 11:
                line.measured(1.23449, 0.4512)
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith("step 15  lr 0.1  data 0 %  run 0:02:50 left  loss 1.234  top-1 45.1 % (to step 12)")
    )


@pytest.mark.parametrize(
    ("recipe", "epoch", "left"),
    [
        # At 30 s, there remain 7 steps and an epoch of 10 at 10 s each, and two validations of 20 s.
        (Recipe().replace(epochs=4), 2, "0:03:30"),
        # At 30 s, there remain 7 steps and two epochs of 10 at 10 s each, and the final validation of 20 s.
        (Recipe().replace(epochs=11, validate_every=4), 8, "0:04:50"),
    ],
)
def test_the_remaining_time_includes_validations(
    clock: Clock, capsys: pytest.CaptureFixture[str], recipe: Recipe, epoch: int, left: str
) -> None:
    live = Live(recipe, 10)
    with live.validation(8) as counted:
        for _ in counted([batch(4), batch(4)]):
            clock.seconds += 10
    with live.epoch(epoch, 0, batch_size=16) as line:
        for _ in range(4):
            clock.seconds += 10
            line.step(16, 0.1, 0.0)
    assert f"run {left} left" in capsys.readouterr().err


def test_steps_taken_before_resuming_do_not_count_towards_the_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Live(Recipe().replace(epochs=1), 100).epoch(0, 90, batch_size=16) as line:
        for _ in range(3):
            clock.seconds += 10
            line.step(16, 0.1, 0.0)
    assert capsys.readouterr().err == (
        "epoch 1/1: 1488/1600, 2 images/s, 70 s left step 93  lr 0.1  data 0 %  run 0:01:10 left\n"
    )


def test_validation_passes_on_every_batch_and_shows_its_progress(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [batch(4), batch(4), batch(2)]
    with Live(Recipe().replace(epochs=1), 1).validation(10) as counted:
        got = []
        for one in counted(given):
            clock.seconds += 15
            got.append(one)
    assert all(one is other for one, other in zip(got, given, strict=True))
    assert capsys.readouterr().err == "validation: 8/10, 0 images/s, 8 s left\n"


def test_on_a_terminal_the_note_is_updated_only_a_few_times_a_second(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = []
    with Live(Recipe().replace(epochs=1), 1000).epoch(0, 0, batch_size=16) as line:
        monkeypatch.setattr(line, "_advance", lambda images, note: notes.append(note))
        for _ in range(100):
            clock.seconds += 0.01
            line.step(16, 0.1, 0.0)
    assert 4 <= len([note for note in notes if note]) <= 6


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00:00"), (75, "0:01:15"), (5025, "1:23:45"), (180_000, "2 d 2:00:00")]
)
def test_long_times_are_printed_in_hours_and_days(seconds: float, text: str) -> None:
    assert _clock(seconds) == text


def test_a_partial_last_epoch_has_fewer_images(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Live(Recipe().replace(epochs=1.5), 100).epoch(1, 0, batch_size=16) as line:
        for _ in range(10):
            clock.seconds += 4
            line.step(16, 0.1, 0.0)
    shown = capsys.readouterr().err
    assert "epoch 2/2: 128/800, 4 images/s, 168 s left step 108" in shown
    assert "run 0:02:48 left" in shown
