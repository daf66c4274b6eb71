// Talking to the server this page came from.

const PATIENCE_MS = 120000;

/** What is known of the model, as GET /model says it; fields may be missing while that has not been answered. */
let model = {};

/** A problem in words that are meant to be shown. */
class Problem extends Error {
  constructor(title, text, canRetry) {
    super(text);
    this.title = title;
    this.canRetry = canRetry;
  }
}

/** An address below this page's own, also where a proxy serves it under a longer path. */
function address(path) {
  return new URL(String(path).replace(/^\/+/, ""), document.baseURI).href;
}

/** The JSON that the server answers, or a Problem. */
async function ask(path, options = {}) {
  let answer, text;
  try {
    answer = await fetch(address(path), { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
    text = await answer.text();
  } catch (error) {
    if (error.name === "TimeoutError") {
      throw new Problem("No answer", `The server did not answer within ${PATIENCE_MS / 1000} seconds.`, true);
    }
    throw new Problem("The server cannot be reached", "Is it still running? Start it again, then try again.", true);
  }
  let content = null;
  try { content = JSON.parse(text); } catch { /* told below */ }
  if (!answer.ok) {
    const said = content && typeof content.error === "string" ? content.error : `It answered with status ${answer.status}.`;
    const title = answer.status >= 500 ? "The server could not do it" : "The server did not accept it";
    throw new Problem(title, said, answer.status >= 500 || answer.status === 429);
  }
  if (content === null || typeof content !== "object") {
    throw new Problem("The answer makes no sense", "Something else than a model server may be running at this address.", true);
  }
  return content;
}

/** Reads the model's description and shows it. */
async function readModel() {
  const facts = document.getElementById("facts");
  try {
    model = await ask("model");
  } catch (problem) {
    const text = `The model's description could not be read. ${problem.title}: ${problem.message}`;
    facts.replaceChildren(make("span", { class: "failed" }, text));
    return;
  }
  const said = modelFacts();
  const parts = said.map((fact, n) => make("span", {}, n + 1 < said.length ? `${fact} ·` : fact));
  facts.replaceChildren(...parts.flatMap((part) => [part, " "]));
}

/** The line below the title. */
function modelFacts() {
  const facts = [];
  const metrics = model.metrics || {};
  if (model.architecture) facts.push(String(model.architecture));
  if (Array.isArray(model.classes)) facts.push(`${model.classes.length} classes`);
  for (const [key, label] of [["test:accuracy", "test accuracy"], ["validation:accuracy", "validation accuracy"]]) {
    if (Number.isFinite(metrics[key])) {
      facts.push(`${percent(metrics[key])} ${label}`);
      break;
    }
  }
  const created = day(model.created);
  if (created) facts.push(`trained ${created}`);
  if (model.version) facts.push(`version ${String(model.version).slice(0, 8)}`);
  return facts;
}

/** The name of a class by its index. */
function className(index) {
  const name = Array.isArray(model.classes) ? model.classes[index] : undefined;
  return name === undefined ? `class ${index}` : name;
}

/** Addresses of the example photos of a class; only those of this server's own folder of examples. */
function examplesOf(index) {
  const listed = (model.examples || {})[index];
  const own = (path) => typeof path === "string" && /^\/examples\/[\w-]+\.jpg$/.test(path);
  return Array.isArray(listed) ? listed.filter(own).map(address) : [];
}

/** Sends a photo; gives the prediction and how long it took. */
async function classify(file) {
  let content;
  try {
    content = await file.arrayBuffer();
  } catch {
    throw new Problem("The file cannot be read", "It may be a folder, or it was moved or deleted meanwhile.", false);
  }
  const started = performance.now();
  const answer = await ask("invocations", {
    method: "POST",
    headers: { "Content-Type": file.type || "application/octet-stream", Accept: "application/json; verbose=1" },
    body: content,
  });
  const milliseconds = performance.now() - started;
  const prediction = Array.isArray(answer.predictions) ? answer.predictions[0] : null;
  if (prediction && typeof prediction.error === "string") {
    throw new Problem("The server did not accept it", prediction.error, false);
  }
  if (!prediction || !Array.isArray(prediction.top) || prediction.top.length === 0) {
    throw new Problem("The answer makes no sense", "It holds no prediction.", true);
  }
  // A server may have got a new model, or had none when the page was opened.
  const version = answer.model && answer.model.version;
  if (!model.classes || (version && version !== model.version)) await readModel();
  return { prediction, milliseconds };
}
