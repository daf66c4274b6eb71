//! TensorBoard's own reader finds the histograms of a real run, and NumPy counts the same.

use serde_json::Value;

use super::files::configured;
use crate::main_job::run::{Sandbox, python};

/// Prints tags, steps and differences: of the last validation's weights, which are the checkpoint's, NumPy makes histograms, too.
const PROGRAM: &str = r#"
import json, sys
import numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray
folder, checkpoint = sys.argv[1:]
def reader(mode):
    events = EventAccumulator(folder + "/" + mode)
    events.Reload()
    return events
def tensors(path):
    data = open(path, "rb").read()
    start = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, last = entry["data_offsets"]
            yield name, numpy.frombuffer(data[start + first:start + last], "<f4").astype("f8")
train, valid = reader("train"), reader("eval")
compared, worst = 0, 0
for name, values in tensors(checkpoint):
    tag = "ResNet/" + name.removeprefix("model.")
    if tag in valid.PluginTagToContent("histograms"):
        rows = make_ndarray(valid.Tensors(tag)[-1].tensor_proto)
        counts, edges = numpy.histogram(values, bins=len(rows), range=(rows[0, 0], rows[-1, 1]))
        assert numpy.abs(rows[:, 0] - edges[:-1]).max() <= 1e-12 + 1e-6 * numpy.abs(edges).max(), (tag, rows, edges)
        compared, worst = compared + 1, max(worst, int(numpy.abs(rows[:, 2] - counts).max()))
print(json.dumps({
    "train": sorted(train.PluginTagToContent("histograms")), "eval": sorted(valid.PluginTagToContent("histograms")),
    "steps": [event.step for event in train.Tensors("gradient/ResNet_fc.weight")], "compared": compared, "worst": worst,
}))
"#;

#[test]
fn tensorboard_reads_them_and_numpy_counts_the_same() {
    let sandbox = Sandbox::with_pictures();
    let hook = r#"{"HookParameters":{"save_interval":"1"},"CollectionConfigurations":[
            {"CollectionName":"weights"},{"CollectionName":"gradients"},
            {"CollectionName":"biases","CollectionParameters":{"save_histogram":"False"}}]}"#;
    sandbox
        .train("run", &configured(&sandbox, hook))
        .succeeded();
    let folder = sandbox.path("run/debugger");
    let checkpoint = sandbox.path("run/weights/last.safetensors");
    let modules = ["tensorboard", "numpy"];
    let Some(seen) = python(&modules, PROGRAM, &[&folder, &checkpoint]) else {
        return;
    };
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let tags = |mode: &str| -> Vec<&str> {
        let tags = seen[mode].as_array().unwrap().iter();
        tags.map(|tag| tag.as_str().unwrap()).collect()
    };
    assert!(tags("train").contains(&"gradient/ResNet_fc.weight"));
    assert!(tags("train").contains(&"ResNet/layer1.0.conv1.weight"));
    assert!(!tags("train").contains(&"ResNet/fc.bias"), "{seen}");
    assert!(!tags("train").iter().any(|tag| tag.contains("Loss")));
    assert!(!tags("eval").iter().any(|tag| tag.starts_with("gradient")));
    let steps = seen["steps"].as_array().unwrap();
    assert!(steps.len() > 1 && steps[1].as_u64() == Some(1), "{seen}");
    assert!(seen["compared"].as_u64().unwrap() > 30, "{seen}");
    // NumPy rounds edges otherwise, so a value that lies on one may count beside it.
    assert!(seen["worst"].as_u64().unwrap() <= 1, "{seen}");
}

#[test]
fn none_where_nobody_wants_them() {
    let sandbox = Sandbox::with_pictures();
    let hook = r#"{"HookParameters":{"save_interval":"1","export_tensorboard":"false"},"CollectionConfigurations":[{"CollectionName":"weights"}]}"#;
    sandbox
        .train("run", &configured(&sandbox, hook))
        .succeeded();
    assert!(sandbox.path("run/debug-output/index").is_dir());
    assert!(!sandbox.path("run/debugger").exists());
}
