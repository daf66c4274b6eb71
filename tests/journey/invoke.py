"""What boto3 gets from the endpoint: every kind of body, what was sent along, and errors.

    python invoke.py ENDPOINT PHOTO
"""

import io
import json
import sys

import boto3
import numpy as np
from botocore.exceptions import ClientError

endpoint, photo = sys.argv[1], open(sys.argv[2], "rb").read()
runtime = boto3.client("sagemaker-runtime")


def invoke(body, kind, accept="application/json", **more):
    answer = runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType=kind, Accept=accept, **more)
    return answer, answer["Body"].read()


def refused(status, *invocation):
    try:
        invoke(*invocation)
    except runtime.exceptions.ModelError as error:
        assert error.response["OriginalStatusCode"] == status, error.response
        assert len(json.loads(error.response["OriginalMessage"])["error"]) > 10, error.response
        assert f"({status})" in str(error), error
        return
    raise AssertionError(f"not refused: {invocation[1:]}")


answer, body = invoke(photo, "image/jpeg", CustomAttributes="trace=1;who=me")
expected = np.array(json.loads(body))
assert answer["CustomAttributes"] == "trace=1;who=me", answer
assert answer["ContentType"] == "application/json" and answer["InvokedProductionVariant"] == "AllTraffic"
assert expected.shape == (3,) and abs(expected.sum() - 1) < 1e-4

for kind in ("application/x-image", "application/octet-stream"):
    assert np.abs(np.array(json.loads(invoke(photo, kind)[1])) - expected).max() < 1e-5, kind
binary = np.load(io.BytesIO(invoke(photo, "image/jpeg", "application/x-npy")[1]))
assert binary.dtype == np.float32 and np.abs(binary[0] - expected).max() < 1e-5

tensor = io.BytesIO()
np.save(tensor, np.random.default_rng(0).normal(size=(2, 3, 32, 32)))
rows = [np.load(io.BytesIO(invoke(tensor.getvalue(), "application/x-npy", "application/x-npy")[1])),
        np.array(json.loads(invoke(tensor.getvalue(), "application/x-npy")[1]))]
assert rows[0].shape == (2, 3) and np.abs(rows[0] - rows[1]).max() < 1e-5

refused(400, photo[: len(photo) // 3], "image/jpeg")
refused(415, b"no photo at all", "image/jpeg")
refused(415, photo, "audio/mpeg")
refused(406, photo, "image/jpeg", "image/png")
refused(413, b"\xff\xd8" + bytes(26 << 20), "image/jpeg")
try:
    runtime.invoke_endpoint(EndpointName="nobody", Body=photo)
    raise AssertionError("an endpoint that is not there answered")
except ClientError as error:
    assert error.response["Error"]["Code"] == "ValidationError" and "nobody" in str(error), error
print("all answers are right")
