"""Runs a notebook as its user would, from the first cell to the last.

    python run_notebook.py NOTEBOOK RESULT

Input: the notebook, unmodified, and the environment. Output: RESULT, some of its variables as JSON. Fails where a cell fails.
"""

import json
import sys

import nbformat
from nbclient import NotebookClient

LAST = """
import json
json.dumps({
    "tuning_job": tuner.latest_tuning_job.name, "best_job": best_job, "best": best,
    "training_job": estimator.latest_training_job.name, "probabilities": np.asarray(probabilities).tolist(),
    "from_file": from_file, "top": top, "endpoint": predictor.endpoint_name,
})
"""

notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
assert all(not cell.get("outputs") for cell in notebook.cells), "outputs are not to be committed"
notebook.cells.append(nbformat.v4.new_code_cell(LAST))
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
result = notebook.cells[-1].outputs[0]["data"]["text/plain"]
with open(sys.argv[2], "w") as file:
    json.dump(json.loads(eval(result)), file)
