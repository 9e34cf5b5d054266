import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.errors import error_of

from tench.data.formats.lst import read_lst
from tench.data.labels.listing import Listed, listed_lst, listed_of
from tench.data.labels.roles import roles_of
from tench.data.labels.tables import Sheet, decoded, is_parquet_list, looks_like_image, parquet_sheet, text_sheet
from tench.data.options import SourceOptions
from tench.errors import TenchError


def pairs(listed: Listed) -> list[tuple[str, int | str]]:
    return list(zip(listed.paths, listed.labels, strict=True))


def listed_from(sheet: Sheet | None, label: str | None = None, split_from: str | None = None) -> Listed:
    assert sheet is not None
    return listed_of(sheet, roles_of(sheet, looks_like_image, SourceOptions(label=label, split_from=split_from)))


def parse(data: bytes, where: str, label: str | None = None, split_from: str | None = None) -> Listed:
    return listed_from(text_sheet(decoded(data, where), where), label, split_from)


def read(*lines: str, label: str | None = None, split_from: str | None = None) -> Listed:
    return parse("".join(f"{line}\n" for line in lines).encode(), "LIST", label, split_from)


def read_lines_of_lst(*lines: str) -> Listed:
    text = "".join(f"{line}\n" for line in lines)
    return listed_lst(read_lst(text, "LIST"), text, "LIST")


refusal = error_of(read)


def test_a_plain_list_has_a_path_and_a_label_on_each_line() -> None:
    listed = read("n01440764/n01440764_10026.JPEG 0", "n15075141/n15075141_9993.JPEG 999")
    assert pairs(listed) == [("n01440764/n01440764_10026.JPEG", 0), ("n15075141/n15075141_9993.JPEG", 999)]
    assert listed.lines == [1, 2]
    assert listed.notes == ()


def test_a_path_may_contain_spaces_and_lines_may_be_empty_or_have_windows_line_ends() -> None:
    listed = parse(b"\xef\xbb\xbf\r\n my cat/1 (2).jpg   3\r\n\r\n./b//2.jpg\t4\r\n", "LIST")
    assert pairs(listed) == [("my cat/1 (2).jpg", 3), ("b/2.jpg", 4)]
    assert listed.lines == [2, 4]


def test_the_last_line_may_lack_a_line_end() -> None:
    assert pairs(parse(b"a.jpg 0\nb.jpg 1", "LIST")) == [("a.jpg", 0), ("b.jpg", 1)]


@pytest.mark.parametrize(("lines", "expected"), [
    (["cat/1.jpg,cat", '"a,b.jpg",dog'], [("cat/1.jpg", "cat"), ("a,b.jpg", "dog")]),
    (["1.jpg,great white shark"], [("1.jpg", "great white shark")]),
    (["1 a.jpg\tgreat white shark"], [("1 a.jpg", "great white shark")]),
    (["1.jpg;3", "2.jpg; 4"], [("1.jpg", 3), ("2.jpg", 4)]),
    (["1.jpg cat", "2.jpg dog"], [("1.jpg", "cat"), ("2.jpg", "dog")]),
])  # fmt: skip
def test_columns_need_no_header_if_the_first_names_an_image(
    lines: list[str], expected: list[tuple[str, int | str]]
) -> None:
    assert pairs(read(*lines)) == expected


