#!/usr/bin/env python3
"""The endpoint beside a peer that does the same over HTTP: onnxruntime behind uvicorn and FastAPI.

Input: a model directory of `sagemaker-burn` and a folder of JPEG photos. Output: latency and throughput of both at 1, 4 and 16
clients, taken in turns in one run, and the memory each holds after it.

    pip install onnxruntime fastapi uvicorn pillow
    cargo build --release
    python3 benches/serve.py --model runs/train-1/model --photos dogImages/test
"""

import argparse
import http.client
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import textwrap
import threading
import time

PEER = textwrap.dedent(
    """
    import io, json, os
    import numpy as np, onnxruntime
    from fastapi import FastAPI, Request, Response
    from PIL import Image
    from starlette.concurrency import run_in_threadpool

    session = onnxruntime.InferenceSession(os.environ["MODEL"], providers=["CPUExecutionProvider"])
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    app = FastAPI()

    def classify(body):
        image = Image.open(io.BytesIO(body)).convert("RGB")
        width, height = image.size
        scale = 256 / min(width, height)
        image = image.resize((max(256, int(width * scale)), max(256, int(height * scale))), Image.BILINEAR)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
        tensor = ((pixels - mean) / std).transpose(2, 0, 1)[None]
        logits = session.run(None, {"input": tensor})[0][0]
        exp = np.exp(logits - logits.max())
        return (exp / exp.sum()).tolist()

    @app.get("/ping")
    def ping():
        return Response()

    @app.post("/invocations")
    async def invocations(request: Request):
        body = await request.body()
        result = await run_in_threadpool(classify, body)
        return Response(json.dumps(result), media_type="application/json")
    """
)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, name, command, port, env=None):
        self.name, self.port = name, port
        started = time.perf_counter()
        self.process = subprocess.Popen(
            command, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/ping")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            if self.process.poll() is not None:
                sys.exit(f"{name} ended: {command}")
            time.sleep(0.005)
        self.ready = time.perf_counter() - started

    def memory_mb(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1000
        return 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def load(server, photos, clients, requests):
    """Latencies in ms, and requests a second, of so many clients that each wait for their answer."""
    latencies, errors = [], []
    start = threading.Barrier(clients + 1)

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        own = []
        start.wait()
        for i in range(requests // clients):
            photo = photos[(number * 31 + i) % len(photos)]
            before = time.perf_counter()
            connection.request("POST", "/invocations", photo, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
            own.append((time.perf_counter() - before) * 1000)
            if answer.status != 200:
                errors.append(answer.status)
        latencies.extend(own)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    before = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - before
    if errors:
        print(f"  {server.name}: {len(errors)} errors, such as {errors[0]}")
    return sorted(latencies), len(latencies) / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model directory, with manifest.json and model.onnx")
    parser.add_argument("--photos", required=True, help="folder with JPEG photos, searched deeply")
    parser.add_argument("--binary", default="target/release/sagemaker-burn")
    parser.add_argument("--requests", type=int, default=400, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=int, default=0, help="then so many requests to ours, to see its memory")
    args = parser.parse_args()
    photos = [p.read_bytes() for p in sorted(pathlib.Path(args.photos).rglob("*.jpg"))[::7][:100]]
    print(f"{len(photos)} photos of {sum(map(len, photos)) / len(photos) / 1000:.0f} kB")
    folder = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"peer-{os.getpid()}"
    folder.mkdir()
    (folder / "peer.py").write_text(PEER)
    ports = free_port(), free_port()
    ours = Server("sagemaker-burn", [args.binary, "serve", "--model", args.model, "--port", str(ports[0])], ports[0])
    peer = Server(
        "onnxruntime",
        [sys.executable, "-m", "uvicorn", "--app-dir", str(folder), "peer:app", "--port", str(ports[1]), "--log-level", "error"],
        ports[1],
        {"MODEL": str(pathlib.Path(args.model) / "model.onnx")},
    )
    print(f"ready after: sagemaker-burn {ours.ready:.2f} s, onnxruntime {peer.ready:.2f} s")
    for server in (ours, peer):
        load(server, photos, 2, 40)
    print(f"{'clients':>7} {'server':>15} {'p50 ms':>8} {'p99 ms':>8} {'req/s':>8} {'ratio':>6}")
    for clients in (1, 4, 16):
        results = {ours.name: [], peer.name: []}
        for _ in range(args.rounds):
            for server in (ours, peer):
                results[server.name].append(load(server, photos, clients, args.requests))
        rates = {name: statistics.median(rate for _, rate in rounds) for name, rounds in results.items()}
        for name, rounds in results.items():
            latencies = sorted(l for own, _ in rounds for l in own)
            p50, p99 = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
            ratio = f"{rates[name] / rates[peer.name]:.2f}"
            print(f"{clients:>7} {name:>15} {p50:8.1f} {p99:8.1f} {rates[name]:8.1f} {ratio:>6}")
    print(f"memory: sagemaker-burn {ours.memory_mb():.0f} MB, onnxruntime {peer.memory_mb():.0f} MB")
    peer.stop()
    if args.soak:
        before = ours.memory_mb()
        load(ours, photos, 16, args.soak)
        print(f"memory over {args.soak} requests: {before:.0f} MB, then {ours.memory_mb():.0f} MB")
    ours.stop()


if __name__ == "__main__":
    main()
