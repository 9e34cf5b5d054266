"""Public datasets by name: fetched from their publishers, checked, and laid where `open_source` reads them.

A .zip or .tar stays as it is, as it can be read in place; a .tar.gz is unpacked, all of it or nothing. ImageNet comes
by the kaggle package, with its own way of continuing, and without a published checksum.
Sources: torchvision.datasets (addresses, MD5s), the sets' own pages.
"""

import contextlib
import dataclasses
import importlib
import io
import logging
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tench.data.download.fetch import fetch, require_room
from tench.data.files.names import inside
from tench.errors import TenchError, UsageError, nearest
from tench.progress import progress

_BLOCK_BYTES = 2**18

IMAGENET = "imagenet"
_COMPETITION = "imagenet-object-localization-challenge"
_COMPETITION_BYTES = 155_000_000_000
"""At least; the images alone have so much."""

_log = logging.getLogger("tench")


@dataclasses.dataclass(frozen=True)
class File:
    """A published file: its name, the MD5 of its content, its size in bytes."""

    name: str
    md5: str
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class Set:
    """A dataset that can be downloaded. mirrors: base addresses, to which a file's name is added, in order of trial.

    folder: what the one file, a .tar.gz, unpacks to; "" where nothing is unpacked. inner: the .tar.gz in that file,
    where the file is a zip that holds it.
    """

    title: str
    mirrors: tuple[str, ...]
    files: tuple[File, ...]
    folder: str = ""
    inner: str = ""


