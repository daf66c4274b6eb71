"""What is not SageMaker: moto's services, reached as any client would reach them.

Input: the address of the stand-in. Output: boto3 clients, and the few questions that SageMaker asks of other services.
"""

import json
import time
from urllib.parse import urlparse

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler

try:
    # Newer versions of moto have one of their own, for names of metadata in S3.
    from moto.moto_server.werkzeug_app import MotoRequestHandler
except ImportError:
    MotoRequestHandler = WSGIRequestHandler

ACCOUNT = "123456789012"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class QuietHandler(MotoRequestHandler):
    """Answers on connections that are kept open, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


def moto():
    """moto's services as one WSGI application, as moto_server makes it."""
    return DomainDispatcherApplication(create_backend_app)


class Refused(Exception):
    """An error as the service would answer it."""

    def __init__(self, code, message, status=400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def client(address, service, region="us-east-1"):
    return boto3.client(service, endpoint_url=address, region_name=region)


def split_uri(uri):
    place = urlparse(uri)
    return place.netloc, place.path.lstrip("/")


def download(address, uri, folder):
    """Copies everything that begins with `uri` into `folder`; says how much it was."""
    bucket, prefix = split_uri(uri)
    s3 = client(address, "s3")
    count = 0
    try:
        pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix))
    except s3.exceptions.NoSuchBucket:
        return 0
    # Names are kept from the last slash of the prefix on.
    start = len(prefix.rsplit("/", 1)[0]) + 1 if "/" in prefix else 0
    for item in (item for page in pages for item in page.get("Contents", [])):
        rest = item["Key"][len(prefix):]
        name = rest.lstrip("/") if rest.startswith("/") else item["Key"][start:]
        if not name or name.endswith("/"):
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, item["Key"], str(path))
        count += 1
    return count


def upload(address, folder, uri):
    """Copies a folder, or one file, to `uri`."""
    bucket, prefix = split_uri(uri)
    s3 = client(address, "s3")
    if folder.is_file():
        s3.upload_file(str(folder), bucket, prefix)
        return
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        s3.upload_file(str(path), bucket, f"{prefix.rstrip('/')}/{path.relative_to(folder)}")


def check_role(address, arn):
    """Whether SageMaker may take the role on."""
    iam = client(address, "iam")
    refused = Refused(
        "ValidationException",
        f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role.")
    try:
        role = iam.get_role(RoleName=arn.rsplit("/", 1)[1])["Role"]
    except iam.exceptions.NoSuchEntityException:
        raise refused from None
    trust = role["AssumeRolePolicyDocument"]
    if role["Arn"] != arn or "sagemaker.amazonaws.com" not in json.dumps(trust):
        raise refused


def check_image(address, uri, role):
    """Whether the image is there."""
    host, name = uri.split("/", 1)
    registry, region = host.split(".")[0], host.split(".")[3]
    name, _, digest = name.partition("@")
    name, _, tag = name.partition(":")
    ecr = client(address, "ecr", region)
    image = {"imageDigest": digest} if digest else {"imageTag": tag or "latest"}
    try:
        ecr.describe_images(registryId=registry, repositoryName=name, imageIds=[image])
    except ecr.exceptions.RepositoryNotFoundException:
        raise Refused(
            "ValidationException",
            f"Cannot find repository: {name} in registry ID: {registry} Please check if your ECR repository exists and role "
            f"{role} has proper pull permissions for SageMaker: ecr:BatchCheckLayerAvailability, ecr:BatchGetImage, "
            "ecr:GetDownloadUrlForLayer") from None
    except ecr.exceptions.ImageNotFoundException:
        raise Refused("ValidationException", f"Requested image {uri} not found.") from None


def write_log(address, group, stream, text):
    """Puts the lines of a log where CloudWatch has them."""
    logs = client(address, "logs")
    for make in (lambda: logs.create_log_group(logGroupName=group),
                 lambda: logs.create_log_stream(logGroupName=group, logStreamName=stream)):
        try:
            make()
        except logs.exceptions.ResourceAlreadyExistsException:
            pass
    now = int(time.time() * 1000)
    events = [{"timestamp": now + at, "message": line} for at, line in enumerate(text.splitlines()) if line]
    for at in range(0, len(events), 1000):
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events[at:at + 1000])
