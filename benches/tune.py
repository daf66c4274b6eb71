#!/usr/bin/env python3
"""What trials cost that only train the head: one trial, four trials that share features, and a PyTorch script run four times.

usage: python benches/tune.py --data ./dogImages --weights resnet18.onnx [--peer torch_finetune.py] [--rounds 2] [--epochs 20]
           [--space 'batch-size=8,32;learning-rate=0.001,0.003,0.01'] [--binary target/release/sagemaker-burn] [--json FILE]

A round is `tune --max-jobs 1`, `tune --max-jobs 4` with the same seed, and `train` on its own, in turns, each in an empty folder.
The peer takes --data --weights --epochs --batch-size --lr --optimizer --augmentation --freeze --threads --workers; it is run with
the values of our four trials. As it costs minutes, --peer-epochs (default 1) says how many epochs it does; it computes the features
again in each of them, so its time for all epochs is computed from the first and the later ones.

Output: a Markdown table on stdout: medians, with the fastest and the slowest, and ratios within each round. Python's standard
library is enough here; the peer needs PyTorch (--python names its interpreter), and is left out without --peer.
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def timed(command, log):
    """Seconds of wall time and of processor time (children included) that a command takes."""
    before, started = os.times(), time.perf_counter()
    with open(log, "w") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode
    if code != 0:
        sys.exit(f"{' '.join(command)} ended with {code}:\n{Path(log).read_text()[-2000:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall": time.perf_counter() - started, "cpu": cpu}


def ours(args, folder):
    """The commands of a round by name."""
    common = ["--local-data", args.data, "--weights", args.weights, "--epochs", str(args.epochs), "--device", "cpu"]
    tune = [args.binary, "tune", *common, "--space", args.space, "--strategy", "bayesian", "--parallel", str(args.parallel)]
    return {
        "train": [args.binary, "train", *common, "--output", str(folder / "train")],
        "one": [*tune, "--max-jobs", "1", "--output", str(folder / "one")],
        "four": [*tune, "--max-jobs", "4", "--output", str(folder / "four")],
    }


def jobs(folder):
    with open(folder / "jobs.csv", newline="") as file:
        return list(csv.DictReader(file))


def peer_seconds(args, folder):
    """Wall time of the peer over the values of our trials, for args.epochs epochs each."""
    total, details = 0.0, []
    for index, job in enumerate(jobs(folder / "four")):
        command = [args.python, args.peer, "--data", args.data, "--weights", args.weights, "--freeze", "--augmentation", "none"]
        command += ["--optimizer", "adamw", "--threads", str(args.threads), "--workers", str(args.threads)]
        command += ["--batch-size", job["batch-size"], "--lr", job["learning-rate"]]
        one = timed([*command, "--epochs", "1"], folder / f"peer-{index}-1.log")["wall"]
        later = 0.0
        if args.peer_epochs > 1:
            several = timed([*command, "--epochs", str(args.peer_epochs)], folder / f"peer-{index}.log")["wall"]
            later = (several - one) / (args.peer_epochs - 1)
        details.append({"first": one, "later": later})
        total += one + later * (args.epochs - 1)
    return total, details


def shown(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--space", default="batch-size=8,32;learning-rate=0.001,0.003,0.01")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--binary", default=str(HERE.parent / "target/release/sagemaker-burn"))
    parser.add_argument("--peer")
    parser.add_argument("--peer-epochs", type=int, default=1)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--json")
    args = parser.parse_args()

    print(f"load average before: {os.getloadavg()[0]:.2f}, cores: {os.cpu_count()}", file=sys.stderr)
    rounds, peer = [], None
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            times = {}
            for what, command in ours(args, folder).items():
                times[what] = timed(command, folder / f"{what}.log")
                print(f"round {number + 1}: {what} {times[what]['wall']:.1f} s", file=sys.stderr)
            times["trials"] = [float(job["TrainingElapsedTimeSeconds"]) for job in sorted(jobs(folder / "four"), key=lambda j: j["TrainingJobName"])]
            if args.peer and peer is None:
                peer = peer_seconds(args, folder)
            rounds.append(times)

    def column(what, unit):
        return [times[what][unit] for times in rounds]

    print("| | wall, s | processor, s |\n|---|---|---|")
    for what, words in (("train", "`train` on its own"), ("one", "one trial"), ("four", "four trials")):
        print(f"| {words} | {shown(column(what, 'wall'))} | {shown(column(what, 'cpu'))} |")
    for unit, words in (("wall", "wall"), ("cpu", "processor")):
        ratios = [times["four"][unit] / times["one"][unit] for times in rounds]
        print(f"four trials cost {shown(ratios)} times one trial ({words})")
    each = [statistics.median(times["trials"][index] for times in rounds) for index in range(len(rounds[0]["trials"]))]
    print("trials one by one, s: " + ", ".join(f"{seconds:.1f}" for seconds in each))
    if peer:
        total, details = peer
        four = statistics.median(column("four", "wall"))
        computed = "" if args.peer_epochs > 1 or args.epochs == 1 else ", first epochs only"
        print(f"peer, four runs: {total:.1f} s{computed}, {total / four:.1f} times ours; {json.dumps(details)}")
    if args.json:
        Path(args.json).write_text(json.dumps({"rounds": rounds, "peer": peer}, indent=2))


if __name__ == "__main__":
    main()
