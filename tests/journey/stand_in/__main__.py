"""A stand-in for Amazon SageMaker on this machine, for tests.

    python stand_in --binary target/release/sagemaker-burn --folder DIR

SageMaker itself is played here: training and tuning jobs run the binary in a fake /opt/ml, endpoints run its `serve`. S3, ECR, IAM,
STS and CloudWatch Logs are moto's. All of it answers at one address, which is printed as the first line.

    POST /stand-in/faults {"throttle": {"CreateTrainingJob": 2}}   the next two calls are throttled
    GET  /stand-in/calls                                           how often each operation was called
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from werkzeug.serving import make_server

import cloud
from server import Application


def main():
    parser = argparse.ArgumentParser(description="A stand-in for Amazon SageMaker.")
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()

    # moto and boto3 of this process are never to look for an account of ours.
    os.environ.update(cloud.CREDENTIALS)
    application = Application(arguments.binary.resolve(), arguments.folder.resolve())
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=cloud.QuietHandler)
    application.address = f"http://127.0.0.1:{server.port}"
    print(application.address, flush=True)
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Whoever started this closes the pipe when it ends, however it ends.
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    ended.wait()
    application.end()
    os._exit(0)


if __name__ == "__main__":
    main()
