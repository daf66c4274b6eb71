#!/usr/bin/env python3
"""Ours beside PyTorch on one NVIDIA GPU, in one run: training and inference of synthetic images, the whole pipeline from JPEG files
with the GPU's load, and the time from start to the first step with an empty and a filled kernel cache.

usage: python benches/gpu.py --binary ./sagemaker-burn --bench ./main_job --peer torch_finetune.py \\
           --data ./dogImages --weights resnet18.onnx [--precision bfloat16] [--quick]

Both executables may be copied from another machine (`cargo build --release --features cuda` and `cargo bench --features cuda --bench
main_job --no-run`); no toolchain is needed here. Run it with a Python that has torch and torchvision; this file itself needs
neither. The peer trains in bfloat16, channels-last, compiled, where ours has `--precision bfloat16`. Output: Markdown on stdout, progress on stderr,
every number in --json FILE. A ratio above 1 means that ours is faster.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BATCH_SIZES = (32, 128, 256, 512)
FIRST_STEP = re.compile(r"epoch 1/\d+ step 1/")
EPOCH = re.compile(r"epoch=(\d+) .*?train:images_per_second=([0-9.]+)")


def say(text):
    print(text, file=sys.stderr, flush=True)


def smi(query, *more):
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "--id=0", *more]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


class Load:
    """The GPU's utilisation while a block runs, in percent, every 200 ms, with the time of each sample."""

    def __enter__(self):
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", "--loop-ms=200"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.samples = []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        return self

    def read(self):
        for line in self.process.stdout:
            if line.strip().isdigit():
                self.samples.append((time.monotonic(), int(line)))

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.thread.join(5)

    def between(self, begin, end):
        found = [percent for at, percent in self.samples if begin <= at <= end]
        return round(statistics.mean(found), 1) if found else None


def run(command, environment=None):
    """Runs a program; yields (seconds since its start, line) of both of its outputs."""
    say(" ".join(map(str, command)))
    started = time.monotonic()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, **(environment or {})})
    kept = []
    for line in process.stdout:
        kept.append(line)
        yield time.monotonic() - started, line
    if process.wait() != 0:
        sys.exit(f"{command[0]} failed with {process.returncode}:\n{''.join(kept[-40:])}")


def compile_ahead(args):
    """Lets the peer compile for all batch sizes at once, which takes minutes one after the other; it finds them in its cache later."""
    commands = [[*args.peer_command, "--synthetic", "--steps", "1", "--batch-size", str(size)] for size in args.batch_sizes]
    say(f"PyTorch compiles for batches of {', '.join(map(str, args.batch_sizes))}")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for process in [subprocess.Popen(list(map(str, command)), **quiet) for command in commands]:
        # One that fails does so again where it is measured, and says why.
        process.wait()


def synthetic(args, result):
    """Training steps and inference on images that are on the GPU already."""
    rows = [f"train-b{n}" for n in args.batch_sizes] + ["eval-fused-b1", "eval-fused-b32", "eval-fused-b256"]
    print("| work | ours, images/s | ours, ms | PyTorch, images/s | ours is x times as fast |\n|---|---|---|---|---|")
    for row in rows:
        bench = [args.bench, "--bench", "--device", "cuda", "--precision", args.precision, "--rows", row, "--repeats", args.repeats]
        found = [json.loads(line) for _, line in run(bench) if line.startswith("{")]
        # A row's name may be the beginning of another's.
        ours = next(sample for sample in found if sample["row"] == row)
        peer = None
        if row.startswith("train-b"):
            size = row.removeprefix("train-b")
            line = " ".join(line for _, line in run([*args.peer_command, "--synthetic", "--batch-size", size]))
            peer = float(re.search(r"images_per_second=([0-9.]+)", line)[1])
        result[row] = {"ours": ours, "peer_images_per_second": peer}
        against = f"{peer:.0f} | {ours['images_per_second'] / peer:.2f}" if peer else "- | -"
        print(f"| {row} | {ours['images_per_second']:.0f} | {1e3 * ours['median_s']:.2f} | {against} |", flush=True)


