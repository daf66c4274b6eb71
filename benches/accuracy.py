#!/usr/bin/env python3
"""Accuracy, seconds per epoch and peak memory of whole runs, ours beside a PyTorch script with the same settings.

usage: python benches/accuracy.py --preset hymenoptera --data ./hymenoptera_data --weights resnet18.onnx \\
           --peer torch_finetune.py [--seeds 0,1,2] [--threads N] [--json FILE]

Presets: `hymenoptera` fine-tunes every layer of a ResNet18 (SGD, random crops), `dogs-frozen` trains the classifier on
frozen features (AdamW, no augmentation). The learning rate is constant, as the peer has no schedule.
The peer is a script that takes --data --weights --epochs --batch-size --optimizer --lr --augmentation --freeze --threads
--workers --seed and prints a line with `epoch=` and `validation:accuracy=` per epoch. Ours and the peer take turns seed by
seed. Both see links to train/ and the validation folder only, so that ours spends no time on a test split.

Output: a Markdown table on stdout. The first epoch counts from the start of the process, imports, reading the weights and
(with ours) computing features included; later epochs run from line to line. Python's standard library is enough here.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
METRIC = re.compile(r"([\w:]+)=([0-9.]+)")

# Flags that both understand under the same name, and those that differ: (ours, the peer's).
PRESETS = {
    "hymenoptera": {
        "both": ["--batch-size", "8", "--optimizer", "sgd", "--weight-decay", "0.0001", "--augmentation", "crop"],
        "ours": ["--learning-rate", "0.001", "--momentum", "0.9", "--freeze", "false"],
        "peer": ["--lr", "0.001"],
    },
    "dogs-frozen": {
        "both": ["--batch-size", "32", "--optimizer", "adamw", "--weight-decay", "0.0001", "--augmentation", "none"],
        "ours": ["--learning-rate", "0.001", "--freeze", "true"],
        "peer": ["--lr", "0.001", "--freeze"],
    },
}


def commands(args, data, output):
    """The two command lines, seed and what differs from run to run left out."""
    preset = PRESETS[args.preset]
    both = preset["both"] + ["--weights", str(Path(args.weights).resolve()), "--epochs", str(args.epochs)]
    ours = [args.binary, "--local-data", data, "--output", output, "--device", "cpu", "--workers", str(args.threads)]
    ours += ["--lr-scheduler", "constant", "--warmup-epochs", "0"] + both + preset["ours"]
    peer = [args.python, args.peer, "--data", data, "--threads", str(args.threads), "--workers", str(args.peer_workers)]
    return {"sagemaker-burn": ours, "peer": peer + both + preset["peer"]}


def run(command, threads, log):
    """Runs one training to its end. Returns validation accuracy and seconds of each epoch, wall time, peak memory."""
    started = last = time.perf_counter()
    accuracy, seconds = [], []
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    with open(log, "w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        for line in process.stdout:
            metrics = dict(METRIC.findall(line))
            # A later line may name the best epoch again.
            if line.startswith("epoch=") and "validation:accuracy" in metrics:
                now = time.perf_counter()
                accuracy.append(float(metrics["validation:accuracy"]))
                seconds.append(now - last)
                last = now
        # wait4 tells the peak memory of this very process, where getrusage knows only the largest of all so far.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or not accuracy:
        sys.exit(f"{' '.join(command)} failed ({process.returncode}):\n{Path(log).read_text()[-3000:]}")
    kilobyte = 1 if sys.platform == "darwin" else 1024
    wall = time.perf_counter() - started
    return {"accuracy": accuracy, "seconds": seconds, "wall_s": wall, "peak_bytes": usage.ru_maxrss * kilobyte}


def link_splits(data, into):
    """Links train/ and the validation folder of `data`."""
    train = Path(data, "train")
    valid = next((p for name in ("valid", "val", "validation") if (p := Path(data, name)).is_dir()), None)
    if not train.is_dir() or valid is None:
        sys.exit(f"--data {data}: train/ and one of valid/, val/, validation/ are needed")
    Path(into, "train").symlink_to(train.resolve())
    Path(into, "valid").symlink_to(valid.resolve())


def spread(values, form):
    """Mean, standard deviation over the runs, and the range."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{form}} ± {deviation:{form}} ({min(values):{form}}..{max(values):{form}})"


def table(results, epochs):
    names = list(results)
    print("| mean ± standard deviation (min..max) | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")

    def row(title, value, form):
        cells = [spread([v for result in results[name] for v in value(result)], form) for name in names]
        print(f"| {title} | " + " | ".join(cells) + " |")

    for epoch in range(epochs):
        row(f"validation accuracy, epoch {epoch + 1}", lambda r: [r["accuracy"][epoch]], ".4f")
    row("first epoch with start-up, s", lambda r: r["seconds"][:1], ".1f")
    if epochs > 1:
        row("each later epoch, s", lambda r: r["seconds"][1:], ".3f")
    row("whole run, s", lambda r: [r["wall_s"]], ".1f")
    row("peak memory, MB", lambda r: [r["peak_bytes"] / 1e6], ".0f")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", required=True, choices=PRESETS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True, help="ResNet18 in ONNX, torchvision's initializer names")
    parser.add_argument("--peer", required=True, help="the PyTorch script")
    parser.add_argument("--python", default=sys.executable, help="Python for the peer (default: this one)")
    parser.add_argument("--binary", default=str(HERE.parent / "target/release/sagemaker-burn"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peer-workers", type=int, default=0, help="loader processes of the peer (default: 0)")
    parser.add_argument("--json", help="write the figures of every run here")
    args = parser.parse_args()
    if not Path(args.binary).is_file():
        sys.exit(f"--binary {args.binary} is missing: run `cargo build --release` first")
    return args


def main():
    args = arguments()
    load = os.getloadavg()[0]
    if load > 0.3 * os.cpu_count():
        print(f"warning: the load average is {load:.2f}: times of a busy machine say little, least of all the peer's", file=sys.stderr)
    seeds = args.seeds.split(",")
    results = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder, "data")
            data.mkdir()
            link_splits(args.data, data)
            for name, command in commands(args, str(data), str(Path(folder, "run"))).items():
                result = run(command + ["--seed", seed], args.threads, Path(folder, "log"))
                results.setdefault(name, []).append(result)
                print(f"seed {seed} {name}: accuracy {result['accuracy']}, {result['wall_s']:.1f} s", file=sys.stderr)
    print(f"{args.preset}, seeds {args.seeds}, {args.threads} threads, load average before: {load:.2f}\n")
    table(results, args.epochs)
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
