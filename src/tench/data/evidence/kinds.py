"""The files of a tree by kind, for errors and notes that say what was left out and what to do.

The suffix decides the kind; without a known suffix, the first bytes of a sample of the files do. A message never says
that a file is not an image without saying what it is instead.
"""

import collections
import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Sequence

from tench.data.files.compressed import form_of
from tench.data.files.names import EXTENSIONS, HEIF_EXTENSIONS, reads_heif
from tench.data.files.tar import is_tar
from tench.data.files.tree import Tree
from tench.data.images.image import format_of_start, is_heif
from tench.errors import TenchError, counted

IMAGES, UNKNOWN = "images", "files of unknown kind"

_PNG = "Convert them to PNG or JPEG"
_NO_SUCH = "None has the first bytes of this format. Copy or download them again"
_INTEROP = "Run pip install 'tench[interop]'"


@dataclasses.dataclass(frozen=True)
class _Format:
    """name: in the plural. suffixes: with the dot, in lower case. magic: (offset, bytes); one match is enough. remedy:
    what to do, if a user may expect such files to be read.
    """

    name: str
    suffixes: str = ""
    magic: tuple[tuple[int, bytes], ...] = ()
    remedy: str = ""


_FORMATS = (
    _Format("HEIC images", " ".join(sorted(HEIF_EXTENSIONS)), (), f"{_INTEROP} to read them, or convert them to JPEG"),
    _Format(
        "camera RAW images",
        ".cr2 .cr3 .crw .nef .nrw .arw .srf .dng .orf .rw2 .raf .pef .raw",
        ((0, b"FUJIFILMCCD-RAW"), (8, b"CR\x02\0")),
        "Develop them to JPEG or PNG",
    ),
    _Format("Photoshop images", ".psd .psb", ((0, b"8BPS"),), f"{_PNG}"),
    _Format("SVG drawings", ".svg .svgz", ((0, b"<svg"),), "Render them to PNG"),
    _Format("JPEG XL images", ".jxl", ((0, b"\xff\x0a"), (4, b"JXL ")), f"{_PNG}"),
    _Format("other images", ".tga .pcx .ico .icns .xcf .exr .hdr .eps .dds .jxr .fits .fit", (), f"{_PNG}"),
    _Format("DICOM files", ".dcm .dicom .ima", ((128, b"DICM"),), f"{_PNG}, for example with pydicom"),
    _Format("NIfTI volumes", ".nii .mha .mhd .nrrd", ((344, b"n+1\0"),), "Save slices of them as PNG"),
    _Format("whole-slide images", ".svs .ndpi .mrxs .scn", (), "Save tiles as JPEG, for example with OpenSlide"),
    _Format(
        "NumPy files (.npy)",
        ".npy",
        ((0, b"\x93NUMPY"),),
        "Save each as PNG, or save one array of images (N, H, W, C) and one of labels",
    ),
    _Format("NumPy archives (.npz)", ".npz", (), _NO_SUCH),
    _Format("HDF5 files", ".h5 .hdf5 .hdf .he5", ((0, b"\x89HDF\r\n\x1a\n"),), _NO_SUCH),
    _Format("LMDB environments", ".mdb .lmdb", ((16, b"\xde\xc0\xef\xbe"),), _NO_SUCH),
    _Format(
        "Arrow files",
        ".arrow .feather .ipc",
        ((0, b"ARROW1"), (0, b"\xff\xff\xff\xff")),
        "Pass a single one to see its columns",
    ),
    _Format("Parquet files", ".parquet", ((0, b"PAR1"),), "Pass a single one to see its columns"),
    _Format("TFRecord files", ".tfrecord .tfrecords .tfrec", (), _NO_SUCH),
    _Format("MXNet record files", ".rec", ((0, bytes.fromhex("0a23d7ce")),), _NO_SUCH),
    _Format("ffcv files", ".beton", (), "Export the images as files or WebDataset shards with ffcv's own reader"),
    _Format("MATLAB files", ".mat", ((0, b"MATLAB 5.0"),), "Save the images as PNG in class folders"),
    _Format(
        "pickled files",
        ".pkl .pickle .pt .pth .joblib .ckpt",
        ((0, b"\x80\x04"), (0, b"\x80\x05")),
        "They can run code and are not read. Save the images as PNG in class folders",
    ),
    _Format(
        "videos",
        ".mp4 .avi .mov .mkv .webm .mpg .mpeg .wmv .m4v .flv",
        ((4, b"ftypisom"), (4, b"ftypmp4"), (4, b"ftypqt"), (8, b"AVI ")),
        "Save frames as JPEG, for example with ffmpeg",
    ),
    _Format("audio files", ".wav .mp3 .flac .ogg .m4a", ((0, b"fLaC"), (0, b"OggS"), (8, b"WAVE"))),
    _Format("binary files (.bin)", ".bin .dat .raw8"),
    _Format(
        "archives",
        ".zip .tar .tgz .tar.gz .tar.xz .tar.bz2 .tar.zst .tbz2 .txz",
        ((0, b"PK\x03\x04"), (257, b"ustar")),
        "Unpack them, or pass a single one",
    ),
    _Format(
        "7z and RAR archives", ".7z .rar", ((0, b"7z\xbc\xaf\x27\x1c"), (0, b"Rar!")), "Unpack them and pass the folder"
    ),
    _Format("compressed files", ".gz .xz .bz2 .zst .z", ((0, b"\x1f\x8b"),)),
    _Format(
        "label files", ".csv .tsv .json .jsonl .ndjson .xml .xlsx .xls .txt .lst .yaml .yml .idx .cls .label .labels"
    ),
    _Format(
        "documents",
        ".pdf .doc .docx .md .rst .html .htm .log .pptx .ipynb .py .m .sh .md5 .sha1 .sha256 .sha512",
        ((0, b"%PDF"),),
    ),
    _Format("databases", ".db .sqlite .sqlite3", ((0, b"SQLite format 3\0"),)),
)
_BY_SUFFIX = {suffix: form for form in _FORMATS for suffix in form.suffixes.split()}
_DOCUMENTS = "documents"
_MAX_DOCUMENTS = 20

