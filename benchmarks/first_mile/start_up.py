"""Measure start-up times: `tench --help`, and `tench train` on the digits up to the end of its first step.

Usage: python benchmarks/first_mile/start_up.py   (writes start_up.json next to this script)
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from machine import write_result

TENCH = str(Path(sys.executable).parent / "tench")
REPEATS = 7


def seconds_of_help() -> float:
    start = time.perf_counter()
    subprocess.run([TENCH, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def seconds_to_first_step() -> float:
    """Seconds from the start of the process to the first line of metrics.jsonl, written after the first step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [TENCH, "train", "-p", "1", "--epochs", "1", "--run", f"{folder}/run"]
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            metrics = Path(folder) / "run" / "metrics.jsonl"
            while not (metrics.exists() and metrics.stat().st_size):
                assert process.poll() is None or metrics.exists(), "tench train ended without a step"
                time.sleep(0.005)
            seconds = time.perf_counter() - start
            process.wait()
    return seconds


def summary(times: list[float]) -> dict[str, float]:
    return {
        "median_seconds": round(statistics.median(times), 3),
        "min": round(min(times), 3),
        "max": round(max(times), 3),
        "repeats": len(times),
    }


def main() -> None:
    seconds_of_help(), seconds_to_first_step()  # warm-up: file cache, the digits' table
    result = {
        "help": summary([seconds_of_help() for _ in range(REPEATS)]),
        "first_step": summary([seconds_to_first_step() for _ in range(REPEATS)]),
    }
    write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
