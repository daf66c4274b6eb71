"""Drives the image as the SageMaker Python SDK's local mode does: fit, deploy, predict. No AWS account, no network.

    python -m venv local && local/bin/pip install 'sagemaker[local]<3'
    local/bin/python scripts/local_mode.py sagemaker-burn:cpu photos [weights.onnx] [name=value]...

`photos` holds train/ and validation/ with a folder per class. Prints the endpoint's answer to each validation photo. Needs Docker with
compose.
"""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

# Before the SDK is imported: nothing of a user's own AWS configuration is read, and nothing is asked of the machine it runs on.
os.environ.update(
    AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local", AWS_DEFAULT_REGION="eu-west-1",
    AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true",
)


def config(folder):
    """The SDK's configuration without its telemetry, which would want the network."""
    path = folder / "config.yaml"
    path.write_text("SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      TelemetryOptOut: true\n")
    os.environ["SAGEMAKER_USER_CONFIG_OVERRIDE"] = os.environ["SAGEMAKER_ADMIN_CONFIG_OVERRIDE"] = str(path)


def local_session(folder):
    import boto3
    from sagemaker.local import LocalSession

    session = LocalSession(boto3.Session(region_name="eu-west-1"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    session.config = {
        "local": {"local_code": True, "region_name": "eu-west-1", "container_root": str(folder), "serving_port": port}
    }
    return session


def clean(folder, image):
    """Removes the containers that local mode leaves behind, and what of the folder is ours to remove."""
    filters = [f"--filter={name}" for name in (f"ancestor={image}", "network=sagemaker-local", "status=exited")]
    left = subprocess.run(["docker", "ps", "--all", "--quiet", *filters], stdout=subprocess.PIPE, text=True, check=True)
    if left.stdout.split():
        subprocess.run(["docker", "rm", *left.stdout.split()], stdout=subprocess.DEVNULL, check=True)
    shutil.rmtree(folder, ignore_errors=True)


def main(image, photos, *rest):
    hyperparameters = dict(argument.split("=", 1) for argument in rest if "=" in argument)
    weights = [Path(argument) for argument in rest if "=" not in argument]
    photos = Path(photos).resolve()
    folder = Path(tempfile.mkdtemp(prefix="local-mode-"))
    try:
        fit_and_deploy(folder, image, photos, weights, hyperparameters)
    finally:
        clean(folder, image)


def fit_and_deploy(folder, image, photos, weights, hyperparameters):
    config(folder)
    from sagemaker.deserializers import JSONDeserializer
    from sagemaker.estimator import Estimator
    from sagemaker.serializers import IdentitySerializer

    estimator = Estimator(
        image_uri=image, role="arn:aws:iam::123456789012:role/local", instance_count=1, instance_type="local",
        sagemaker_session=local_session(folder), hyperparameters=hyperparameters, output_path=f"file://{folder}/output",
    )
    channels = {name: f"file://{photos / name}" for name in ("train", "validation")}
    if weights:
        # Local mode mounts the folder that a file is in, with all its other files.
        alone = folder / "weights"
        alone.mkdir()
        shutil.copy(weights[0], alone)
        channels["weights"] = f"file://{alone}"
    estimator.fit(channels)
    print("model", estimator.model_data, flush=True)
    predictor = estimator.deploy(
        initial_instance_count=1, instance_type="local",
        serializer=IdentitySerializer("application/x-image"), deserializer=JSONDeserializer(),
    )
    try:
        for photo in sorted(path for path in (photos / "validation").rglob("*") if path.is_file()):
            answer = predictor.predict(photo.read_bytes(), initial_args={"Accept": "application/json; verbose=1"})
            best = answer["predictions"][0]["top"][0]
            print(json.dumps({"photo": str(photo.relative_to(photos)), "best": best}), flush=True)
    finally:
        predictor.delete_endpoint()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    logging.getLogger("sagemaker").setLevel(logging.INFO)
    main(*sys.argv[1:])
