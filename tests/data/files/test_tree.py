import io
import os
import shutil
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.errors import error_of
from tests.support.files import tar_of, write_file, write_folder
from tests.support.processes import run

from tench.data.files.tree import Tree, is_pattern, open_pattern, open_tree
from tench.data.limits import Limits
from tench.errors import TenchError

FILES = {
    "a-b/1.jpg": b"a-b one",
    "a/1.jpg": b"one",
    "a/deep/2.jpg": b"two" * 300,
    "a0/3.jpg": b"",
    "top.txt": "\ufefftext \u00e9".encode(),
}
"""Names chosen so that "/" sorts between other characters: a-b, a/, a0."""


def lay_out(path: Path, files: dict[str, bytes] = FILES) -> Path:
    return write_folder(path, files)


def pack_tar(path: Path, files: dict[str, bytes] = FILES) -> Path:
    return write_file(path, tar_of(dict(reversed(files.items()))))


def pack_zip(path: Path, files: dict[str, bytes] = FILES, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in reversed(files.items()):
            archive.writestr(name, data)
    return path


def pack_deflated(path: Path, files: dict[str, bytes] = FILES) -> Path:
    return pack_zip(path, files, zipfile.ZIP_DEFLATED)


FORMS: list[Callable[[Path], Path]] = [lay_out, pack_tar, pack_zip, pack_deflated]


def contents(tree: Tree) -> dict[str, bytes]:
    return {name: tree.read(name) for name in tree.names}


refusal = error_of(open_tree)


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_and_its_archives_are_the_same_tree(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    tree = open_tree(form(tmp_path / "set"), tmp_path / "spool")
    assert list(tree.names) == sorted(FILES)
    assert contents(tree) == FILES
    assert list(tree.folders) == ["a", "a-b", "a/deep", "a0"]
    assert tree.top() == ["a-b/", "a/", "a0/", "top.txt"]
    assert tree.children("") == ["a", "a-b", "a0"]
    assert tree.children("a") == ["deep"]
    assert [tree.names[position] for position in tree.span("a")] == ["a/1.jpg", "a/deep/2.jpg"]
    assert contents(tree.under("a")) == {"1.jpg": b"one", "deep/2.jpg": b"two" * 300}
    assert tree.under("a").folders == ["deep"]
    assert "a/1.jpg" in tree
    assert "a/2.jpg" not in tree
    assert tree.text("top.txt") == "text \u00e9"


@pytest.mark.parametrize("form", FORMS)
def test_a_file_can_be_read_in_parts(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    with open_tree(form(tmp_path / "set"), tmp_path / "spool").open("a/deep/2.jpg") as file:
        file.seek(-4, os.SEEK_END)
        assert file.read(100) == b"otwo"
        file.seek(1)
        assert (file.read(3), file.tell()) == (b"wot", 4)


def test_archives_inside_archives_become_folders_when_opened(tmp_path: Path) -> None:
    inner = {
        name: pack_tar(tmp_path / name, {f"{name[0]}.jpg": name.encode()}).read_bytes() for name in ("x.tar", "y.tar")
    }
    outer = {"outer.tar": pack_tar(tmp_path / "outer", inner).read_bytes(), "other.txt": b"beside"}
    tree = open_tree(pack_zip(tmp_path / "set.zip", outer), tmp_path / "spool")
    assert list(tree.names) == ["other.txt", "outer.tar"]
    tree = tree.opened(["outer.tar"])
    assert list(tree.names) == ["other.txt", "outer.tar/x.tar", "outer.tar/y.tar"]
    tree = tree.opened(["outer.tar/x.tar", "outer.tar/y.tar"])
    assert contents(tree) == {
        "other.txt": b"beside",
        "outer.tar/x.tar/x.jpg": b"x.tar",
        "outer.tar/y.tar/y.jpg": b"y.tar",
    }
    assert list(tree.folders) == ["outer.tar", "outer.tar/x.tar", "outer.tar/y.tar"]
    assert set(tree.shards) == {str(tmp_path / "set.zip")}  # all rows point into the outer archive


def test_the_stamp_has_the_files_that_were_read_but_no_images_on_disk(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set")
    tree = open_tree(path, tmp_path / "spool")
    folders = {str(path), *(str(path / folder) for folder in tree.folders)}
    assert set(tree.stamp) == folders
    tree.read("top.txt")
    assert set(tree.stamp) == folders | {str(path / "top.txt")}


def test_rows_of_a_tree_contain_the_files_bytes(tmp_path: Path) -> None:
    tree = open_tree(pack_tar(tmp_path / "set.tar"), tmp_path / "spool")
    rows = tree.rows([2, 0], [1, 0], ["k2", "k0"])
    data = (tmp_path / "set.tar").read_bytes()
    assert rows.shards == [str(tmp_path / "set.tar")]
    assert isinstance(rows.offset, np.ndarray)
    assert isinstance(rows.length, np.ndarray)
    taken = [data[at : at + length] for at, length in zip(rows.offset, rows.length, strict=True)]
    assert taken == [FILES[tree.names[2]], FILES[tree.names[0]]]
    assert (rows.label.tolist(), rows.key) == ([1, 0], ["k2", "k0"])
    on_disk = open_tree(lay_out(tmp_path / "set"), tmp_path / "spool").rows([1], [0], ["k"])
    assert on_disk.shards == [str(tmp_path / "set/a/1.jpg")]


def test_the_place_of_a_file_is_its_path_or_its_position_in_its_archive(tmp_path: Path) -> None:
    tree = open_tree(lay_out(tmp_path / "set"), tmp_path / "spool")
    assert tree.place("a/1.jpg") == f"{tmp_path}/set/a/1.jpg"
    assert tree.path(tree.index("a/1.jpg")) == tmp_path / "set/a/1.jpg"
    tree = open_tree(pack_tar(tmp_path / "set.tar", {"a/1.jpg": b"1"}), tmp_path / "spool")
    assert tree.place("a/1.jpg") == f"{tmp_path}/set.tar/a/1.jpg (in {tmp_path}/set.tar at byte 512)"
    assert tree.path(0) is None
    single = open_tree(lay_out(tmp_path / "set") / "top.txt", tmp_path / "spool")
    assert (list(single.names), single.place("top.txt")) == (["top.txt"], f"{tmp_path}/set/top.txt")


@pytest.mark.parametrize("form", FORMS)
def test_files_left_by_archivers_are_left_out(tmp_path: Path, form: Callable[[Path, dict[str, bytes]], Path]) -> None:
    junk = dict.fromkeys(["a/._1.jpg", ".DS_Store", "__MACOSX/a/1.jpg", "a/.cache/x.jpg", "@eaDir/1.jpg"], b"junk")
    tree = open_tree(form(tmp_path / "set", {"a/1.jpg": b"1"} | junk), tmp_path / "spool")
    assert (list(tree.names), list(tree.folders)) == (["a/1.jpg"], ["a"])


def test_the_tree_includes_empty_folders(tmp_path: Path) -> None:
    (lay_out(tmp_path / "set") / "empty").mkdir()
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(tmp_path / "set", "set")
    shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path, "set")
    for name in ("set.tar", "set.zip"):
        assert open_tree(tmp_path / name, tmp_path / "spool").under("set").children("") == ["a", "a-b", "a0", "empty"]
    assert open_tree(tmp_path / "set", tmp_path / "spool").children("") == ["a", "a-b", "a0", "empty"]


@given(st.sets(st.text("a/-0", min_size=1, max_size=5).map(lambda text: text.strip("/")), max_size=8))
def test_the_span_of_a_folder_is_all_files_below_it(names: set[str]) -> None:
    listed = sorted(names)
    zeros = np.zeros(len(listed), np.int64)
    tree = Tree(Path(), Path(), Path(), listed, [], [], zeros, zeros, zeros, {})
    for folder in ("a", "a-a", "a/a", "0"):
        assert [listed[position] for position in tree.span(folder)] == [
            name for name in listed if name.startswith(f"{folder}/")
        ]


def test_deflated_members_are_spooled_once_and_the_size_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tree = open_tree(pack_deflated(tmp_path / "set.zip"), tmp_path / "spool")
    (spooled,) = (tmp_path / "spool").iterdir()
    assert spooled.stat().st_size == sum(map(len, FILES.values()))
    assert f"set.zip: {len(FILES)} members are compressed. Copying 0.0 MB once to {spooled}." in caplog.text
    assert contents(tree) == FILES


def test_a_disk_without_room_for_the_spool_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack_deflated(tmp_path / "set.zip")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    found = refusal(path, tmp_path / "spool")
    assert "GB must be copied to" in found
    assert found.endswith("Make room there, or set TENCH_CACHE to a folder on a larger disk.")


def test_a_zip_bomb_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = pack_deflated(tmp_path / "bomb.zip", {"a/1.jpg": bytes(300 * 2**20)})
    assert "bytes unpack to 314,572,800, more than 100 times as many" in refusal(path, tmp_path / "spool")
    assert not (tmp_path / "spool").exists()


def test_a_member_that_inflates_to_a_size_other_than_stated_is_an_error(tmp_path: Path) -> None:
    path = pack_deflated(tmp_path / "set.zip", {"a/1.jpg": b"x" * 1000})
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (999).to_bytes(4, "little")
    path.write_bytes(data)
    assert refusal(path, tmp_path / "spool") == (
        f"{path}: the zip archive is damaged or truncated ('a/1.jpg': its unpacked size differs from that in the "
        f"directory). Copy or download it again."
    )
    assert [entry.name for entry in (tmp_path / "spool").iterdir()] == []


@pytest.mark.parametrize("form", [pack_zip, pack_deflated])
def test_a_zip_cut_short_anywhere_is_an_error(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    path = form(tmp_path / "set.zip")
    whole = path.read_bytes()
    for length in range(8, len(whole), 41):
        path.write_bytes(whole[:length])
        assert "the zip archive is damaged or truncated" in refusal(path, tmp_path / "spool")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x"])
def test_a_zip_member_that_leads_outside_is_an_error(tmp_path: Path, name: str) -> None:
    assert f"the member {name!r} is outside" in refusal(pack_zip(tmp_path / "s.zip", {name: b""}), tmp_path / "spool")


def test_a_link_in_a_zip_is_an_error(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert "'a/link' is a symbolic link" in refusal(tmp_path / "set.zip", tmp_path / "spool")


def test_an_encrypted_zip_is_an_error(tmp_path: Path) -> None:
    path = pack_zip(tmp_path / "set.zip", {"a/1.jpg": b"1"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "'a/1.jpg' is encrypted. Unpack the archive and pass the folder." in refusal(path, tmp_path / "spool")


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    tree = open_tree(lay_out(tmp_path / "set"), tmp_path / "spool")
    (tmp_path / "set/a/deep/2.jpg").write_bytes(b"short")
    with pytest.raises(
        TenchError,
        match=r"set/a/deep/2\.jpg became shorter while it was being read\. Wait until it is complete, then try again\.",
    ):
        tree.read("a/deep/2.jpg")


def test_braces_in_a_pattern_expand_to_numbered_files(tmp_path: Path) -> None:
    names = [f"{split}/part-{number:04}.tar" for split in ("train", "val") for number in (8, 9, 10)]
    lay_out(tmp_path, dict.fromkeys(names, b"x"))
    pattern = tmp_path / "{train,val}/part-{0008..0010}.tar"
    assert is_pattern(str(pattern))
    tree = open_pattern(pattern, tmp_path / "spool")
    assert (list(tree.names), list(tree.folders)) == (sorted(names), ["train", "val"])
    assert contents(tree) == dict.fromkeys(names, b"x")
    starred = open_pattern(tmp_path / "tr*/part-000?.tar", tmp_path / "spool")
    assert list(starred.names) == ["part-0008.tar", "part-0009.tar"]
    assert not is_pattern("/data/set-{0000}.tar")


def test_a_missing_file_of_a_pattern_is_an_error(tmp_path: Path) -> None:
    lay_out(tmp_path, {"x-0.tar": b"", "x-2.tar": b""})
    pattern = tmp_path / "x-{0..2}.tar"
    with pytest.raises(TenchError, match=r"x-1\.tar: no such file, but the pattern .* includes it\."):
        open_pattern(pattern, tmp_path)
    with pytest.raises(TenchError, match=r"y\*: no such file"):
        open_pattern(tmp_path / "y*", tmp_path)
    with pytest.raises(TenchError, match=r"\{9\.\.2\} must count upwards"):
        open_pattern(tmp_path / "x-{9..2}.tar", tmp_path)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_of_several_files_with_the_same_name_in_an_archive_the_last_is_used(tmp_path: Path, kind: str) -> None:
    path, files = tmp_path / f"set.{kind}", [("cat/1.jpg", b"first"), ("dog/2.jpg", b"2"), ("cat/1.jpg", b"last")]
    if kind == "tar":
        with tarfile.open(path, "w") as tar:
            for name, data in files:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    else:
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings(action="ignore"):
            for name, data in files:
                archive.writestr(name, data)
    tree = open_tree(path, tmp_path / "spool")
    assert contents(tree) == {"cat/1.jpg": b"last", "dog/2.jpg": b"2"}
    assert tree.notes == [
        f"Names that occur more than once in an archive: 1, such as 'set.{kind}/cat/1.jpg'. The last file of each name "
        "is used, as when the archive is unpacked."
    ]


NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("form", FORMS)
def test_names_are_normalised_to_nfc_and_found_in_either_unicode_form(
    tmp_path: Path, form: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    tree = open_tree(form(tmp_path / "set", {f"{NFD}/{NFD}.jpg": b"1", "x/2.jpg": b"2"}), tmp_path / "spool")
    assert list(tree.names) == [f"{NFC}/{NFC}.jpg", "x/2.jpg"]
    assert list(tree.folders) == [NFC, "x"]
    assert tree.read(f"{NFD}/{NFD}.jpg") == tree.read(f"{NFC}/{NFC}.jpg") == b"1"
    assert len(tree.span(NFD)) == len(tree.under(NFD)) == 1
    assert tree.place(f"{NFC}/{NFC}.jpg").startswith(f"{tmp_path}/set/{NFC}/{NFC}.jpg")


def test_a_class_spelled_in_both_unicode_forms_is_one_folder(tmp_path: Path) -> None:
    path = pack_tar(tmp_path / "set.tar", {f"{NFD}/1.jpg": b"1", f"{NFC}/2.jpg": b"2"})
    assert open_tree(path, tmp_path / "spool").children("") == [NFC]


def test_two_files_that_differ_only_in_unicode_form_are_an_error(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set", {f"{NFC}.jpg": b"1", f"{NFD}.jpg": b"2"})
    assert refusal(path, tmp_path / "spool") == (
        f"{path}: two files are called 'caf\u00e9.jpg', one with composed and one with decomposed accents (Unicode NFC "
        "and NFD). Rename or remove one of them."
    )


def test_tar_names_in_another_code_page_are_read_with_a_note(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w", encoding="cp866", format=tarfile.GNU_FORMAT) as tar:
        for name in ("кот/1.jpg", "пёс/2.jpg", "top.txt"):
            tar.addfile(tarfile.TarInfo(name))
    tree = open_tree(tmp_path / "set.tar", tmp_path / "spool")
    assert list(tree.names) == ["top.txt", "кот/1.jpg", "пёс/2.jpg"]
    assert "2 names not in UTF-8, read as code page cp866" in tree.notes[0]


def test_pipes_sockets_and_devices_are_left_out_of_a_folder(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set")
    os.mkfifo(path / "a/pipe")
    (path / "device").symlink_to("/dev/zero")
    tree = open_tree(path, tmp_path / "spool")
    assert list(tree.names) == sorted(FILES)
    assert tree.notes == ["Left out named pipes, sockets and devices: 'a/pipe' (2 in all)."]


def test_a_source_that_is_a_pipe_or_a_device_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe", tmp_path / "spool") == (
        f"{tmp_path}/pipe: expected a file, found a named pipe. Pass a file or a folder."
    )
    assert (
        refusal(Path("/dev/zero"), tmp_path / "spool")
        == "/dev/zero: expected a file, found a device. Pass a file or a folder."
    )
    lay_out(tmp_path, {"set-0": b"0"})
    os.mkfifo(tmp_path / "set-1")
    with pytest.raises(TenchError, match="set-1: expected a file, found a named pipe"):
        open_pattern(tmp_path / "set-*", tmp_path / "spool")


def test_a_pipe_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set")
    tree = open_tree(path, tmp_path / "spool")
    (path / "top.txt").unlink()
    os.mkfifo(path / "top.txt")
    with pytest.raises(TenchError, match=r"top\.txt: expected a file, found a named pipe"):
        tree.read("top.txt")


def test_links_back_to_a_folder_above_are_not_followed(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set")
    (path / "a/self").symlink_to(".")
    (path / "a/deep/up").symlink_to("../..")
    (path / "beside").symlink_to("a0")
    tree = open_tree(path, tmp_path / "spool")
    assert list(tree.names) == sorted([*FILES, "beside/3.jpg"])
    assert tree.notes == ["Links to a folder above them are not followed: 'a/deep/up' (2 in all)."]


def test_links_that_multiply_the_paths_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "set"
    for number in range(8):  # each folder has two links to the next: 2^8 paths to the last
        lay_out(path, {f"{number}/x.jpg": b"x"})
        for name in "ab":
            (path / f"{number}/{name}").symlink_to(f"../{number + 1}")
    (path / "8").mkdir()
    found = refusal(path, tmp_path / "spool")
    assert found.endswith(
        "is reached by more than 64 paths, through links between folders. Remove the links, or pass a folder without "
        "them."
    )
    with pytest.raises(TenchError, match="is reached by more than 2 paths"):
        open_tree(path, tmp_path / "spool", limits=Limits(links_to_folder=2))


def test_a_folder_that_is_too_deep_is_an_error_wherever_it_is(tmp_path: Path) -> None:
    deep = {"cat/1.jpg": b"1", "a/" * 129 + "x.jpg": b"x"}
    for number, form in enumerate((lay_out, pack_tar, pack_zip, pack_deflated)):
        path = form(tmp_path / str(number), deep)
        found = refusal(path, tmp_path / "spool")
        assert found.startswith(f"{path}: the folder ")
        assert found.endswith("at most 128 are read. Move its content further up, or out of the dataset.")


def test_a_folder_of_any_depth_is_walked_if_the_limits_allow_it(tmp_path: Path) -> None:
    path, depth = tmp_path / "set", 1100  # more than Python's recursion limit
    path.mkdir()
    above = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("a", dir_fd=above)
        below = os.open("a", os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
    try:
        tree = open_tree(path, tmp_path / "spool", limits=Limits(path_depth=2000))
        assert len(tree.folders) == depth
        assert "is 129 levels deep" in refusal(path, tmp_path / "spool")
    finally:
        assert run(["rm", "-r", path]).returncode == 0  # Python's own functions are recursive


def test_the_total_size_of_folder_names_is_limited(tmp_path: Path) -> None:
    path = pack_tar(tmp_path / "set.tar", {f"{number}/" + "a/" * 100 + "x.jpg": b"x" for number in range(20)})
    with pytest.raises(
        TenchError, match=r"set\.tar: the paths of the first .* have more than 100,000 characters in total"
    ):
        open_tree(path, tmp_path / "spool", limits=Limits(folder_name_bytes=100_000))


def test_more_files_than_the_limit_are_an_error(tmp_path: Path) -> None:
    for form in FORMS:
        with pytest.raises(TenchError, match=r"has more than 3 (files|members)\."):
            open_tree(form(tmp_path / form.__name__), tmp_path / "spool", limits=Limits(members=3))


def test_archives_that_are_nested_too_deeply_are_an_error(tmp_path: Path) -> None:
    files = {"x.jpg": b"x"}
    for number in range(4):
        files = {f"{number}.tar": pack_tar(tmp_path / "inner.tar", files).read_bytes()}
    tree = open_tree(pack_tar(tmp_path / "outer.tar", files), tmp_path / "spool", limits=Limits(nested_archives=3))
    for name in ("3.tar", "3.tar/2.tar"):
        tree = tree.opened([name])
    with pytest.raises(TenchError, match=r"1\.tar .*is in 3 nested archives"):
        tree.opened(["3.tar/2.tar/1.tar"])


def test_an_archive_inside_one_of_the_same_name_is_spooled_separately(tmp_path: Path) -> None:
    inner = pack_deflated(tmp_path / "inner.zip", {"x.jpg": b"inner" * 100}).read_bytes()
    path = pack_deflated(tmp_path / "set.zip", {"set.zip": inner, "y.jpg": b"outer" * 100})
    tree = open_tree(path, tmp_path / "spool").opened(["set.zip"])
    assert contents(tree) == {"set.zip/x.jpg": b"inner" * 100, "y.jpg": b"outer" * 100}


def test_the_size_of_a_file_that_is_read_whole_is_limited(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set")
    with (path / "classes.txt").open("wb") as file:
        file.truncate(20 * 10**9)
    tree = open_tree(path, tmp_path / "spool")
    with pytest.raises(TenchError) as error:
        tree.text("classes.txt", "a class list")
    assert str(error.value) == (
        f"{path}/classes.txt: the file has 20,000,000,000 bytes, but a class list may have at most 134,217,728. The "
        f"file is "
        f"damaged or is something else. Replace it, or move it out of the dataset."
    )
    assert tree.read("a/1.jpg", at_most=3) == b"one"
    with pytest.raises(TenchError, match="has 3 bytes, but a file that is read whole may have at most 2"):
        tree.read("a/1.jpg", at_most=2)


def test_a_zip_bomb_of_members_that_share_their_bytes_is_refused(tmp_path: Path) -> None:
    path = pack_deflated(tmp_path / "set.zip", {"a/1.jpg": bytes(10**6)})
    whole = path.read_bytes()
    begin = whole.index(b"PK\x01\x02")
    entry, end = whole[begin:-22], bytearray(whole[-22:])
    end[8:10] = end[10:12] = (400).to_bytes(2, "little")
    end[12:16] = (400 * len(entry)).to_bytes(4, "little")
    path.write_bytes(whole[:begin] + entry * 400 + end)
    assert "bytes unpack to 400,000,000, more than 100 times as many" in refusal(path, tmp_path / "spool")


@pytest.mark.parametrize("braces", ["{0..999999}{0..999999}", "{a,b}" * 40, "{a,{b,{c,d}}}" * 20])
def test_a_pattern_for_too_many_files_is_an_error(tmp_path: Path, braces: str) -> None:
    with pytest.raises(TenchError, match=r"expands to more than 1,000,000 files\. Pass a folder instead\."):
        open_pattern(tmp_path / braces, tmp_path)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs /proc/self/mem")
def test_a_file_that_fails_while_it_is_read_is_named(tmp_path: Path) -> None:
    assert refusal(Path("/proc/self/mem"), tmp_path / "spool") == (
        "/proc/self/mem: cannot be read (Input/output error)."
    )


def test_a_path_too_long_to_open_is_an_error_on_one_line(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set", {"cat/1.jpg": b"1"})
    above = os.open(path / "cat", os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=above)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
    found = refusal(path, tmp_path / "spool")
    assert found.startswith(f"{path}/cat/ddd")
    assert found.endswith(
        " bytes): cannot be read (File name too long). Move its content further up, or out of the dataset."
    )
    assert len(found) < 400


@pytest.mark.parametrize("start", [b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"BZh9", b"\x28\xb5\x2f\xfd"])
def test_a_compressed_file_that_cannot_be_unpacked_is_an_error_and_not_read_as_another_type(
    tmp_path: Path, start: bytes
) -> None:
    (tmp_path / "set.tar.x").write_bytes(start + b"nonsense" * 100)
    assert refusal(tmp_path / "set.tar.x", tmp_path / "spool").startswith(f"{tmp_path}/set.tar.x: the ")
