"""Models and endpoints: the binary's `serve` on a free port.

Input: requests, and bodies for the model. Output: the model's answers, or its errors as SageMaker passes them on.
"""

import json
import os
import socket
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request

from werkzeug.wrappers import Response

import cloud
from cloud import Refused

CUSTOM = "X-Amzn-SageMaker-Custom-Attributes"


class Endpoints:
    def __init__(self, application):
        self.application = application
        self.models, self.configs, self.endpoints = {}, {}, {}

    # Models

    def on_create_model(self, body):
        if body["ModelName"] in self.models:
            raise Refused("ValidationException", f"Cannot create already existing model \"{self.arn('model', body['ModelName'])}\".")
        container, role = body["PrimaryContainer"], body["ExecutionRoleArn"]
        cloud.check_role(self.application.address, role)
        cloud.check_image(self.application.address, container["Image"], role)
        s3 = cloud.client(self.application.address, "s3")
        bucket, key = cloud.split_uri(container["ModelDataUrl"])
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except s3.exceptions.ClientError:
            raise Refused("ValidationException", f"Could not find model data at {container['ModelDataUrl']}.") from None
        self.models[body["ModelName"]] = {**body, "CreationTime": time.time(), "ModelArn": self.arn("model", body["ModelName"])}
        return {"ModelArn": self.arn("model", body["ModelName"])}

    def on_describe_model(self, body):
        return without_tags(self.find(self.models, "model", body["ModelName"]))

    def on_delete_model(self, body):
        self.find(self.models, "model", body["ModelName"])
        del self.models[body["ModelName"]]
        return {}

    def on_list_models(self, body):
        return {"Models": [{key: model[key] for key in ("ModelName", "ModelArn", "CreationTime")}
                           for name, model in self.models.items() if body.get("NameContains", "") in name]}

    # Configurations

    def on_create_endpoint_config(self, body):
        name = body["EndpointConfigName"]
        if name in self.configs:
            raise Refused("ValidationException", f"Cannot create already existing endpoint configuration \"{name}\".")
        for variant in body["ProductionVariants"]:
            self.find(self.models, "model", variant["ModelName"])
        arn = self.arn("endpoint-config", name)
        self.configs[name] = {**body, "CreationTime": time.time(), "EndpointConfigArn": arn}
        return {"EndpointConfigArn": arn}

    def on_describe_endpoint_config(self, body):
        return without_tags(self.find(self.configs, "endpoint-config", body["EndpointConfigName"]))

    def on_delete_endpoint_config(self, body):
        self.find(self.configs, "endpoint-config", body["EndpointConfigName"])
        del self.configs[body["EndpointConfigName"]]
        return {}

    # Endpoints

    def on_create_endpoint(self, body):
        name = body["EndpointName"]
        if name in self.endpoints:
            raise Refused("ValidationException", f"Cannot create already existing endpoint \"{self.arn('endpoint', name)}\".")
        config = self.find(self.configs, "endpoint-config", body["EndpointConfigName"])
        variant = config["ProductionVariants"][0]
        endpoint = Endpoint(self.application, name, config, self.models[variant["ModelName"]])
        self.endpoints[name] = endpoint
        threading.Thread(target=endpoint.start, daemon=True).start()
        return {"EndpointArn": endpoint.arn}

    def on_describe_endpoint(self, body):
        endpoint = self.find(self.endpoints, "endpoint", body["EndpointName"])
        self.application.wait_while(lambda: endpoint.status == "Creating", 3)
        return endpoint.described()

    def on_delete_endpoint(self, body):
        self.find(self.endpoints, "endpoint", body["EndpointName"]).stop()
        del self.endpoints[body["EndpointName"]]
        return {}

    def on_list_endpoints(self, body):
        found = [endpoint.described() for name, endpoint in self.endpoints.items() if body.get("NameContains", "") in name]
        keys = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
        return {"Endpoints": [{key: endpoint[key] for key in keys} for endpoint in found]}

    def invoke(self, name, request):
        endpoint = self.endpoints.get(name)
        if endpoint is None or endpoint.status != "InService":
            return error("ValidationError", 400, {"Message": f"Endpoint {name} of account {cloud.ACCOUNT} not found."})
        return endpoint.invoke(request)

    def arn(self, kind, name):
        return self.application.arn(kind, name)

    def find(self, things, kind, name):
        if name not in things:
            raise Refused("ValidationException", f"Could not find {kind} \"{self.arn(kind, name)}\".")
        return things[name]

    def end(self):
        for endpoint in self.endpoints.values():
            endpoint.stop()


