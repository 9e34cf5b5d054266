"""Write the record files in this folder with MXNet 1.9.1, and what MXNet's own reader finds in them (`records.json`).

Needs a separate environment (Python 3.8 to 3.11) and scikit-learn's two photographs:

    pip install mxnet==1.9.1 numpy==1.23.5 opencv-python-headless==4.5.5.64
    python make_mxnet.py .../site-packages/sklearn/datasets/images

photos: im2rec.py's lists and records of 18 unchanged files, three quarters of them for training. resized: re-encoded,
without a list. several: three labels per image. skipped: one file of the list is not an image, so im2rec.py leaves it
out. widths: no index; a label in the header, and lists of 1, 2, 7 and 300 labels. parts: images, labels and ids that
contain the bytes that begin a record.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import mxnet as mx  # type: ignore[import-not-found,unused-ignore]
import numpy as np

HERE = Path(__file__).parent
IM2REC = Path(mx.__file__).parent / "tools/im2rec.py"
MAGIC = bytes.fromhex("0a23d7ce")
CROPS = {"petal": ("flower.jpg", 190, 120), "roof": ("china.jpg", 180, 60), "water": ("china.jpg", 30, 330)}


def write_images(photos: Path, folder: Path) -> list[Path]:
    """Write six crops of each class, all of different sizes."""
    for name, (file, left, top) in CROPS.items():
        (folder / name).mkdir(parents=True)
        photo = cv2.imread(str(photos / file))
        assert photo is not None
        for number in range(6):
            crop = photo[top + 3 * number : top + 51 - 4 * number, left + 9 * number : left + 45 + 13 * number]
            cv2.imwrite(str(folder / name / f"{name}_{number}.jpg"), crop, [cv2.IMWRITE_JPEG_QUALITY, 75])
    return sorted(folder.rglob("*.jpg"))


def im2rec(*arguments: object) -> None:
    subprocess.run([sys.executable, str(IM2REC), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def folder_of(name: str) -> Path:
    shutil.rmtree(HERE / name, ignore_errors=True)
    (HERE / name).mkdir()
    return HERE / name


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """A JPEG with a comment that begins at byte 8, which is a multiple of 4 within the record too."""
    body = b"  " + comment
    return jpeg[:2] + b"\xff\xfe" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def write_parts(images: list[bytes]) -> None:
    folder = folder_of("parts")
    magic_float = float(np.frombuffer(MAGIC, np.float32)[0])
    magic_number = int.from_bytes(MAGIC, "little")
    padded = images[4] + bytes(-len(images[4]) % 4)
    cases: list[tuple[object, int, bytes]] = [
        (0, 0, with_comment(images[0], b"one " + MAGIC + b" word")),
        (1, 1, with_comment(images[1], MAGIC + MAGIC)),
        (2, 2, with_comment(images[2], b"not aligned " + b"." + MAGIC)),
        (0, magic_number, images[3]),
        (1, 4, padded + MAGIC),
        ([2, magic_float, 0.5], 5, images[5]),
        ([1, 2], 6, with_comment(images[6], MAGIC * 3)),
    ]
    records = mx.recordio.MXIndexedRecordIO(str(folder / "parts.idx"), str(folder / "parts.rec"), "w")
    for row, (label, image_id, image) in enumerate(cases):
        records.write_idx(row, mx.recordio.pack(mx.recordio.IRHeader(0, label, image_id, 0), image))
    records.close()
    written = [hashlib.sha256(image).hexdigest() for _, _, image in cases]
    assert [record["sha256"] for record in described(folder / "parts.rec")] == written


def write_widths(images: list[bytes]) -> None:
    records = mx.recordio.MXRecordIO(str(folder_of("widths") / "widths.rec"), "w")
    labels: list[object] = [2, [1], [0, 0.25], list(range(1, 8)), [2, *np.linspace(0, 1, 299)], 1]
    for row, (label, image) in enumerate(zip(labels, images)):  # noqa: B905 - also for Python 3.8
        records.write(mx.recordio.pack(mx.recordio.IRHeader(0, label, row, 0), image))
    records.close()


def described(path: Path) -> list[dict[str, object]]:
    """What MXNet's reader finds in a record file."""
    found = []
    records = mx.recordio.MXRecordIO(str(path), "r")
    while (payload := records.read()) is not None:
        header, image = mx.recordio.unpack(payload)
        labels = np.atleast_1d(header.label).astype(np.float32).tolist()
        digest = hashlib.sha256(image).hexdigest()
        found.append({"id": header.id, "labels": labels, "bytes": len(image), "sha256": digest})
    return found


def main(photos: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        images = Path(temporary) / "images"
        paths = write_images(photos, images)
        contents = [path.read_bytes() for path in paths]

        prefix = folder_of("photos") / "photos"
        im2rec("--list", "--recursive", "--train-ratio", "0.75", prefix, images)
        im2rec("--pass-through", prefix, images)

        prefix = folder_of("resized") / "resized"
        im2rec("--list", "--recursive", prefix, images)
        im2rec("--resize", "24", "--quality", "80", prefix, images)
        prefix.with_suffix(".lst").unlink()

        prefix = folder_of("several") / "several"
        lines = [f"{3 * row}\t{row % 3}\t{row / 3:f}\t-1\t{path.relative_to(images)}" for row, path in enumerate(paths)]
        prefix.with_suffix(".lst").write_text("".join(f"{line}\n" for line in lines[:5]))
        im2rec("--pass-through", "--pack-label", prefix, images)

        prefix = folder_of("skipped") / "skipped"
        (images / "roof/broken.jpg").write_bytes(b"no image")
        names = ["petal/petal_0.jpg", "roof/broken.jpg", "roof/roof_0.jpg", "water/water_0.jpg"]
        labels = [0, 1, 1, 2]
        lines = [f"{row}\t{labels[row]:f}\t{name}" for row, name in enumerate(names)]
        prefix.with_suffix(".lst").write_text("".join(f"{line}\n" for line in lines))
        im2rec("--num-thread", "2", prefix, images)

    write_parts(contents)
    write_widths(contents)
    everything = {str(path.relative_to(HERE)): described(path) for path in sorted(HERE.rglob("*.rec"))}
    text = ",\n".join(
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(record) for record in records) + "]"
        for name, records in everything.items()
    )
    (HERE / "records.json").write_text(f"{{{text}}}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
