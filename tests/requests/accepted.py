"""Whether requests are accepted: by botocore, by the service's API model, and by moto through boto3 and through the AWS CLI.

    python accepted.py CreateTrainingJob=FILE CreateModel=FILE …

Prints `accepted OPERATION` for each, in whose order they are sent.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import botocore.session
from botocore.validate import ParamValidator
from moto.server import ThreadedMotoServer

sys.path.insert(0, str(Path(__file__).parents[1] / "journey/stand_in"))
import shapes

server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
address = "http://{}:{}".format(*server.get_host_and_port())
os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", AWS_EC2_METADATA_DISABLED="true",
                  AWS_ENDPOINT_URL=address, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
model = botocore.session.get_session().get_service_model("sagemaker")
# Two regions, as names are taken after the first time.
client = boto3.client("sagemaker", region_name="us-east-1")
cli = shutil.which("aws")
if cli is None:
    print("skipped: there is no AWS CLI (aws)")


def snake(name):
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


for argument in sys.argv[1:]:
    name, file = argument.split("=", 1)
    request = json.loads(Path(file).read_text())
    operation = model.operation_model(name)
    report = ParamValidator().validate(request, operation.input_shape)
    assert not report.has_errors(), f"{argument}: {report.generate_report()}"
    problems = shapes.problems(operation.input_shape, request)
    assert not problems, f"{argument}: {problems}"
    # The same under a name that nothing may have, to see that the check above sees anything.
    spoiled = {**request, next(iter(request)): "no_name" * 20}
    assert len(shapes.problems(operation.input_shape, spoiled)) == 2, shapes.problems(operation.input_shape, spoiled)
    answer = getattr(client, snake(name))(**request)
    assert any(key.endswith("Arn") for key in answer), answer
    if cli:
        # The real command line, as its users type it.
        said = subprocess.run(
            [cli, "sagemaker", snake(name).replace("_", "-"), "--cli-input-json", f"file://{file}", "--region", "eu-west-1"],
            capture_output=True, text=True)
        assert said.returncode == 0, f"{argument}: {said.stderr}"
        assert "arn:aws:sagemaker:eu-west-1" in said.stdout, said.stdout
    print("accepted", name)
server.stop()
sys.stdout.flush()
os._exit(0)
