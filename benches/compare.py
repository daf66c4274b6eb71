#!/usr/bin/env python3
"""Ours beside the peers, in one run on one machine: medians, spread and ratio of every row of benches/main_job.

usage: python benches/compare.py --data ./dogImages --weights resnet18.onnx [--threads N] [--rounds 3] [--rows train,eval]

Run it with a Python that has torch, torchvision, onnx and onnxruntime; this file itself needs none of them.
Ours and the peers take turns, a process each, round by round, so that noise of the machine meets all of them.
Both read the same photos: links to --images of them in a temporary folder. Output: a Markdown table on stdout (MB: peak memory
of the whole process), progress on stderr, every sample in --json FILE. A ratio above 1 means that ours is faster; the warm-up is not counted.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = "sagemaker-burn"
# torchvision's list without what ours does not read, so that both see the same files.
EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


def build():
    """Builds the benchmark; returns its path."""
    command = ["cargo", "bench", "--bench", "main_job", "--no-run", "--message-format=json"]
    done = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "main_job")


def link_photos(data, count, into):
    """Links `count` photos at equal distances below `into`/train."""
    train = Path(data, "train") if Path(data, "train").is_dir() else Path(data)
    photos = sorted(p for p in train.glob("*/*") if p.suffix.lower() in EXTENSIONS)
    if not photos:
        sys.exit(f"--data {data}: no photos in class folders below {train}")
    count = min(count, len(photos))
    for photo in (photos[i * len(photos) // count] for i in range(count)):
        folder = Path(into, "train", photo.parent.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / photo.name).symlink_to(photo.resolve())
    return count


def measure(command):
    """Runs one measurement; returns its images, its seconds and the peak memory of its process."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        lines = [line for line in process.stdout if line.startswith("{")]
        # wait4 tells the peak memory of this very process, where getrusage knows only the largest of all so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0 or len(lines) != 1:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()}")
    return {**json.loads(lines[0]), "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)}


def versions():
    code = "import torch, torchvision, onnxruntime, PIL; print('torch', torch.__version__, 'torchvision', " \
           "torchvision.__version__, 'onnxruntime', onnxruntime.__version__, 'Pillow', PIL.__version__)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    return done.stdout.strip() or "peers' versions are unknown: is something missing from this Python?"


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def describe(samples):
    """Median and spread in milliseconds, images per second, and peak memory in MB."""
    seconds = [s for sample in samples for s in sample["seconds"]]
    median = statistics.median(seconds)
    spread = f"{1e3 * median:.1f} ({1e3 * min(seconds):.1f}..{1e3 * max(seconds):.1f})"
    memory = max(sample["peak_bytes"] for sample in samples) / 1e6
    return median / samples[0]["images"], f"{spread} | {samples[0]['images'] / median:.1f} | {memory:.0f}"


def table(results):
    print("| row | ours, ms (min..max) | img/s | MB | peer | peer, ms (min..max) | img/s | MB | ours is x times as fast |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row, by_who in results.items():
        ours, text = describe(by_who[OURS])
        for who, samples in by_who.items():
            if who != OURS:
                peer, peer_text = describe(samples)
                print(f"| {row} | {text} | {who} | {peer_text} | {peer / ours:.2f} |")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True, help="ResNet18 in ONNX, torchvision's initializer names")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="per round; short rows are repeated for a second")
    parser.add_argument("--rows", default="", help="texts, separated by commas; a row that contains one is measured")
    parser.add_argument("--binary", help="main_job's executable (default: built with cargo)")
    parser.add_argument("--json", help="write every sample here")
    parser.add_argument("--quick", action="store_true", help="a smoke test: one round, one repetition, 32 photos")
    args = parser.parse_args()
    if args.quick:
        args.images, args.rounds, args.repeats = 32, 1, 1
    return args


def main():
    args = arguments()
    binary = args.binary or build()
    load = os.getloadavg()[0]
    if load > 0.3 * os.cpu_count():
        print(f"warning: the load average is {load:.2f}: this machine is busy, and OpenMP peers (torch) slow down many times"
              " over on a busy machine. Wait until `uptime` shows a load near 0.", file=sys.stderr)
    listed = subprocess.run([sys.executable, HERE / "peers.py", "--list"], stdout=subprocess.PIPE, text=True, check=True)
    pairs = [line.split("\t") for line in listed.stdout.splitlines()]
    rows = list(dict.fromkeys(row for row, _ in pairs if any(text in row for text in args.rows.split(","))))
    results = {row: {who: [] for who in [OURS] + [p for r, p in pairs if r == row]} for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        images = link_photos(args.data, args.images, folder)
        shared = ["--data", folder, "--weights", args.weights, "--threads", str(args.threads), "--repeats", str(args.repeats)]
        shared += ["--quick"] if args.quick else []
        for round_ in range(args.rounds):
            for row in rows:
                for who in results[row]:
                    print(f"round {round_ + 1}/{args.rounds} {row} {who}", file=sys.stderr)
                    own = [binary, "--bench", "--rows", row, "--images", "0"]
                    peer = [sys.executable, str(HERE / "peers.py"), "--row", row, "--peer", who]
                    results[row][who].append(measure((own if who == OURS else peer) + shared))
    print(f"{processor()}, {os.cpu_count()} cores, {args.threads} threads; load average before: {load:.2f}; {versions()}; "
          f"Python {platform.python_version()}; {images} photos; {args.rounds} rounds of {args.repeats} or more repetitions\n")
    table(results)
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
