#!/usr/bin/env python3
"""Writes tests/golden/onnx: narrow ResNets as ONNX files, and what onnxruntime and PyTorch compute with them.

Needs torch, torchvision, onnx, onnxruntime, onnxscript and safetensors. Run from anywhere:

    python scripts/make_golden_onnx.py [--pretrained resnet18.onnx]

The networks have few channels and random weights, so the files stay small. `--pretrained` names an
ImageNet ResNet18; only its logits are written. The input of a case is not stored: element i is
((i * 2654435761 mod 2^32) >> 24) / 127.5 - 1, on both sides.
"""

import argparse
import json
import pathlib
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torchvision.models.resnet import BasicBlock, Bottleneck

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "onnx"
IMAGE = (2, 3, 64, 64)
DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3]}


def ramp(shape):
    """The input that both sides compute."""
    i = np.arange(np.prod(shape), dtype=np.uint64)
    return ((((i * 2654435761) % 2**32) >> 24) / 127.5 - 1).astype(np.float32).reshape(shape)


class NarrowResNet(torchvision.models.ResNet):
    """torchvision's ResNet with any stem width."""

    def __init__(self, depth, width, num_classes):
        torch.nn.Module.__init__(self)
        block = Bottleneck if depth >= 50 else BasicBlock
        self._norm_layer = torch.nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = width, 1, 1, 64
        self.conv1 = torch.nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        self.relu = torch.nn.ReLU(inplace=True)
        self.maxpool = torch.nn.MaxPool2d(3, stride=2, padding=1)
        for stage, blocks in enumerate(DEPTHS[depth]):
            layer = self._make_layer(block, width << stage, blocks, stride=1 if stage == 0 else 2)
            setattr(self, f"layer{stage + 1}", layer)
        self.avgpool = torch.nn.AdaptiveAvgPool2d((1, 1))
        self.fc = torch.nn.Linear(width * 8 * block.expansion, num_classes)


def network(depth, width, num_classes, seed):
    """A network whose batch norms are far from the identity, as after real training.

    The weights are large enough for the logits to depend on the image, not only on the biases.
    """
    torch.manual_seed(seed)
    model = NarrowResNet(depth, width, num_classes)
    torch.nn.init.normal_(model.fc.weight)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.4, 1.1)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.4, 1.6)
    return model.eval()


def export(model, path, dynamo=False, fold=False, opset=17):
    """Exports with batch norms kept or folded into the convolutions."""
    options = dict(input_names=["input"], output_names=["logits"], opset_version=opset, dynamo=dynamo)
    if dynamo:
        options |= dict(dynamic_shapes={"x": {0: torch.export.Dim("batch")}}, external_data=False, verbose=False)
    else:
        mode = torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE
        options |= dict(dynamic_axes={"input": {0: "batch"}}, training=mode, do_constant_folding=fold)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.from_numpy(ramp(IMAGE)),), str(path), **options)
    strip(path)


def strip(path):
    """Removes source locations and other notes: they are large and name this machine's folders."""
    model = onnx.load(path)
    del model.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.doc_string = ""
    for thing in [model.graph, *model.graph.node, *model.graph.input, *model.graph.output]:
        del thing.metadata_props[:]
        thing.doc_string = ""
    onnx.save(model, path)


class MxnetWriter:
    """Writes graphs as MXNet's converter wrote the files of the ONNX Model Zoo, version 1."""

    def __init__(self, prefix, seed):
        self.prefix, self.random = prefix, np.random.default_rng(seed)
        self.nodes, self.weights, self.counts = [], [], {}

    def _name(self, kind):
        n = self.counts.get(kind, 0)
        self.counts[kind] = n + 1
        return f"{self.prefix}_{kind}{n}"

    def _weight(self, name, values):
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype=np.float32), name))
        return name

    def _node(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_fwd"], name=f"{name}_fwd", **attributes))
        return f"{name}_fwd"

    def conv(self, x, cin, cout, kernel, stride, bias=False):
        name, pad = self._name("conv"), kernel // 2
        scale = (2 / (cin * kernel * kernel)) ** 0.5
        inputs = [x, self._weight(f"{name}_weight", self.random.normal(0, scale, (cout, cin, kernel, kernel)))]
        if bias:
            inputs.append(self._weight(f"{name}_bias", self.random.normal(0, 0.2, cout)))
        return self._node("Conv", inputs, name, dilations=[1, 1], group=1, kernel_shape=[kernel] * 2,
                          pads=[pad] * 4, strides=[stride] * 2)

    def norm(self, x, c):
        name, r = self._name("batchnorm"), self.random
        inputs = [x, self._weight(f"{name}_gamma", r.uniform(0.4, 1.1, c)), self._weight(f"{name}_beta", r.normal(0, 0.2, c)),
                  self._weight(f"{name}_running_mean", r.normal(0, 0.3, c)),
                  self._weight(f"{name}_running_var", r.uniform(0.4, 1.6, c))]
        return self._node("BatchNormalization", inputs, name, epsilon=1e-5, momentum=0.9, spatial=1)

    def relu(self, x):
        return self._node("Relu", [x], self._name("relu"))

    def pool(self, x):
        return self._node("MaxPool", [x], self._name("pool"), kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])

    def add(self, a, b):
        return self._node("Add", [a, b], self._name("_plus"))

    def finish(self, x, features, classes):
        x = self._node("GlobalAveragePool", [x], self._name("pool"))
        x = self._node("Flatten", [x], "flatten_170")
        weight = self._weight(f"{self.prefix}_dense0_weight", self.random.normal(0, features**-0.5, (classes, features)))
        bias = self._weight(f"{self.prefix}_dense0_bias", self.random.normal(0, 0.3, classes))
        x = self._node("Gemm", [x, weight, bias], f"{self.prefix}_dense0", alpha=1.0, beta=1.0, transA=0, transB=1)
        inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, IMAGE)]
        # IR version 3: every initializer is listed as an input too.
        inputs += [helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in self.weights]
        output = [helper.make_tensor_value_info(x, TensorProto.FLOAT, [IMAGE[0], classes])]
        graph = helper.make_graph(self.nodes, "mxnet_converted_model", inputs, output, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)
        onnx.checker.check_model(model)
        return model


