#!/usr/bin/env python3
"""Checks exported networks: onnx.checker accepts them, and onnxruntime computes the logits of this program.

Needs cargo, numpy, onnx and onnxruntime. Run from anywhere: python scripts/check_onnx_export.py
"""

import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 1e-4


def ramp(shape):
    """The input that the test uses too."""
    i = np.arange(np.prod(shape), dtype=np.uint64)
    return ((((i * 2654435761) % 2**32) >> 24) / 127.5 - 1).astype(np.float32).reshape(shape)


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (image,), (output,) = session.get_inputs(), session.get_outputs()
    assert (image.name, output.name) == ("input", "logits")
    assert image.shape[0] == output.shape[0] == "batch", "the batch must be dynamic"
    logits = session.run(None, {"input": ramp((3, 3, 96, 96))})[0]
    expected = np.array(json.loads(path.with_suffix(".json").read_text())).reshape(logits.shape)
    difference = np.abs(logits - expected).max()
    print(f"{path.name}: {model.producer_name}, input {image.shape}, largest difference {difference:.1e}")
    assert difference < TOLERANCE


def main():
    with tempfile.TemporaryDirectory() as folder:
        command = ["cargo", "test", "--release", "--test", "main", "--", "--ignored", "writes_exports_for_onnxruntime"]
        environment = os.environ | {"SAGEMAKER_BURN_EXPORTS": folder}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        files = sorted(pathlib.Path(folder).glob("*.onnx"))
        assert len(files) == 6
        for path in files:
            check(path)


if __name__ == "__main__":
    main()
