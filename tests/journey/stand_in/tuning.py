"""Tuning jobs: values are chosen, training jobs run, the best one is told.

Input: requests. Output: training jobs. Grid tries all combinations; every other strategy draws at random from the seed, which is
enough to see whether the right job is called the best.
"""

import itertools
import math
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cloud
from cloud import Refused
from training import TrainingJob

ENDED = ("Completed", "Failed", "Stopped")


class TuningJobs:
    def __init__(self, application):
        self.application = application
        self.jobs = {}

    def on_create_hyper_parameter_tuning_job(self, body):
        name = body["HyperParameterTuningJobName"]
        if name in self.jobs:
            raise Refused("ResourceInUse", f"A tuning job named {name} already exists")
        definition = body["TrainingJobDefinition"]
        cloud.check_role(self.application.address, definition["RoleArn"])
        cloud.check_image(self.application.address, definition["AlgorithmSpecification"]["TrainingImage"], definition["RoleArn"])
        job = TuningJob(self.application, body)
        self.jobs[name] = job
        threading.Thread(target=job.run, daemon=True).start()
        return {"HyperParameterTuningJobArn": job.arn}

    def on_describe_hyper_parameter_tuning_job(self, body):
        job = self.find(body)
        seen = [child.status for child in job.children]
        still = lambda: job.status not in ENDED and [child.status for child in job.children] == seen
        self.application.wait_while(still, 2)
        return job.described()

    def on_list_training_jobs_for_hyper_parameter_tuning_job(self, body):
        job = self.find(body)
        summaries = [summary for summary in map(job.summary, job.begun())
                     if body.get("StatusEquals", summary["TrainingJobStatus"]) == summary["TrainingJobStatus"]]
        if body.get("SortBy") == "FinalObjectiveMetricValue":
            key = lambda summary: summary.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value", -math.inf)
            summaries.sort(key=key, reverse=body.get("SortOrder", "Ascending") == "Descending")
        # Pages are small, so that whoever forgets to ask for the next one is found out.
        size, at = min(body.get("MaxResults", 10), 100), int(body.get("NextToken", 0))
        answer = {"TrainingJobSummaries": summaries[at:at + size]}
        if at + size < len(summaries):
            answer["NextToken"] = str(at + size)
        return answer

    def on_list_hyper_parameter_tuning_jobs(self, body):
        jobs = [job.described() for job in self.jobs.values() if body.get("NameContains", "") in job.name]
        return {"HyperParameterTuningJobSummaries": [
            {"HyperParameterTuningJobName": job["HyperParameterTuningJobName"],
             "HyperParameterTuningJobArn": job["HyperParameterTuningJobArn"],
             "HyperParameterTuningJobStatus": job["HyperParameterTuningJobStatus"],
             "Strategy": job["HyperParameterTuningJobConfig"]["Strategy"], "CreationTime": job["CreationTime"],
             "TrainingJobStatusCounters": job["TrainingJobStatusCounters"],
             "ObjectiveStatusCounters": job["ObjectiveStatusCounters"]} for job in jobs]}

    def on_stop_hyper_parameter_tuning_job(self, body):
        job = self.find(body)
        if job.status in ENDED:
            raise Refused("ValidationException", f"The request was rejected because the tuning job is in status {job.status}.")
        job.stop()
        return {}

    def on_delete_hyper_parameter_tuning_job(self, body):
        self.find(body)
        del self.jobs[body["HyperParameterTuningJobName"]]
        return {}

    def find(self, body):
        name = body["HyperParameterTuningJobName"]
        if name not in self.jobs:
            raise Refused("ResourceNotFound", f"Amazon SageMaker can't find a tuning job with name {name}.")
        return self.jobs[name]


def draw(range_, kind, dice):
    """A value of a range, as SageMaker writes it."""
    if kind == "CategoricalParameterRanges":
        return dice.choice(range_["Values"])
    least, most = float(range_["MinValue"]), float(range_["MaxValue"])
    scaling = range_.get("ScalingType", "Auto")
    if scaling == "Logarithmic":
        value = math.exp(dice.uniform(math.log(least), math.log(most)))
    elif scaling == "ReverseLogarithmic":
        value = 1 - math.exp(dice.uniform(math.log(1 - most), math.log(1 - least)))
    else:
        value = dice.uniform(least, most)
    return str(round(value)) if kind == "IntegerParameterRanges" else repr(value)


def choices(config, name):
    """The hyperparameters of every training job."""
    ranges = [(kind, range_) for kind, list_ in config["ParameterRanges"].items() for range_ in list_]
    count = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    if config["Strategy"] == "Grid":
        assert all(kind == "CategoricalParameterRanges" for kind, _ in ranges), "a grid has lists only"
        names = [range_["Name"] for _, range_ in ranges]
        all_ = [dict(zip(names, values)) for values in itertools.product(*(range_["Values"] for _, range_ in ranges))]
        if count not in (None, len(all_)):
            raise Refused("ValidationException", "MaxNumberOfTrainingJobs must be the number of all combinations with Grid")
        return all_
    dice = random.Random(config.get("RandomSeed", name))
    found = []
    for _ in range(1000 * count):
        drawn = {range_["Name"]: draw(range_, kind, dice) for kind, range_ in ranges}
        if drawn not in found:
            found.append(drawn)
        if len(found) == count:
            break
    return found