SETS = {
    "mnist": Set(
        "MNIST: 70,000 handwritten digits, 28 x 28, grey",
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        (
            File("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
            File("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
            File("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
            File("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
        ),
    ),
    "fashion-mnist": Set(
        "Fashion-MNIST: 70,000 pieces of clothing, 28 x 28, grey",
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        (
            File("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
            File("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
            File("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
            File("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
        ),
    ),
    "cifar10": Set(
        "CIFAR-10: 60,000 photographs in 10 classes, 32 x 32",
        ("https://www.cs.toronto.edu/~kriz/",),
        (File("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", 170_498_071),),
        folder="cifar-10-batches-py",
    ),
    "cifar100": Set(
        "CIFAR-100: 60,000 photographs in 100 classes, 32 x 32",
        ("https://www.cs.toronto.edu/~kriz/",),
        (File("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", 169_001_437),),
        folder="cifar-100-python",
    ),
    "caltech101": Set(
        "Caltech-101: 9,144 photographs in 101 classes and a background",
        ("https://data.caltech.edu/records/mzrjq-6wc02/files/",),
        (File("caltech-101.zip", "3138e1922a9193bfa496528edbbc45d0", 137_414_764),),
        folder="101_ObjectCategories",
        inner="caltech-101/101_ObjectCategories.tar.gz",
    ),
    "caltech256": Set(
        "Caltech-256: 30,607 photographs in 256 classes and clutter",
        ("https://data.caltech.edu/records/nyy15-4j048/files/",),
        (File("256_ObjectCategories.tar", "67b4f42ca05d46448c6bb8ecd2220f6d", 1_183_006_720),),
    ),
    "tiny-imagenet": Set(
        "Tiny-ImageNet: 120,000 photographs in 200 classes, 64 x 64",
        ("http://cs231n.stanford.edu/", "https://cs231n.stanford.edu/"),
        (File("tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de", 248_100_043),),
    ),
}
"""The sets that are fetched from their publishers, by name."""


def offered() -> list[tuple[str, int, str]]:
    """(name, bytes to download, what it is) of every set that `download` knows; the bytes of ImageNet are a minimum."""
    sets = [(name, sum(file.num_bytes for file in known.files), known.title) for name, known in SETS.items()]
    return [
        *sets,
        (IMAGENET, _COMPETITION_BYTES, "ImageNet (ILSVRC2012): 1000 classes; Kaggle's package, at least so large"),
    ]


def download(name: str, dest: str | Path, *, mirrors: Sequence[str] = ()) -> Path:
    """Download a set into the folder dest, made if need be. Returns what to open: dest, or an archive or folder in it.

    What is there already, whole and right, is kept; what was interrupted is continued. mirrors: base addresses instead
    of the set's own, tried in order; none: the one in the environment variable TENCH_MIRROR, if set (ImageNet comes
    from Kaggle all the same). Raises UsageError for an unknown name, TenchError where something cannot be had or is
    not what was published.
    """
    if name not in SETS and name != IMAGENET:
        known = [*SETS, IMAGENET]
        raise UsageError(f"{name!r}: no dataset of that name.{nearest(name, known)} Known: {', '.join(known)}.")
    if not mirrors and (own := os.environ.get("TENCH_MIRROR")):
        mirrors = [own]
    for base in mirrors:
        if not _is_web_address(base):
            raise UsageError(f"{base!r}: no address to download from: it must begin with http:// or https://.")
    dest = Path(dest).expanduser()
    if dest.exists() and not dest.is_dir():
        raise UsageError(f"{dest}: is a file; DEST is the folder for what is downloaded.")
    dest.mkdir(parents=True, exist_ok=True)
    with _alone_in(dest):
        if name == IMAGENET:
            return _from_kaggle(dest)
        wanted = SETS[name]
        for file in wanted.files:
            addresses = [f"{base.rstrip('/')}/{file.name}" for base in mirrors or wanted.mirrors]
            fetch(addresses, dest / file.name, md5=file.md5, num_bytes=file.num_bytes)
        first = dest / wanted.files[0].name
        if wanted.folder:
            return unpack(first, wanted.folder, inner=wanted.inner)
        return first if len(wanted.files) == 1 else dest


def unpack(archive: Path, folder: str, *, inner: str = "") -> Path:
    """Unpack the folder that a .tar.gz holds to beside the archive, all of it or nothing; returns its path.

    A folder already there is compared with the archive, byte for byte, and kept if it holds the same. inner: the
    .tar.gz in the archive, where that is a zip. Raises TenchError for a member that leads outside or is neither file
    nor folder, for a damaged archive, for a full disk, and when another folder is in its place.
    """
    target, part = archive.parent / folder, archive.parent / f".{folder}.part"
    try:
        if target.exists():
            _compare(archive, folder, inner)
            _log.info("%s: already there, the same as in %s: kept.", target, archive.name)
            return target
        shutil.rmtree(part, ignore_errors=True)  # of one that was killed
        part.mkdir()
        try:
            with contextlib.closing(_members(archive, folder, inner)) as members:
                for name, content, num_bytes in members:
                    require_room(archive.parent, num_bytes, f"{archive.name}: {name}")
                    place = part / name
                    (place if content is None else place.parent).mkdir(parents=True, exist_ok=True)
                    if content is not None:
                        with place.open("wb") as sink:
                            shutil.copyfileobj(content, sink, _BLOCK_BYTES)
            (part / folder).rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise TenchError(
            f"{archive}: cannot be unpacked ({error}). Remove it, and run the same command again."
        ) from error
    except OSError as error:
        raise TenchError(f"{error.filename or archive}: cannot be unpacked ({error.strerror or error}).") from error
    _log.info("%s: unpacked to %s; the archive itself is no longer needed.", archive.name, target)
    return target


def _members(archive: Path, folder: str, inner: str) -> Generator[tuple[str, IO[bytes] | None, int], None, None]:
    """(name, content, bytes) of what a .tar.gz holds in a folder; the content of a folder is None."""
    others = 0
    with contextlib.ExitStack() as stack:
        if inner:
            zipped = stack.enter_context(zipfile.ZipFile(archive))
            packed: IO[bytes] = stack.enter_context(zipped.open(inner))
            num_bytes = zipped.getinfo(inner).file_size
        else:
            packed = stack.enter_context(archive.open("rb"))
            num_bytes = archive.stat().st_size
        advance = stack.enter_context(progress(f"unpack {archive.name}", num_bytes // 1000, "kB"))
        shown = 0
        tar = stack.enter_context(tarfile.open(fileobj=packed, mode="r|gz"))
        for member in tar:
            if not (member.isfile() or member.isdir()):
                raise TenchError(
                    f"{archive}: {member.name!r} is a link or a device. Only files and folders are unpacked: remove "
                    "the archive, and look where it came from."
                )
            name = inside(member.name, str(archive))
            if name.split("/")[0] != folder:
                others += bool(name)
                continue
            yield name, tar.extractfile(member) if member.isfile() else None, member.size
            advance(packed.tell() // 1000 - shown, "")
            shown = packed.tell() // 1000
    if others:
        _log.info("%s: %d members that are not in %s were left out.", archive.name, others, folder)


def _compare(archive: Path, folder: str, inner: str) -> None:
    with contextlib.closing(_members(archive, folder, inner)) as members:
        for name, content, num_bytes in members:
            place = archive.parent / name
            if content is None:
                same = place.is_dir()
            else:
                same = place.is_file() and place.stat().st_size == num_bytes and _holds(place, content)
            if not same:
                raise TenchError(
                    f"{place}: is not what {archive.name} holds under this name. The folder {archive.parent / folder} "
                    "is damaged or of another origin: move or remove it, and run the same command again."
                )


def _holds(path: Path, content: IO[bytes]) -> bool:
    with path.open("rb") as file:
        while block := content.read(_BLOCK_BYTES):
            if file.read(len(block)) != block:
                return False
    return True


def _from_kaggle(dest: Path) -> Path:
    """Kaggle's package of ImageNet, by the kaggle package, which continues what it began; renamed when it is whole."""
    archive = dest / f"{_COMPETITION}.zip"
    if archive.exists():
        _check_zip(archive)
        _log.info("%s: already there: kept.", archive)
        return archive
    api = _kaggle()
    part = dest / f"{_COMPETITION}.part"
    arrived = sum(file.stat().st_size for file in part.iterdir()) if part.exists() else 0
    require_room(dest, _COMPETITION_BYTES - arrived, "Kaggle's ImageNet")
    part.mkdir(exist_ok=True)
    try:
        api.competition_download_files(_COMPETITION, path=str(part), force=False, quiet=False)
    except KeyboardInterrupt:
        _log.info("%s: what has arrived is kept; the same command continues.", part)
        raise
    except Exception as error:  # its own, those of requests and of urllib3 have no other base
        if not any(part.iterdir()):
            part.rmdir()
        raise TenchError(
            f"Kaggle's ImageNet: the kaggle package failed: {error}. With 401 or 403 in it: accept the rules of the "
            f"competition at https://www.kaggle.com/competitions/{_COMPETITION}/rules with the account of your token. "
            "What has arrived is kept; the same command continues."
        ) from error
    _check_zip(part / archive.name)
    (part / archive.name).rename(archive)
    shutil.rmtree(part)
    return archive


def _kaggle() -> Any:
    """The kaggle package's interface, logged in."""
    try:
        # Without credentials it prints a page of advice, and some versions end the process, some on import.
        with contextlib.redirect_stdout(io.StringIO()):
            api = importlib.import_module("kaggle").api
            api.authenticate()
    except ImportError as error:
        raise TenchError(
            f"ImageNet is downloaded from Kaggle by the package kaggle, which cannot be imported ({error}). Install it "
            "with: pip install kaggle. Then run the same command again."
        ) from error
    except (SystemExit, Exception) as error:
        detail = "" if isinstance(error, SystemExit) else f" ({error})"
        raise TenchError(
            f"Kaggle's credentials are missing or not accepted{detail}. Log in at https://www.kaggle.com, make a token "
            "at https://www.kaggle.com/settings/api and keep it as that page says (in ~/.kaggle/, or in the variable "
            f"KAGGLE_API_TOKEN), accept https://www.kaggle.com/competitions/{_COMPETITION}/rules, "
            "and run the same command again."
        ) from error
    return api


def _check_zip(archive: Path) -> None:
    """By the list of members at its end: Kaggle publishes no checksum."""
    try:
        with zipfile.ZipFile(archive) as whole:
            count = len(whole.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise TenchError(
            f"{archive}: is no whole zip archive ({error}). Remove it, and run the same command again."
        ) from error
    _log.info("%s: lists %d members. Kaggle publishes no checksum: tench check decodes every image.", archive, count)


@contextlib.contextmanager
def _alone_in(dest: Path) -> Iterator[None]:
    """Hold a lock on the folder, which leaves nothing behind in it. Raises TenchError if another process holds it."""
    import fcntl

    descriptor = os.open(dest, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TenchError(f"{dest}: another process is downloading to it. Wait until it is done.") from None
        except OSError:
            pass  # a network disk without locks: the checksum would still tell if two wrote
        yield
    finally:
        os.close(descriptor)


def _is_web_address(base: str) -> bool:
    try:
        return urlsplit(base).scheme in ("http", "https") and bool(urlsplit(base).hostname)
    except ValueError:
        return False
