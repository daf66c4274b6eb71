"""One address for everything: SageMaker's JSON protocol, its runtime, and moto for the rest.

Input: HTTP. Output: HTTP. Every request and every answer is checked against the service's API model.
"""

import collections
import json
import threading
import traceback

import botocore.session
from werkzeug.wrappers import Request, Response

import cloud
import shapes
from cloud import Refused
from endpoints import Endpoints
from training import TrainingJobs
from tuning import TuningJobs


class Application:
    """The WSGI application."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.address = None
        self.moto = cloud.moto()
        self.model = botocore.session.get_session().get_service_model("sagemaker")
        # Every change of any state is announced, so that whoever waits need not ask again and again.
        self.changed = threading.Condition()
        self.throttled = collections.Counter()
        self.calls = collections.Counter()
        self.tags = {}
        self.training = TrainingJobs(self)
        self.tuning = TuningJobs(self)
        self.endpoints = Endpoints(self)

    def __call__(self, environ, start_response):
        request = Request(environ)
        target = request.headers.get("X-Amz-Target", "")
        if target.startswith("SageMaker."):
            response = self.operation(target.split(".")[1], request)
        elif request.path.startswith("/endpoints/") and request.path.endswith("/invocations"):
            response = self.endpoints.invoke(request.path.split("/")[2], request)
        elif request.path.startswith("/stand-in/"):
            response = self.control(request)
        else:
            return self.moto(environ, start_response)
        return response(environ, start_response)

    def operation(self, name, request):
        self.calls[name] += 1
        try:
            if self.throttled[name] > 0:
                self.throttled[name] -= 1
                raise Refused("ThrottlingException", "Rate exceeded")
            body = json.loads(request.get_data() or b"{}")
            operation = self.model.operation_model(name)
            wrong = shapes.problems(operation.input_shape, body)
            if wrong:
                raise Refused("ValidationException", f"{len(wrong)} validation error(s) detected: {'; '.join(wrong)}")
            answer = self.handler(name)(body)
            wrong = shapes.problems(operation.output_shape, answer) if operation.output_shape else []
            assert not wrong, f"{name} answers what SageMaker never would: {wrong}"
            return answered(answer)
        except Refused as refused:
            return answered({"__type": refused.code, "message": refused.message}, refused.status)
        except Exception as error:
            traceback.print_exc()
            return answered({"__type": "InternalFailure", "message": repr(error)}, 500)

    def handler(self, name):
        snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")
        for room in (self, self.training, self.tuning, self.endpoints):
            found = getattr(room, f"on_{snake}", None)
            if found:
                return found
        raise Refused("UnknownOperationException", f"the stand-in has no {name}")

    def on_add_tags(self, body):
        self.tags.setdefault(body["ResourceArn"], []).extend(body["Tags"])
        return {"Tags": self.tags[body["ResourceArn"]]}

    def on_list_tags(self, body):
        return {"Tags": self.tags.get(body["ResourceArn"], [])}

    def control(self, request):
        if request.path.endswith("/calls"):
            return answered(dict(self.calls))
        for name, count in json.loads(request.get_data()).get("throttle", {}).items():
            self.throttled[name] = count
        return answered({})

    def arn(self, kind, name):
        return f"arn:aws:sagemaker:us-east-1:{cloud.ACCOUNT}:{kind}/{name}"

    def announce(self, change=lambda: None):
        """Makes a change and wakes whoever waits for one."""
        with self.changed:
            change()
            self.changed.notify_all()

    def wait_while(self, still, seconds):
        """Waits until `still` no longer holds, but not for long: a call has to be answered."""
        with self.changed:
            self.changed.wait_for(lambda: not still(), seconds)

    def end(self):
        self.training.end()
        self.endpoints.end()


def answered(body, status=200):
    return Response(json.dumps(body), status, content_type="application/x-amz-json-1.1")