class TuningJob:
    def __init__(self, application, request):
        self.application, self.request = application, request
        self.name = request["HyperParameterTuningJobName"]
        self.config = request["HyperParameterTuningJobConfig"]
        self.arn = application.arn("hyper-parameter-tuning-job", self.name)
        self.objective = self.config["HyperParameterTuningJobObjective"]
        self.status = "InProgress"
        self.created, self.ended = time.time(), None
        self.is_stopped = False
        self.children, self.drawn = [], {}
        for at, drawn in enumerate(choices(self.config, self.name)):
            child = self.child(at, drawn)
            self.drawn[child.name] = drawn
            self.children.append(child)
        self.waiting = set(self.drawn)

    def child(self, at, drawn):
        definition = dict(self.request["TrainingJobDefinition"])
        fixed = definition.pop("StaticHyperParameters", {})
        definition.pop("HyperParameterTuningResourceConfig", None)
        resources = self.request["TrainingJobDefinition"].get("HyperParameterTuningResourceConfig")
        if resources:
            definition["ResourceConfig"] = resources
        # As the service names them.
        name = f"{self.name}-{at + 1:03}-{random.Random(f'{self.name}{at}').getrandbits(32):08x}"
        return TrainingJob(self.application, {
            **definition, "TrainingJobName": name,
            "HyperParameters": {**fixed, **drawn, "_tuning_objective_metric": self.objective["MetricName"]}}, self.arn)

    def run(self):
        def train(child):
            if not self.is_stopped:
                self.application.training.jobs[child.name] = child
                self.application.announce(lambda: self.waiting.discard(child.name))
                child.run()
        with ThreadPoolExecutor(self.config["ResourceLimits"]["MaxParallelTrainingJobs"]) as pool:
            list(pool.map(train, self.children))
        self.ended = time.time()
        status = "Stopped" if self.is_stopped else "Completed" if self.best() else "Failed"
        self.application.announce(lambda: setattr(self, "status", status))

    def stop(self):
        self.is_stopped = True
        for child in self.begun():
            child.stop()

    def begun(self):
        return [child for child in self.children if child.name not in self.waiting]

    def value(self, child):
        return child.metrics.get(self.objective["MetricName"]) if child.status == "Completed" else None

    def best(self):
        scored = [child for child in self.begun() if self.value(child) is not None]
        sign = 1 if self.objective["Type"] == "Maximize" else -1
        return max(scored, key=lambda child: sign * self.value(child), default=None)

    def summary(self, child):
        summary = {"TrainingJobName": child.name, "TrainingJobArn": child.arn, "CreationTime": child.created,
                   "TrainingJobStatus": child.status, "TunedHyperParameters": self.drawn[child.name],
                   "ObjectiveStatus": "Pending" if child.status == "InProgress" else "Failed"}
        if child.ended:
            summary.update(TrainingStartTime=child.started, TrainingEndTime=child.ended)
        if child.reason:
            summary["FailureReason"] = child.reason[:1024]
        if self.value(child) is not None:
            summary["ObjectiveStatus"] = "Succeeded"
            summary["FinalHyperParameterTuningJobObjectiveMetric"] = {
                "Type": self.objective["Type"], "MetricName": self.objective["MetricName"], "Value": self.value(child)}
        return summary

    def described(self):
        begun = self.begun()
        count = lambda status: sum(child.status == status for child in begun)
        objective = [self.summary(child)["ObjectiveStatus"] for child in begun]
        described = {key: value for key, value in self.request.items() if key != "Tags"}
        described.update({
            "HyperParameterTuningJobArn": self.arn, "HyperParameterTuningJobStatus": self.status, "CreationTime": self.created,
            "TrainingJobStatusCounters": {"Completed": count("Completed"), "InProgress": count("InProgress"), "RetryableError": 0,
                                          "NonRetryableError": count("Failed"), "Stopped": count("Stopped")},
            "ObjectiveStatusCounters": {name: objective.count(name) for name in ("Succeeded", "Pending", "Failed")}})
        if self.ended:
            described["HyperParameterTuningEndTime"] = self.ended
        if self.best():
            described["BestTrainingJob"] = self.summary(self.best())
        if self.status == "Failed":
            described["FailureReason"] = (
                f"No objective metrics found after running {len(begun)} training jobs. Please ensure that the custom algorithm is "
                "emitting the objective metric as defined by the regular expression provided.")
        return described
