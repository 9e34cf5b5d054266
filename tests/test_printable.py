"""All output to a terminal is printable, whatever the names of files and classes."""

import io
import json
import logging
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.support.processes import run

from tench.cli.main import main
from tench.errors import TenchError
from tench.printable import guarded, printable, unguarded
from tench.progress import progress


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b]0;owned\x07\x1b[2J", "\\x1b]0;owned\\x07\\x1b[2J"),
        ("a\nb\r\tc\x00\x7f", "a\\nb\\r\tc\\x00\\x7f"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        ("\udc9b31m caf\udce9", "\\x9b31m caf\udce9"),
        ("a\u202egpj.exe\u2066\u200f\u061c", "a\\u202egpj.exe\\u2066\\u200f\\u061c"),
        ("\u2028\u2029\ufeff\u200b\xad", "\\u2028\\u2029\\ufeff\\u200b\\xad"),
        ("\U000e0041\U000e0042", "\\U000e0041\\U000e0042"),
    ],
)
def test_control_and_invisible_characters_are_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(f"<{name}>{name}") == f"<{shown}>{shown}"


@pytest.mark.parametrize(
    "name",
    [
        "café", "cafe\u0301", "猫", "قطة", "नमस्ते", "\u0645\u06cc\u200c\u062e",
        "😀", "👩\u200d🚀", "❤\ufe0f", "🇨🇭", "a\\x1b b",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "", "\t",
    ],
)  # fmt: skip
def test_letters_of_every_script_and_emoji_are_kept(name: str) -> None:
    assert printable(name) == name


def test_guarded_streams_escape_output_and_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    out, error = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", error)
    with guarded(), guarded():
        print("cat\x1b[2J\ntench: all is well", "é")
        print("two\nlines\x07", file=sys.stderr)
        sys.stdout.writelines(["a\x1b\n", "b\n"])
        assert unguarded(sys.stdout) is out
    assert sys.stdout is out
    assert out.getvalue() == "cat\\x1b[2J\\ntench: all is well é\na\\x1b\nb\n"
    assert error.getvalue() == "two\nlines\\x07\n"


def test_an_error_of_several_lines_only_escapes_newlines_in_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise TenchError("dog\ntench info: all is well: is bad.", "Remove it.")

    monkeypatch.setattr("tench.cli.info.run", fail)
    assert main(["info", "x"]) == 1
    assert capsys.readouterr().err == "tench info: dog\\ntench info: all is well: is bad.\nRemove it.\n"
    assert str(TenchError("one", "two")) == "one\ntwo"


def test_an_error_of_any_length_is_shown_in_a_few_thousand_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise TenchError(f"{'a' * 10**6}: is too long. Rename it.")

    monkeypatch.setattr("tench.cli.info.run", fail)
    assert main(["info", "x"]) == 1
    shown = capsys.readouterr().err
    assert len(shown) < 4100
    assert shown.endswith("aaa: is too long. Rename it.\n")


def test_names_in_log_lines_are_escaped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def log(_: object) -> int:
        logging.getLogger("tench").info("%s: %d images in %s", "a\nb\x1b", 3, Path("c\nd"))
        return 0

    monkeypatch.setattr("tench.cli.info.run", log)
    assert main(["info", "x"]) == 0
    assert "a\\nb\\x1b: 3 images in c\\nd\n" in capsys.readouterr().err


def test_a_progress_bar_draws_itself_and_escapes_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("tench.progress._QUIET_SECONDS", -1.0)
    monkeypatch.setenv("TERM", "xterm")
    with guarded(), progress("read [red]\x1b]0;owned\x07", 10, "images") as advance:
        advance(5, "note\x1b]0;owned\x07")
        print("name\x1b]0;owned\x07", file=sys.stderr)
    shown = terminal.getvalue()
    assert "\x1b[" in shown
    assert "read [red]\\x1b]0;owned\\x07" in shown
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown


def test_names_of_classes_and_files_are_escaped_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, name in enumerate(("cat\x1b]0;owned\x07", "dog\ntench info: all is well", "eel\u202e", "猫")):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("L", (8, 8), 10 * label + number).save(tmp_path / name / f"{number}\x1b[2J.png")
    (tmp_path / "猫" / "bad\n\x1b[2J.png").write_bytes(b"no image")
    for command, code in (
        (["info"], 0),
        (["check"], 1),
        (["check", "--json"], 1),
        (["train", "--val-fraction", "0"], 2),
    ):
        assert main([command[0], str(tmp_path), *command[1:]]) == code
        found = capsys.readouterr()
        for text in (found.out, found.err):
            assert not set(text) & {*map(chr, range(9)), *map(chr, range(11, 32)), "\x7f", "\u202e"}
            assert "\ntench info: all" not in text
        if command == ["info"]:
            assert "猫" in found.out
            assert "dog\\ntench info: all is well" in found.out


def test_names_that_look_like_formulas_are_only_quoted_in_csv_for_spreadsheets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tench.files import spreadsheet_cell

    for text in ("=cmd()", "+1", "-1", "@x", "\tx", "\rx"):
        assert spreadsheet_cell(text) == f"'{text}"
    for value in ("a=b", "", "猫", 5, -1.5, None):
        assert spreadsheet_cell(value) == value


def test_a_separate_process_escapes_its_output_too(tmp_path: Path) -> None:
    (tmp_path / "x\x1b[2J.png").write_bytes(b"")
    command = [sys.executable, "-m", "tench", "info", str(tmp_path / "x\x1b[2J.png"), "--json"]
    result = run(command)
    assert result.returncode == 1
    assert "\x1b" not in result.stderr
    assert json.dumps("x\x1b").isascii()
