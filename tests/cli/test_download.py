"""`tench download` from the command line, with a local server instead of the publishers'."""

import hashlib
import signal
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tests.support.processes import DEADLINE_SECONDS, child, join

from tench.cli.main import main
from tench.data.download.download import SETS, File, Set


class Handler(BaseHTTPRequestHandler):
    """Serves `files`. After `limit` bytes of a file, it waits for the end of the test."""

    files: ClassVar[dict[str, bytes]] = {}
    limit: ClassVar[int | None] = None
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        data = self.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : self.limit])
        if self.limit is not None:
            self.over.wait(DEADLINE_SECONDS)

    def log_message(self, *_: Any) -> None:
        pass


class Listener(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:  # a client that is interrupted hangs up
        pass


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with the files of Handler. TENCH_MIRROR is set to it."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Handler, "files", {})
    monkeypatch.setattr(Handler, "limit", None)
    monkeypatch.setattr(Handler, "over", threading.Event())
    listener = Listener(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{listener.server_address[1]}/mirror"
    monkeypatch.setenv("TENCH_MIRROR", address)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield address
    Handler.over.set()
    listener.shutdown()
    join(thread)
    listener.server_close()


def small_mnist() -> dict[str, bytes]:
    """The four files of MNIST with scikit-learn's digits, under the usual names but not gzipped."""
    digits = load_digits()
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    files = {}
    for split, rows in (("train", slice(0, 60)), ("t10k", slice(60, 90))):
        for kind, magic, values in (("images-idx3", 0x803, pixels[rows]), ("labels-idx1", 0x801, labels[rows])):
            head = np.array([magic, *values.shape], ">u4").tobytes()
            files[f"{split}-{kind}-ubyte.gz"] = head + values.tobytes()
    return files


@pytest.fixture
def mnist(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small dataset called mnist on the server."""
    files = small_mnist()
    Handler.files.update({f"/mirror/{name}": content for name, content in files.items()})
    known = tuple(File(name, hashlib.md5(content).hexdigest(), len(content)) for name, content in files.items())
    monkeypatch.setitem(SETS, "mnist", Set("small", ("http://127.0.0.1:9/",), known))


@pytest.mark.parametrize("arguments", [[], ["--list"], ["mnist", "--list"]])
def test_the_names_are_listed_with_their_sizes(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*SETS, "imagenet"]
    assert lines[0].split()[1:3] == ["11.6", "MB"]
    assert lines[-1].split()[1:3] == ["155.0", "GB"]


@pytest.mark.usefixtures("mnist")
def test_a_dataset_is_downloaded_and_the_next_command_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dest = tmp_path / "my digits"
    assert main(["download", "mnist", str(dest)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"Next: tench train '{dest}' (tench info '{dest}' shows its contents)\n"
    assert f"{dest}/train-images-idx3-ubyte.gz: complete, with the published MD5." in shown.err
    assert {path.name: path.read_bytes() for path in dest.iterdir()} == small_mnist()
    assert main(["info", str(dest)]) == 0
    assert "60 images" in capsys.readouterr().out


@pytest.mark.usefixtures("mnist")
def test_complete_files_are_kept_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "mnist", str(tmp_path)]) == 0
    Handler.files.clear()
    capsys.readouterr()
    assert main(["download", "mnist", str(tmp_path)]) == 0
    assert capsys.readouterr().err.count("already downloaded, with the published MD5.") == 4


@pytest.mark.usefixtures("mnist")
def test_a_different_file_of_the_same_name_is_an_error_with_both_checksums(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"")
    assert main(["download", "mnist", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "already exists, but its MD5 is d41d8cd98f00b204e9800998ecf8427e; the published file" in error
    assert "Traceback" not in error


def test_a_mirror_without_the_files_is_one_error(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "mnist", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "tench download: train-images-idx3-ubyte.gz: could not be downloaded.\n" in error
    assert f"  {base}/train-images-idx3-ubyte.gz: HTTP 404 (Not Found).\n" in error
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "minst", str(tmp_path)]) == 2
    assert "tench download: 'minst': no such dataset. Did you mean 'mnist'" in capsys.readouterr().err


def test_a_name_without_a_folder_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "mnist"]) == 2
    assert capsys.readouterr().err == "tench download: DEST is missing. Usage: tench download mnist DEST.\n"


def test_help_mentions_the_mirror(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "--help"]) == 0
    assert "TENCH_MIRROR" in capsys.readouterr().out


@pytest.mark.usefixtures("base")
def test_ctrl_c_keeps_the_downloaded_part_and_the_same_command_resumes(tmp_path: Path) -> None:
    first = SETS["mnist"].files[0]
    assert first.num_bytes is not None
    data = np.random.default_rng(0).bytes(first.num_bytes)  # of realistic size; the end is never reached
    Handler.files[f"/mirror/{first.name}"] = data
    part = tmp_path / f"{first.name}.part"
    for reached in (1_000_000, 2_000_000):
        Handler.limit = reached
        command = [sys.executable, "-m", "tench", "download", "mnist", str(tmp_path)]
        with child(command) as download:
            download.wait_until(lambda: part.exists() and part.stat().st_size == reached, f"{reached} bytes")  # noqa: B023
            download.send_signal(signal.SIGINT)
            assert download.wait() == 130
            error = download.stderr
        assert f"{part}: {reached / 1e6:.1f} MB of 9.9 MB are kept; the same command resumes the download.\n" in error
        assert error.endswith("tench download: interrupted.\n")
        assert "Traceback" not in error
        assert part.read_bytes() == data[:reached]
    assert "resuming after 1.0 MB of 9.9 MB." in error
