import pytest

from tench.errors import counted


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2_000, "image file", "2,000 image files"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (3, "box", "3 boxes"),
    ],
)
def test_a_counted_noun_is_in_the_singular_or_plural(count: int, noun: str, text: str) -> None:
    assert counted(count, noun) == text
