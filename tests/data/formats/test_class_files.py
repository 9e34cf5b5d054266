"""Files that name classes: one rule for all layouts."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tench.data.formats.class_files import FILES, ClassFile, agreed, class_files, parse, text_of
from tench.data.table import Classes
from tench.errors import TenchError

TENCH, GOLDFISH, SHARK = "n01440764", "n01443537", "n01484850"
TEXT = [name for name in FILES if name.endswith(".txt")]


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize(
    ("text", "ids", "names"),
    [
        (f"{TENCH} tench\n{GOLDFISH}\tgold fish\n", (TENCH, GOLDFISH), ("tench", "gold fish")),
        (f"{TENCH}\r\n{GOLDFISH}", (TENCH, GOLDFISH), ("tench, Tinca tinca", "goldfish, Carassius auratus")),
        ("great white shark\nray\n\n \n", ("great white shark", "ray"), ("great white shark", "ray")),
        ("a b\tfirst\nc\t second \nd\n", ("a b", "c", "d"), ("first", "second", "d")),
        ("0 big cat\n1\n2: dog", ("big cat", "1", "dog"), ("big cat", "1", "dog")),
        (f"0 {TENCH} tench\n1 {GOLDFISH}\n", (TENCH, GOLDFISH), ("tench", "goldfish, Carassius auratus")),
        ("0\tcat\tfelis\n1\tdog", ("cat", "dog"), ("felis", "dog")),
        ("10\n9\n", ("10", "9"), ("10", "9")),
        ("ant\rbee\r", ("ant", "bee"), ("ant", "bee")),
        ("one\x0bline\ntwo\u2028lines\n", ("one\x0bline", "two\u2028lines"), ("one\x0bline", "two\u2028lines")),
        ("crane\ntench\ncrane\n", None, ("crane", "tench", "crane")),
    ],
)
def test_all_class_lists_are_read_by_one_rule(
    name: str, text: str, ids: tuple[str, ...] | None, names: tuple[str]
) -> None:
    assert parse(text, "the file", name) == ClassFile("the file", ids, names)


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("cat\n\ndog\n", "line 2 is empty, but each line is a class, in order."),
        ("\ncat\ndog\n", "line 1 is empty, but each line is a class, in order."),
        ("0 cat\n \n1 dog\n", "line 2 is empty, but each line is a class, in order."),
        ("\n", "line 1 is empty, but each line is a class, in order."),
        ("1 cat\n2 dog\n", "line 1 has the number 1, but its position is 0. Sort the lines by their numbers"),
        ("0 cat\n2 dog\n1\n", "line 2 has the number 2, but its position is 1. Sort the lines by their numbers"),
        (f"{TENCH}\n{SHARK}\n{TENCH}\n", f"line 3: {TENCH} is already in line 1."),
    ],
)
def test_a_line_that_may_shift_labels_is_an_error_that_names_it(name: str, text: str, error: str) -> None:
    with pytest.raises(TenchError) as raised:
        parse(text, "the file", name)
    assert str(raised.value).startswith(f"the file, {error}")


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("categories.csv", "0,a\n2,b\n", "the file must have lines `index,class`"),
        ("categories.csv", "0,a\n1,b,c\n", "the file must have lines `index,class`"),
        ("categories.csv", f"0,{'a' * 200_000}\n", "the file must have lines `index,class`"),
        ("label_wordnetid.csv", f"0,{TENCH}\n1,{TENCH}\n", f"the file: {TENCH} is class 0 and class 1."),
        ("imagenet_class_index.json", '{"0": "a", "1": ["b", "c"]}', "the file must be JSON such as"),
        ("imagenet_class_index.json", '{"0": ["a", "b"], "2": ["b", "c"]}', "the file must be JSON such as"),
        ("label_to_content.json", "[" * 100_000, "the file must be JSON such as"),
    ],
)
def test_a_damaged_table_is_an_error(name: str, text: str, error: str) -> None:
    with pytest.raises(TenchError) as raised:
        parse(text, "the file", name)
    assert str(raised.value).startswith(error)


def test_tables_and_words_are_read() -> None:
    assert parse("0,great white shark\r\n\r\n1,ray\r\n", "", "categories.csv").ids == ("great white shark", "ray")
    index = {"0": [TENCH, "tench"], "1": [GOLDFISH, "gold fish"]}
    assert parse(json.dumps(index), "", "imagenet_class_index.json") == ClassFile(
        "", (TENCH, GOLDFISH), ("tench", "gold fish")
    )
    words = parse('0,"tench, Tinca tinca"\n1,eel\n', "", "label_words.csv")
    assert words == ClassFile("", None, ("tench, Tinca tinca", "eel"))
    assert (words.classes.ids, words.classes.numbered) == (("0", "1"), True)


def test_all_existing_class_files_are_returned_in_order_of_preference() -> None:
    texts = {"labels.txt": "a\nb", "x_categories.csv": "0,a\n1,b", "synset.txt": "c", "categories.csv": "0,no"}
    found = class_files(lambda name: {f"./{name}": texts[name]} if name in texts else {}, "x_")
    assert [file.where for file in found] == ["./synset.txt", "./x_categories.csv", "./labels.txt"]
    both = class_files(lambda name: {"1/s": "a", "2/s": "b\nc"} if name == "synset.txt" else {})
    assert [(file.where, len(file)) for file in both] == [("1/s", 1), ("2/s", 2)]


def test_a_file_with_ids_is_preferred_and_if_two_contradict_each_other_neither_is_used() -> None:
    words = ClassFile("words", None, ("Tench, Tinca", "gold_fish", "crane", "crane"))
    ids = ClassFile("ids", (TENCH, GOLDFISH), ("tench", "gold fish"))
    assert agreed([]) == (None, [])
    assert agreed([words]) == (words, [])
    assert agreed([words, ids]) == (ids, [])
    assert agreed([ids, ClassFile("half", None, ("tench", "eel"))]) == (ids, [])
    chosen, notes = agreed([words, ids, ClassFile("other", ("kit", "fox"), ("kit", "fox"))])
    assert chosen is None
    assert notes == [
        "ids and other contradict each other: class 0 is 'tench' or 'kit'. Neither is used. Remove the one that does "
        "not belong to this list."
    ]


# Writing the classes of a dataset, and reading them back.

WORD = st.text(st.characters(exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")), min_size=1, max_size=6)
IDS = st.one_of(
    st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable() or " " in text),
    st.lists(WORD, min_size=1, max_size=3).map(" ".join),
    st.integers(0, 30).map(str),
    st.from_regex(r"\A[0-9][ ,:\t]?[a-c][ ,]?[a-c]?\Z"),
    st.from_regex(r"\An0000000[0-9]( [a-c]{1,3})?\Z"),
    st.text("ab ,\t\"':n0", min_size=1, max_size=5),
)


def written_and_read(classes: Classes) -> Classes:
    ((name, text),) = text_of(classes).items()
    return parse(text.encode().decode(), name, name).classes


def ids_of(*ids: str) -> list[str]:
    return list(ids)


@given(st.lists(IDS, min_size=1, max_size=6, unique=True))
@example(ids_of("10", "9", "2"))
@example(ids_of("0", "cat"))
@example(ids_of("1 a", "0 b"))
@example(ids_of("0", ", b"))
@example(ids_of(" a", "b "))
@example(ids_of("a\tb", "a\tc"))
@example(ids_of('say "miau"', "'", '"'))
@example(ids_of("a\r\nb", "c"))
@example(ids_of("n00000001 cat", "n00000002 dog"))
@example(ids_of("n00000001", "n00000002 dog"))
@example(ids_of("n00000001", "cat"))
def test_written_classes_are_read_back_in_their_order(ids: list[str]) -> None:
    assert written_and_read(Classes.of(ids)).ids == tuple(ids)
    names = [f"{class_id}s, {number} of them" for number, class_id in enumerate(ids)]
    read = written_and_read(Classes.of(ids, names))
    assert read.ids == tuple(ids)
    assert read.names == tuple(" ".join(name.split()) for name in names)


@given(st.lists(st.text(max_size=6), min_size=1, max_size=6))
@example(ids_of('say "miau"', "a,b", "tab\tand  space", ""))
def test_names_of_numbered_classes_are_read_back_with_single_spaces(names: list[str]) -> None:
    numbers = tuple(str(number) for number in range(len(names)))
    expected = tuple(" ".join(name.split()) for name in names)
    classes = Classes(numbers, tuple(names), numbered=True)
    if expected == numbers:
        assert text_of(classes) == {}
    else:
        read = written_and_read(classes)
        assert read.ids == numbers
        assert read.numbered
        assert read.names == expected


def test_classes_are_written_as_a_plain_list_if_possible() -> None:
    assert text_of(Classes.of(["dog", "big cat"])) == {"classes.txt": "dog\nbig cat\n"}
    wordnet = Classes.of([TENCH, GOLDFISH], ["tench,  Tinca tinca", GOLDFISH])
    assert text_of(wordnet) == {"classes.txt": f"{TENCH}\ttench, Tinca tinca\n{GOLDFISH}\n"}
    assert text_of(Classes.of(["2", "cat"])) == {"classes.txt": "0\t2\n1\tcat\n"}
    assert text_of(Classes.numbered_to(3)) == {}
    numbered = Classes(("0", "1"), ("a cat", 'a "dog"'), numbered=True)
    assert text_of(numbered) == {"label_words.csv": '0,"a cat"\n1,"a ""dog"""\n'}
