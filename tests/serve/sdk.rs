//! T12: the serializers of the real SageMaker Python SDK against the running server, where the SDK is installed.

use super::server::{Server, trained};
use crate::main_job::run::python;

const PROGRAM: &str = r#"
import io, json, sys, urllib.request
import numpy as np
from sagemaker.serializers import CSVSerializer, IdentitySerializer, JSONSerializer, NumpySerializer
from sagemaker.deserializers import CSVDeserializer, JSONDeserializer, NumpyDeserializer
url, photo = open(sys.argv[1]).read(), sys.argv[2]

class Stream:
    def __init__(self, body):
        self.body = io.BytesIO(body)
    def read(self, *size):
        return self.body.read(*size)
    def close(self):
        pass

def invoke(serializer, deserializer, data):
    accept = deserializer.ACCEPT
    accept = accept if isinstance(accept, str) else ', '.join(accept)
    headers = {'Content-Type': serializer.CONTENT_TYPE, 'Accept': accept}
    body = serializer.serialize(data)
    body = body.encode() if isinstance(body, str) else body
    with urllib.request.urlopen(urllib.request.Request(url + '/invocations', body, headers)) as answer:
        return deserializer.deserialize(Stream(answer.read()), answer.headers['Content-Type'])

photo = open(photo, 'rb').read()
expected = np.array(invoke(IdentitySerializer('image/jpeg'), JSONDeserializer(), photo))
assert expected.shape == (3,), expected
octets = invoke(IdentitySerializer(), JSONDeserializer(), photo)
assert np.abs(np.array(octets) - expected).max() < 1e-5
tensor = np.random.default_rng(0).normal(size=(2, 3, 32, 32))
results = [np.array(invoke(NumpySerializer(dtype=dtype), NumpyDeserializer(), data))
           for dtype, data in [('float32', tensor), ('float64', tensor), (None, tensor.tolist()),
                               ('float32', np.asfortranarray(tensor))]]
results.append(np.array(invoke(JSONSerializer(), JSONDeserializer(), tensor.tolist())))
results.append(np.array(invoke(JSONSerializer(), JSONDeserializer(), {'instances': tensor.tolist()})['predictions']))
results.append(np.array(invoke(CSVSerializer(), CSVDeserializer(), tensor.reshape(2, -1)), dtype=float))
for result in results:
    assert result.shape == (2, 3), result.shape
    assert np.abs(result - results[0]).max() < 1e-5, (result, results[0])
print('same', len(results))
"#;

#[test]
fn the_serializers_of_the_python_sdk_are_understood() {
    let server = Server::start();
    let sandbox = crate::main_job::run::Sandbox::new();
    let url = sandbox.path("url");
    std::fs::write(&url, &server.address).unwrap();
    let photo = trained().path("data/test/2.bee/0.jpg");
    let Some(said) = python(
        &["numpy", "sagemaker.serializers"],
        PROGRAM,
        &[&url, &photo],
    ) else {
        return;
    };
    assert_eq!(said.lines().last(), Some("same 7"));
}
