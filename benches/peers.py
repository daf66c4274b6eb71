#!/usr/bin/env python3
"""The peers of benches/main_job, row by row: PyTorch, onnxruntime, PIL + torchvision.

usage: peers.py --peer torch --row train-b8 [--data DIR] [--weights resnet18.onnx] [--threads N] [--repeats N]
       peers.py --list          prints "row<TAB>peer" for every pair that is known

Needs torch, torchvision and, for its rows, onnxruntime. Output: one JSON object on stdout, in the form of main_job's.
Called by compare.py, one process per measurement, so that no peer's thread pool disturbs another.

What each peer may use: `channels-last` is PyTorch's faster memory layout, `inline` loads in the training process,
`workers` loads in as many processes as there are threads (kept alive between epochs, their start is not timed).
"""
import argparse
import json
import os
import sys
import time

CLASSES, BATCH_SIZE = 133, 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LEAST_SECONDS, MOST_REPEATS = 1.0, 50


def pairs():
    """Every (row, peer)."""
    for pixels in ("eval", "crop"):
        for when in ("first", "cached"):
            yield f"load-{pixels}-{when}-w1", "torchvision-inline"
            yield f"load-{pixels}-{when}-wN", "torchvision-workers"
    for row in ("eval-b1", "eval-b32", "eval-fused-b1", "eval-fused-b32"):
        yield from ((row, peer) for peer in ("torch", "torch-channels-last", "onnxruntime"))
    for row in ("train-b8", "train-b32"):
        yield from ((row, peer) for peer in ("torch", "torch-channels-last"))
    for row in ("train-epoch", "frozen-first", "frozen-later"):
        yield from ((row, peer) for peer in ("torch-inline", "torch-workers"))


def resnet18(torch, args):
    """torchvision's ResNet18; random weights take the same time as trained ones."""
    import torchvision

    model = torchvision.models.resnet18()
    if args.weights:
        import onnx
        from onnx import numpy_helper

        graph = onnx.load(args.weights).graph
        state = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
        model.load_state_dict(state, strict=False)
    return model


def batches(torch, args, pixels, workers, shuffle):
    """A loader over DIR/train, else DIR, with torchvision's usual transforms."""
    from torchvision import datasets, transforms as T

    tail = [T.ToTensor(), T.Normalize(MEAN, STD)]
    head = [T.RandomResizedCrop(224), T.RandomHorizontalFlip()] if pixels == "crop" else [T.Resize(256), T.CenterCrop(224)]
    train = os.path.join(args.data, "train")
    folder = datasets.ImageFolder(train if os.path.isdir(train) else args.data, T.Compose(head + tail))
    loader = torch.utils.data.DataLoader(folder, BATCH_SIZE, shuffle, num_workers=workers, persistent_workers=workers > 0)
    return loader, len(folder)


def loading(torch, args):
    pixels = args.row.split("-")[1]
    workers = 0 if args.peer.endswith("inline") else args.threads
    if args.row.endswith("w1"):
        torch.set_num_threads(1)
    loader, images = batches(torch, args, pixels, workers, pixels == "crop")

    def work():
        for _ in loader:
            pass

    return work, images


def evaluation(torch, args):
    batch_size = int(args.row.rsplit("b", 1)[1])
    x = torch.randn(batch_size, 3, 224, 224)
    if args.peer == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(args.weights, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: x.numpy()}
        return lambda: session.run(None, feed), batch_size
    layout = torch.channels_last if args.peer.endswith("channels-last") else torch.contiguous_format
    model, x = resnet18(torch, args).eval().to(memory_format=layout), x.to(memory_format=layout)

    def work():
        with torch.inference_mode():
            model(x)

    return work, batch_size


def training(torch, args):
    batch_size = int(args.row.rsplit("b", 1)[1])
    layout = torch.channels_last if args.peer.endswith("channels-last") else torch.contiguous_format
    model = resnet18(torch, args)
    model.fc = torch.nn.Linear(512, CLASSES)
    model = model.train().to(memory_format=layout)
    x, targets = torch.randn(batch_size, 3, 224, 224).to(memory_format=layout), torch.arange(batch_size)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)
    return lambda: step(torch, optimizer, model(x), targets), batch_size


def epoch(torch, args):
    """Photos to weights: random crops are loaded while every layer is trained."""
    workers = 0 if args.peer.endswith("inline") else args.threads
    loader, images = batches(torch, args, "crop", workers, True)
    model = resnet18(torch, args)
    model.fc = torch.nn.Linear(512, CLASSES)
    model = model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)

    def work():
        for x, targets in loader:
            step(torch, optimizer, model(x.to(memory_format=torch.channels_last)), targets)

    return work, images


def step(torch, optimizer, logits, targets):
    loss = torch.nn.functional.cross_entropy(logits, targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def frozen(torch, args):
    """The usual frozen epoch: every photo goes through the backbone every time."""
    workers = 0 if args.peer.endswith("inline") else args.threads
    loader, images = batches(torch, args, "eval", workers, True)
    model = resnet18(torch, args).eval().requires_grad_(False)
    model.fc = torch.nn.Linear(512, CLASSES)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.fc.parameters(), 1e-3, weight_decay=1e-4)

    def work():
        for x, targets in loader:
            step(torch, optimizer, model(x.to(memory_format=torch.channels_last)), targets)

    return work, images


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--peer", "--row", "--data", "--weights"):
        parser.add_argument(flag)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        print("\n".join(f"{row}\t{peer}" for row, peer in pairs()))
        return
    if (args.row, args.peer) not in set(pairs()):
        sys.exit(f"no peer {args.peer} for row {args.row}: see --list")
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    make = {"load": loading, "eval": evaluation, "train": training, "frozen": frozen}[args.row.split("-")[0]]
    make = epoch if args.row == "train-epoch" else make
    work, images = make(torch, args)
    work()
    seconds = []
    while len(seconds) < args.repeats or (not args.quick and sum(seconds) < LEAST_SECONDS and len(seconds) < MOST_REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"row": args.row, "who": args.peer, "threads": args.threads, "images": images, "seconds": seconds}))


if __name__ == "__main__":
    main()
