"""The table of published datasets in docs/data.md, from the same list that the tests check."""

from collections.abc import Sequence

from tests.data.published.making import Form, Published
from tests.data.published.sets import ELSEWHERE, FORMS, OUT_OF_SCOPE, TORCHVISION

BEGIN, END = "<!-- published: begin -->", "<!-- published: end -->"
NAMES = {id(form): name for name, (_, form) in FORMS.items()}


def filled(page: str) -> str:
    """The page with the tables inserted between its two marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n\n{tables()}\n{end}{after}"


def tables() -> str:
    outside = ". ".join(
        f"{what[0].upper()}{what[1:]}: {', '.join(names.split())}" for what, names in OUT_OF_SCOPE.items()
    )
    readers = {published.name.split()[0].strip(",") for published in TORCHVISION}
    return (
        f"torchvision has readers for {len(readers)} classification datasets. tench reads {len(read_right())} of them; "
        "for the others, the error says what to do.\n\n"
        f"{table(TORCHVISION)}\nDatasets for which torchvision has no reader:\n\n{table(ELSEWHERE)}\n"
        f"torchvision's other datasets are not for classification. {outside}.\n"
    )


def read_right() -> set[str]:
    """The torchvision readers whose dataset is read in at least one form."""
    return {
        published.name.split()[0].strip(",")
        for published in TORCHVISION
        if not all(form.refused for form in published.forms)
    }


def table(sets: Sequence[Published]) -> str:
    lines = ["| dataset | source | answer | splits |", "|---|---|---|---|"]
    for published in sets:
        for number, form in enumerate(published.forms):
            name = "" if number else published.name
            lines.append(f"| {name} | {form.what} | {answer(form)} | {splits(published, form)} |")
    return "\n".join(lines) + "\n"


def answer(form: Form) -> str:
    if form.refused:
        return f"refused: {form.refused}"
    return f"read with `{form.flags}`" if form.flags else "read"


def splits(published: Published, form: Form) -> str:
    if form.refused:
        return ""
    found = form.truth(published.miniature)
    names = [name for name in ("train", "val", "test", "extra") if name in found]
    return ", ".join(names + (["some without labels"] if "unlabelled" in found else []))
