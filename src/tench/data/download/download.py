"""Download public datasets by name from their publishers, and check them.

Archives stay as published: `open_source` reads them without unpacking. ImageNet is downloaded by the kaggle package,
which resumes in its own way; no checksum of it is published.
Sources: torchvision.datasets (addresses, MD5s), the sets' own pages (sizes).
"""

import contextlib
import dataclasses
import importlib
import io
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tench.arguments import checked_arguments
from tench.data.download.fetch import fetch, require_room
from tench.errors import TenchError, UsageError, nearest
from tench.files import user_path

IMAGENET = "imagenet"
_COMPETITION = "imagenet-object-localization-challenge"
_COMPETITION_BYTES = 155_000_000_000
"""A lower bound: the size of the images alone."""

_log = logging.getLogger("tench")


@dataclasses.dataclass(frozen=True)
class File:
    """A published file: its name, the MD5 of its content, and its size in bytes if the publisher states it."""

    name: str
    md5: str
    num_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Set:
    """A dataset that can be downloaded. mirrors: base addresses, to which a file's name is added, in order of trial."""

    title: str
    mirrors: tuple[str, ...]
    files: tuple[File, ...]


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
    ),
    "cifar100": Set(
        "CIFAR-100: 60,000 photographs in 100 classes, 32 x 32",
        ("https://www.cs.toronto.edu/~kriz/",),
        (File("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", 169_001_437),),
    ),
    "caltech101": Set(
        "Caltech-101: 9,144 photographs in 101 classes and a background",
        ("https://data.caltech.edu/records/mzrjq-6wc02/files/",),
        (File("caltech-101.zip", "3138e1922a9193bfa496528edbbc45d0", 137_414_764),),
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
    "kmnist": Set(
        "KMNIST: 70,000 handwritten kuzushiji in 10 classes, 28 x 28, grey",
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        (
            File("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
            File("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
            File("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
            File("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
        ),
    ),
    "emnist": Set(
        "EMNIST: letters and digits, 28 x 28, grey; six sets in one archive",
        ("https://biometrics.nist.gov/cs_links/EMNIST/",),
        (File("gzip.zip", "58c8d27c78d21e728a6bc7b3cc06412e"),),
    ),
    "qmnist": Set(
        "QMNIST: MNIST with 60,000 test images, 28 x 28, grey",
        ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
        (
            File("qmnist-train-images-idx3-ubyte.gz", "ed72d4157d28c017586c42bc6afe6370"),
            File("qmnist-train-labels-idx2-int.gz", "0058f8dd561b90ffdd0f734c6a30e5e4"),
            File("qmnist-test-images-idx3-ubyte.gz", "1394631089c404de565df7b7aeaf9412"),
            File("qmnist-test-labels-idx2-int.gz", "5b5b05890a5e13444e108efe57b788aa"),
        ),
    ),
    "usps": Set(
        "USPS: 9,298 handwritten digits, 16 x 16, grey",
        ("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",),
        (
            File("usps.bz2", "ec16c51db3855ca6c91edd34d0e9b197"),
            File("usps.t.bz2", "8ea070ee2aca1ac39742fdd1ef5ed118"),
        ),
    ),
    "semeion": Set(
        "Semeion: 1,593 handwritten digits, 16 x 16, black and white",
        ("http://archive.ics.uci.edu/ml/machine-learning-databases/semeion/",),
        (File("semeion.data", "cb545d371d2ce14ec121470795a77432"),),
    ),
    "svhn": Set(
        "SVHN: 99,289 house numbers, 32 x 32, without the extra training images",
        ("http://ufldl.stanford.edu/housenumbers/",),
        (
            File("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            File("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ),
    ),
    "stl10": Set(
        "STL-10: 13,000 photographs in 10 classes, 96 x 96, and 100,000 without labels",
        ("http://ai.stanford.edu/~acoates/stl10/",),
        (File("stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb"),),
    ),
    "flowers102": Set(
        "Oxford Flowers-102: 8,189 photographs of flowers in 102 classes",
        ("https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",),
        (
            File("102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
            File("imagelabels.mat", "e0620be6f572b9609742df49c70aed4d"),
            File("setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c"),
        ),
    ),
    "oxford-iiit-pet": Set(
        "Oxford-IIIT Pet: 7,349 photographs of cats and dogs in 37 breeds",
        ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/",),
        (
            File("images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            File("annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f"),
        ),
    ),
    "dtd": Set(
        "Describable Textures: 5,640 photographs in 47 classes",
        ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/",),
        (File("dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1"),),
    ),
    "eurosat": Set(
        "EuroSAT (RGB): 27,000 satellite images in 10 classes, 64 x 64",
        ("https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/",),
        (File("EuroSAT.zip", "c8fa014336c82ac7804f0398fcb19387"),),
    ),
    "gtsrb": Set(
        "GTSRB: 39,270 photographs of traffic signs in 43 classes",
        ("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/",),
        (
            File("GTSRB-Training_fixed.zip", "513f3c79a4c5141765e10e952eaa2478"),
            File("GTSRB_Final_Test_Images.zip", "c7e4e6327067d32654124b0fe9e82185"),
            File("GTSRB_Final_Test_GT.zip", "fe31e9c9270bbcd7b84b7f21a9d9d9e5"),
        ),
    ),
    "food101": Set(
        "Food-101: 101,000 photographs of dishes in 101 classes",
        ("http://data.vision.ee.ethz.ch/cvl/",),
        (File("food-101.tar.gz", "85eeb15f3717b99a5da872d97d918f87"),),
    ),
    "country211": Set(
        "Country211: 63,300 photographs from 211 countries",
        ("https://openaipublic.azureedge.net/clip/data/",),
        (File("country211.tgz", "84988d7644798601126c29e9877aab6a"),),
    ),
    "rendered-sst2": Set(
        "Rendered SST2: 9,613 pictures of sentences, positive or negative",
        ("https://openaipublic.azureedge.net/clip/data/",),
        (File("rendered-sst2.tgz", "2384d08e9dcfa4bd55b324e610496ee5"),),
    ),
    "sun397": Set(
        "SUN397: 108,754 photographs of scenes in 397 classes",
        ("http://vision.princeton.edu/projects/2010/SUN/",),
        (File("SUN397.tar.gz", "8ca2778205c41d23104230ba66911c7a"),),
    ),
    "imagenette": Set(
        "Imagenette: 13,394 photographs in 10 easy classes of ImageNet",
        ("https://s3.amazonaws.com/fast-ai-imageclas/",),
        (File("imagenette2.tgz", "fe2fc210e6bb7c5664d602c3cd71e612"),),
    ),
    "imagenette-320": Set(
        "Imagenette, shorter side 320 pixels",
        ("https://s3.amazonaws.com/fast-ai-imageclas/",),
        (File("imagenette2-320.tgz", "3df6f0d01a2c9592104656642f5e78a3"),),
    ),
    "imagenette-160": Set(
        "Imagenette, shorter side 160 pixels",
        ("https://s3.amazonaws.com/fast-ai-imageclas/",),
        (File("imagenette2-160.tgz", "e793b78cc4c9e9a4ccc0c1155377a412"),),
    ),
}
"""The sets that are downloaded from their publishers, by name."""


def offered() -> list[tuple[str, int | None, str]]:
    """(name, bytes to download, description) of every set that `download` supports.

    The bytes are None if the publisher states no size, and a lower bound for ImageNet.
    """
    sets: list[tuple[str, int | None, str]] = []
    for name, known in SETS.items():
        sizes = [file.num_bytes for file in known.files if file.num_bytes is not None]
        sets.append((name, sum(sizes) if len(sizes) == len(known.files) else None, known.title))
    return [
        *sets,
        (IMAGENET, _COMPETITION_BYTES, "ImageNet (ILSVRC2012): 1000 classes; Kaggle's package, at least this large"),
    ]


@checked_arguments()
def download(name: str, dest: str | Path, *, mirrors: Sequence[str] = ()) -> Path:
    """Download a public dataset into a folder. Returns the path to open: the file, or the folder if there are several.

    Files that are complete, by their checksum, are kept, and an interrupted download continues.

    name: mnist, cifar10, ...; an unknown name lists the known ones. dest: the folder, created if it does not exist.
    mirrors: base addresses to try in order instead of the publisher's; none: the environment variable TENCH_MIRROR, if
    set. (ImageNet always comes from Kaggle.)

    Raises UsageError for an unknown name, TenchError if a file cannot be downloaded or differs from what was published.

    >>> path = tench.download("cifar10", "data")  # doctest: +SKIP
    >>> dataset = tench.open_source(path)  # doctest: +SKIP
    """
    if name not in SETS and name != IMAGENET:
        known = [*SETS, IMAGENET]
        raise UsageError(f"{name!r}: no such dataset.{nearest(name, known)} Known: {', '.join(known)}.")
    if mirrors and name == IMAGENET:
        raise UsageError(f"{name} comes from Kaggle, so mirrors have no effect. Leave them out.")
    if not mirrors and (own := os.environ.get("TENCH_MIRROR")):
        mirrors = [own]
    for base in mirrors:
        if not _is_web_address(base):
            raise UsageError(f"The mirror {base!r} is not a web address. It must begin with http:// or https://.")
    dest = user_path(dest)
    if dest.exists() and not dest.is_dir():
        raise UsageError(f"{dest} is a file, but DEST must be a folder.")
    dest.mkdir(parents=True, exist_ok=True)
    with _alone_in(dest):
        if name == IMAGENET:
            return _from_kaggle(dest)
        wanted = SETS[name]
        for file in wanted.files:
            addresses = [f"{base.rstrip('/')}/{file.name}" for base in mirrors or wanted.mirrors]
            fetch(addresses, dest / file.name, md5=file.md5, num_bytes=file.num_bytes)
        return dest / wanted.files[0].name if len(wanted.files) == 1 else dest


def _from_kaggle(dest: Path) -> Path:
    """Download Kaggle's archive of ImageNet with the kaggle package, which resumes; rename it when it is complete."""
    archive = dest / f"{_COMPETITION}.zip"
    if archive.exists():
        _check_zip(archive)
        _log.info("%s: already downloaded.", archive)
        return archive
    api = _kaggle()
    part = dest / f"{_COMPETITION}.part"
    arrived = sum(file.stat().st_size for file in part.iterdir()) if part.exists() else 0
    require_room(dest, _COMPETITION_BYTES - arrived, "Kaggle's ImageNet")
    part.mkdir(exist_ok=True)
    try:
        api.competition_download_files(_COMPETITION, path=str(part), force=False, quiet=False)
    except KeyboardInterrupt:
        _log.info("%s: the download so far is kept; the same command resumes it.", part)
        raise
    except Exception as error:  # the only common base of its own errors and those of requests and urllib3
        if not any(part.iterdir()):
            part.rmdir()
        raise TenchError(
            f"Kaggle's ImageNet: the kaggle package failed: {error}. If this message contains 401 or 403, accept the "
            f"rules of the competition at https://www.kaggle.com/competitions/{_COMPETITION}/rules with the account "
            "of your token. The download so far is kept; the same command resumes it."
        ) from error
    _check_zip(part / archive.name)
    (part / archive.name).rename(archive)
    shutil.rmtree(part)
    return archive


def _kaggle() -> Any:
    """The interface of the kaggle package, logged in."""
    try:
        # Without credentials the package prints a page of advice, and some versions end the process, even on import.
        with contextlib.redirect_stdout(io.StringIO()):
            api = importlib.import_module("kaggle").api
            api.authenticate()
    except ImportError as error:
        raise TenchError(
            f"ImageNet is downloaded from Kaggle with the package kaggle, which cannot be imported ({error}). Install "
            "it with: pip install kaggle. Then run the same command again."
        ) from error
    except (SystemExit, Exception) as error:
        detail = "" if isinstance(error, SystemExit) else f" ({error})"
        raise TenchError(
            f"Kaggle's credentials are missing or not accepted{detail}. Log in at https://www.kaggle.com, create a "
            "token at https://www.kaggle.com/settings/api and store it as described there (in ~/.kaggle/, or in the "
            f"variable KAGGLE_API_TOKEN), accept https://www.kaggle.com/competitions/{_COMPETITION}/rules, "
            "and run the same command again."
        ) from error
    return api


def _check_zip(archive: Path) -> None:
    """Check that an archive is complete by the list of members at its end, because Kaggle publishes no checksum."""
    try:
        with zipfile.ZipFile(archive) as whole:
            count = len(whole.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise TenchError(
            f"{archive} is not a complete zip archive ({error}). Remove it and run the same command again."
        ) from error
    _log.info(
        "%s contains %d members. Kaggle publishes no checksum. To decode every image, run tench check.", archive, count
    )


@contextlib.contextmanager
def _alone_in(dest: Path) -> Iterator[None]:
    """Hold a lock on the folder without creating a file in it. Raises TenchError if another process holds it."""
    import fcntl

    descriptor = os.open(dest, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TenchError(f"{dest}: another process is downloading to it. Wait until it has finished.") from None
        except OSError:
            pass  # a network disk without locks: if two processes write, the checksum detects it
        yield
    finally:
        os.close(descriptor)


def _is_web_address(base: str) -> bool:
    try:
        return urlsplit(base).scheme in ("http", "https") and bool(urlsplit(base).hostname)
    except ValueError:
        return False
