"""`tench download`: download a public dataset by name."""

import dataclasses
import shlex
from typing import Annotated, ClassVar

from tench.cli.parse import parse
from tench.flags import Flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Download:
    """Download a public dataset by name into a folder, and verify its published checksum.

    Archives stay packed: tench reads them directly. Without NAME, the names are listed. Run the same command again to
    resume an interrupted download; complete files are kept. Proxies are taken from the environment (https_proxy). If
    TENCH_MIRROR is set, files are downloaded from TENCH_MIRROR/FILE, for example from a company mirror. ImageNet is
    downloaded from Kaggle, which needs the package kaggle and an account. Example:

        tench download cifar10 ~/cifar10
    """

    GROUPS: ClassVar[dict[str, str]] = {"Options": "name dest list"}

    name: Annotated[str | None, Flag(metavar="NAME", positional=True)] = None
    """The dataset. Without it the names are listed."""
    dest: Annotated[str | None, Flag(metavar="DEST", positional=True)] = None
    """Folder to download into; created if it is missing."""
    list: bool = False
    """List the names with their download sizes, and exit."""


def run(arguments: list[str]) -> int:
    asked = parse(Download, arguments)
    from tench.data.download.download import download, offered
    from tench.errors import UsageError
    from tench.files import size_text

    if asked.list or asked.name is None:
        for name, num_bytes, what in offered():
            print(f"{name:<15} {'?' if num_bytes is None else size_text(num_bytes):>9}  {what}")
        return 0
    if asked.dest is None:
        raise UsageError(f"DEST is missing. Usage: tench download {shlex.quote(asked.name)} DEST.")
    path = download(asked.name, asked.dest)
    source = shlex.quote(str(path))
    print(f"Next: tench train {source} (tench info {source} shows its contents)")
    return 0
