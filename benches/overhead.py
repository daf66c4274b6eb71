"""What the look inside costs: training with the profiler and the rules, and with neither, in turns on one machine.

Input: a data set, a weights file and the program. Output: a line for each kind of run with medians and the ratio of both, of wall time
and of CPU time (user and system), which other programs disturb less:

    python benches/overhead.py DATA WEIGHTS [--program target/release/sagemaker-burn] [--rounds 5] [--only frozen]
"""

import argparse
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

OFF = {"profiler": "false", "rules": "none", "debugger": "false"}
VARIANTS = {
    "nothing": OFF,
    "profiler": OFF | {"profiler": "true"},
    "rules": OFF | {"rules": "usual"},
    # A look at weights, gradients, loss, labels and predictions every fifth step, a hundred times as often as unless asked for.
    "tensors": OFF | {"debugger": "true", "debugger-save-interval": "5"},
}
# Frozen: steps on features that are there already, of half a millisecond. All layers: steps of a second.
KINDS = {
    "frozen, 400 epochs on kept features": (["--epochs", "400"], ["nothing", "profiler", "rules"]),
    "all layers, 320 photos": (
        ["--freeze", "false", "--augmentation", "crop", "--epochs", "1", "--max-train-samples", "320", "--batch-size", "16"],
        list(VARIANTS),
    ),
}


def flags_of(variant):
    return [text for flag, value in VARIANTS[variant].items() for text in ("--" + flag, value)]


def run(program, options):
    folder = tempfile.mkdtemp()
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([program, *options, "--output", folder + "/run"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(folder)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--program", default="target/release/sagemaker-burn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="a part of the name of a kind")
    arguments = parser.parse_args()
    cache, data = tempfile.mkdtemp(), tempfile.mkdtemp()
    # Without the test split, whose evaluation would hide what is measured.
    for split in ("train", "valid"):
        pathlib.Path(data, split).symlink_to(pathlib.Path(arguments.data, split).resolve())
    common = ["--local-data", data, "--weights", arguments.weights, "--examples", "0", "--feature-cache", cache]
    for kind, (options, variants) in KINDS.items():
        if arguments.only not in kind:
            continue
        times = {variant: [] for variant in variants}
        # Computes the features, which then lie in the cache, and warms the disk's.
        run(arguments.program, common + options + flags_of("nothing"))
        for _ in range(arguments.rounds):
            for variant in variants:
                times[variant].append(run(arguments.program, common + options + flags_of(variant)))
        for which, name in enumerate(("wall", "CPU")):
            print(f"{kind}: {name}", end="")
            base = statistics.median(each[which] for each in times["nothing"])
            for variant in variants:
                seconds = [each[which] for each in times[variant]]
                median = statistics.median(seconds)
                print(f"; {variant} {median / base:.3f} ({median:.2f} s, {min(seconds):.2f}..{max(seconds):.2f})", end="")
            print(flush=True)
    shutil.rmtree(cache)
    shutil.rmtree(data)


if __name__ == "__main__":
    main()