_SAMPLE = 64
"""Files with an unknown suffix that are examined."""
_HEAD_BYTES = 512


@dataclasses.dataclass(frozen=True)
class Kind:
    """Files of one kind. name: in the plural. example: path of the first. remedy: what to do, or ""."""

    name: str
    count: int
    example: str
    remedy: str = ""

    def __str__(self) -> str:
        name = self.name if self.count != 1 else _PLURAL.sub("", self.name, count=1)
        return f"{self.count:,} {name} ({self.example})"


_PLURAL = re.compile(r"s(?= \(| of|$)")


def what_is_there(tree: Tree) -> list[Kind]:
    """The files of a tree by kind, the largest first."""
    counts: collections.Counter[str] = collections.Counter()
    first: dict[str, str] = {}
    remedies: dict[str, str] = {}
    unknown: list[str] = []
    for name in tree.names:
        suffix = _suffix(name)
        form = _BY_SUFFIX.get(suffix)
        kind = IMAGES if suffix in EXTENSIONS else form.name if form else ""
        if not kind:
            unknown.append(name)
            continue
        counts[kind] += 1
        first.setdefault(kind, name)
        remedies[kind] = form.remedy if form else ""
    for name, kind, remedy in _by_content(tree, unknown):
        first.setdefault(kind, name)
        counts[kind] += 1
        remedies[kind] = remedy
    return [Kind(kind, count, first[kind], remedies.get(kind, "")) for kind, count in counts.most_common()]


def found_text(tree: Tree) -> str:
    """The contents of a tree without a dataset, and what to do about it, for the end of an error."""
    kinds = what_is_there(tree)
    if not kinds:
        return "It is empty."
    shown = ", ".join(map(str, kinds[:6]))
    remedies = dict.fromkeys(f"{kind.name[0].upper()}{kind.name[1:]}: {kind.remedy}." for kind in kinds if kind.remedy)
    return " ".join([f"It contains {counted(len(tree), 'file')}: {shown}.", *remedies])


