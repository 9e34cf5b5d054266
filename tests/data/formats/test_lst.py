import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.errors import error_of

from tench.data.formats.lst import is_lst, read_lst

FILES = Path(__file__).parents[1] / "samples/mxnet"
GOLDEN = Path(__file__).parents[3] / "../shared/golden/records/mxnet"


def refusal(text: str) -> str:
    return error_of(read_lst)(text, "a.lst")


def test_ids_labels_and_paths_of_an_im2rec_list_are_read_in_order() -> None:
    listed = read_lst((FILES / "photos/photos_val.lst").read_text(), "photos_val.lst")
    assert listed.ids.tolist() == [2, 12, 16, 14, 4]
    assert listed.labels == [(0.0,), (2.0,), (2.0,), (2.0,), (0.0,)]
    assert listed.paths == [
        "petal/petal_2.jpg",
        "water/water_0.jpg",
        "water/water_4.jpg",
        "water/water_2.jpg",
        "petal/petal_4.jpg",
    ]
    assert len(listed) == 5


def test_every_label_of_a_line_is_kept() -> None:
    listed = read_lst((FILES / "several/several.lst").read_text(), "several.lst")
    assert listed.labels[:2] == [(0.0, 0.0, -1.0), (1.0, 0.333333, -1.0)]


def test_labels_may_be_in_any_number_format() -> None:
    assert read_lst("1\t3.000000\ta\n2\t3\tb\n3\t1e1\tc\n4\t-1\td\n", "x").labels == [(3.0,), (3.0,), (10.0,), (-1.0,)]


def test_spaces_around_columns_windows_line_ends_and_empty_lines_are_ignored() -> None:
    listed = read_lst("\n 7 \t 1.0 \t a b/c d.jpg \r\n\r\n8\t2\tx.jpg", "x")
    assert (listed.ids.tolist(), listed.labels, listed.paths) == ([7, 8], [(1.0,), (2.0,)], ["a b/c d.jpg", "x.jpg"])


def test_an_unusual_separator_within_a_path_does_not_end_the_line() -> None:
    assert read_lst("1\t0\ta\x0bb\x85c\u2028d.jpg\n", "x").paths == ["a\x0bb\x85c\u2028d.jpg"]


def test_an_empty_list_has_no_images() -> None:
    assert len(read_lst("", "x")) == 0
    assert read_lst("\n\n", "x").ids.tolist() == []


@pytest.mark.parametrize(
    "line",
    [
        *("5\t3.0", "5 3.0 a.jpg", "a.jpg", "x\t1.0\ta.jpg", "1.5\t1.0\ta.jpg", "-1\t1.0\ta.jpg", "5\tone\ta.jpg"),
        *("5\t\ta.jpg", "5\t1.0\t\ta.jpg", "5\tnan\ta.jpg", "5\tinf\ta.jpg", f"{2**63}\t1\ta.jpg", "5\t1.0\t"),
    ],
)
def test_a_line_that_does_not_describe_an_image_is_an_error_with_its_number(line: str) -> None:
    assert refusal(f"1\t0.0\ta.jpg\n\n{line}\n") == (
        "a.lst, line 3 must be an id (a whole number), one or more labels (numbers) and a path, separated by TABs, "
        f"got {line.strip()!r}. Correct or remove the line."
    )


def test_only_the_beginning_of_a_long_line_is_shown() -> None:
    assert f"got '{'x' * 77}...'." in refusal("x" * 100)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**63 - 1),
            st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4),
            st.text("aZ9 /._-\u00e9\U0001f41f", min_size=1).map(str.strip).filter(bool),
        )
    )
)
def test_written_lists_are_read_back(rows: list[tuple[int, list[float], str]]) -> None:
    text = "".join(f"{image_id}\t{chr(9).join(f'{x:f}' for x in labels)}\t{path}\n" for image_id, labels, path in rows)
    listed = read_lst(text, "x")
    assert listed.ids.tolist() == [image_id for image_id, _, _ in rows]
    assert listed.paths == [path for _, _, path in rows]
    for found, (_, labels, _) in zip(listed.labels, rows, strict=True):
        assert len(found) == len(labels)
        assert all(math.isclose(a, b, abs_tol=5.1e-7) for a, b in zip(found, labels, strict=True))


@pytest.mark.parametrize("name", ["photos/photos_train", "several/several", "skipped/skipped"])
def test_an_im2rec_list_is_recognised_by_its_beginning_wherever_it_is_cut(name: str) -> None:
    text = (FILES / f"{name}.lst").read_text()
    first = text.index("\n")
    assert all(is_lst(text[:end]) for end in range(first, len(text) + 1))


@pytest.mark.parametrize(
    "head",
    [
        *("", "\n", "n01440764/n01440764_10026 1\n", "a.jpg\t3\n", "a.jpg 3\n", "1 3.0 a.jpg\n", "x\t1.0\ta.jpg\n"),
        *(
            "val_1.JPEG\tn04532670\t0\t32\t44\t62\n",
            "id\tlabel\tpath\n",
            "1\t0.5\t0.7\n",
            "1\ta.jpg\n",
            "1\tx\ta.jpg\n",
        ),
        *("1\t0.0\ta.jpg\nthis is no list\n", "1\t0.0\ta.jpg\n\n2\t0.0\n3\t"),
        "\x00\x01\t\ufffd\n",
    ],
)
def test_other_text_is_not_a_list(head: str) -> None:
    assert not is_lst(head)


def test_a_long_line_of_numbers_is_rejected_quickly() -> None:
    assert not is_lst("\t".join(["123456"] * 50_000))


def test_the_golden_lists_are_recognised_and_read() -> None:
    if not GOLDEN.is_dir():
        pytest.skip(f"needs {GOLDEN}")
    for file in sorted(GOLDEN.glob("*.lst")):
        text = file.read_text()
        listed = read_lst(text, str(file))
        assert is_lst(text[:512])
        again = [
            f"{image_id}\t{labels[0]:f}\t{path}\n"
            for image_id, labels, path in zip(listed.ids, listed.labels, listed.paths, strict=True)
        ]
        assert "".join(again) == text
