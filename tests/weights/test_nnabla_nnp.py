"""NNabla's `.nnp`, which contains an HDF5 file."""

import zipfile
from pathlib import Path

import pytest
import torch
from tests.support.errors import error_of
from tests.weights.test_nnabla import written

from tench.exporting.convert import convert_weights
from tench.weights.describe import weights_info
from tench.weights.load import load
from tench.weights.nnabla_h5 import read_h5
from tench.weights.start import starting_weights


@pytest.fixture
def nnp(tmp_path: Path) -> Path:
    """A file with the members that NNabla 1.39 writes."""
    h5 = written(tmp_path / "w.h5")
    with zipfile.ZipFile(tmp_path / "w.nnp", "w") as archive:
        archive.writestr("nnp_version.txt", "0.1\n")
        archive.writestr("network.nntxt", "network {}")
        archive.write(h5, "parameter.h5")
    return tmp_path / "w.nnp"


def test_an_nnp_has_the_parameters_of_its_h5_file(nnp: Path) -> None:
    found, expected = (starting_weights(str(path)) for path in (nnp, nnp.with_suffix(".h5")))
    assert (found.arch, found.system) == ("nnabla:resnet18", "NNabla")
    assert all(torch.equal(found.state[name], tensor) for name, tensor in expected.state.items())
    assert weights_info(nnp).layout == "nchw"
    assert load(nnp).card.image_size == 224


def test_an_nnp_can_be_rewritten_as_h5(nnp: Path) -> None:
    path = convert_weights(nnp, nnp.with_name("out.h5"), layout="nhwc", channels=4)
    assert read_h5(path)[0].values.shape == (64, 7, 7, 4)


def test_parameters_in_another_format_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.nnp", "w") as archive:
        archive.writestr("nnp_version.txt", "0.1\n")
        archive.writestr("parameter.protobuf", b"")
    assert error_of(load)(tmp_path / "w.nnp") == (
        f"{tmp_path / 'w.nnp'} has no parameter.h5. Save the parameters as HDF5: nnabla.save_parameters('weights.h5'), "
        "and pass that file."
    )


def test_the_error_about_damaged_parameters_names_the_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.nnp", "w") as archive:
        archive.writestr("nnp_version.txt", "0.1\n")
        archive.writestr("parameter.h5", b"\x89HDF\r\n\x1a\n" + bytes(100))
    text = error_of(load)(tmp_path / "w.nnp")
    assert text.startswith(f"{tmp_path / 'w.nnp'}/parameter.h5")


def test_damaged_compression_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.nnp", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("nnp_version.txt", "0.1\n")
        archive.writestr("parameter.h5", bytes(range(256)) * 40)
    content = bytearray((tmp_path / "w.nnp").read_bytes())
    at = content.index(b"parameter.h5") + len(b"parameter.h5")
    content[at : at + 40] = b"\xff" * 40
    (tmp_path / "w.nnp").write_bytes(content)
    assert error_of(load)(tmp_path / "w.nnp").startswith(f"{tmp_path / 'w.nnp'}: parameter.h5 cannot be read (")


def test_a_member_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.nnp", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("nnp_version.txt", "0.1\n")
        with archive.open("parameter.h5", "w") as member:
            for _ in range(300):
                member.write(bytes(2**20))
    assert "claims to contain" in error_of(load)(tmp_path / "w.nnp")
