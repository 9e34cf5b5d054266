import pytest
from hypothesis import given
from hypothesis import strategies as st

from tench.data.keys import keys_of


@pytest.mark.parametrize(
    ("path", "class_id", "key"),
    [
        ("n01440764/n01440764_10026.JPEG", "n01440764", "n01440764/n01440764_10026.JPEG"),
        ("ILSVRC/Data/CLS-LOC/train/n01440764/x.JPEG", "n01440764", "n01440764/x.JPEG"),
        ("ILSVRC2012_val_00000001.JPEG", "n01751748", "n01751748/ILSVRC2012_val_00000001.JPEG"),
        ("val/ILSVRC2012_val_00000001.JPEG", "n01751748", "n01751748/ILSVRC2012_val_00000001.JPEG"),
        ("cat/old/1.jpg", "cat", "cat/old/1.jpg"),
        ("concat/1.jpg", "cat", "cat/1.jpg"),
        ("concat/1.jpg", None, "concat/1.jpg"),
    ],
)
def test_a_key_is_the_path_that_the_image_would_have_in_class_folders(
    path: str, class_id: str | None, key: str
) -> None:
    assert keys_of([path], [class_id]) == [key]


def test_if_two_images_would_have_the_same_key_the_paths_are_the_keys() -> None:
    paths = ["a/cat/1.jpg", "b/cat/1.jpg", "b/dog/1.jpg"]
    assert keys_of(paths, ["cat", "cat", "dog"]) == paths


@given(
    st.lists(st.tuples(st.text("ab/", min_size=1), st.sampled_from([None, "a", "b"])), unique_by=lambda pair: pair[0])
)
def test_keys_of_different_paths_differ(pairs: list[tuple[str, str | None]]) -> None:
    keys = keys_of([path for path, _ in pairs], [class_id for _, class_id in pairs])
    assert len(set(keys)) == len(pairs)
