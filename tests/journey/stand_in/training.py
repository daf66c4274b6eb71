"""Training jobs: the binary in a fake /opt/ml.

Input: requests. Output: processes, model.tar.gz in S3, a log in CloudWatch, and the last value of each metric, found with Python's
`re` as the request's MetricDefinitions say.
"""

import json
import os
import re
import signal
import subprocess
import tarfile
import threading
import time

import cloud
from cloud import Refused

LOGS = "/aws/sagemaker/TrainingJobs"
ENDED = ("Completed", "Failed", "Stopped")


class TrainingJobs:
    def __init__(self, application):
        self.application = application
        self.jobs = {}

    def on_create_training_job(self, body):
        name = body["TrainingJobName"]
        if name in self.jobs:
            raise Refused("ResourceInUse", "Training job names must be unique within an AWS account and region, and a training job "
                          f"with this name already exists ({self.application.arn('training-job', name)})")
        cloud.check_role(self.application.address, body["RoleArn"])
        image = body["AlgorithmSpecification"]["TrainingImage"]
        cloud.check_image(self.application.address, image, body["RoleArn"])
        stopping = body["StoppingCondition"]
        if body.get("EnableManagedSpotTraining") and stopping.get("MaxWaitTimeInSeconds", 0) < stopping["MaxRuntimeInSeconds"]:
            raise Refused("ValidationException", "MaxWaitTimeInSeconds above MaxRuntimeInSeconds required for spot training")
        job = TrainingJob(self.application, body)
        self.jobs[name] = job
        threading.Thread(target=job.run, daemon=True).start()
        return {"TrainingJobArn": job.arn}

    def on_describe_training_job(self, body):
        job = self.find(body["TrainingJobName"])
        # A client that waits asks again after many seconds otherwise.
        self.application.wait_while(lambda: job.status not in ENDED, 3)
        return job.described()

    def on_stop_training_job(self, body):
        job = self.find(body["TrainingJobName"])
        if job.status in ENDED:
            raise Refused("ValidationException", f"The request was rejected because the training job is in status {job.status}.")
        job.stop()
        return {}

    def on_list_training_jobs(self, body):
        chosen = [job for job in self.jobs.values() if body.get("NameContains", "") in job.name]
        return {"TrainingJobSummaries": [
            {"TrainingJobName": job.name, "TrainingJobArn": job.arn, "CreationTime": job.created, "TrainingJobStatus": job.status}
            for job in chosen]}

    def find(self, name):
        if name not in self.jobs:
            raise Refused("ValidationException", "Requested resource not found.")
        return self.jobs[name]

    def end(self):
        for job in self.jobs.values():
            job.kill()


