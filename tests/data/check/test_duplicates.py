import hashlib
import io
import itertools
import tarfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from tests.data.photos import photo_file

from tench.data.check import duplicates
from tench.data.check.duplicates import Copy, Group, difference_hash, digest, equal_groups, near_groups
from tench.data.table import PIXELS_HWC, Classes, Contents, Dataset, Rows, made


def dataset_of(labels: dict[str, list[int]]) -> Dataset:
    """A dataset of rows without bytes, with these labels in each split."""
    splits = {
        split: Rows(
            [split],
            np.zeros(len(of), int),
            np.arange(len(of)),
            1,
            np.array(of, int),
            [f"{row:05}" for row in range(len(of))],
            PIXELS_HWC,
            1,
            1,
            1,
        )
        for split, of in labels.items()
    }
    return made(Contents(Classes.of(["cat", "dog"]), splits, []), source="x", layout="test")


def kept(values: list[bytes]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, 16)


def photographs() -> list[Image.Image]:
    """Parts of scikit-learn's two photographs, of different sizes; none overlap."""
    parts = []
    for name in ("china.jpg", "flower.jpg"):
        with Image.open(photo_file(name)) as photo:
            for left, top in itertools.product((0, 210, 420), (0, 215)):
                parts.append(photo.crop((left, top, left + 205 - top // 9, top + 150 + left // 8)))
    return parts


def saved_again(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=quality)
    return Image.open(stream)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": lambda image: saved_again(image, 50),
    "half": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "small": lambda image: saved_again(image.resize((64, 64), Image.Resampling.BICUBIC), 85),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "grey": lambda image: image.convert("L"),
}


def hash_of(image: Image.Image) -> bytes:
    found = difference_hash(np.array(image.convert("RGB")))
    assert found is not None
    return found


def num_different(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def groups_near(hashes: list[bytes]) -> list[set[int]]:
    """The positions of the images in each group that `near_groups` finds."""
    dataset = dataset_of({"train": [0] * len(hashes)})
    contents = kept([digest(b"%d" % position) for position in range(len(hashes))])
    found = near_groups(dataset, kept(hashes), contents, np.ones(len(hashes), bool))
    return [{int(image.key) for image in group.images} for group in found]


def test_a_digest_is_the_first_16_bytes_of_the_sha1() -> None:
    assert digest(b"photo") == hashlib.sha1(b"photo").digest()[:16]


@given(
    st.lists(st.tuples(st.sampled_from(["train", "val"]), st.integers(-1, 1), st.integers(0, 6), st.booleans())),
)
def test_equal_groups_match_a_grouping_by_dictionary(images: list[tuple[str, int, int, bool]]) -> None:
    by_split = {split: [image for image in images if image[0] == split] for split in ("train", "val")}
    dataset = dataset_of({split: [label for _, label, _, _ in of] for split, of in by_split.items()})
    ordered = [*by_split["train"], *by_split["val"]]
    contents = kept([digest(bytes([content])) for _, _, content, _ in ordered])
    expected: dict[int, list[Copy]] = defaultdict(list)
    for of in by_split.values():
        for row, (split, label, content, taken) in enumerate(of):
            if taken:
                expected[content].append(Copy(split, f"{row:05}", ["cat", "dog", ""][label]))
    found = equal_groups(dataset, contents, np.array([taken for *_, taken in ordered], bool))
    assert sorted(found, key=str) == sorted((Group(tuple(of)) for of in expected.values() if len(of) > 1), key=str)
    for group in found:
        assert group.across_splits == (len({image.split for image in group.images}) == 2)
        assert group.contradicts == ({"cat", "dog"} <= {image.class_id for image in group.images})


def test_images_of_different_lengths_are_not_duplicates_even_if_their_digests_are_equal() -> None:
    rows = Rows(["x"], np.zeros(2, int), 0, np.array([1, 2]), np.zeros(2, int), ["a", "b"])
    dataset = made(Contents(Classes.of(["cat"]), {"train": rows}, []), source="x", layout="test")
    assert equal_groups(dataset, kept([bytes(16)] * 2), np.ones(2, bool)) == ()


def test_the_split_real_repeats_images_of_val_but_a_file_in_train_and_val_is_a_leak() -> None:
    def rows(offsets: list[int]) -> Rows:
        keys = [f"{offset}" for offset in offsets]
        return Rows(["val.tar"], np.zeros(len(keys), int), np.array(offsets), 1, np.zeros(len(keys), int), keys)

    splits = {"train": rows([7]), "val": rows([1, 2, 7]), "real": rows([1, 7])}
    dataset = made(Contents(Classes.of(["cat"]), splits, []), source="x", layout="test")
    contents = kept([digest(content) for content in (b"7", b"1", b"2", b"7", b"1", b"7")])
    others = kept([digest(b"%d" % row) for row in range(6)])
    leak = (Group((Copy("train", "7", "cat"), Copy("val", "7", "cat"))),)
    assert equal_groups(dataset, contents, np.ones(6, bool)) == leak
    assert near_groups(dataset, contents, others, np.ones(6, bool)) == leak


@pytest.mark.parametrize("change", [change for change in CHANGES if change != "brighter"])  # which turns skies white
def test_a_changed_photograph_is_near_its_original_and_no_other(change: str) -> None:
    originals = photographs()
    hashes = [*map(hash_of, originals), *(hash_of(CHANGES[change](image)) for image in originals)]
    count = len(originals)
    assert groups_near(hashes) == [{position, position + count} for position in range(count)]


def test_photographs_of_different_things_are_not_near(shared_data: Path) -> None:
    with tarfile.open(shared_data / "photos.tar") as archive:
        images = [Image.open(archive.extractfile(member)) for member in archive if member.isfile()]  # type: ignore[arg-type]
        hashes = [hash_of(image) for image in images]
        assert len(hashes) == 250
        assert groups_near(hashes) == []
        assert min(num_different(one, other) for one, other in itertools.combinations(hashes, 2)) == 24
        for change, least in (("recompressed", 250), ("half", 250), ("brighter", 247)):
            changed = [hash_of(CHANGES[change](image)) for image in images]
            found = groups_near([*hashes, *changed])
            assert all(group == {min(group), min(group) + 250} for group in found)
            assert len(found) >= least


def test_small_and_plain_images_are_not_hashed() -> None:
    photo = photographs()[0]
    assert difference_hash(np.array(photo.resize((32, 31)))) is None
    assert difference_hash(np.array(photo.resize((32, 32)))) is not None
    assert difference_hash(np.full((200, 200, 3), 200, np.uint8)) is None
    noise = np.random.default_rng(0).integers(90, 110, (300, 300, 3)).astype(np.uint8)
    assert difference_hash(noise) is None


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=12), st.data())
def test_near_groups_match_a_comparison_of_all_pairs(originals: list[bytes], data: st.DataObject) -> None:
    hashes = list(originals)
    for original in originals:
        flipped = data.draw(st.sets(st.integers(0, 127), max_size=12))
        number = int.from_bytes(original, "big")
        for bit in flipped:
            number ^= 1 << bit
        hashes.append(number.to_bytes(16, "big"))
    links = {position: {position} for position in range(len(hashes))}
    for one, other in itertools.combinations(range(len(hashes)), 2):
        if num_different(hashes[one], hashes[other]) <= duplicates.MAX_DIFFERENT:
            joined = links[one] | links[other]
            for member in joined:
                links[member] = joined
    expected = sorted((set(group) for group in {frozenset(of) for of in links.values()} if len(group) > 1), key=min)
    assert groups_near(hashes) == expected


def test_identical_images_are_only_in_a_near_group_with_a_different_image() -> None:
    dataset = dataset_of({"train": [0, 0, 1], "val": [0, 1]})
    one, other = bytes(16), bytes([255] * 16)
    hashes = kept([one, one, other, other, other])
    contents = kept([digest(content) for content in (b"a", b"a", b"b", b"b", b"c")])
    (group,) = near_groups(dataset, hashes, contents, np.ones(5, bool))
    assert group.images == (Copy("train", "00002", "dog"), Copy("val", "00000", "cat"), Copy("val", "00001", "dog"))
    assert (group.across_splits, group.contradicts) == (True, True)
    assert near_groups(dataset, hashes, contents, np.array([1, 1, 1, 1, 0], bool)) == ()


def test_many_images_with_bits_in_common_are_compared_quickly() -> None:
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 256, (20_000, 16), np.uint8)
    hashes[:, :8] = 7  # six of the twelve blocks are the same in all images
    hashes[-1] = hashes[0]
    hashes[-1, 12] ^= 3
    assert groups_near([row.tobytes() for row in hashes]) == [{0, len(hashes) - 1}]
