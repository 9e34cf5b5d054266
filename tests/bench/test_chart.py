import dataclasses

import numpy as np
from tests.bench.results import made_up

from tench.bench.chart import chart
from tench.bench.measure import Rate
from tench.bench.result import Result, Row


def result(rates: dict[int, float], step: float | None = None) -> Result:
    rows = [Row("whole", threads, Rate(rate, 0.9 * rate, rate, 100, 5)) for threads, rate in rates.items()]
    if step is not None:
        rows.append(Row("step", 2, Rate(step, step, step, 64, 5)))
    plain = made_up(rows, {"decode": 1.0})
    return dataclasses.replace(plain, source="flowers", num_images=100, cores=4, arch="resnet18")


BLUE, RED = (0x1F, 0x5F, 0xA8), (0xB0, 0x30, 0x30)


def shown(colour: tuple[int, int, int], drawn: Result) -> set[tuple[int, int]]:
    """(column, row) of all pixels of a colour."""
    pixels = np.asarray(chart(drawn))
    lines, columns = np.nonzero((pixels == colour).all(axis=2))
    return set(zip(columns.tolist(), lines.tolist(), strict=True))


def test_each_number_of_threads_is_a_point_at_its_rate() -> None:
    points = shown(BLUE, result({1: 500, 2: 750, 4: 1000}))
    left, right, top, bottom = 90, 690, 50, 420  # the axes end at 4 threads and 1,000 images/s
    for threads, rate in ((1, 500), (2, 750), (4, 1000)):
        assert (left + threads * (right - left) // 4, round(bottom - rate / 1000 * (bottom - top))) in points


def test_a_measured_network_is_a_horizontal_line() -> None:
    rates = {1: 500.0, 2: 1000.0}
    assert shown(RED, result(rates)) == set()
    level = shown(RED, result(rates, step=250))
    assert {(column, int(420 - 370 / 4)) for column in range(90, 690)} <= level


def test_slow_and_fast_rates_and_one_thread_alone_can_be_drawn() -> None:
    for rates in ({1: 0.013}, {1: 123_456.0, 2: 234_567.0}, {1: 100.0, 64: 101.0}):
        assert chart(result(rates)).size == (720, 480)