@pytest.mark.parametrize("path", ["path", "File_Name", "filename", "file", " image", "image_path", "filepath"])
@pytest.mark.parametrize("label", ["label", "class", "Class_ID", "category", "target", "wnid", "synset"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_header_says_which_columns_are_the_path_and_the_label(path: str, label: str, delimiter: str) -> None:
    rows = [["n", label, "x", path], ["1", "cat", "", "a 1.jpg"], ["2", "dog", "", "b"]]
    listed = read(*(delimiter.join(row) for row in rows))
    assert pairs(listed) == [("a 1.jpg", "cat"), ("b", "dog")]
    assert listed.lines == [2, 3]


def test_one_of_several_possible_label_columns_is_used_and_a_note_says_which() -> None:
    listed = read("label,wnid,path", "0,n01440764,1.jpg", "1,n01443537,2.jpg")
    assert pairs(listed) == [("1.jpg", "n01440764"), ("2.jpg", "n01443537")]
    assert listed.notes == ("LIST: the labels come from column 'wnid', not 'label'.",)
    assert pairs(read("Path,path,label,LABEL", "1.jpg,2.jpg,3,4")) == [("1.jpg", 3)]


text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(lambda s: s == s.strip())


@given(
    st.lists(st.tuples(text, st.integers(0, 999)), min_size=1, unique_by=lambda row: row[0]), st.sampled_from(",;\t")
)
def test_files_written_by_pythons_csv_are_read_back(rows: list[tuple[str, int]], delimiter: str) -> None:
    rows = [(f"{path}.jpg", label) for path, label in rows]
    rows = [(path, label) for path, label in rows if not path.startswith("./") and "//" not in path]
    if not rows:
        return
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([("path", "label"), *rows])
    assert pairs(parse(file.getvalue().encode(), "LIST")) == rows


@given(st.lists(st.tuples(text, text.filter(lambda s: s[0].isalpha())), min_size=1, unique_by=lambda row: row[0]))
def test_files_written_by_pythons_json_are_read_back(rows: list[tuple[str, str]]) -> None:
    rows = [(f"_{path}", label) for path, label in rows if "//" not in path and set("|;, ").isdisjoint(label)]
    if not rows:
        return
    lines = [json.dumps({"file_name": path, "label": label, "more": {"x": [1]}}) for path, label in rows]
    assert pairs(read(*lines)) == rows


def test_json_lines_may_contain_numbers_names_or_nothing_for_labels() -> None:
    assert pairs(read('{"path": "a.jpg", "label": 3}', '{"label": 4.0, "path": "b.jpg"}')) == [
        ("a.jpg", 3),
        ("b.jpg", 4),
    ]
    listed = read('{"path": "a.jpg", "label": null}', '{"path": "b.jpg"}', '{"path": "c.jpg", "label": "cat"}')
    assert pairs(listed) == [("a.jpg", ""), ("b.jpg", ""), ("c.jpg", "cat")]
    assert listed.unlabelled() == [0, 1]


def test_an_mxnet_list_keeps_all_labels_and_the_first_is_the_class() -> None:
    listed = read_lines_of_lst("10\t2.000000\t0.5\t-7\tsub/c 0.png", "3\t1\t0\t0\tsub/b.png")
    assert pairs(listed) == [("sub/c 0.png", 2), ("sub/b.png", 1)]
    assert {position: list(every) for position, every in listed.several.items()} == {0: [2, 0.5, -7], 1: [1, 0, 0]}
    assert listed.raw


def test_an_mxnet_list_with_one_label_per_line_has_no_multiple_labels() -> None:
    listed = read_lines_of_lst("10\t2.000000\ta.png", "", "9\t1.000000\tb.png")
    assert (pairs(listed), listed.several, listed.lines) == ([("a.png", 2), ("b.png", 1)], {}, [1, 3])


@pytest.mark.parametrize("cell", ['"[3, 1]"', "3;1", "3 | 1", '"3, 1"', "3 1"])
def test_a_cell_of_the_column_labels_may_contain_several(cell: str) -> None:
    listed = read("path,labels", f"a.jpg,{cell}", "b.jpg,2")
    assert (pairs(listed), listed.several) == ([("a.jpg", 3), ("b.jpg", 2)], {0: [3, 1]})


def test_names_in_the_column_labels_are_separated_only_by_semicolons_and_bars() -> None:
    listed = read("path\tlabels", "a.jpg\ttench, Tinca tinca;great white shark", "b.jpg\tgoldfish|tench, Tinca tinca")
    assert listed.several == {
        0: ["tench, Tinca tinca", "great white shark"],
        1: ["goldfish", "tench, Tinca tinca"],
    }
    assert listed.labels == ["tench, Tinca tinca", "goldfish"]


def test_a_list_in_a_cell_of_any_column_is_several_labels() -> None:
    assert read('{"path": "a.jpg", "label": ["x", "y"]}', '{"path": "b.jpg", "label": "y"}').several == {0: ["x", "y"]}
    assert read("path,label", 'a.jpg,"[5, 6]"', "b.jpg,6").several == {0: [5, 6]}


def test_lines_that_repeat_a_path_give_it_several_labels() -> None:
    listed = read("a.jpg 3", "b.jpg 1", "./a.jpg 1", "a.jpg 2")
    assert (pairs(listed), listed.several, listed.lines) == ([("a.jpg", 3), ("b.jpg", 1)], {0: [3, 1, 2]}, [1, 2])


def test_a_line_that_appears_twice_is_an_error_that_names_both() -> None:
    assert refusal("a.jpg 3", "b.jpg 1", "a.jpg 3") == (
        "LIST: lines 1 and 3 both name a.jpg with the same label. Each image may be listed once. Remove one."
    )
    assert "LIST: lines 1 and 4 both name a.jpg" in refusal("a.jpg 3", "b.jpg 1", "a.jpg 4", "a.jpg 4")
    assert "lines 1 and 2 both name a.jpg" in refusal("a.jpg", "a.jpg")


def test_a_column_of_splits_is_kept_and_an_image_may_be_in_two() -> None:
    listed = read("path,label,split", "a.jpg,0,train", "a.jpg,0, val", "b.jpg,1,train")
    assert listed.paths == ["a.jpg", "a.jpg", "b.jpg"]
    assert listed.splits == ["train", "val", "train"]


def test_kaggles_train_list_has_line_numbers_and_the_class_is_the_folder() -> None:
    listed = read("n01440764/n01440764_10026 1", "n01440764/n01440764_10027 2", "n01443537/n01443537_2 3")
    assert pairs(listed) == [
        ("n01440764/n01440764_10026.JPEG", "n01440764"),
        ("n01440764/n01440764_10027.JPEG", "n01440764"),
        ("n01443537/n01443537_2.JPEG", "n01443537"),
    ]
    assert listed.notes == (
        "LIST: its numbers are line numbers, as in Kaggle's lists; the class of an image is its folder.",
    )


@pytest.mark.parametrize("split", ["val", "test"])
def test_kaggles_other_lists_have_line_numbers_and_no_labels(split: str) -> None:
    listed = read(f"ILSVRC2012_{split}_00000001 1", f"ILSVRC2012_{split}_00000002 2", f"ILSVRC2012_{split}_00000010 10")
    assert listed.paths[2] == f"ILSVRC2012_{split}_00000010.JPEG"
    assert listed.labels == [-1, -1, -1]
    assert listed.line_numbers


def test_kaggle_style_names_with_real_labels_are_an_ordinary_list() -> None:
    listed = read("ILSVRC2012_val_00000001 65", "ILSVRC2012_val_00000002 970")
    assert pairs(listed) == [("ILSVRC2012_val_00000001.JPEG", 65), ("ILSVRC2012_val_00000002.JPEG", 970)]
    listed = read("n01440764/n01440764_1 0", "n01440764/n01440764_2 0", "n01443537/n01443537_2 1")
    assert listed.labels == [0, 0, 1]
    assert not listed.line_numbers


def write_parquet(file: Path, **columns: object) -> Path:
    pa.parquet.write_table(pa.table(columns), file)
    return file


def test_a_parquet_file_with_paths_and_labels_is_a_list(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "x", file_name=["a.jpg", "b.jpg"], label=[4, None], more=[1, 2], split=["val", "val"]
    )
    with path.open("rb") as file:
        assert is_parquet_list(file)
        listed = listed_from(parquet_sheet(file, "LIST"))
    assert (pairs(listed), listed.splits) == ([("a.jpg", 4), ("b.jpg", -1)], ["val", "val"])
    assert listed.place(1) == "LIST, row 1"
    path = write_parquet(tmp_path / "x", path=["a.jpg", "b.jpg"], labels=[["x", "y"], ["y"]])
    with path.open("rb") as file:
        assert listed_from(parquet_sheet(file, "LIST")).several == {0: ["x", "y"]}


def test_a_parquet_file_of_images_or_without_labels_is_not_a_list(tmp_path: Path) -> None:
    for columns in (
        {"image": [b"x"], "label": [1]},
        {"image": [b"x"], "path": ["a.jpg"], "label": [1]},
        {"path": ["a.jpg"]},
        {"x": ["a.jpg"], "label": [1]},
    ):
        with write_parquet(tmp_path / "x", **columns).open("rb") as file:
            assert not is_parquet_list(file)
    (tmp_path / "x").write_bytes(b"PAR1 truncated")
    with (tmp_path / "x").open("rb") as file:
        assert not is_parquet_list(file)


def test_errors_in_a_parquet_list_name_the_row(tmp_path: Path) -> None:
    for columns, found in (
        ({"path": ["a.jpg", None], "label": [1, 2]}, "LIST, row 1 has no image path"),
        ({"path": ["a.jpg", "b.jpg"], "label": [1.0, 2.5]}, "LIST, row 1: the label 2.5 is not a class"),
        ({"path": ["a.jpg", "a.jpg"], "label": [1, 1]}, "LIST: rows 0 and 1 both name a.jpg"),
    ):
        with write_parquet(tmp_path / "x", **columns).open("rb") as file, pytest.raises(TenchError) as error:
            listed_from(parquet_sheet(file, "LIST"))
        assert str(error.value).startswith(found)


def test_a_parquet_list_of_more_rows_than_there_are_images_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tench.data.labels.tables._MOST_ROWS", 10)
    with (
        write_parquet(tmp_path / "x", path=["a.jpg"] * 11, label=[1] * 11).open("rb") as file,
        pytest.raises(TenchError) as error,
    ):
        parquet_sheet(file, "LIST")
    assert str(error.value) == (
        "LIST has 11 rows, but a list of images may have at most 10. The file is damaged or is something else. "
        "Replace it, or leave it out with --exclude."
    )


def test_a_damaged_parquet_list_is_an_error(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x", path=[f"{n}.jpg" for n in range(1000)], label=list(range(1000)))
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with path.open("rb") as file, pytest.raises(TenchError, match="LIST cannot be read as Parquet"):
        listed_from(parquet_sheet(file, "LIST"))


@pytest.mark.parametrize(("lines", "expected"), [
    (["path,label"], "LIST has column names but no rows: path, label."),
    (["a.jpg 0", "b.jpg,1"],
     "LIST, line 2 has columns, but line 1 has a path and a label with a space between them. All lines of a list "
     "must have the same form. Correct the line."),
    (["", "a.jpg,0", "b.jpg 1"],
     "LIST, line 3 has 1 columns, but line 2 has 2 (separated by ','). Quote cells that contain the separator, or "
     "correct the line."),
    (["path,label", "a.jpg,0", "b,c.jpg,1"], "LIST, line 3 has 3 columns, but line 1 has 2 (separated by ',')."),
    (['{"path": "a.jpg", "label": 0}', "b.jpg 1"], "LIST, line 2 is not a JSON object, but line 1 is."),
    (['{"path": "a.jpg", "label": 0}', '{"path": "b.jpg", "label'], "LIST, line 2 is not a JSON object, but line 1"),
    (['{"path": "a.jpg", "label": 0}', '{"label": 0}'], "LIST, line 2 has no image path."),
    (['{"path": "a.jpg", "label": 1}', '{"path": "b.jpg", "label": true}'], "LIST, line 2: True is not a label."),
    (['{"path": "a.jpg", "label": true}'], "LIST, line 1: True is not a label. Write a number, a name or"),
    (["path,label", 'a.jpg,"[1, 2"'], "LIST, line 2: '[1, 2' is not a label."),
    (["path,label", 'a.jpg,"[[1]]"'], "LIST, line 2: '[[1]]' is not a label."),
    (["path,label", ",1"], "LIST, line 2 has no image path."),
    (["path,label", 'a.jpg,1', '"b.jpg,2'], "LIST, line 3 cannot be read as columns (unexpected end of data)."),
    (["a.jpg 0", "b.jpg cat", "c.jpg 1"],
     "LIST: labels must be all numbers or all names, but line 1 has 0 and line 2 has 'cat'. One kind occurs only "
     "once. Correct it."),
    (["a.jpg cat", "b.jpg 1"], "LIST: labels must be all numbers or all names, but line 2 has 1 and line 1 has"),
    (["a.jpg 0", "b.jpg 1.5"], "LIST, line 2: the label 1.5 is not a class. Classes are whole numbers"),
    (["a.jpg 0", "b.jpg 1e3"], "LIST, line 2: the label 1e3 is not a class."),
    (["a.jpg 0", "b.jpg -2"], "LIST, line 2: the label -2 is not a class."),
    (["a.jpg 0", "b.jpg 99999999999999999999"], "LIST, line 2: the label 99999999999999999999 is not a class."),
    (["n01440764/n01440764_1 1", "cat.jpg 2"],
     "LIST, line 2: 'cat.jpg' is not written as 'n01440764/n01440764_1' in line 1, which omits .JPEG"),
])  # fmt: skip
def test_a_line_that_does_not_match_the_others_is_an_error_that_names_it(lines: list[str], expected: str) -> None:
    assert refusal(*lines).startswith(expected)


def test_a_list_that_is_not_utf_8_is_an_error_with_the_line() -> None:
    with pytest.raises(TenchError) as error:
        parse(b"a.jpg 0\nb.jpg 1\ncaf\xe9.jpg 2\n", "LIST")
    assert str(error.value) == (
        "LIST, line 3: the byte 0xe9 is not UTF-8 text. Save the file as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8, if it "
        "is from Windows)."
    )


@pytest.mark.parametrize(("lines", "expected"), [
    (["1\t2\ta.jpg", "b.jpg 1"], "LIST, line 2 must be an id (a whole number), one or more labels"),
    (["1\t0\ta.jpg", "2\t1e20\tb.jpg"], "LIST, line 2: the label 1e+20 is not a class."),
    (["1\t0\ta.jpg", "2\t-3\tb.jpg"], "LIST, line 2: the label -3 is not a class."),
    (["1\t0\ta.jpg", "2\t0\ta.jpg"], "LIST: lines 1 and 2 both name a.jpg with the same label."),
])  # fmt: skip
def test_a_malformed_line_of_an_mxnet_list_is_an_error_that_names_it(lines: list[str], expected: str) -> None:
    with pytest.raises(TenchError) as error:
        read_lines_of_lst(*lines)
    assert str(error.value).startswith(expected)


def outcome(data: bytes) -> Listed | str | None:
    try:
        sheet = text_sheet(decoded(data, "LIST"), "LIST")
        return None if sheet is None else listed_from(sheet)
    except TenchError as error:
        return str(error)


@given(
    st.binary(max_size=200) | st.text(st.sampled_from('a.jpg 1,\t{}":[]\npathlbe;|n0-'), max_size=80).map(str.encode)
)
def test_any_file_gives_a_list_nothing_or_one_error(data: bytes) -> None:
    found = outcome(data)
    if isinstance(found, str):
        assert found.startswith("LIST")
    elif found is not None:
        assert len(found.paths) == len(found.labels) == len(found.lines) > 0
