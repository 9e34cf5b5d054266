"""NNabla's `.nnp`: a zip archive with the network and, by default in recent versions, its parameters as HDF5.

Only the parameters are used; the network follows from their shapes, as for `.h5`.
"""

import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

from tench.errors import TenchError
from tench.weights.files import require_plausible
from tench.weights.nnabla_h5 import Parameter, read_h5
from tench.weights.recognise import is_nnp

_MEMBER = "parameter.h5"


def read_parameters(path: Path) -> list[Parameter]:
    """The parameters of an `.nnp` or `.h5` file in the order of saving. Raises TenchError if it is damaged."""
    if not is_nnp(path):
        return read_h5(path)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / _MEMBER
        try:
            with zipfile.ZipFile(path) as archive:
                if _MEMBER not in archive.namelist():
                    raise TenchError(
                        f"{path} has no {_MEMBER}. Save the parameters as HDF5: nnabla.save_parameters('weights.h5'), "
                        "and pass that file."
                    )
                require_plausible(path, archive.getinfo(_MEMBER).file_size)
                with archive.open(_MEMBER) as member, target.open("wb") as file:
                    shutil.copyfileobj(member, file)
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # RuntimeError: it is encrypted
            raise TenchError(f"{path}: {_MEMBER} cannot be read ({error}). Copy the file again.") from error
        try:
            return read_h5(target)
        except TenchError as error:
            raise TenchError(str(error).replace(str(target), f"{path}/{_MEMBER}")) from error