class TrainingJob:
    def __init__(self, application, request, tuning_job_arn=None):
        self.application, self.request = application, request
        self.tuning_job_arn = tuning_job_arn
        self.name = request["TrainingJobName"]
        self.arn = application.arn("training-job", self.name)
        self.root = application.folder / "jobs" / self.name
        self.status, self.secondary = "InProgress", "Starting"
        self.created = self.started = time.time()
        self.ended = None
        self.reason = None
        self.metrics = {}
        self.process = None
        self.is_stopped = False

    def run(self):
        """From the first file to the last."""
        try:
            self.lay_out()
            if self.reason is None:
                self.train()
                self.upload()
        except Exception as error:
            self.reason = f"InternalServerError: {error!r}"
        status = "Failed" if self.reason else "Stopped" if self.is_stopped else "Completed"
        self.ended = time.time()
        self.application.announce(lambda: self.become(status, status))

    def become(self, status, secondary):
        self.status, self.secondary = status, secondary

    def lay_out(self):
        """Writes the files that the platform would, and downloads the channels."""
        request, config = self.request, self.root / "input/config"
        config.mkdir(parents=True)
        for folder in ("model", "output/data", "checkpoints", "input/data"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        channels = {}
        self.secondary = "Downloading"
        for channel in request.get("InputDataConfig", []):
            name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
            if not cloud.download(self.application.address, source["S3Uri"], self.root / "input/data" / name):
                self.reason = (
                    f"ClientError: Data download failed:No S3 objects found under S3 URL \"{source['S3Uri']}\" given in input data "
                    "source. Please ensure that the bucket exists in the selected region (us-east-1), that objects exist under that "
                    f"S3 prefix, and that the role \"{request['RoleArn']}\" has \"s3:ListBucket\" permissions on bucket "
                    f"\"{cloud.split_uri(source['S3Uri'])[0]}\".")
                return
            channels[name] = {
                "TrainingInputMode": request["AlgorithmSpecification"]["TrainingInputMode"],
                "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"), "RecordWrapperType": "None"}
            if "ContentType" in channel:
                channels[name]["ContentType"] = channel["ContentType"]
        kind = request["ResourceConfig"]["InstanceType"]
        files = {
            "hyperparameters": request.get("HyperParameters", {}), "inputdataconfig": channels,
            "resourceconfig": {
                "current_host": "algo-1", "current_instance_type": kind, "current_group_name": "homogeneousCluster",
                "hosts": ["algo-1"], "network_interface_name": "eth0", "instance_groups": [
                    {"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": ["algo-1"]}]},
            "debughookconfig": request.get("DebugHookConfig"), "profilerconfig": request.get("ProfilerConfig"),
            "checkpointconfig": request.get("CheckpointConfig")}
        for name, content in files.items():
            if content is not None:
                (config / f"{name}.json").write_text(json.dumps(content))
        if "CheckpointConfig" in request:
            cloud.download(self.application.address, request["CheckpointConfig"]["S3Uri"].rstrip("/") + "/", self.root / "checkpoints")

    def train(self):
        environment = {
            "PATH": os.environ.get("PATH", ""), "SAGEMAKER_BASE_DIR": str(self.root), "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.arn, "AWS_REGION": "us-east-1",
            # There is no network here, and a test has two cores.
            "SAGEMAKER_BURN_ZOO_URL": "http://127.0.0.1:9", "RAYON_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "",
            **self.request.get("Environment", {})}
        log = self.root / "log"
        self.secondary = "Training"
        self.started = time.time()
        with log.open("wb") as out:
            self.process = subprocess.Popen([self.application.binary, "train"], env=environment, stdout=out, stderr=out,
                                            stdin=subprocess.DEVNULL, cwd=self.root)
            try:
                code = self.process.wait(self.request["StoppingCondition"].get("MaxRuntimeInSeconds"))
            except subprocess.TimeoutExpired:
                self.stop()
                code = self.process.wait()
        text = log.read_text(errors="replace")
        for definition in self.request["AlgorithmSpecification"].get("MetricDefinitions", []):
            values = re.findall(definition["Regex"], text)
            if values:
                self.metrics[definition["Name"]] = float(values[-1])
        cloud.write_log(self.application.address, LOGS, f"{self.name}/algo-1-{int(self.created)}", text)
        if code != 0:
            failure = self.root / "output/failure"
            cause = failure.read_text()[:1024] if failure.exists() else "see the log"
            self.reason = f"AlgorithmError: {cause}, exit code: {code}"

    def upload(self):
        self.secondary = "Uploading"
        base = f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}"
        for folder, name in (("model", "model"), ("output/data", "output")):
            if any((self.root / folder).iterdir()):
                archive = self.root / f"{name}.tar.gz"
                with tarfile.open(archive, "w:gz") as tar:
                    for path in sorted((self.root / folder).iterdir()):
                        tar.add(path, path.name)
                cloud.upload(self.application.address, archive, f"{base}/output/{name}.tar.gz")
        if (self.root / "output/tensors").is_dir():
            cloud.upload(self.application.address, self.root / "output/tensors", f"{base}/debug-output")
        if "CheckpointConfig" in self.request:
            cloud.upload(self.application.address, self.root / "checkpoints", self.request["CheckpointConfig"]["S3Uri"])

    def stop(self):
        self.is_stopped = True
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()

    def artifact(self):
        return f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output/model.tar.gz"

    def described(self):
        request = {key: value for key, value in self.request.items() if key not in ("Tags",)}
        described = {
            **request, "TrainingJobArn": self.arn, "ModelArtifacts": {"S3ModelArtifacts": self.artifact()},
            "TrainingJobStatus": self.status, "SecondaryStatus": self.secondary, "CreationTime": self.created,
            "LastModifiedTime": self.ended or time.time(), "SecondaryStatusTransitions": [
                {"Status": self.secondary, "StartTime": self.started, "StatusMessage": self.secondary}],
            "FinalMetricDataList": [
                {"MetricName": name, "Value": value, "Timestamp": self.ended or time.time()} for name, value in self.metrics.items()]}
        if self.tuning_job_arn:
            described["TuningJobArn"] = self.tuning_job_arn
        if self.ended:
            described.update(TrainingStartTime=self.started, TrainingEndTime=self.ended,
                             TrainingTimeInSeconds=max(1, int(self.ended - self.started)),
                             BillableTimeInSeconds=max(1, int(self.ended - self.started)))
        if self.reason:
            described["FailureReason"] = self.reason[:1024]
        return described
