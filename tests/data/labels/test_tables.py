"""Tables of labels in every form, and the roles of their columns."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.errors import error_of

from tench.data.labels.annotations import cvat_entries
from tench.data.labels.roles import Roles, roles_of
from tench.data.labels.tables import Sheet, decoded, looks_like_image, text_sheet
from tench.data.options import SourceOptions
from tench.errors import TenchError, UsageError

NAMES = {f"img_{number}" for number in range(9)}


def is_image(text: str) -> bool:
    return looks_like_image(text) or text in NAMES


def sheet_of(data: str | bytes) -> Sheet:
    text = decoded(data, "LIST") if isinstance(data, bytes) else data
    sheet = text_sheet(text, "LIST", is_image)
    assert sheet is not None
    return sheet


def rows(sheet: Sheet) -> list[tuple[Any, ...]]:
    return list(zip(*sheet.cells, strict=True))


def roles(*lines: str, label: str | None = None, split_from: str | None = None) -> Roles:
    sheet = sheet_of("".join(f"{line}\n" for line in lines))
    return roles_of(sheet, is_image, SourceOptions(label=label, split_from=split_from))


refusal = error_of(roles)


TABLE = [("id_code", "Klasse"), ("img_0", "äpfel"), ("img_1", "birnen"), ("img_2", "äpfel")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_text_is_read_in_any_encoding_with_any_line_end_and_separator(encoding: str, end: str, delimiter: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(TABLE)
    sheet = sheet_of(file.getvalue().encode(encoding))
    assert sheet.columns == TABLE[0]
    assert rows(sheet) == TABLE[1:]
    assert list(sheet.lines) == [2, 3, 4]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6), min_size=1, max_size=9)
)
def test_cells_quoted_by_pythons_csv_are_read_back(labels: list[str]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(
        [("image", "label"), *((f"{number}.jpg", label) for number, label in enumerate(labels))]
    )
    assert [label for _, label in rows(sheet_of(file.getvalue()))] == labels


def test_excels_separator_line_is_not_a_row() -> None:
    sheet = sheet_of("sep=;\nimage;label\na.jpg;x, y\nb.jpg;z\n")
    assert (sheet.columns, rows(sheet)) == (("image", "label"), [("a.jpg", "x, y"), ("b.jpg", "z")])


def test_comments_at_the_top_are_not_rows_and_may_name_the_columns() -> None:
    sheet = sheet_of("#a file\n#Image CLASS SPECIES\nimg_0 1 1\nimg_1 2 1\n")
    assert (sheet.columns, rows(sheet)) == (("Image", "CLASS", "SPECIES"), [("img_0", "1", "1"), ("img_1", "2", "1")])
    assert list(sheet.lines) == [3, 4]


@pytest.mark.parametrize(("text", "columns", "expected"), [
    ("img_0 BAE 146-200\nimg_1 A320\n", ("path", "label"), [("img_0", "BAE 146-200"), ("img_1", "A320")]),
    ("a b.jpg 3\nc.jpg 4\n", ("path", "label"), [("a b.jpg", "3"), ("c.jpg", "4")]),
    ("img_0\nimg_1\n", ("path",), [("img_0",), ("img_1",)]),
    ("path\na.jpg\nb.jpg\n", ("path",), [("a.jpg",), ("b.jpg",)]),
    ("Id\nimg_0\nimg_1\n", ("path",), [("img_0",), ("img_1",)]),
    ("2\nSmiling Young\n1.jpg -1  1\n2.jpg  1 -1\n", ("image", "Smiling", "Young"),
     [("1.jpg", "-1", "1"), ("2.jpg", "1", "-1")]),
    ("1 a.jpg cat web\n2 b.jpg dog web\n", ("column 1", "column 2", "column 3", "column 4"),
     [("1", "a.jpg", "cat", "web"), ("2", "b.jpg", "dog", "web")]),
    ("a.jpg,1,2,7\nb.jpg,3,4,8\n", ("column 1", "column 2", "column 3", "column 4"),
     [("a.jpg", "1", "2", "7"), ("b.jpg", "3", "4", "8")]),
    ("a,label\nimg_0,x,\nimg_1,y,\n", ("a", "label"), [("img_0", "x"), ("img_1", "y")]),
])  # fmt: skip
def test_image_names_decide_how_lines_are_split(
    text: str, columns: tuple[str, ...], expected: list[tuple[str, ...]]
) -> None:
    sheet = sheet_of(text)
    assert (sheet.columns, rows(sheet)) == (columns, expected)


PAIRS = [("a.jpg", "x"), ("b.jpg", "y")]


@pytest.mark.parametrize("data", [
    [{"image": path, "label": label} for path, label in PAIRS],
    {"image": ["a.jpg", "b.jpg"], "label": ["x", "y"]},
    {"image": {"0": "a.jpg", "1": "b.jpg"}, "label": {"0": "x", "1": "y"}},
    {"info": "ours", "data": [{"image": path, "label": label} for path, label in PAIRS]},
    dict(PAIRS),
    {path: {"label": label} for path, label in PAIRS},
    {label: [path] for path, label in PAIRS},
    {"labels": [list(pair) for pair in PAIRS]},
    [list(pair) for pair in PAIRS],
])  # fmt: skip
def test_every_form_of_json_gives_the_same_rows(data: Any) -> None:
    assert rows(sheet_of(json.dumps(data, indent=1))) == PAIRS


def test_json_by_split_gives_a_column_of_splits() -> None:
    data = {"train": [{"image": "a.jpg", "label": "x"}], "val": [{"image": "b.jpg", "label": "y"}]}
    sheet = sheet_of(json.dumps(data))
    assert (sheet.columns, rows(sheet)) == (
        ("image", "label", "split"),
        [("a.jpg", "x", "train"), ("b.jpg", "y", "val")],
    )


def test_nested_objects_become_columns_with_both_names() -> None:
    sheet = sheet_of(json.dumps([{"filename": "a.jpg", "file_attributes": {"label": "x"}}]))
    assert sheet.columns == ("filename", "file_attributes.label")


def coco(**more: Any) -> str:
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}]
    categories = [{"id": 5, "name": "cat", "supercategory": "pet"}, {"id": 2, "name": "fox"}]
    annotations = [{"image_id": 7, "category_id": 2}, {"image_id": 8, "category_id": 5}]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories} | more)


def test_coco_classes_are_in_the_order_of_the_categories() -> None:
    sheet = sheet_of(coco())
    assert sheet.columns == ("file_name", "label", "supercategory")
    assert rows(sheet) == [("a.jpg", 2, None), ("b.jpg", 5, "pet")]
    assert sheet.told == {5: "cat", 2: "fox"}


@pytest.mark.parametrize(("more", "expected"), [
    ({"annotations": [{"image_id": 9, "category_id": 2}]},
     "LIST: annotation 0 refers to the image 9, which is not among the file's 2 images. Export or download the "
     "file again."),
    ({"annotations": [{"image_id": 7, "category_id": 3}]},
     "LIST: annotation 0 refers to the category 3, which is not among the file's 2 categories. Export or download "
     "the file again."),
    ({"images": [{"id": 7}]},
     "LIST has `images` and `annotations` as COCO does, but an entry lacks 'file_name'. Images need `id` and "
     "`file_name`, annotations `image_id` and `category_id`, categories `id` and `name`."),
])  # fmt: skip
def test_a_dangling_reference_in_coco_is_an_error(more: dict[str, Any], expected: str) -> None:
    with pytest.raises(TenchError) as error:
        sheet_of(coco(**more))
    assert str(error.value) == expected


def test_a_label_studio_export_gives_choices_and_leaves_out_unlabelled_images() -> None:
    def task(name: str, *choices: str) -> dict[str, Any]:
        result = [{"type": "choices", "value": {"choices": list(choices)}}]
        return {"data": {"image": f"/data/upload/1/{name}"}, "annotations": [{"result": result}] if choices else []}

    sheet = sheet_of(json.dumps([task("a%20b.jpg", "cat"), task("c.jpg", "dog", "cat"), task("d.jpg")]))
    assert rows(sheet) == [("a b.jpg", ["cat"]), ("c.jpg", ["dog", "cat"])]
    assert sheet.notes == ("LIST: left out 1 image without a label.",)
    short = sheet_of(json.dumps([{"id": 1, "image": "/data/local-files/?d=x/a.jpg", "choice": "cat"}] * 2))
    assert rows(short)[0] == (1, "x/a.jpg", "cat")


def test_a_cvat_export_gives_the_tags_of_images() -> None:
    xml = (
        '<annotations><version>1.1</version><image id="0" name="a.jpg" subset="Train"><tag label="cat"/>'
        '<box label="x"/></image><image id="1" name="b.jpg" subset="Train"/></annotations>'
    )
    found = cvat_entries(xml.encode(), "LIST")
    assert found is not None
    assert found.rows == [{"image": "a.jpg", "label": ["cat"], "subset": "Train"}]
    assert found.notes == (
        "LIST: only the tags of images are used, not boxes and outlines (1).",
        "LIST: left out 1 image without a label.",
    )
    assert cvat_entries(b"<html><body/></html>", "LIST") is None


@pytest.mark.parametrize(("xml", "found"), [
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>',
     "it declares a document type, which no file of this kind needs"),
    ("<a>" * 100, "elements nest deeper than 64"),
    ("<annotations><image", "unclosed token: line 1, column 13"),
])  # fmt: skip
def test_hostile_xml_is_an_error(xml: str, found: str) -> None:
    with pytest.raises(TenchError) as error:
        cvat_entries(xml.encode(), "LIST")
    assert str(error.value) == f"LIST is damaged XML ({found}). Copy or export the file again."


@pytest.mark.parametrize("text", ['{"a.jpg": "x",', "[" * 100_000, '[{"image": "a.jpg"}, {'])
def test_damaged_json_is_an_error(text: str) -> None:
    with pytest.raises(TenchError, match=r"^LIST is damaged JSON \(.*\)\. Copy or create it again\.$"):
        text_sheet(text, "LIST")


# Roles of columns.


def names(sheet_columns: Sequence[str], found: Roles) -> tuple[str, str | None]:
    return sheet_columns[found.path], None if found.label is None else sheet_columns[found.label]


@pytest.mark.parametrize(("header", "lines", "label"), [
    ("id_code,diagnosis", ["img_0,3", "img_1,1"], "diagnosis"),
    ("id,breed", ["img_0,poodle", "img_1,beagle"], "breed"),
    (",image,label,age", ["0,a.jpg,x,3", "1,b.jpg,y,4"], "label"),
    ("lesion_id,image_id,dx,age", ["L1,img_0,nv,41.5", "L1,img_1,mel,40.2", "L2,img_2,nv,39.7"], "dx"),
    ("Image Index,Finding Labels,Patient ID,Age", ["a.jpg,x|y,1,30", "b.jpg,y,1,50"], "Finding Labels"),
    ("image,label,class_name", ["a.jpg,0,cat", "b.jpg,1,ant"], "class_name"),
    ("image,mask,label", ["a.jpg,m/a.png,x", "b.jpg,m/b.png,y"], "label"),
    ("id,image,choice,created_at", ["7,a.jpg,cat,2024", "8,b.jpg,dog,2024"], "choice"),
])  # fmt: skip
def test_the_label_is_the_column_named_like_one_or_the_only_candidate(
    header: str, lines: list[str], label: str
) -> None:
    found = roles(header, *lines)
    columns = header.split(",")
    assert columns[found.label if found.label is not None else -1] == label
    assert any(f"the labels come from column {label!r}" in note for note in found.notes)


def test_a_column_with_one_number_per_class_name_gives_the_class_order() -> None:
    found = roles("image,label,class_name", "a.jpg,0,zebra", "b.jpg,1,ant", "c.jpg,0,zebra")
    assert (found.label, found.order) == (2, 1)
    assert found.notes == ("LIST: the labels come from column 'class_name', not 'label'.",)


def test_several_columns_that_can_be_the_label_lead_to_a_question() -> None:
    lines = ["image,make,model", *(f"img_{n},{'ab'[n % 2]},{'xyz'[n % 3]}" for n in range(6))]
    found = roles(*lines)
    assert found.question == (
        "LIST: 2 columns can be the label: 'make' (2 values: a, b), 'model' (3 values: x, y, z). Choose one with "
        "--label COLUMN, for example --label make"
    )
    chosen = roles(*lines, label="Model")
    assert (chosen.label, chosen.question, chosen.notes) == (2, "", ("LIST: the labels come from column 'model'.",))
    assert "2 columns can be the label: 'class'" in roles("image,class,superclass", "a.jpg,x,1", "b.jpg,y,1").question


def test_class_next_to_order_family_and_genus_is_a_level_of_a_taxonomy_not_the_label() -> None:
    levels = ["Aves,Piciformes,Picidae,Picus", "Aves,Strigiformes,Tytonidae,Tyto", "Mammalia,Carnivora,Felidae,Felis"]
    lines = ["image,class,order,family,genus", *(f"img_{n},{levels[n % 3]}" for n in range(6))]
    assert roles(*lines).question == (
        "LIST: 2 columns can be the label: 'class' (2 values: Aves, Mammalia), 'order' (3 values: Carnivora, "
        "Piciformes, Strigiformes). Choose one with --label COLUMN, for example --label class"
    )
    assert roles(*lines, label="genus").label == 4


def test_fractions_are_not_labels() -> None:
    lines = ["image,age", *(f"{number}.jpg,{number * 1.37:.2f}" for number in range(1, 40))]
    assert roles(*lines).question == (
        "LIST: column 'age' contains 39 different fractional numbers, which is a quantity to predict, not a class. "
        "tench trains classifiers. If another column is the label, name it with --label COLUMN; to classify by ranges, "
        "add a column that names the range of each image"
    )


def test_columns_of_0_and_1_are_classes_if_each_image_has_exactly_one_1() -> None:
    found = roles("image, cat, dog", "a.jpg,1,0", "b.jpg, 0, 1")
    assert found.hot == (1, 2)
    assert found.notes == ("LIST: the classes are the 2 columns with 0 and 1 ('cat', 'dog').",)
    several = roles("image,cat,dog", "a.jpg,1,1", "b.jpg,0,1", "c.jpg,0,0")
    assert several.question == (
        "LIST: 2 columns contain 0 and 1, and 2 of 3 images have several 1s, or none: 'cat', 'dog'. A classifier needs "
        "one label per image. Choose a column, as in --label cat"
    )
    assert roles("image,train,bus", "a.jpg,1,0", "b.jpg,0,1").hot == (1, 2)  # a class, not a split


def test_sizes_and_boxes_are_left_out_with_a_note() -> None:
    found = roles("Filename;Width;Height;Roi.X1;Roi.Y1;ClassId", "a.ppm;29;30;5;6;3", "b.ppm;30;31;5;5;4")
    assert found.boxes
    assert found.notes == (
        "LIST: columns of sizes and boxes are not used ('Width', 'Height', 'Roi.X1', 'Roi.Y1').",
        "LIST: the labels come from column 'ClassId'.",
    )
    unnamed = roles("a.jpg,1,2,30,40,7", "b.jpg,3,4,31,41,8")
    assert unnamed.label == 5


def test_boxes_without_column_names_may_include_a_few_empty_ones() -> None:
    found = roles(*(f"{number}.jpg,{number},2,{number + (number > 0)},40" for number in range(20)))
    assert found.boxes
    assert found.label is None


@pytest.mark.parametrize(("column", "values", "expected"), [
    ("is_valid", ("False", "True"), {"False": "train", "True": "val"}),
    ("partition", ("train", "val"), {"train": "train", "val": "val"}),
    ("set", ("train", "test"), {"train": "train", "test": "test"}),
    ("usage", ("Training", "PublicTest"), {"Training": "train", "PublicTest": "val"}),
    ("dataset", ("train", "valid"), {"train": "train", "valid": "val"}),
    ("part", ("train", "test"), {"train": "train", "test": "test"}),
])  # fmt: skip
def test_a_column_can_give_the_split(column: str, values: tuple[str, str], expected: dict[str, str]) -> None:
    found = roles(f"image,label,{column}", f"a.jpg,x,{values[0]}", f"b.jpg,y,{values[1]}")
    assert (found.split, dict(found.split_of)) == (2, expected)


def test_folds_lead_to_a_question_that_an_option_answers() -> None:
    lines = ["image,label,fold", "a.jpg,x,0", "b.jpg,y,1", "c.jpg,x,2"]
    assert refusal(*lines) == (
        "LIST: column 'fold' divides the images into 3 folds: 0, 1, 2. Choose the one for val; the rest is train: "
        "--split-from fold=0"
    )
    assert roles(*lines, split_from="fold=1").split_of == {"0": "train", "1": "val", "2": "train"}
    with pytest.raises(UsageError) as error:
        roles(*lines, split_from="fold=7")
    assert str(error.value) == (
        "LIST: column 'fold' has no value '7', which --split-from names. Its values are 0, 1, 2."
    )
    assert refusal(*lines, split_from="fold") == (
        "LIST: the values of column 'fold' do not name splits: 0, 1, 2. Choose the one for val; the rest is train: "
        "--split-from fold=0"
    )


def test_two_columns_that_give_different_splits_lead_to_a_question() -> None:
    lines = ("image,label,split,usage", "a.jpg,x,train,test", "b.jpg,y,val,train")
    assert refusal(*lines) == (
        "LIST: the columns 'split', 'usage' name different splits. Choose one with --split-from COLUMN, for example "
        "--split-from split"
    )
    assert roles(*lines, split_from="usage").split == 3


def test_a_table_without_a_column_of_images_is_not_a_list(tmp_path: Path) -> None:
    assert text_sheet("epoch,loss\n1,0.5\n2,0.25\n", "LIST", lambda text: text in ("1", "2")) is None
    assert text_sheet("Some prose, with commas.\nAnd more, of it.\n", "LIST") is None