def unread_notes(tree: Tree, *, containers: bool) -> list[str]:
    """A note for each kind of image file that is not read, or is read only with an extra.

    containers: also note archives and NumPy files, which the layout may have read.
    """
    if not any(_is_of_note(tail) for tail in {name[-5:] for name in tree.names}):
        return []
    notes = []
    for kind in what_is_there(tree):
        if kind.name == "HEIC images" and reads_heif():
            continue
        if kind.name in _PICTURES or (containers and kind.name in _CONTAINERS):
            notes.append(f"{kind} {'was' if kind.count == 1 else 'were'} left out. {kind.remedy}.")
    if reads_heif() and (heic := [name for name in tree.names if _suffix(name) in HEIF_EXTENSIONS]):
        notes.append(f"{counted(len(heic), 'HEIC image')} ({heic[0]}) will be decoded with pillow-heif.")
    return notes


def is_noted(name: str) -> bool:
    """Whether `unread_notes` mentions files with this suffix if class folders leave them out."""
    return _suffix(name) in _SUFFIXES_OF_NOTE


_CONTAINERS = frozenset({"archives", "NumPy files (.npy)"})
_PICTURES = frozenset(
    {
        *("HEIC images", "camera RAW images", "Photoshop images", "SVG drawings", "JPEG XL images", "other images"),
        *("DICOM files", "NIfTI volumes", "whole-slide images", "videos"),
    }
)
_SUFFIXES_OF_NOTE = frozenset(suffix for suffix, form in _BY_SUFFIX.items() if form.name in _PICTURES | _CONTAINERS)


def _is_of_note(tail: str) -> bool:
    dot = tail.rfind(".")
    return dot >= 0 and tail[dot:].lower() in _SUFFIXES_OF_NOTE | {".gz", ".xz", ".bz2", ".zst"}


def kind_of_file(head: bytes) -> str:
    """The kind of a file by its first 512 bytes, "HDF5 files"; "" if unknown."""
    if is_heif(head):
        return "HEIC images"
    if format_of_start(head[:16]):
        return IMAGES
    for form in _FORMATS:
        if any(head[offset : offset + len(magic)] == magic for offset, magic in form.magic):
            return form.name
    if is_tar(head):
        return "archives"
    return "compressed files" if form_of(head[:6]) else ""


def has_images(tree: Tree) -> bool:
    """Whether any file of the tree is an image by its name."""
    return any(_suffix(name) in EXTENSIONS for name in tree.names)


