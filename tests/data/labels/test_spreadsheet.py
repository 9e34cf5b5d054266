"""Excel workbooks, written by hand in the form that Excel, openpyxl and LibreOffice write."""

import io
import zipfile

import pytest
from tests.support.errors import error_of

from tench.data.labels.spreadsheet import read_spreadsheet
from tench.data.limits import Limits

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
REL = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
ROWS = (
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>Class</t></is></c></row>'
    '<row r="3"><c r="A3"><v>7</v></c><c r="C3"><v>2.5</v></c><c r="D3" t="b"><v>1</v></c></row>'
    '<row r="4"><c r="A4" t="str"><f>A1</f><v>a.jpg</v></c><c r="B4"><v>3.0</v></c></row>'
)
STRINGS = "<si><r><t>Ima</t></r><r><t>ge</t></r><rPh><t>hint</t></rPh></si>"


def workbook(rows: str = ROWS, strings: str = STRINGS, **more: str) -> io.BytesIO:
    members = {
        "xl/workbook.xml": f'<workbook {MAIN} {REL}><sheets><sheet name="Labels" sheetId="3" r:id="rId7"/>'
        '<sheet name="Other" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": '<Relationships><Relationship Id="rId1" Target="worksheets/sheet1.xml"/>'
        '<Relationship Id="rId7" Target="/xl/worksheets/sheet2.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f"<worksheet {MAIN}><sheetData/></worksheet>",
        "xl/worksheets/sheet2.xml": f"<worksheet {MAIN}><sheetData>{rows}</sheetData></worksheet>",
        "xl/sharedStrings.xml": f"<sst {MAIN}>{strings}</sst>",
    } | more
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as book:
        for name, text in members.items():
            book.writestr(name, text)
    return file


def refusal(file: io.BytesIO, limits: Limits | None = None) -> str:
    return error_of(read_spreadsheet)(file, "BOOK", limits or Limits())


def test_the_first_sheet_is_read_including_empty_cells() -> None:
    rows, sheets = read_spreadsheet(workbook(), "BOOK")
    assert rows == [["Image", "Class"], [], [7, None, 2.5, "true"], ["a.jpg", 3]]
    assert sheets == ["Labels", "Other"]


def test_a_zip_that_is_not_a_workbook_is_an_error() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as book:
        book.writestr("a.txt", "x")
    assert refusal(file) == "BOOK is a zip archive but not an Excel workbook. Save it as .xlsx or .csv."
    assert refusal(io.BytesIO(b"PK\3\4 truncated")) == (
        "BOOK is a damaged Excel workbook (File is not a zip file). Copy or save it again."
    )


def test_a_workbook_that_expands_too_much_is_an_error() -> None:
    assert refusal(workbook(strings=" " * 100_000), Limits(member_bytes=50_000)) == (
        "BOOK unpacks to more than 50,000 bytes. Save the sheet of labels as CSV."
    )


@pytest.mark.parametrize(("rows", "found"), [
    ('<row r="2"/><row r="1"/>', "row 1 is out of order or too large"),
    ('<row r="9999999"/>', "row 9999999 is out of order or too large"),
    ('<row r="1"><c r="B1"/><c r="A1"/></row>', "the cell A1 is out of order"),
    ('<row r="1"><c r="ZZZ1"/></row>', "the cell ZZZ1 is out of order"),
    ('<c r="A1"/>', "a cell is outside a row"),
    ('<row r="1"><c r="A1" t="s"><v>9</v></c></row>', "list index out of range"),
    ('<row r="1"><c r="A1"><v>x</v></c></row>', "could not convert string to float: 'x'"),
    ("<row>", "mismatched tag: line 1, column 95"),
])  # fmt: skip
def test_a_damaged_sheet_is_an_error(rows: str, found: str) -> None:
    assert refusal(workbook(rows)) == f"BOOK is damaged XML ({found}). Copy or export the file again."
