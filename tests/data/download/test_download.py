"""Downloads from a local server that fails as real servers do: the published file arrives, or nothing does."""

import ast
import contextlib
import dataclasses
import email.utils
import functools
import gzip
import hashlib
import importlib.util
import io
import logging
import os
import pickle
import shutil
import signal
import sys
import tarfile
import threading
import time
import types
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image
from tests.data.photos import photo_file
from tests.support.errors import error_of
from tests.support.processes import DEADLINE_SECONDS, child, join, run

from tench.data.download.download import SETS, File, Set, download, offered
from tench.data.download.fetch import fetch
from tench.data.source import open_source
from tench.errors import TenchError, UsageError

PHOTO = photo_file().read_bytes()
HALF = len(PHOTO) // 2


def md5_of(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@dataclasses.dataclass
class Server:
    """The files of the server and its behaviour.

    failures: status codes of the next responses. cuts: the number of bytes of each of the next responses after which
    the connection is closed. ranges: whether it can resume. shift: how many bytes too early it resumes. stall: the
    number of bytes after which it waits until the test is over. seen: the requests so far. sent: bytes of content so
    far.
    """

    address: str = ""
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    failures: list[int] = dataclasses.field(default_factory=list)
    cuts: list[int] = dataclasses.field(default_factory=list)
    ranges: bool = True
    honours_if_range: bool = True
    chunked: bool = False
    shift: int = 0
    stall: int | None = None
    seen: list[tuple[str, dict[str, str]]] = dataclasses.field(default_factory=list)
    sent: int = 0
    over: threading.Event = dataclasses.field(default_factory=threading.Event)

    def asked(self, header: str) -> list[str]:
        """The value of this header in each request so far; "" if it was not sent."""
        return [headers.get(header, "") for _, headers in self.seen]


def handler_of(state: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.seen.append((self.path, dict(self.headers.items())))
            name = self.path.rpartition("/")[2]
            if state.failures:
                self.send_error(state.failures.pop(0))
                return
            if name not in state.files:
                self.send_error(404)
                return
            data, start = state.files[name], 0
            wanted, condition = self.headers["Range"], self.headers["If-Range"]
            current = condition in (None, *state.headers.values()) or not state.honours_if_range
            if wanted and state.ranges and current:
                start = int(wanted.removeprefix("bytes=").removesuffix("-")) - state.shift
                if start >= len(data):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            for header, value in state.headers.items():
                self.send_header(header, value)
            if not state.chunked:
                self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            end = min(len(data), start + (state.cuts.pop(0) if state.cuts else len(data)))
            if state.stall is not None:
                self.wfile.write(data[start : state.stall])
                self.wfile.flush()
                state.over.wait(DEADLINE_SECONDS)
                return
            state.sent += end - start  # before the client has received them all and the test continues
            self.wfile.write(data[start:end])

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


class Listener(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:  # some tests close the connection on purpose
        pass


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    state = Server()
    listener = Listener(("127.0.0.1", 0), handler_of(state))
    state.address = f"http://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.over.set()
        listener.shutdown()
        join(thread)
        listener.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that has the photograph as photo.jpg."""
    with serving() as state:
        state.files["photo.jpg"] = PHOTO
        yield state


@pytest.fixture
def mirror() -> Iterator[Server]:
    """A second server."""
    with serving() as state:
        yield state


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use no proxy and no mirror from the environment."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("TENCH_MIRROR", raising=False)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """The log so far."""
    caplog.set_level(logging.INFO, "tench")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


def get(path: Path, *servers: Server | str, data: bytes = PHOTO, tries: int = 3, timeout_seconds: float = 10.0) -> None:
    """Fetch photo.jpg from these servers to a path."""
    bases = [server if isinstance(server, str) else server.address for server in servers]
    fetch(
        [f"{base}/photo.jpg" for base in bases],
        path,
        md5=md5_of(data),
        num_bytes=len(data),
        timeout_seconds=timeout_seconds,
        pauses_seconds=(0.01,) * (tries - 1),
    )


def refusal(path: Path, *servers: Server | str, tries: int = 3, timeout_seconds: float = 10.0) -> str:
    text = error_of(get)(path, *servers, tries=tries, timeout_seconds=timeout_seconds)
    assert not path.exists()
    return text


FETCH = """
import sys
from pathlib import Path
from tench.data.download.fetch import fetch
fetch([sys.argv[1]], Path(sys.argv[2]), md5=sys.argv[3], num_bytes=int(sys.argv[4]))
"""
"""The program of another process; `arguments_of` makes its arguments."""


def arguments_of(server: Server, path: Path) -> list[str]:
    return [f"{server.address}/photo.jpg", str(path), md5_of(PHOTO), str(len(PHOTO))]


def part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def test_a_complete_file_arrives_under_its_name_and_nothing_else(
    server: Server, tmp_path: Path, said: Callable[[], str]
) -> None:
    get(tmp_path / "photo.jpg", server)
    assert (tmp_path / "photo.jpg").read_bytes() == PHOTO
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    assert len(server.seen) == 1
    assert said() == f"{server.address}/photo.jpg: 196.7 kB.\n{tmp_path}/photo.jpg: complete, with the published MD5."


def test_a_cut_connection_is_resumed_from_the_byte_it_reached(
    server: Server, tmp_path: Path, said: Callable[[], str]
) -> None:
    server.headers = {"ETag": '"first"'}
    server.cuts = [HALF]
    get(tmp_path / "photo.jpg", server)
    assert (tmp_path / "photo.jpg").read_bytes() == PHOTO
    assert server.asked("Range") == ["", f"bytes={HALF}-"]
    assert server.asked("If-Range") == ["", '"first"']
    assert server.sent == len(PHOTO)
    where = f"{server.address}/photo.jpg"
    assert f"{where}: the connection ended after byte {HALF:,} of {len(PHOTO):,}. Try 2 in 0.01 s." in said()
    assert f"{where}: resuming after 98.3 kB of 196.7 kB." in said()


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 60_000), max_size=8))
def test_wherever_connections_are_cut_each_byte_is_sent_once(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "photo.jpg"
    with serving() as server:
        server.files["photo.jpg"] = PHOTO
        server.cuts = list(cuts)
        get(path, server, tries=len(cuts) + 1)
        assert path.read_bytes() == PHOTO
        assert server.sent == len(PHOTO)


def test_the_count_of_tries_restarts_after_each_try_that_received_something(server: Server, tmp_path: Path) -> None:
    server.cuts = [20_000] * 9
    get(tmp_path / "photo.jpg", server, tries=2)
    assert (tmp_path / "photo.jpg").read_bytes() == PHOTO


def test_a_server_that_always_stops_at_the_same_byte_is_abandoned(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [HALF] * 9
    message = refusal(tmp_path / "photo.jpg", server, tries=3)
    assert f"the connection ended after byte {HALF:,} of {len(PHOTO):,}, after 3 tries" in message
    assert len(server.seen) == 3


def test_the_part_of_a_failed_download_is_kept_named_and_resumed(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    server.cuts = [HALF]
    server.failures = []
    message = refusal(path, server, tries=1)
    assert message == (
        "photo.jpg: could not be downloaded.\n"
        f"  {server.address}/photo.jpg: the connection ended after byte {HALF:,} of {len(PHOTO):,}, after 1 tries.\n"
        f"98.3 kB of 196.7 kB are kept in {part_of(path)}; the same command resumes from there. "
        "Proxies are taken from the environment (https_proxy); TENCH_MIRROR names another base address to download "
        "from."
    )
    assert part_of(path).read_bytes() == PHOTO[:HALF]
    get(path, server)
    assert path.read_bytes() == PHOTO
    assert server.asked("Range")[-1] == f"bytes={HALF}-"
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_complete_part_needs_no_server(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    part_of(path).write_bytes(PHOTO)
    get(path, "http://127.0.0.1:9")
    assert path.read_bytes() == PHOTO


def test_a_server_that_cannot_resume_sends_the_whole_file_again(
    server: Server, tmp_path: Path, said: Callable[[], str]
) -> None:
    path = tmp_path / "photo.jpg"
    server.ranges = False
    part_of(path).write_bytes(PHOTO[:HALF])
    get(path, server)
    assert path.read_bytes() == PHOTO
    assert "sends the file from its beginning, because it has changed or the server cannot resume." in said()


@pytest.mark.parametrize("mark", ["ETag", "Last-Modified"])
def test_a_file_that_changed_on_the_server_is_downloaded_from_the_start(
    server: Server, tmp_path: Path, mark: str
) -> None:
    path = tmp_path / "photo.jpg"
    before, after = (
        ('"1"', '"2"') if mark == "ETag" else (email.utils.formatdate(day * 86400, usegmt=True) for day in (1, 2))
    )
    server.files["photo.jpg"], server.headers, server.cuts = bytes(len(PHOTO)), {mark: before}, [HALF]
    refusal(path, server, tries=1)
    server.files["photo.jpg"], server.headers = PHOTO, {mark: after}
    get(path, server)
    assert path.read_bytes() == PHOTO
    assert server.asked("If-Range") == ["", before]
    assert len(server.seen) == 2


def test_a_change_is_noticed_even_if_the_server_resumes_anyway(
    server: Server, tmp_path: Path, said: Callable[[], str]
) -> None:
    path = tmp_path / "photo.jpg"
    server.files["photo.jpg"], server.headers, server.cuts = bytes(len(PHOTO)), {"ETag": '"1"'}, [HALF]
    refusal(path, server, tries=1)
    server.files["photo.jpg"], server.headers, server.honours_if_range = PHOTO, {"ETag": '"2"'}, False
    get(path, server)
    assert path.read_bytes() == PHOTO
    assert server.asked("Range") == ["", f"bytes={HALF}-", ""]
    assert "photo.jpg: the file on the server has changed. Try 2 in 0.01 s." in said()


def test_a_weak_etag_is_not_sent_back(server: Server, tmp_path: Path) -> None:
    server.headers, server.cuts = {"ETag": 'W/"1"'}, [HALF]
    get(tmp_path / "photo.jpg", server)
    assert server.asked("If-Range") == ["", ""]
    assert server.asked("Range") == ["", f"bytes={HALF}-"]


def test_an_older_part_that_does_not_match_costs_one_more_try(
    server: Server, tmp_path: Path, said: Callable[[], str]
) -> None:
    path = tmp_path / "photo.jpg"
    part_of(path).write_bytes(bytes(HALF))
    get(path, server)
    assert path.read_bytes() == PHOTO
    assert server.asked("Range") == [f"bytes={HALF}-", ""]
    assert "starting again" in said()


@pytest.mark.parametrize("extra", [0, 1])
def test_a_part_that_is_too_long_or_wrong_is_removed(
    server: Server, tmp_path: Path, extra: int, said: Callable[[], str]
) -> None:
    path = tmp_path / "photo.jpg"
    part_of(path).write_bytes(bytes(len(PHOTO) + extra))
    get(path, server)
    assert path.read_bytes() == PHOTO
    assert server.asked("Range") == [""]
    assert f"{part_of(path)}: removed, because it is not a part of this file." in said()


def test_a_server_that_resumes_at_the_wrong_byte_is_asked_for_the_whole_file(
    server: Server, tmp_path: Path, said: Callable[[], str]
) -> None:
    path = tmp_path / "photo.jpg"
    server.shift = 5
    part_of(path).write_bytes(PHOTO[:HALF])
    get(path, server)
    assert path.read_bytes() == PHOTO
    given = f"bytes {HALF - 5}-{len(PHOTO) - 1}/{len(PHOTO)}"
    assert f"asked for the file from byte {HALF:,}, but the server answered {given!r}. Try 2 in 0.01 s." in said()
    assert server.asked("Range") == [f"bytes={HALF}-", ""]


def test_a_server_that_refuses_the_range_is_asked_for_the_whole_file(
    server: Server, tmp_path: Path, said: Callable[[], str]
) -> None:
    path = tmp_path / "photo.jpg"
    server.failures = [416]
    part_of(path).write_bytes(PHOTO[:HALF])
    get(path, server)
    assert path.read_bytes() == PHOTO
    assert server.asked("Range") == [f"bytes={HALF}-", ""]
    assert "HTTP 416 (Requested Range Not Satisfiable): the server cannot resume there" in said()


def test_a_file_without_a_length_is_read_to_its_end(server: Server, tmp_path: Path) -> None:
    server.chunked = True
    get(tmp_path / "photo.jpg", server)
    assert (tmp_path / "photo.jpg").read_bytes() == PHOTO


@pytest.mark.parametrize("chunked", [False, True])
def test_without_a_published_size_the_checksum_decides_whether_the_file_is_complete(
    server: Server, tmp_path: Path, said: Callable[[], str], chunked: bool
) -> None:
    path = tmp_path / "photo.jpg"
    server.chunked = chunked
    if not chunked:
        server.cuts = [HALF]
    fetch([f"{server.address}/photo.jpg"], path, md5=md5_of(PHOTO), num_bytes=None, pauses_seconds=(0.01,))
    assert path.read_bytes() == PHOTO
    size = "size unknown" if chunked else "196.7 kB"
    assert said().startswith(f"{server.address}/photo.jpg: {size}.")
    assert server.sent == len(PHOTO)


def test_without_a_published_size_a_part_is_resumed_by_the_next_process(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    part_of(path).write_bytes(PHOTO[:HALF])
    fetch([f"{server.address}/photo.jpg"], path, md5=md5_of(PHOTO), num_bytes=None)
    assert path.read_bytes() == PHOTO
    assert server.asked("Range") == [f"bytes={HALF}-"]


def test_a_file_of_the_wrong_size_is_refused_before_it_is_fetched(server: Server, tmp_path: Path) -> None:
    server.files["photo.jpg"] = PHOTO + b"more"
    message = refusal(tmp_path / "photo.jpg", server)
    assert f"offers a file of {len(PHOTO) + 4:,} bytes, but the published one has {len(PHOTO):,}" in message
    assert len(server.seen) == 1
    assert list(tmp_path.iterdir()) == []


def test_resuming_with_a_file_of_the_wrong_size_is_refused_and_the_part_is_kept(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    part_of(path).write_bytes(PHOTO[:HALF])
    server.files["photo.jpg"] = PHOTO + b"more"
    assert "offers a file of" in refusal(path, server)
    assert part_of(path).read_bytes() == PHOTO[:HALF]


def test_a_download_stops_if_the_server_sends_more_than_the_file(server: Server, tmp_path: Path) -> None:
    server.chunked = True
    server.files["photo.jpg"] = PHOTO + bytes(1_000_000)
    message = refusal(tmp_path / "photo.jpg", server)
    assert f"sends more than the {len(PHOTO):,} bytes of the published file" in message
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_checksum_names_both_sums_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    wrong = PHOTO[:-1] + b"\0"
    server.files["photo.jpg"] = wrong
    message = refusal(tmp_path / "photo.jpg", server)
    assert (
        f"{server.address}/photo.jpg: has a file whose MD5 is {md5_of(wrong)}; "
        f"the published file's is {md5_of(PHOTO)}." in message
    )
    assert "When that is fixed, run the same command again." in message
    assert list(tmp_path.iterdir()) == []
    assert len(server.seen) == 1


def test_if_one_mirror_has_a_wrong_file_the_next_is_used(server: Server, mirror: Server, tmp_path: Path) -> None:
    mirror.files["photo.jpg"] = PHOTO[:-1] + b"\0"
    get(tmp_path / "photo.jpg", mirror, server)
    assert (tmp_path / "photo.jpg").read_bytes() == PHOTO
    assert server.asked("Range") == [""]


def test_a_mirror_without_the_file_is_skipped(
    server: Server, mirror: Server, tmp_path: Path, said: Callable[[], str]
) -> None:
    get(tmp_path / "photo.jpg", mirror, server)
    assert (tmp_path / "photo.jpg").read_bytes() == PHOTO
    assert len(mirror.seen) == 1
    assert f"{mirror.address}/photo.jpg: HTTP 404 (Not Found)." in said()


def test_another_mirror_resumes_what_the_first_began(server: Server, mirror: Server, tmp_path: Path) -> None:
    mirror.files["photo.jpg"], mirror.cuts, mirror.headers = PHOTO, [HALF, 0, 0], {"ETag": '"of the mirror"'}
    server.headers = {"ETag": '"of the server"'}
    get(tmp_path / "photo.jpg", mirror, server, tries=2)
    assert (tmp_path / "photo.jpg").read_bytes() == PHOTO
    assert server.asked("Range") == [f"bytes={HALF}-"]
    assert server.asked("If-Range") == [""]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_temporary_server_failure_is_retried(
    server: Server, tmp_path: Path, status: int, said: Callable[[], str]
) -> None:
    server.failures = [status, status]
    get(tmp_path / "photo.jpg", server)
    assert (tmp_path / "photo.jpg").read_bytes() == PHOTO
    assert f"HTTP {status}" in said()
    assert "Try 3 in 0.01 s." in said()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_permanent_failure_is_not_retried(server: Server, tmp_path: Path, status: int) -> None:
    server.failures = [status]
    assert f"HTTP {status}" in refusal(tmp_path / "photo.jpg", server)
    assert len(server.seen) == 1


def test_every_mirror_that_failed_is_named(server: Server, mirror: Server, tmp_path: Path) -> None:
    server.failures = [500] * 9
    message = refusal(tmp_path / "photo.jpg", server, mirror)
    assert f"  {server.address}/photo.jpg: HTTP 500 (Internal Server Error), after 3 tries.\n" in message
    assert f"  {mirror.address}/photo.jpg: HTTP 404 (Not Found).\n" in message


def test_a_server_that_stops_sending_is_abandoned_after_the_timeout(server: Server, tmp_path: Path) -> None:
    server.stall = HALF
    start = time.monotonic()
    message = refusal(tmp_path / "photo.jpg", server, tries=1, timeout_seconds=2)
    assert time.monotonic() - start < DEADLINE_SECONDS / 2
    assert "no answer for 2 s" in message
    assert part_of(tmp_path / "photo.jpg").read_bytes() == PHOTO[:HALF]


def test_a_server_that_never_answers_is_abandoned_after_the_timeout(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        assert "no answer for 0.2 s, after 2 tries" in refusal(
            tmp_path / "photo.jpg", address, tries=2, timeout_seconds=0.2
        )
        assert time.monotonic() - start < DEADLINE_SECONDS / 2


def test_a_missing_server_is_reported(tmp_path: Path) -> None:
    assert "http://127.0.0.1:9/photo.jpg: Connection refused, after 3 tries." in refusal(
        tmp_path / "photo.jpg", "http://127.0.0.1:9"
    )
    assert list(tmp_path.iterdir()) == []


def test_nonsense_instead_of_http_is_reported(tmp_path: Path) -> None:
    import socket

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        message = refusal(tmp_path / "photo.jpg", f"http://127.0.0.1:{listener.getsockname()[1]}", tries=1)
        join(thread)
    assert "SSH-2.0-OpenSSH" in message


def test_a_full_disk_is_noticed_before_anything_is_downloaded(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=HALF))
    message = refusal(tmp_path / "photo.jpg", server)
    assert f"/photo.jpg needs 196.7 kB more in {tmp_path}, but only 98.3 kB are free. Make room" in message
    assert server.seen == []
    part_of(tmp_path / "photo.jpg").write_bytes(PHOTO[: HALF + 100])
    get(tmp_path / "photo.jpg", server)  # there is room for the rest


@pytest.mark.parametrize("room", [1000, len(PHOTO) - 1])
def test_a_download_that_fills_the_disk_keeps_its_part(server: Server, tmp_path: Path, room: int) -> None:
    path = tmp_path / "photo.jpg"
    # A limit on the file size simulates a full disk: if a block does not fit, the part that fits is written.
    # The limit also applies to the file that stderr goes to, so the traceback is suppressed.
    limits = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, -1)); sys.tracebacklimit = 0"
    code = f"import resource, sys; {limits}\n" + FETCH
    ended = run([sys.executable, "-B", "-c", code, *arguments_of(server, path)])
    assert ended.returncode == 1
    assert f"TenchError: {path}: cannot be written (File too large). The download so far is kept" in ended.stderr
    assert part_of(path).read_bytes() == PHOTO[:room]
    assert len(server.seen) == 1
    get(path, server)
    assert path.read_bytes() == PHOTO
    assert server.asked("Range") == ["", f"bytes={room}-"]


def test_an_existing_correct_file_is_kept(server: Server, tmp_path: Path, said: Callable[[], str]) -> None:
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    get(tmp_path / "photo.jpg", server)
    assert server.seen == []
    assert said() == f"{tmp_path}/photo.jpg: already downloaded, with the published MD5."


def test_an_existing_wrong_file_is_an_error_with_both_sums(server: Server, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(TenchError) as error:
        get(tmp_path / "photo.jpg", server)
    assert str(error.value) == (
        f"{tmp_path}/photo.jpg already exists, but its MD5 is {md5_of(b'mine')}; the published file's is "
        f"{md5_of(PHOTO)}. It is damaged or belongs to another set. Move or remove it and run the same command again, "
        f"or name another folder."
    )
    assert (tmp_path / "photo.jpg").read_bytes() == b"mine"


def test_a_proxy_from_the_environment_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    get(tmp_path / "photo.jpg", "http://data.example/set")
    assert (tmp_path / "photo.jpg").read_bytes() == PHOTO
    assert [path for path, _ in server.seen] == ["http://data.example/set/photo.jpg"]


def test_after_a_kill_the_next_process_resumes(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    command = [sys.executable, "-c", FETCH, *arguments_of(server, path)]
    server.stall = HALF
    with child(command) as process:
        process.wait_until(lambda: part_of(path).exists() and part_of(path).stat().st_size == HALF, "half of the file")
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not path.exists()
    server.over.set()
    server.stall = None
    assert run(command).returncode == 0
    assert path.read_bytes() == PHOTO
    assert server.asked("Range") == ["", f"bytes={HALF}-"]
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


# Sets by name


def tar_gz(members: dict[str, bytes | None]) -> bytes:
    """A .tar.gz of files, or folders if the content is None."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or b"")
            tar.addfile(member, io.BytesIO(content or b""))
    return stream.getvalue()


def idx(images: Any, labels: Any) -> tuple[bytes, bytes]:
    head = b"".join(int(number).to_bytes(4, "big") for number in (0x803, *images.shape))
    return (
        gzip.compress(head + images.tobytes()),
        gzip.compress(b"".join(int(number).to_bytes(4, "big") for number in (0x801, len(labels))) + labels.tobytes()),
    )


def small_mnist() -> dict[str, bytes]:
    """The four files, with scikit-learn's digits."""
    digits = load_digits()
    images = np.rint(digits.images * 255 / 16).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    contents = (*idx(images[:60], labels[:60]), *idx(images[60:90], labels[60:90]))
    names = [f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return dict(zip(names, contents, strict=True))


def crops(count: int) -> Any:
    picture = load_sample_image("flower.jpg")
    return np.stack([picture[7 * number : 7 * number + 32, 60:92] for number in range(count)])


def small_cifar10() -> dict[str, bytes]:
    def batch(labels: list[int]) -> bytes:
        data = crops(len(labels)).transpose(0, 3, 1, 2).reshape(len(labels), 3072)
        return pickle.dumps({"data": data, "labels": labels}, protocol=2)

    folder = "cifar-10-batches-py"
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    members: dict[str, bytes | None] = {folder: None, f"{folder}/batches.meta": pickle.dumps({"label_names": names}, 2)}
    members |= {f"{folder}/data_batch_{number}": batch([number, 0]) for number in range(1, 6)}
    return {"cifar-10-python.tar.gz": tar_gz({**members, f"{folder}/test_batch": batch([3, 9, 1])})}


def small_caltech101() -> dict[str, bytes]:
    folder = "101_ObjectCategories"
    inner = tar_gz({f"{folder}/{name}/image_{n:04}.jpg": jpeg(n) for name in ("ant", "bass") for n in (1, 2, 3)})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("caltech-101/101_ObjectCategories.tar.gz", inner)
        packed.writestr("caltech-101/Annotations.tar", b"")
    return {"caltech-101.zip": stream.getvalue()}


def small_caltech256() -> dict[str, bytes]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for number, name in ((1, "ak47"), (2, "american-flag")):
            for image in (1, 2, 3):
                member = tarfile.TarInfo(f"256_ObjectCategories/{number:03}.{name}/{number:03}_{image:04}.jpg")
                member.size = len(jpeg(image))
                tar.addfile(member, io.BytesIO(jpeg(image)))
    return {"256_ObjectCategories.tar": stream.getvalue()}


def small_tiny_imagenet() -> dict[str, bytes]:
    stream = io.BytesIO()
    classes = ("n02124075", "n01443537")
    with zipfile.ZipFile(stream, "w") as packed:
        root = "tiny-imagenet-200"
        for name in classes:
            for image in range(3):
                packed.writestr(f"{root}/train/{name}/images/{name}_{image}.JPEG", jpeg(image))
        for image in range(2):
            packed.writestr(f"{root}/val/images/val_{image}.JPEG", jpeg(image))
        lines = [f"val_{image}.JPEG\t{name}\t0\t0\t9\t9\n" for image, name in enumerate(classes)]
        packed.writestr(f"{root}/val/val_annotations.txt", "".join(lines))
        packed.writestr(f"{root}/wnids.txt", "\n".join(classes))
    return {"tiny-imagenet-200.zip": stream.getvalue()}


@functools.cache
def jpeg(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(crops(number + 1)[number]).save(stream, "JPEG")
    return stream.getvalue()


def offer(server: Server, monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, bytes]) -> None:
    """Let the server offer these files as a known set."""
    server.files |= files
    assert [file.name for file in SETS[name].files] == list(files)
    small = dataclasses.replace(
        SETS[name],
        mirrors=(f"{server.address}/{name}/",),
        files=tuple(File(file, md5_of(content), len(content)) for file, content in files.items()),
    )
    monkeypatch.setitem(SETS, name, small)


SMALL: dict[str, tuple[Callable[[], dict[str, bytes]], str, dict[str, int], int]] = {
    "mnist": (small_mnist, ".", {"train": 60, "test": 30}, 10),
    "cifar10": (small_cifar10, "cifar-10-python.tar.gz", {"train": 10, "test": 3}, 10),
    "caltech101": (small_caltech101, "caltech-101.zip", {"train": 6}, 2),
    "caltech256": (small_caltech256, "256_ObjectCategories.tar", {"train": 6}, 2),
    "tiny-imagenet": (small_tiny_imagenet, "tiny-imagenet-200.zip", {"train": 6, "val": 2}, 2),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_downloaded_set_can_be_opened(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, opened, counts, num_classes = SMALL[name]
    offer(server, monkeypatch, name, make())
    path = download(name, tmp_path / "new/folder")
    assert path == tmp_path / "new/folder" / opened
    dataset = open_source(path)
    assert {split: len(table) for split, table in dataset.splits.items()} == counts
    assert len(dataset.classes) == (10 if num_classes == 10 else 2)
    assert all(table.read(0) for table in dataset.splits.values())
    assert [path for path, _ in server.seen] == [f"/{name}/{file.name}" for file in SETS[name].files]


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_folder_named_in_the_command_can_be_opened(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, _, counts, _ = SMALL[name]
    offer(server, monkeypatch, name, make())
    download(name, tmp_path)
    assert {split: len(table) for split, table in open_source(tmp_path).splits.items()} == counts


@pytest.mark.parametrize("name", SMALL)
def test_the_same_command_again_fetches_nothing_and_changes_nothing(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, monkeypatch, name, SMALL[name][0]())
    path = download(name, tmp_path)
    before, asked = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}, len(server.seen)
    assert download(name, tmp_path) == path
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert len(server.seen) == asked


def test_the_environment_and_the_argument_can_name_mirrors(
    server: Server, mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, monkeypatch, "mnist", small_mnist())
    mirror.files = server.files
    monkeypatch.setenv("TENCH_MIRROR", f"{mirror.address}/inside")
    download("mnist", tmp_path / "a")
    assert server.seen == []
    assert mirror.seen[0][0] == "/inside/train-images-idx3-ubyte.gz"
    download("mnist", tmp_path / "b", mirrors=[server.address])
    assert len(server.seen) == 4


@pytest.mark.parametrize("base", ["company", "file:///etc", "ftp://host/x", "http://", "http://[::1"])
def test_a_mirror_that_is_not_a_web_address_is_a_usage_error(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENCH_MIRROR", base)
    with pytest.raises(UsageError, match=r" is not a web address\. It must begin with http:// or https://\."):
        download("mnist", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_unknown_name_is_a_usage_error_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'cifar-10': no such dataset\. Did you mean 'cifar10'.*Known: mnist,"):
        download("cifar-10", tmp_path)


def test_a_tilde_stands_for_the_home_folder(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    offer(server, monkeypatch, "mnist", small_mnist())
    assert download("mnist", "~/digits") == tmp_path / "digits"
    assert len(list((tmp_path / "digits").iterdir())) == 4


def test_a_file_as_destination_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file, but DEST must be a folder"):
        download("mnist", tmp_path / "file")


def test_two_processes_do_not_download_to_one_folder(tmp_path: Path) -> None:
    import fcntl

    other = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(TenchError, match="another process is downloading to it"):
            download("mnist", tmp_path)
    finally:
        os.close(other)


@pytest.mark.parametrize(
    ("name", "module_name", "kind"),
    [
        ("mnist", "mnist", "MNIST"),
        ("fashion-mnist", "mnist", "FashionMNIST"),
        ("cifar10", "cifar", "CIFAR10"),
        ("cifar100", "cifar", "CIFAR100"),
        ("caltech101", "caltech", "Caltech101"),
        ("caltech256", "caltech", "Caltech256"),
        ("kmnist", "mnist", "KMNIST"),
        ("emnist", "mnist", "EMNIST"),
        ("qmnist", "mnist", "QMNIST"),
        ("usps", "usps", "USPS"),
        ("semeion", "semeion", "SEMEION"),
        ("svhn", "svhn", "SVHN"),
        ("stl10", "stl10", "STL10"),
        ("flowers102", "flowers102", "Flowers102"),
        ("oxford-iiit-pet", "oxford_iiit_pet", "OxfordIIITPet"),
        ("dtd", "dtd", "DTD"),
        ("eurosat", "eurosat", "EuroSAT"),
        ("gtsrb", "gtsrb", "GTSRB"),
        ("food101", "food101", "Food101"),
        ("country211", "country211", "Country211"),
        ("rendered-sst2", "rendered_sst2", "RenderedSST2"),
        ("sun397", "sun397", "SUN397"),
        ("imagenette", "imagenette", "Imagenette"),
        ("imagenette-320", "imagenette", "Imagenette"),
        ("imagenette-160", "imagenette", "Imagenette"),
    ],
)
def test_addresses_and_checksums_match_torchvisions(name: str, module_name: str, kind: str) -> None:
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "datasets" / f"{module_name}.py").read_text()
    (theirs,) = (
        {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == kind
    )
    base = SETS[name].mirrors[0]
    assert {file.md5 for file in SETS[name].files} <= theirs
    assert all(
        base + file.name in theirs or (base in theirs and any(text.endswith(file.name) for text in theirs))
        for file in SETS[name].files
    )


def test_every_set_is_offered_with_its_size() -> None:
    sizes = {name: num_bytes for name, num_bytes, _ in offered()}
    assert list(sizes) == [*SETS, "imagenet"]
    assert sizes["mnist"] == 9_912_422 + 28_881 + 1_648_877 + 4_542
    assert sizes["tiny-imagenet"] == 248_100_043
    assert sizes["imagenet"] is not None
    assert sizes["imagenet"] >= 155e9


def test_every_set_is_well_formed() -> None:
    for name, known in SETS.items():
        assert isinstance(known, Set), name
        assert all(base.startswith(("http://", "https://")) and base.endswith("/") for base in known.mirrors)
        assert all(len(file.md5) == 32 and (file.num_bytes is None or file.num_bytes > 0) for file in known.files)


# ImageNet, with a fake kaggle package


class Kaggle(types.ModuleType):
    """The functions of the kaggle package that tench uses: api.authenticate and api.competition_download_files."""

    def __init__(self, *, login: BaseException | None = None, failure: BaseException | None = None) -> None:
        super().__init__("kaggle")
        self.api = self
        self.login, self.failure = login, failure
        self.calls: list[dict[str, Any]] = []
        self.found: list[str] = []

    def authenticate(self) -> None:
        print("a page of advice")
        if self.login:
            raise self.login

    def competition_download_files(self, competition: str, **more: Any) -> None:
        self.calls.append({"competition": competition, **more})
        folder = Path(more["path"])
        self.found = sorted(path.name for path in folder.iterdir())
        archive = folder / f"{competition}.zip"
        if isinstance(self.failure, ConnectionError):
            raise self.failure
        if self.failure:
            archive.write_bytes(b"PK\x03\x04 the beginning")
            raise self.failure
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("LOC_synset_mapping.txt", "n01440764 tench, Tinca tinca\n")


@pytest.fixture
def _large_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=200_000_000_000))


@pytest.mark.usefixtures("_large_disk")
def test_imagenet_is_downloaded_with_the_kaggle_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle = Kaggle()
    monkeypatch.setitem(sys.modules, "kaggle", kaggle)
    path = download("imagenet", tmp_path)
    assert path == tmp_path / "imagenet-object-localization-challenge.zip"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    (call,) = kaggle.calls
    assert call["competition"] == "imagenet-object-localization-challenge"
    assert (call["force"], call["quiet"]) == (False, False)
    assert "Kaggle publishes no checksum" in said()
    assert capsys.readouterr().out == ""
    assert download("imagenet", tmp_path) == path
    assert len(kaggle.calls) == 1


@pytest.mark.usefixtures("_large_disk")
def test_the_kaggle_package_resumes_an_interrupted_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle = Kaggle(failure=RuntimeError("403 Client Error: Forbidden"))
    monkeypatch.setitem(sys.modules, "kaggle", kaggle)
    with pytest.raises(TenchError) as error:
        download("imagenet", tmp_path)
    assert "the kaggle package failed: 403 Client Error: Forbidden." in str(error.value)
    assert "https://www.kaggle.com/competitions/imagenet-object-localization-challenge/rules" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["imagenet-object-localization-challenge.part"]
    kaggle.failure = None
    download("imagenet", tmp_path)
    assert kaggle.found == ["imagenet-object-localization-challenge.zip"]
    assert [path.name for path in tmp_path.iterdir()] == ["imagenet-object-localization-challenge.zip"]


@pytest.mark.usefixtures("_large_disk")
def test_a_kaggle_download_that_received_nothing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kaggle", Kaggle(failure=ConnectionError("no route to host")))
    with pytest.raises(TenchError, match="the kaggle package failed: no route to host"):
        download("imagenet", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_the_kaggle_package_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kaggle", None)
    with pytest.raises(TenchError, match=r"with the package kaggle, which cannot be imported .*pip install kaggle"):
        download("imagenet", tmp_path)


@pytest.mark.parametrize("failure", [SystemExit(1), OSError("Could not find kaggle.json"), ValueError("no token")])
def test_without_credentials_the_error_says_where_to_get_them(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "kaggle", Kaggle(login=failure))
    with pytest.raises(TenchError, match=r"Kaggle's credentials are missing or not accepted") as error:
        download("imagenet", tmp_path)
    assert "https://www.kaggle.com/settings/api" in str(error.value)
    assert isinstance(failure, SystemExit) or f"accepted ({failure})." in str(error.value)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_imagenet_needs_a_large_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle = Kaggle()
    monkeypatch.setitem(sys.modules, "kaggle", kaggle)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=100_000_000_000))
    with pytest.raises(TenchError, match=r"Kaggle's ImageNet needs 155\.0 GB more in .*, but only 100\.0 GB are free"):
        download("imagenet", tmp_path)
    assert kaggle.calls == []
    assert list(tmp_path.iterdir()) == []
    part = tmp_path / "imagenet-object-localization-challenge.part"
    part.mkdir()
    (part / "some").write_bytes(b"")
    os.truncate(part / "some", 60_000_000_000)  # a sparse file
    download("imagenet", tmp_path)
    assert len(kaggle.calls) == 1


def test_a_truncated_archive_from_elsewhere_is_not_accepted_as_complete(tmp_path: Path) -> None:
    archive = tmp_path / "imagenet-object-localization-challenge.zip"
    archive.write_bytes(b"PK\x03\x04 the beginning")
    with pytest.raises(TenchError, match=r"is not a complete zip archive .*Remove it and run the same command again"):
        download("imagenet", tmp_path)