def with_sniffed_images(tree: Tree) -> Tree:
    """The tree with a suffix added to image files whose suffix is missing or unknown, by their first bytes.

    Nothing is changed if fewer than half of a sample of such files are images.
    """
    if all(_is_known(tail) for tail in {name[-5:] for name in tree.names}):
        return tree
    folders = set(tree.folders)  # an archive may have a file and a folder with the same name; the folder keeps it
    unknown = [
        name
        for name in tree.names
        if not _is_known(name[-5:]) and _suffix(name) not in _BY_SUFFIX and name not in folders
    ]
    sample = unknown[:: -(-len(unknown) // _SAMPLE)] if unknown else []
    if not unknown or 2 * sum(bool(_image_suffix(tree, name)) for name in sample) < len(sample):
        return tree
    renamed = {name: name + suffix for name in unknown if (suffix := _image_suffix(tree, name))}
    tree = tree.renamed(lambda name: renamed.get(name, name))
    first = next(iter(renamed))
    tree.notes.append(
        f"{counted(len(renamed), 'image')} ({first}) recognised by content, because the suffix is missing or unknown."
    )
    return tree


def _image_suffix(tree: Tree, name: str) -> str:
    """The suffix for a file by its first bytes, ".jpeg" for a JPEG; "" if it is not an image."""
    head = _head(tree, name)
    form = format_of_start(head[:16])
    return {"": "", "JPEG2000": ".jp2", "HEIF": ".heic"}.get(form, f".{form.lower()}")


def _head(tree: Tree, name: str) -> bytes:
    try:
        with tree.open(name) as file:
            return file.read(_HEAD_BYTES)
    except (TenchError, OSError):
        return b""


def _by_content(tree: Tree, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(file, kind, remedy) of files with unknown suffixes; files with the same suffix are assumed to be alike."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_suffix(name), []).append(name)
    for suffix, group in groups.items():
        sampled = {kind_of_file(_head(tree, name)) for name in group[:: -(-len(group) // _SAMPLE)]}
        found = sampled.pop() if len(sampled) == 1 else ""
        remedy = next((form.remedy for form in _FORMATS if form.name == found), "")
        what = found or (f"{UNKNOWN} {suffix}" if suffix else UNKNOWN)
        yield from ((name, what, remedy) for name in group)


@functools.lru_cache(4096)
def _is_known(tail: str) -> bool:
    """Whether the last 5 characters of a name end in a known suffix; long ones such as ".tfrecord" are not found."""
    dot = tail.rfind(".")
    return dot >= 0 and (tail[dot:].lower() in EXTENSIONS or tail[dot:].lower() in _BY_SUFFIX)


def _suffix(name: str) -> str:
    base = name.rpartition("/")[2].lower()
    dot = base.rfind(".")
    if dot < 0:
        return ""
    whole = base[base.rfind(".", 0, dot) :] if base.rfind(".", 0, dot) >= 0 else base[dot:]
    if whole == ".nii.gz":
        return ".nii"
    return whole if whole in _BY_SUFFIX else base[dot:]


def archives_in(tree: Tree) -> list[str]:
    """The tar and zip archives of a tree, by name and content."""
    suffixes = tuple(suffix for suffix, form in _BY_SUFFIX.items() if form.name == "archives")
    return [name for name in tree.names if name.lower().endswith(suffixes) and tree.is_archive(name)]


def archive_alone(tree: Tree) -> str | None:
    """The archive that is the only file of a tree, apart from documents such as a README; None if there is more."""
    if len(tree) > _MAX_DOCUMENTS:
        return None
    others = [name for name in tree.names if not _is_document(name)]
    return others[0] if len(others) == 1 and tree.is_archive(others[0]) else None


def _is_document(name: str) -> bool:
    form = _BY_SUFFIX.get(_suffix(name))
    return form is not None and form.name == _DOCUMENTS


def opened_in_place(tree: Tree, archives: Iterable[str]) -> Tree:
    """The tree with archives as folders: train.zip becomes the folder train, or train.zip if train already exists.

    An archive that contains only a folder with its own name becomes that folder.
    """
    listed = list(archives)
    opened = tree.opened(listed)
    taken = set(tree.folders) | set(tree.names)
    prefixes = {}
    for archive in listed:
        folder, _, base = archive.rpartition("/")
        stem = base[: len(base) - len(_suffix(base))] or base
        target = f"{folder}/{stem}".lstrip("/")
        target = archive if target in taken else target
        taken.add(target)
        alone = opened.children(archive) == [stem] and all(
            opened.names[position].startswith(f"{archive}/{stem}/") for position in opened.span(archive)
        )
        prefixes[archive] = (f"{archive}/{stem}" if alone else archive, target)

    longest = max(map(len, prefixes))

    def rename(name: str) -> str:
        for end in range(min(len(name), longest), 0, -1):
            if (end == len(name) or name[end] == "/") and (found := prefixes.get(name[:end])):
                before, target = found
                return target + name[len(before) :] if name.startswith(before) else target
        return name

    tree = opened.renamed(rename)
    shown = ", ".join(listed[:3]) + (f", ... ({len(listed):,} in all)" if len(listed) > 3 else "")
    tree.notes.append(f"Archives were read as folders: {shown}.")
    return tree
