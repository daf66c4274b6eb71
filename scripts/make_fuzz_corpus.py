#!/usr/bin/env python3
"""Valid inputs for each fuzz target, from the golden files of the tests, into fuzz/corpus/TARGET/.

Needs nothing but Python's standard library. Run it from anywhere, before `cargo fuzz run TARGET`.
"""

import base64
import hashlib
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
# 1x1 pixel.
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAAAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==")
TENSOR = "[[[0.5,1],[2,3]],[[0,1],[2,3]],[[0,1],[2,3]]]"
NESTED_PIXELS = "[[[[1,2,3]]],[[[4,5,6]]]]"


def keep(target: str, data: bytes) -> None:
    folder = ROOT / "fuzz" / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def main() -> None:
    for path in (GOLDEN / "images").iterdir():
        if path.suffix != ".json":
            keep("image", path.read_bytes())
    arrays = json.loads((GOLDEN / "serve" / "arrays.json").read_text())
    for kind in ("npy", "npz"):
        for array in arrays[kind]:
            data = bytes.fromhex(array["file"])
            keep(kind, data)
            keep("octet_stream", data)
    photo = base64.b64encode(GIF).decode()
    one = json.dumps({"image_b64": photo})
    many = f'{{"instances": ["{photo}", {one}, [[1, 2], [3, 4]], {TENSOR}]}}'
    for text in (TENSOR, NESTED_PIXELS, one, many):
        keep("json", text.encode())
    keep("jsonlines", f"{one}\n{TENSOR}\n[[[1,2,3]]]\n".encode())
    keep("csv", b"0.5,1,2,3,4,5,6,7,8,9,10,-1e3\n0,1,2,3,4,5,6,7,8,9,10,255\r\n")
    keep("octet_stream", GIF)
    keep("accept", b"application/json; verbose=1;q=0.5, text/csv;q=0.1, */*")
    for path in (GOLDEN / "recordio").rglob("*"):
        if path.suffix in (".rec", ".recordio"):
            keep("recordio", path.read_bytes())


if __name__ == "__main__":
    main()