def train(args, output, *more):
    return [args.binary, "--local-data", args.data, "--weights", args.weights, "--device", "cuda", "--precision", args.precision,
            "--freeze", "false", "--augmentation", "crop", "--output", output, *more]


def epochs(lines, load):
    """Images per second of each epoch, and how busy the GPU was between the metric lines."""
    found, before = [], time.monotonic()
    for _, line in lines:
        if match := EPOCH.search(line):
            now = time.monotonic()
            found.append((int(match[1]), float(match[2]), before, now))
            before = now
    return [(epoch, speed, load.between(begin, end)) for epoch, speed, begin, end in found]


def pipeline(args, result, folder):
    """From JPEG files: the first epoch decodes, later ones find decoded photos."""
    print(f"\n| pipeline, batch {args.batch_size} | epoch | images/s | GPU busy, % |\n|---|---|---|---|")
    more = ["--epochs", args.epochs, "--batch-size", args.batch_size]
    ours = train(args, Path(folder, "run"), *more, "--cache-mb", args.cache_mb)
    peer = [*args.peer_command, "--data", args.data, "--weights", args.weights, *more, "--workers", os.cpu_count()]
    for who, command in (("ours", ours), ("PyTorch", peer)):
        with Load() as load:
            result[f"pipeline {who}"] = found = epochs(run(command), load)
        for epoch, speed, busy in found:
            print(f"| {who} | {epoch} | {speed:.0f} | {busy} |", flush=True)


def first_step(args, result, folder):
    """Seconds from the start of the program to its first step, with kernels to compile and with kernels that are there."""
    print("\n| kernel cache | start to first step, s |\n|---|---|")
    cache = Path(folder, "kernels")
    for state in ("empty", "filled"):
        command = train(args, Path(folder, state), "--epochs", "1", "--batch-size", args.batch_size, "--max-train-samples", "512")
        seconds = None
        for at, line in run(command, {"SAGEMAKER_BURN_KERNELS_CACHE": str(cache)}):
            if seconds is None and FIRST_STEP.search(line):
                seconds = at
        result[f"first step, {state} cache"] = seconds
        print(f"| {state} | {seconds if seconds is None else round(seconds, 2)} |", flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the program, built with --features cuda")
    parser.add_argument("--bench", required=True, help="main_job's executable, built with --features cuda")
    parser.add_argument("--peer", required=True, help="torch_finetune.py")
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True, help="ResNet18 in ONNX")
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--batch-sizes", type=lambda text: [int(n) for n in text.split(",")], default=list(BATCH_SIZES))
    parser.add_argument("--batch-size", type=int, default=128, help="of the pipeline")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--cache-mb", type=int, default=8000)
    parser.add_argument("--json", help="write every number here")
    parser.add_argument("--quick", action="store_true", help="a smoke test: one batch size, one repetition, two epochs")
    args = parser.parse_args()
    if args.quick:
        args.batch_sizes, args.repeats, args.epochs = [32], 1, 2
    args.peer_command = [sys.executable, args.peer, "--device", "cuda", "--compile"]
    args.peer_command += ["--bf16"] if args.precision == "bfloat16" else []
    return args


def main():
    args = arguments()
    result = {"gpu": smi("name"), "driver": smi("driver_version"), "date": time.strftime("%Y-%m-%d"), "precision": args.precision}
    torch = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__)"], stdout=subprocess.PIPE, text=True)
    result["torch"] = torch.stdout.strip()
    print(f"{result['gpu']}, driver {result['driver']}, PyTorch {result['torch']}, {os.cpu_count()} cores, {args.precision}, {result['date']}\n")
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(folder, "inductor")))
            compile_ahead(args)
            synthetic(args, result)
            pipeline(args, result, folder)
            first_step(args, result, folder)
    finally:
        # What was measured before a failure is of use, too.
        if args.json:
            Path(args.json).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
