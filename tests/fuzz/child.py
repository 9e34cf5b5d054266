"""Open changed sources with tench, in a separate process with limits on memory and file size.

Reads lines `NAME<TAB>FIRST<TAB>COUNT` from standard input. For each of COUNT changes from FIRST on, it writes `at N`
and then `ok`, or `bad` with the traceback as JSON. To reproduce one change:

    python -m tests.fuzz.child NAME N FOLDER
"""

import importlib
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import SEEDS, Seed

_MEMORY_BYTES = 2 * 2**30
"""The limit on top of what the process uses once it is ready."""
_FILE_BYTES = 2**30
_LONGEST_MESSAGE = 3000


def write(seed: Seed, name: str, number: int, folder: Path) -> Path:
    """Write the source with change `number` to a folder, and return the path to open. Change 0 changes nothing."""
    random_ = random.Random(f"{name}:{number}")
    chosen = random_.choice(seed.changed) if number else None
    for file, data in seed.files.items():
        if file == chosen:
            data = mutated(random_, data, seed.borders(data))
            if random_.random() < 0.6:
                data = seed.repair(data)
        if file in seed.changed:
            data = seed.wrap(data)
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    return folder / seed.open


def look(source: Path) -> str:
    """Open a source, describe it and decode all images. Returns what went wrong, or ""."""
    from tench.data.images.picture import errors_name, open_picture
    from tench.data.info import describe
    from tench.data.source import open_source
    from tench.errors import TenchError

    def answer(error: TenchError, folder: Path) -> str:
        text = str(error)
        if str(folder) not in text:
            return f"a message that does not name the file: {text[:200]!r}"
        return f"a message of {len(text):,} characters: {text[:200]!r}" if len(text) > _LONGEST_MESSAGE else ""

    try:
        dataset = open_source(source)
        describe(dataset)
    except TenchError as error:
        return answer(error, source if source.is_dir() else source.parent)
    except BaseException:
        return traceback.format_exc()
    wrong = ""
    for table in dataset.splits.values():
        for row in range(len(table)):
            try:
                with errors_name(table, row):
                    picture = open_picture(table, row, table.read(row), 3)
                    picture.part(0, 0, picture.height, picture.width)
            except TenchError as error:
                wrong = wrong or answer(error, Path(table.file(row)))
            except BaseException:
                return traceback.format_exc()
    return wrong


def prepare(folder: Path) -> None:
    """Import the modules that are needed, then set the limits."""
    os.environ["TENCH_CACHE"] = str(folder / "cache")
    warnings.simplefilter("ignore")
    for module in ("cv2", "pyarrow.csv", "pyarrow.parquet", "simplejpeg", "PIL.Image", "tench.data.source"):
        importlib.import_module(module)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + _MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    importlib.import_module("cv2").setNumThreads(1)


def serve(folder: Path) -> None:
    for line in sys.stdin:
        name, first, count = line.rstrip("\n").split("\t")
        seed = SEEDS[name]()
        for number in range(int(first), int(first) + int(count)):
            print(f"at {number}", flush=True)
            source = folder / "source"
            wrong = look(write(seed, name, number, source))
            print("bad " + json.dumps(wrong) if wrong else "ok", flush=True)
            shutil.rmtree(source, ignore_errors=True)
            shutil.rmtree(folder / "cache", ignore_errors=True)
        print("done", flush=True)


def main() -> None:
    if len(sys.argv) == 4:
        name, number, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
        source = write(SEEDS[name](), name, number, folder / "source")
        prepare(folder)
        print(f"{source}\n{look(source) or 'ok'}")
        return
    with tempfile.TemporaryDirectory(prefix="tench-fuzz-") as made:
        prepare(Path(made))
        sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(1), "wb", 0), write_through=True)
        os.dup2(2, 1)  # output of libraries must not mix with the protocol
        serve(Path(made))


if __name__ == "__main__":
    main()
