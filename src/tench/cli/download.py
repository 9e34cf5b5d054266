"""`tench download`: a public dataset by its name."""

import dataclasses
import shlex
from typing import Annotated

import tyro

from tench.cli.parse import parse


@dataclasses.dataclass(frozen=True, kw_only=True)
class Download:
    """Download a public dataset by its name into a folder, checked against its published checksum.

    Archives stay as published: tench reads them without unpacking. Without NAME, the names are listed. The same command
    resumes an interrupted download, and keeps what is already there. Proxies are taken from the environment
    (https_proxy). The environment variable TENCH_MIRROR is a base address to download from instead, e.g. a mirror
    inside a company: TENCH_MIRROR/FILE. ImageNet comes from Kaggle: it needs the package kaggle and an account there.
    Example:

        tench download cifar10 ~/cifar10
    """

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]")] = None
    """The dataset; none: list the names."""
    dest: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[DEST]")] = None
    """The folder for it, made if need be."""
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """List the names with their download sizes; download nothing."""


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
        raise UsageError(f"DEST is missing. Name a folder: tench download {shlex.quote(asked.name)} DEST.")
    path = download(asked.name, asked.dest)
    source = shlex.quote(str(path))
    print(f"Next: tench train {source} (tench info {source} shows its content)")
    return 0
