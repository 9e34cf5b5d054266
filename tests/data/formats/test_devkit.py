import contextlib
import gzip
import io
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data import miniature
from tests.data.miniature import CLASSES, VAL, image_name, tar_bytes, write
from tests.support.errors import error_of

from tench.compat import import_torchvision
from tench.data.files.tree import open_tree
from tench.data.formats import devkit, wordnet
from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError

TRUTH = {image_name("val", number): wnid for number, wnid in enumerate(VAL, start=1)}


def found(folder: Path, limits: Limits = LIMITS) -> list[devkit.LabelSource]:
    return devkit.sources(open_tree(folder, folder / "no spool", limits=limits))


def labels(folder: Path, limits: Limits = LIMITS) -> devkit.Labels:
    (source,) = found(folder, limits)
    return source.read()


refusal = error_of(labels)


FORMS: dict[str, Callable[[Path], object]] = {
    "devkit archive": miniature.devkit,
    "devkit archive, not compressed": lambda path: write(
        path, {"ILSVRC2012_devkit_t12.tar.gz": tar_bytes(miniature.devkit_files())}
    ),
    "devkit": lambda path: write(path, miniature.devkit_files()),
    "devkit of 2015": lambda path: write(path, miniature.later_devkit_files()),
    "archive of the devkit of 2015": lambda path: write(
        path, {"ILSVRC2015_devkit.tgz": tar_bytes(miniature.later_devkit_files(), "w:gz")}
    ),
    "annotations archive": miniature.bbox_val,
    "annotations": lambda path: write(path, miniature.val_annotations()),
    "annotations archive, not compressed": lambda path: write(
        path, {"ILSVRC2012_bbox_val_v3.tar": tar_bytes(miniature.val_annotations())}
    ),
    "solution": lambda path: write(path, {"LOC_val_solution.csv": miniature.solution()}),
    "synsets": lambda path: write(path, {"imagenet_2012_validation_synset_labels.txt": miniature.synsets()}),
    "synsets, renamed": lambda path: write(path, {"synset_labels.txt": miniature.synsets()}),
    "synsets of Metalhead": lambda path: write(path, {"ILSVRC_val_labels.txt": miniature.synsets()}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_val_labels_assigns_each_image_its_class(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path)
    assert labels(tmp_path).wnid == TRUTH


def test_val_labels_are_found_in_order_of_preference(tmp_path: Path) -> None:
    for form in ("synsets", "solution", "annotations", "annotations archive", "devkit", "devkit archive"):
        FORMS[form](tmp_path)
    names = [source.names[0] for source in found(tmp_path)]
    assert names == [
        "ILSVRC2012_devkit_t12.tar.gz",
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
        "ILSVRC2012_bbox_val_v3.tgz",
        "val/ILSVRC2012_val_00000001.xml",
        "LOC_val_solution.csv",
        "imagenet_2012_validation_synset_labels.txt",
    ]
    devkit.refuse_disagreement([source.read() for source in found(tmp_path)])


def test_files_with_other_numbers_are_not_taken_for_labels(tmp_path: Path) -> None:
    """Lists with line numbers, the dogs task, the list of unscored images, and the sample submission."""
    write(tmp_path, miniature.kaggle_lists())
    write(tmp_path, miniature.devkit_files("ILSVRC2012_devkit_t3"))
    write(tmp_path, {"ILSVRC2012_devkit_t3.tar.gz": b"", "ILSVRC2012_bbox_train_v2.tar.gz": b""})
    write(tmp_path, {"ILSVRC2014_clsloc_validation_blacklist.txt": b"1\n", "LOC_sample_submission.csv": b""})
    assert found(tmp_path) == []


def test_torchvision_reads_the_same_labels_from_the_devkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_torchvision()
    import torch
    from torchvision.datasets import imagenet
    from torchvision.datasets.utils import calculate_md5

    archive = miniature.devkit(tmp_path)
    monkeypatch.setitem(imagenet.ARCHIVE_META, "devkit", (archive.name, calculate_md5(str(archive))))
    imagenet.parse_devkit_archive(str(tmp_path))
    names, in_order = torch.load(tmp_path / "meta.bin", weights_only=True)
    ours = labels(tmp_path)
    assert [ours.wnid[image_name("val", number)] for number in range(1, len(VAL) + 1)] == in_order
    assert {wnid: tuple(words.split(", ")) for wnid, words in ours.names.items()} == names


def test_a_devkit_has_names_and_counts_of_its_classes_and_parents_are_left_out(tmp_path: Path) -> None:
    miniature.devkit(tmp_path)
    ours = labels(tmp_path)
    assert ours.classes == sorted(CLASSES)
    assert ours.names == CLASSES
    assert ours.num_train == {wnid: len(images) for wnid, images in miniature.by_class().items()}


def test_a_later_devkit_has_the_counts(tmp_path: Path) -> None:
    write(tmp_path, miniature.later_devkit_files())
    ours = labels(tmp_path)
    assert ours.num_train == {wnid: len(images) for wnid, images in miniature.by_class().items()}
    assert ours.names == {}


def test_the_devkits_numbering_agrees_with_the_sorted_classes_nowhere() -> None:
    """A test of the miniature: confusing the two numberings would change the label of every image."""
    assert all(wnid != sorted(CLASSES)[position] for position, wnid in enumerate(CLASSES))


@settings(max_examples=20, deadline=None)
@given(st.permutations(list(CLASSES)), st.permutations(list(CLASSES)))
def test_classes_are_found_by_number_for_any_numbering_and_list_order(
    tmp_path_factory: pytest.TempPathFactory, numbered: list[str], listed: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    number_of = {wnid: number for number, wnid in enumerate(numbered, start=1)}
    write(
        folder,
        {
            "meta.mat": miniature.meta_mat({wnid: number_of[wnid] for wnid in listed}),
            "ILSVRC2012_validation_ground_truth.txt": "".join(f"{number_of[wnid]}\n" for wnid in VAL).encode(),
        },
    )
    assert labels(folder).wnid == TRUTH


def test_the_ground_truth_alone_is_read_in_the_known_numbering(tmp_path: Path) -> None:
    """The first twelve lines of the real file have known classes."""
    lines = "490 361 171 822 297 482 13 704 599 164 649 11".split()
    write(tmp_path, {"ILSVRC2012_validation_ground_truth.txt": "\r\n".join(lines).encode()})
    ours = labels(tmp_path)
    assert [wordnet.imagenet().index(wnid) for wnid in ours.wnid.values()] == [
        *(65, 970, 230, 809, 516, 57, 334, 415, 674, 332, 109, 286)
    ]
    assert list(ours.wnid.values())[:5] == ["n01751748", "n09193705", "n02105855", "n04263257", "n03125729"]
    assert ours.wnid.keys() == {image_name("val", number) for number in range(1, 13)}
    assert ours.classes == list(wordnet.imagenet())


def test_labels_that_disagree_are_an_error_with_the_first_image_and_both_places(tmp_path: Path) -> None:
    miniature.devkit(tmp_path)
    wrong = [*VAL[:6], "n01440764", VAL[7], "n01440764", *VAL[9:]]
    write(tmp_path, {"LOC_val_solution.csv": miniature.solution(wrong)})
    line = (
        miniature.solution(wrong)
        .decode()
        .splitlines()
        .index("ILSVRC2012_val_00000007,n01440764 1 2 30 40 n01440764 5 6 7 8 ")
    )
    with pytest.raises(TenchError) as error:
        devkit.refuse_disagreement([source.read() for source in found(tmp_path)])
    assert str(error.value) == (
        f"ILSVRC2012_val_00000007 has class n02012849 in {tmp_path}/ILSVRC2012_devkit_t12.tar.gz, line 7, but "
        f"n01440764 in {tmp_path}/LOC_val_solution.csv, line {line + 1}; 2 of 12 labels differ. One of the two is "
        f"wrong. Move it away."
    )


# Damaged files.


def numbered(folder: Path, **changes: object) -> str:
    write(folder, miniature.devkit_files() | {"ILSVRC2012_devkit_t12/data/meta.mat": miniature.meta_mat(**changes)})  # type: ignore[arg-type]
    return refusal(folder).replace(str(folder), "")


META = "/ILSVRC2012_devkit_t12/data/meta.mat"


def test_a_number_given_twice_is_an_error_with_both_classes(tmp_path: Path) -> None:
    numbers = {wnid: number for number, wnid in enumerate(CLASSES, start=1)}
    assert numbered(tmp_path, numbers=numbers | {"n01440764": 2}) == (
        f"{META}: n02100735 and n01440764 both have the number 2. Each class must have one number. Download the "
        "devkit again."
    )


def test_a_class_with_two_numbers_is_an_error(tmp_path: Path) -> None:
    assert numbered(tmp_path, WNID="n02119789") == (
        f"{META}: n02119789 has the numbers 1 and 2. Each class must have one number. Download the devkit again."
    )


def test_numbers_with_a_gap_are_an_error(tmp_path: Path) -> None:
    numbers = {wnid: number for number, wnid in enumerate(CLASSES, start=2)}
    assert numbered(tmp_path, numbers=numbers) == (
        f"{META}: the 6 classes must have the numbers 1 to 6, got 2 to 7. Download the devkit again."
    )


def test_a_list_without_classes_is_an_error(tmp_path: Path) -> None:
    assert numbered(tmp_path, num_children=2.0) == (
        f"{META}: the 0 classes must have the numbers 1 to 0, got 0 to 0. Download the devkit again."
    )


def test_an_invalid_wordnet_id_is_an_error(tmp_path: Path) -> None:
    assert numbered(tmp_path, WNID="tench").startswith(f"{META}: class 1 has 'tench' instead of a WordNet id.")


def test_a_list_that_is_not_a_matlab_file_is_an_error(tmp_path: Path) -> None:
    whole = miniature.meta_mat()
    name = "ILSVRC2012_devkit_t12/data/meta.mat"
    for data, what in (
        (b"", "is not a MATLAB file"),
        (b"nonsense" * 100, "is not a MATLAB file"),
        (whole[:200], "is a damaged MATLAB file (an element of"),
        (whole[: len(whole) // 2], "is a damaged MATLAB file (an element of"),
    ):
        write(tmp_path, miniature.devkit_files() | {name: data})
        assert refusal(tmp_path).startswith(f"{tmp_path}/{name} {what}")


def test_a_matlab_file_without_classes_is_an_error(tmp_path: Path) -> None:
    from scipy.io import savemat

    name = "ILSVRC2012_devkit_t12/data/meta.mat"
    for variables, why in (
        ({"labels": [1, 2]}, "'labels' (KeyError: 'synsets')"),
        ({"synsets": [1, 2]}, "'synsets' (ValueError: 'synsets' lacks these fields)"),
        ({"synsets": {"ILSVRC2012_ID": 1.5, "WNID": "n1"}}, "'synsets' (ValueError: 1.5 is not a whole number)"),
        ({"synsets": {"ILSVRC2012_ID": float("inf"), "WNID": "n1"}}, "'synsets' (OverflowError: "),
        ({"synsets": {"ILSVRC2012_ID": "1", "WNID": "n1"}}, "'synsets' (AttributeError: "),
    ):
        written = io.BytesIO()
        savemat(written, variables)
        write(tmp_path, miniature.devkit_files() | {name: written.getvalue()})
        assert refusal(tmp_path).startswith(
            f"{tmp_path}/{name} is not the class list of an ILSVRC2012 devkit. Expected a structure 'synsets' with "
            f"the fields ILSVRC2012_ID and WNID; the file contains {why}"
        )


@pytest.mark.parametrize("line", ["7", "0", "-1", "1.0", "n01440764", "", "\u0663"])
def test_a_line_that_is_not_a_class_number_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    name = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    write(tmp_path, miniature.devkit_files() | {name: f"1\n2\n{line}\n3\n".encode()})
    assert refusal(tmp_path).startswith(
        f"{tmp_path}/{name}, line 3: {line!r} is not a class number; the 6 classes have the numbers 1 to 6."
    )


@pytest.mark.parametrize(
    ("left_out", "lacking"),
    [
        ("meta.mat", "meta.mat"),
        ("ILSVRC2012_validation_ground_truth.txt", "ILSVRC2012_validation_ground_truth.txt"),
    ],
)
def test_a_devkit_archive_without_one_of_its_files_is_an_error(tmp_path: Path, left_out: str, lacking: str) -> None:
    files = miniature.devkit_files()
    archive = miniature.devkit(tmp_path, {name: data for name, data in files.items() if not name.endswith(left_out)})
    assert refusal(tmp_path).startswith(f"{archive} has no file {lacking}, so it is not a devkit of ILSVRC2012.")
    assert devkit.WOULD_DO in refusal(tmp_path)


def test_an_archive_truncated_anywhere_is_an_error(tmp_path: Path) -> None:
    archive = miniature.devkit(tmp_path)
    whole = archive.read_bytes()
    for length in (*range(0, len(whole), 97), len(whole) - 8, len(whole) - 1):
        archive.write_bytes(whole[:length])
        text = refusal(tmp_path)
        assert text.startswith(str(archive))
        assert "truncated" in text


def test_an_archive_truncated_before_compression_is_an_error(tmp_path: Path) -> None:
    plain = tar_bytes(miniature.val_annotations())
    for length in range(512, len(plain) - 10240, 512):
        write(tmp_path, {"ILSVRC2012_bbox_val_v3.tgz": gzip.compress(plain[:length], 1)})
        text = refusal(tmp_path)
        assert text.startswith(f"{tmp_path}/ILSVRC2012_bbox_val_v3.tgz")
        assert "truncated" in text


def test_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    archive = miniature.devkit(tmp_path)
    whole, refused = archive.read_bytes(), 0
    for position in range(40, len(whole), 61):  # after the name in the gzip header, which no checksum covers
        damaged = whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :]
        with contextlib.suppress(zlib.error, OSError, EOFError):
            if gzip.decompress(damaged) == gzip.decompress(whole):
                continue  # a back-reference may now point to other zeros, which gives the same bytes
        archive.write_bytes(damaged)
        assert str(archive) in refusal(tmp_path)
        refused += 1
    assert refused > 5


def test_a_damaged_tar_header_inside_an_intact_gzip_file_is_an_error(tmp_path: Path) -> None:
    plain = bytearray(tar_bytes(miniature.devkit_files()))
    with tarfile.open(fileobj=io.BytesIO(bytes(plain))) as archive:
        last = archive.getmembers()[-1].offset
    plain[last + 3] ^= 1
    write(tmp_path, {"ILSVRC2012_devkit_t12.tar.gz": gzip.compress(bytes(plain))})
    assert "should begin the header of the next member, but its checksum does not match" in refusal(tmp_path)


def test_reading_stops_in_an_archive_that_expands_too_much(tmp_path: Path) -> None:
    archive = miniature.devkit(tmp_path, {"zeros": bytes(10_000_000)} | miniature.devkit_files())
    text = refusal(tmp_path, Limits(inflated_bytes=10_000))
    assert text.startswith(f"{archive}: the first ")
    assert text.endswith("more than 100 times as many. Images do not compress this well, so the file is not unpacked.")


def test_a_file_that_claims_to_be_too_large_is_an_error(tmp_path: Path) -> None:
    archive = miniature.devkit(tmp_path)
    text = refusal(tmp_path, Limits(annotation_bytes=100))
    assert text.startswith(f"{archive}: 'ILSVRC2012_devkit_t12/data/meta.mat' claims ")
    assert text.endswith(" bytes; at most 100 are read. The archive is damaged. Copy or download it again.")


@pytest.mark.parametrize("size", [b"\x80\0\0\0" + b"\x7f" + b"\xff" * 7, b"-0000001000\0"])
def test_a_member_with_an_impossible_size_is_an_error_at_once(tmp_path: Path, size: bytes) -> None:
    """tarfile would read the 2^63 bytes of the first in steps of 10 kB, and loop forever on the second."""
    block = bytearray(tarfile.TarInfo("data/readme.txt").tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    write(tmp_path, {"ILSVRC2012_devkit_t12.tar.gz": gzip.compress(bytes(block) + bytes(10240))})
    assert refusal(tmp_path).startswith(f"{tmp_path}/ILSVRC2012_devkit_t12.tar.gz")


def test_links_and_names_that_lead_outside_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("data/meta.mat")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(link)
    write(tmp_path, {"ILSVRC2012_devkit_t12.tar.gz": packed.getvalue()})
    assert "'data/meta.mat' (byte 0) is a symbolic link. Only files and folders are read" in refusal(tmp_path)
    miniature.devkit(tmp_path, {"../meta.mat": b"x"})
    assert "the member '../meta.mat' is outside the archive's own folder." in refusal(tmp_path)


def solution(folder: Path, *lines: str, header: str = "ImageId,PredictionString") -> Path:
    text = "".join(f"{line}\n" for line in (header, *lines))
    return write(folder, {"LOC_val_solution.csv": text.encode()}) / "LOC_val_solution.csv"


def test_rows_of_the_solution_may_repeat_and_be_separated_by_empty_ones(tmp_path: Path) -> None:
    line = "ILSVRC2012_val_00000002,n01440764 1 2 3 4 "
    solution(tmp_path, line, "", line, 'ILSVRC2012_val_00000001,"n02100735 1 2 3 4"')
    assert labels(tmp_path).wnid == {
        "ILSVRC2012_val_00000001": "n02100735",
        "ILSVRC2012_val_00000002": "n01440764",
    }


@pytest.mark.parametrize(
    "line",
    [
        "ILSVRC2012_val_00000002,tench 1 2 3 4",
        "ILSVRC2012_val_00000002,n01440764 1 2 3",
        "ILSVRC2012_val_00000002,n01440764 1 2 3 4 n02100735 1 2 3 4",
        "ILSVRC2012_val_00000002,",
        "ILSVRC2012_val_00000002",
        "ILSVRC2012_val_00000002,449 1 2 3 4",
        "ILSVRC2012_val_00000002,n01440764 1 2 3 4,more",
    ],
)
def test_an_invalid_row_of_the_solution_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    file = solution(tmp_path, "ILSVRC2012_val_00000001,n01440764 1 2 3 4 ", line)
    assert refusal(tmp_path) == (
        f"{file}, line 3 must be an image and for each box 'wnid xmin ymin xmax ymax', all with the same WordNet "
        f"id, got {line!r}. Download the file again."
    )


def test_a_solution_without_its_header_is_an_error(tmp_path: Path) -> None:
    file = solution(tmp_path, header="ILSVRC2012_val_00000001,n01440764 1 2 3 4 ")
    assert refusal(tmp_path).startswith(f"{file}, line 1 must be 'ImageId,PredictionString', got 'ILSVRC2012_val")
    file.write_bytes(b"")
    assert refusal(tmp_path).startswith(f"{file}, line 1 must be")


def test_two_rows_of_the_solution_that_differ_are_an_error_with_both_lines(tmp_path: Path) -> None:
    image = "ILSVRC2012_val_00000001"
    file = solution(tmp_path, f"{image},n01440764 1 2 3 4 ", f"{image},n02100735 1 2 3 4 ")
    assert refusal(tmp_path) == (
        f"{file}, line 3: {image} has class n02100735, but n01440764 in line 2. Download the file again."
    )


def test_slims_labels_may_have_windows_line_ends(tmp_path: Path) -> None:
    write(tmp_path, {"synset_labels.txt": miniature.synsets().replace(b"\n", b"\r\n") + b"\r\n"})
    assert labels(tmp_path).wnid == TRUTH


@pytest.mark.parametrize("line", ["", "65", "tench", "n0144076"])
def test_a_line_of_slims_labels_that_is_not_a_wordnet_id_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    write(tmp_path, {"synset_labels.txt": f"n01440764\n{line}\nn01440764\n".encode()})
    assert refusal(tmp_path) == (
        f"{tmp_path}/synset_labels.txt, line 2 must be the WordNet id of ILSVRC2012_val_00000002, such as "
        f"n01440764, got {line!r}. Download the file again."
    )


def test_an_annotation_of_two_classes_is_an_error(tmp_path: Path) -> None:
    both = miniature.annotation([("n01440764", (1, 2, 3, 4)), ("n02100735", (1, 2, 3, 4))])
    write(tmp_path, {"val/ILSVRC2012_val_00000002.xml": both})
    assert refusal(tmp_path).startswith(
        f"{tmp_path}/val/ILSVRC2012_val_00000002.xml: all objects must have the same class, a WordNet id such as "
        f"n01440764, got 'n01440764', 'n02100735'."
    )


def test_an_annotation_without_objects_gives_no_label(tmp_path: Path) -> None:
    write(tmp_path, miniature.val_annotations() | {"val/ILSVRC2012_val_00000002.xml": miniature.annotation([])})
    assert labels(tmp_path).wnid == {image: wnid for image, wnid in TRUTH.items() if not image.endswith("2")} | {
        "ILSVRC2012_val_00000012": VAL[11]
    }


def test_an_archive_of_annotations_without_those_of_val_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"ILSVRC2012_bbox_val_v3.tgz": tar_bytes(miniature.train_annotations(), "w:gz")})
    assert refusal(tmp_path).startswith(
        f"{tmp_path}/ILSVRC2012_bbox_val_v3.tgz contains no annotation of an image of val "
        "(ILSVRC2012_val_########.xml)."
    )


def test_the_stamp_has_the_containers_that_were_read_but_not_the_single_files(tmp_path: Path) -> None:
    write(tmp_path, miniature.val_annotations())
    archive = miniature.devkit(tmp_path)
    tree = open_tree(tmp_path, tmp_path / "no spool")
    for source in devkit.sources(tree):
        source.read()
    assert list(tree.stamp) == [str(tmp_path), str(tmp_path / "val"), str(archive)]
