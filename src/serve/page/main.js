// What a person does: choose, drop, paste, try again, remove.

const results = document.getElementById("results");
const spoken = document.getElementById("spoken");
const SAMPLES = 8;
/** Cards that wait for their turn; one photo is sent at a time. */
const queue = [];
let isSending = false;

function addFiles(files) {
  const cards = [...files].map(openCard);
  if (cards.length === 0) return;
  document.body.classList.add("busy");
  document.getElementById("samples").hidden = true;
  document.getElementById("clear").hidden = false;
  results.prepend(...cards.map((card) => card.element));
  cards[0].element.scrollIntoView({ block: "nearest" });
  queue.push(...cards);
  sendAll();
}

async function sendAll() {
  if (isSending) return;
  isSending = true;
  while (queue.length > 0) {
    const card = queue.shift();
    if (card.element.isConnected) await send(card);
  }
  isSending = false;
}

async function send(card) {
  const retry = () => {
    showWaiting(card);
    queue.push(card);
    sendAll();
  };
  try {
    const { type } = card.file;
    if (type && !type.startsWith("image/")) throw new Problem("This is no photo", `It is a file of the kind ${type}.`, false);
    const answer = await classify(card.file);
    if (!card.element.isConnected) return;
    showAnswer(card, answer);
    const [best] = answer.prediction.top;
    spoken.textContent = `${words(best.class)}, ${percent(best.probability)}`;
  } catch (problem) {
    const known = problem instanceof Problem;
    const shown = known ? problem : new Problem("The answer makes no sense", String(problem.message), true);
    showProblem(card, shown, retry);
    spoken.textContent = `${shown.title}. ${shown.message}`;
  }
}

/** Photos of some classes, spread evenly over all of them. */
function offerSamples() {
  const known = Object.keys(model.examples || {}).map(Number).filter((index) => examplesOf(index).length > 0);
  known.sort((one, other) => one - other);
  const step = Math.max(1, known.length / SAMPLES);
  const some = Array.from({ length: Math.min(SAMPLES, known.length) }, (_, n) => known[Math.floor((n + 0.5) * step)] ?? known[n]);
  const items = some.map((index) => {
    const [url] = examplesOf(index);
    const button = make("button", { type: "button" }, make("img", { src: url, alt: "" }), named("span", className(index)));
    button.addEventListener("click", () => trySample(url, className(index)));
    return make("li", {}, button);
  });
  document.getElementById("sample-list").replaceChildren(...items);
  document.getElementById("samples").hidden = items.length === 0 || results.childElementCount > 0;
}

async function trySample(url, name) {
  try {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error();
    addFiles([new File([await answer.blob()], `${words(name)}.jpg`, { type: "image/jpeg" })]);
  } catch {
    spoken.textContent = "This photo cannot be read.";
  }
}

const chooser = document.getElementById("files");
chooser.addEventListener("change", () => {
  addFiles(chooser.files);
  // Choosing the same file again has to count as a change.
  chooser.value = "";
});
document.addEventListener("paste", (event) => addFiles(event.clipboardData ? event.clipboardData.files : []));

// The whole window takes a drop; without this a photo that misses the frame would replace the page.
const carriesFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
let depth = 0;
addEventListener("dragenter", (event) => {
  if (carriesFiles(event)) document.body.classList.toggle("over", ++depth > 0);
});
addEventListener("dragleave", (event) => {
  if (carriesFiles(event)) document.body.classList.toggle("over", --depth > 0);
});
addEventListener("dragover", (event) => {
  if (carriesFiles(event)) event.preventDefault();
});
addEventListener("drop", (event) => {
  depth = 0;
  document.body.classList.remove("over");
  if (!carriesFiles(event)) return;
  event.preventDefault();
  addFiles(event.dataTransfer.files);
});

document.getElementById("clear").addEventListener("click", () => {
  queue.length = 0;
  charts.clear();
  results.replaceChildren();
  document.body.classList.remove("busy");
  document.getElementById("clear").hidden = true;
  offerSamples();
  chooser.focus();
});

readModel().then(offerSamples);