def mxnet_v1(depth, width, classes, seed):
    """Version 1: a bottleneck has its stride in the first 1x1, whose bias precedes the batch norm."""
    w = MxnetWriter("resnetv15", seed)
    x = w.pool(w.relu(w.norm(w.conv("data", 3, width, 7, 2), width)))
    cin, expansion = width, 4 if depth >= 50 else 1
    for stage, blocks in enumerate(DEPTHS[depth]):
        inner = width << stage
        for index in range(blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            if expansion == 4:
                y = w.relu(w.norm(w.conv(x, cin, inner, 1, stride, bias=True), inner))
                y = w.relu(w.norm(w.conv(y, inner, inner, 3, 1), inner))
                y = w.norm(w.conv(y, inner, inner * 4, 1, 1, bias=True), inner * 4)
            else:
                y = w.relu(w.norm(w.conv(x, cin, inner, 3, stride), inner))
                y = w.norm(w.conv(y, inner, inner, 3, 1), inner)
            if stride != 1 or cin != inner * expansion:
                x = w.norm(w.conv(x, cin, inner * expansion, 1, stride), inner * expansion)
            cin, x = inner * expansion, w.relu(w.add(y, x))
    return w.finish(x, cin, classes)


def mxnet_v2(width, classes, seed):
    """Version 2 (pre-activation) ResNet18: batch norm and ReLU come before each convolution."""
    w = MxnetWriter("resnetv22", seed)
    x = w.pool(w.relu(w.norm(w.conv(w.norm("data", 3), 3, width, 7, 2), width)))
    cin = width
    for stage in range(4):
        inner = width << stage
        for index in range(2):
            stride = 2 if stage > 0 and index == 0 else 1
            y = w.relu(w.norm(x, cin))
            shortcut = w.conv(y, cin, inner, 1, stride) if stride != 1 else x
            y = w.relu(w.norm(w.conv(y, cin, inner, 3, stride), inner))
            x, cin = w.add(w.conv(y, inner, inner, 3, 1), shortcut), inner
    return w.finish(w.relu(w.norm(x, cin)), cin, classes)


def rewrite_initializers(model, change):
    for tensor in model.graph.initializer:
        change(tensor)
    return model


def as_float_data(tensor):
    values = numpy_helper.to_array(tensor).flatten().tolist()
    tensor.ClearField("raw_data")
    tensor.float_data.extend(values)


def matmul_and_constants(model):
    """Weights in Constant nodes, MatMul and Add for the classifier, Identity and Softmax around it."""
    graph = model.graph
    gemm = next(n for n in graph.node if n.op_type == "Gemm")
    weights = {t.name: t for t in graph.initializer}
    weight = numpy_helper.from_array(numpy_helper.to_array(weights[gemm.input[1]]).T.copy(), "fc_t")
    for tensor in graph.initializer:
        if tensor.name == gemm.input[1]:
            tensor.CopyFrom(weight)
    at = list(graph.node).index(gemm)
    source, bias, output = gemm.input[0], gemm.input[2], gemm.output[0]
    del graph.node[at]
    graph.node.extend([
        helper.make_node("Identity", [source], ["kept"], name="identity"),
        helper.make_node("MatMul", ["kept", "fc_t"], ["product"], name="matmul"),
        helper.make_node("Add", [bias, "product"], ["sum"], name="bias"),
        helper.make_node("Softmax", ["sum"], [output], name="softmax", axis=1),
    ])
    constants = [helper.make_node("Constant", [], [t.name], name=f"c_{t.name}", value=t) for t in graph.initializer]
    nodes = constants + list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def run(path, shape, output=None):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(output, {session.get_inputs()[0].name: ramp(shape)})[0]


def case(cases, name, architecture, width, classes, batch_norm, stride_in_1x1=False, logits=None):
    """Records what the importer must find in a file, and onnxruntime's logits."""
    logits = run(OUT / name, IMAGE) if logits is None else logits
    assert np.abs(logits[0] - logits[1]).max() > 0.05, f"{name}: the logits hardly depend on the image"
    cases.append(dict(file=name, input=list(IMAGE), architecture=architecture, width=width, num_classes=classes,
                      batch_norm=batch_norm, stride_in_1x1=stride_in_1x1, logits=np.round(logits, 7).tolist()))


def write_imports(cases):
    kept, resnet34, resnet50 = network(18, 4, 6, 1), network(34, 2, 5, 2), network(50, 2, 7, 3)
    for name, model, options, expected in [
        ("resnet18-kept.onnx", kept, {}, ("resnet18", 4, 6, "kept")),
        ("resnet18-folded.onnx", kept, dict(fold=True), ("resnet18", 4, 6, "folded")),
        ("resnet18-dynamo.onnx", kept, dict(dynamo=True, opset=18), ("resnet18", 4, 6, "kept")),
        ("resnet34-folded.onnx", resnet34, dict(fold=True, opset=13), ("resnet34", 2, 5, "folded")),
        ("resnet50-kept.onnx", resnet50, dict(opset=11), ("resnet50", 2, 7, "kept")),
    ]:
        export(model, OUT / name, **options)
        nodes = [n.op_type for n in onnx.load(OUT / name).graph.node]
        found = "kept" if "BatchNormalization" in nodes else "folded"
        case(cases, name, *expected[:3], found)
        print(name, found, sorted(set(nodes)))
    onnx.save(mxnet_v1(18, 2, 5, 4), OUT / "mxnet-resnet18v1.onnx")
    case(cases, "mxnet-resnet18v1.onnx", "resnet18", 2, 5, "kept")
    onnx.save(mxnet_v1(50, 2, 5, 5), OUT / "mxnet-resnet50v1.onnx")
    case(cases, "mxnet-resnet50v1.onnx", "resnet50", 2, 5, "kept", stride_in_1x1=True)
    onnx.save(rewrite_initializers(mxnet_v1(18, 2, 5, 6), as_float_data), OUT / "float-data.onnx")
    case(cases, "float-data.onnx", "resnet18", 2, 5, "kept")

    odd = mxnet_v1(18, 2, 5, 7)
    onnx.save(odd, OUT / "temporary.onnx")
    logits = run(OUT / "temporary.onnx", IMAGE)
    (OUT / "temporary.onnx").unlink()
    del odd.graph.input[1:]
    odd.ir_version = 4
    onnx.save(matmul_and_constants(odd), OUT / "constants-matmul-softmax.onnx")
    # The importer drops the softmax, so it is compared with the logits in front of it.
    case(cases, "constants-matmul-softmax.onnx", "resnet18", 2, 5, "kept", logits=logits)

    model = onnx.load(OUT / "resnet18-kept.onnx")
    onnx.save(model, OUT / "external.onnx", save_as_external_data=True, location="external.bin", size_threshold=0)
    case(cases, "external.onnx", "resnet18", 4, 6, "kept")


def write_refused():
    onnx.save(mxnet_v2(2, 5, 8), OUT / "refused-v2.onnx")
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
                                torch.nn.Linear(4 * 31 * 31, 3))
    export(small.eval(), OUT / "refused-small-cnn.onnx", fold=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network(18, 2, 5, 9).train(), (torch.from_numpy(ramp(IMAGE)),), str(OUT / "refused-training.onnx"),
                          dynamo=False, training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False)
    strip(OUT / "refused-training.onnx")
    data = (OUT / "resnet18-kept.onnx").read_bytes()
    (OUT / "refused-truncated.onnx").write_bytes(data[:2000])


def train_step(training):
    """Loss, gradients and one SGD step of resnet18-kept.onnx, with batch or with running statistics."""
    model = network(18, 4, 6, 1).train(training)
    loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(ramp((4, 3, 64, 64)))), torch.tensor([0, 5, 2, 3]))
    loss.backward()
    norms = {name: p.grad.double().norm().item() for name, p in model.named_parameters()}
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.01 * p.grad
    state = {k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    return dict(loss=loss.item(), gradient_norms=norms), state


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pretrained", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    cases = []
    write_imports(cases)
    write_refused()
    golden = dict(cases=cases)
    golden["train"], state = train_step(training=True)
    save_file(state, OUT / "trained.safetensors")
    golden["train_frozen"], _ = train_step(training=False)
    if arguments.pretrained:
        logits = run(arguments.pretrained, (1, 3, 224, 224))
        golden["pretrained"] = dict(input=[1, 3, 224, 224], logits=np.round(logits, 6).tolist())
    (OUT / "golden.json").write_text(json.dumps(golden) + "\n")
    total = sum(f.stat().st_size for f in OUT.iterdir())
    print(f"{total / 1e6:.2f} MB in {OUT.name}")


if __name__ == "__main__":
    main()