class Endpoint:
    def __init__(self, application, name, config, model):
        self.application, self.name, self.config, self.model = application, name, config, model
        self.arn = application.arn("endpoint", name)
        self.root = application.folder / "endpoints" / f"{name}-{time.time_ns()}"
        self.status, self.reason, self.process = "Creating", None, None
        self.created = self.modified = time.time()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self):
        try:
            reason = self.serve()
        except Exception as error:
            reason = repr(error)
        self.reason, self.modified = reason, time.time()
        self.application.announce(lambda: setattr(self, "status", "Failed" if reason else "InService"))

    def serve(self):
        """Starts the process and waits for its ping; says why there is none."""
        container = self.model["PrimaryContainer"]
        cloud.download(self.application.address, container["ModelDataUrl"], self.root)
        (self.root / "model").mkdir(parents=True)
        with tarfile.open(self.root / "model.tar.gz") as archive:
            archive.extractall(self.root / "model", filter="data")
        environment = {"PATH": os.environ.get("PATH", ""), "SAGEMAKER_BASE_DIR": str(self.root), "AWS_REGION": "us-east-1",
                       "SAGEMAKER_BIND_TO_PORT": str(self.port), "RAYON_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "",
                       **container.get("Environment", {})}
        # SageMaker says `serve` alone; a test does not listen on every address.
        with (self.root / "log").open("wb") as out:
            self.process = subprocess.Popen([self.application.binary, "serve", "--host", "127.0.0.1"], env=environment, stdout=out,
                                            stderr=out, stdin=subprocess.DEVNULL)
        for _ in range(1200):
            if self.process.poll() is not None:
                return (f"The primary container for production variant AllTraffic did not pass the ping health check: "
                        f"{(self.root / 'log').read_text()[-300:]}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=2):
                    return None
            except OSError:
                time.sleep(0.05)
        return "The primary container for production variant AllTraffic did not pass the ping health check."

    def invoke(self, request):
        headers = {name: request.headers[name] for name in ("Content-Type", "Accept", CUSTOM) if name in request.headers}
        forwarded = urllib.request.Request(f"http://127.0.0.1:{self.port}/invocations", request.get_data(), headers)
        try:
            answer = urllib.request.urlopen(forwarded, timeout=60)
        except urllib.error.HTTPError as failed:
            text, code = failed.read().decode(errors="replace"), failed.code
            whose = "client" if code < 500 else "server"
            return error("ModelError", 424, {
                "Message": f"Received {whose} error ({code}) from primary with message \"{text}\". See the log group "
                           f"/aws/sagemaker/Endpoints/{self.name} in account {cloud.ACCOUNT} for more information.",
                "OriginalMessage": text[:2048], "OriginalStatusCode": code,
                "LogStreamArn": f"arn:aws:logs:us-east-1:{cloud.ACCOUNT}:log-group:/aws/sagemaker/Endpoints/{self.name}"})
        with answer:
            response = Response(answer.read(), 200, content_type=answer.headers["Content-Type"])
            response.headers["x-Amzn-Invoked-Production-Variant"] = "AllTraffic"
            if CUSTOM in answer.headers:
                response.headers[CUSTOM] = answer.headers[CUSTOM]
            return response

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def described(self):
        described = {"EndpointName": self.name, "EndpointArn": self.arn, "EndpointConfigName": self.config["EndpointConfigName"],
                     "EndpointStatus": self.status, "CreationTime": self.created, "LastModifiedTime": self.modified,
                     "ProductionVariants": [{"VariantName": "AllTraffic", "CurrentWeight": 1.0, "CurrentInstanceCount": 1}]}
        if self.reason:
            described["FailureReason"] = self.reason[:1024]
        return described


def without_tags(thing):
    return {key: value for key, value in thing.items() if key != "Tags"}


def error(kind, status, body):
    response = Response(json.dumps(body), status, content_type="application/json")
    response.headers["x-amzn-ErrorType"] = kind
    return response
