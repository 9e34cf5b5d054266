import hashlib
import tarfile
from pathlib import Path

from tench.data.formats import wordnet


def test_the_1000_classes_and_the_devkits_order_match_the_published_lists() -> None:
    """The MD5s are of the lists with one id per line: TF-Slim's synset file, and the devkit's order."""
    listed = "".join(f"{wnid}\n" for wnid in wordnet.imagenet())
    assert hashlib.md5(listed.encode()).hexdigest() == "5ef135d00f8768c0f62853cd9dbc563d"
    devkit = "".join(f"{wnid}\n" for wnid in wordnet.devkit_order())
    assert hashlib.md5(devkit.encode()).hexdigest() == "71a2921eaeb077e40bf23e0833adadd7"
    assert sorted(wordnet.imagenet()) == list(wordnet.imagenet())


def test_the_two_numberings_agree_nowhere() -> None:
    assert set(wordnet.imagenet()) == set(wordnet.devkit_order())
    assert all(here != there for here, there in zip(wordnet.imagenet(), wordnet.devkit_order(), strict=True))
    assert (wordnet.devkit_order()[0], wordnet.devkit_order()[448]) == ("n02119789", "n01440764")  # kit fox, tench
    assert wordnet.devkit_order()[999] == "n03255030"  # dumbbell


def test_the_evaluation_sets_have_200_of_the_1000_classes_each_and_86_in_common() -> None:
    a, r = set(wordnet.subset("a")), set(wordnet.subset("r"))
    assert (len(a), len(r), len(a & r)) == (200, 200, 86)
    assert a | r <= set(wordnet.imagenet())


def test_the_classes_of_tiny_imagenet_match_its_wnids_txt(shared_data: Path) -> None:
    listed = "".join(f"{wnid}\n" for wnid in wordnet.tiny_imagenet())
    assert hashlib.md5(listed.encode()).hexdigest() == "6c81990e2d7ae3bd3c88dceb97b46342"  # of the published file
    with tarfile.open(shared_data / "tiny-imagenet-20.tar.xz") as archive:
        part = archive.extractfile("tiny-imagenet-20/wnids.txt")
        assert part is not None
        assert set(part.read().decode().split()) <= set(wordnet.tiny_imagenet())


def test_known_ids_have_readable_names_and_an_unknown_id_is_its_own_name() -> None:
    assert wordnet.names_of(["n01440764", "cat", "n99999999"]) == ["tench, Tinca tinca", "cat", "n99999999"]
    assert wordnet.names_of([]) == []
    assert len(set(wordnet.names_of(wordnet.imagenet()))) == 999  # two classes are called crane
