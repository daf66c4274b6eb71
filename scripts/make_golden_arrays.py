"""Writes tests/golden/serve/arrays.json: arrays as NumPy saves them, for the readers and the writer of requests.

Usage: python scripts/make_golden_arrays.py     (needs numpy 2)

Each entry of `npy` and `npz` has the file in hexadecimal digits, and what a reader must make of it: either `tensors`,
lists of 3 x 2 x 2 numbers with the channels first, or `pictures` with width, height and RGB bytes row by row. `refused`
holds files and a word of the message. `saved` holds what numpy.save writes for float32 rows of i / 8.
"""

import io
import json
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "serve" / "arrays.json"
ORDERED = "<f2 >f2 <f4 >f4 <f8 >f8 <u2 >u2 <i2 >i2 <u4 >u4 <i4 >i4 <u8 >u8 <i8 >i8 |u1 |i1".split()


def npy(array, version=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def npz(save, *arrays, **named):
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


def meaning(array):
    """What the array is, with numpy's own operations; shapes here are never ambiguous."""
    values = np.ascontiguousarray(array)
    batch = values[None] if values.ndim < 4 else values
    if array.dtype.kind == "f":
        first = batch if batch.shape[1] == 3 else batch.transpose(0, 3, 1, 2)
        return {"tensors": [one.astype(np.float32).ravel().tolist() for one in first]}
    if array.ndim == 2:
        batch = batch[..., None]
    if batch.shape[-1] not in (1, 3):
        batch = batch.transpose(0, 2, 3, 1)
    pictures = []
    for one in batch.astype(np.uint8):
        rgb = np.broadcast_to(one, one.shape[:2] + (3,))
        pictures.append({"width": one.shape[1], "height": one.shape[0], "rgb": rgb.tobytes().hex()})
    return {"pictures": pictures}


def entry(name, file, array):
    return {"name": name, "file": file.hex(), "many": array.ndim == 4, **meaning(array)}


def main():
    rng = np.random.default_rng(7)
    floats, integers = {}, {}
    for shape in [(3, 2, 2), (2, 3, 2, 2), (2, 2, 3), (2, 2, 2, 3)]:
        floats[shape] = rng.normal(size=shape).round(3)
    for shape in [(2, 4, 3), (2, 2, 4, 3), (3, 2, 4), (2, 3, 2, 4), (2, 4), (2, 4, 1)]:
        integers[shape] = rng.integers(0, 128, size=shape)

    arrays = []
    for dtype in ORDERED:
        source = floats if np.dtype(dtype).kind == "f" else integers
        for shape, values in source.items():
            if dtype not in ("<f4", "|u1") and shape not in ((2, 2, 2, 3), (3, 2, 4)):
                continue
            for order in "CF":
                array = np.asarray(values.astype(dtype), order=order)
                arrays.append(entry(f"{dtype} {shape} {order}", npy(array), array))
    for version in [(1, 0), (2, 0), (3, 0)]:
        array = floats[(2, 3, 2, 2)].astype("<f4")
        arrays.append(entry(f"version {version}", npy(array, version), array))

    archives = []
    one, other = floats[(3, 2, 2)], integers[(2, 4, 3)].astype(np.uint8)
    zeros = np.zeros((2, 40, 50, 3), np.uint8)
    for save in (np.savez, np.savez_compressed):
        name = save.__name__
        archives.append(entry(f"{name} alone", npz(save, one), one))
        archives.append(entry(f"{name} any name", npz(save, photo=other), other))
        archives.append(entry(f"{name} images", npz(save, labels=one, images=other), other))
        archives.append(entry(f"{name} arr_0", npz(save, one, other), one))
    archives.append(entry("zeros", npz(np.savez_compressed, x=zeros), zeros))

    structured = np.zeros(2, [("a", "<f4"), ("b", "<i4")])
    refused = [
        {"file": npy(np.array([{}, 1], dtype=object)).hex(), "said": "Python objects"},
        {"file": npy(structured).hex(), "said": "structured"},
        {"file": npy(np.array(["ab"])).hex(), "said": "unicode"},
        {"file": npy(np.array([b"ab"])).hex(), "said": "texts"},
        {"file": npy(np.array([True])).hex(), "said": "booleans"},
        {"file": npy(np.array([1j])).hex(), "said": "complex"},
        {"file": npy(np.array(["2020"], "M8[D]")).hex(), "said": "times"},
        {"file": npy(np.array(3.0)).hex(), "said": "[]"},
        {"file": npy(np.zeros((0, 3, 2, 2))).hex(), "said": "[0, 3, 2, 2]"},
        {"file": npy(np.full((2, 2, 3), 256)).hex(), "said": "256"},
        {"file": npy(np.full((2, 2, 3), -1, np.int8)).hex(), "said": "-1"},
        {"file": npy(np.full((2, 2, 3), np.inf)).hex(), "said": "inf"},
        {"file": npz(np.savez, a=one, b=one).hex(), "said": "arr_0"},
        {"file": npz(np.savez).hex(), "said": "no `.npy`"},
    ]

    saved = []
    for rows, columns in [(1, 2), (3, 10), (10, 3), (1, 257)]:
        array = (np.arange(rows * columns, dtype=np.float32) / 8).reshape(rows, columns)
        file = io.BytesIO()
        np.save(file, array)
        saved.append({"rows": rows, "columns": columns, "file": file.getvalue().hex()})

    OUT.parent.mkdir(parents=True, exist_ok=True)
    golden = {"npy": arrays, "npz": archives, "refused": refused, "saved": saved}
    lines = []
    for key, entries in golden.items():
        inner = ",\n".join("  " + json.dumps(one) for one in entries)
        lines.append(f' "{key}": [\n{inner}\n ]')
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
