"""Writes the RecordIO files and the image list in tests/golden/recordio/ with the tools that make such files in earnest.

Usage: python scripts/make_golden_recordio.py mxnet       (needs mxnet 1.9, numpy < 1.24, opencv-python-headless)
       python scripts/make_golden_recordio.py sagemaker   (needs sagemaker 2; run it second)

Every picture is synthetic. expected.json holds what a reader must find: payloads in hexadecimal digits, and for images
the label and the sha256 of the encoded bytes.
"""

import hashlib
import io
import json
import struct
import subprocess
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "recordio"
EXPECTED = OUT / "expected.json"
MAGIC = struct.pack("<I", 0xCED7230A)
CLASSES = ["bird", "cat", "dog"]


def image_paths():
    return [OUT / "images" / name / f"{i}.png" for name in CLASSES for i in (1, 2)]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def save(key, value):
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    expected[key] = value
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def draw_images():
    import cv2
    import numpy as np

    for i, path in enumerate(image_paths()):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.full((6, 8, 3), 30 * i, np.uint8)
        picture[1:4, i : i + 2] = (200, 40, 90)
        assert cv2.imwrite(str(path), picture)


def with_mxnet():
    import mxnet
    from mxnet import recordio

    draw_images()
    im2rec = Path(mxnet.__file__).parent / "tools" / "im2rec.py"
    prefix = OUT / "im2rec" / "animals"
    prefix.parent.mkdir(exist_ok=True)
    run = lambda *options: subprocess.run(
        [sys.executable, im2rec, *options, prefix, OUT / "images"], check=True
    )
    run("--list", "--recursive")
    run("--pass-through")
    prefix.with_suffix(".idx").unlink()
    lines = [line.split("\t") for line in prefix.with_suffix(".lst").read_text().splitlines()]
    save("im2rec", [[int(float(label)), sha256((OUT / "images" / path).read_bytes())] for _, label, path in lines])

    image = image_paths()[0].read_bytes()
    write_records(recordio, "label_list", [recordio.pack((0, [2.0], 5, 0), image)])
    write_records(recordio, "two_labels", [recordio.pack((0, [2.0, 3.0], 5, 0), image)])
    save("label_list", [[2, sha256(image)]])

    # Payloads in which the magic number stands at a multiple of four bytes, where the writer cuts, and elsewhere.
    payloads = [b"", MAGIC, b"abcd" + MAGIC + b"e", MAGIC + MAGIC + b"wxyz" + MAGIC, b"ab" + MAGIC + b"cd", b"xyz"]
    write_records(recordio, "parts", payloads)
    save("parts", [payload.hex() for payload in payloads])

    # PNG readers ignore what is behind the picture's end.
    padded = image + b"\0" * (-len(image) % 4) + MAGIC + b"behind"
    write_records(recordio, "cut_image", [recordio.pack((0, 1.0, 7, 0), padded)])
    save("cut_image", [[1, sha256(padded)]])


def write_records(recordio, name, payloads):
    (OUT / name).mkdir(exist_ok=True)
    writer = recordio.MXRecordIO(str(OUT / name / f"{name}.rec"), "w")
    for payload in payloads:
        writer.write(payload)
    writer.close()


def with_sagemaker():
    import numpy as np
    from sagemaker import serializer_utils

    stream = io.BytesIO()
    expected = []
    for path in image_paths():
        image, label = path.read_bytes(), path.parent.name
        serializer_utils._write_recordio(stream, image)
        serializer_utils._write_recordio(stream, json.dumps(label).encode())
        expected.append([label, sha256(image)])
    (OUT / "augmented.recordio").write_bytes(stream.getvalue())
    save("augmented", expected)

    stream = io.BytesIO()
    serializer_utils.write_numpy_to_dense_tensor(stream, np.eye(2, dtype=np.float32), np.array([0.0, 1.0], np.float32))
    (OUT / "protobuf.recordio").write_bytes(stream.getvalue())


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    {"mxnet": with_mxnet, "sagemaker": with_sagemaker}[sys.argv[1]]()
