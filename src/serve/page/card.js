// A card for each photo: the photo, and what the model says of it.

/** Below this the best class is more likely wrong than right. */
const DOUBTFUL = 0.5;

/** Makes the card of a photo, waiting for its answer. */
function openCard(file) {
  const left = make("div", { class: "side" }, photoFigure(file));
  const right = make("div", { class: "side" });
  const element = make("article", { class: "card" }, left, right);
  const card = { file, element, left, right, forget: () => {} };
  showWaiting(card);
  return card;
}

function photoFigure(file) {
  const image = make("img", { alt: `Your photo ${file.name}` });
  const size = make("span", { class: "size" }, bytes(file.size));
  const url = URL.createObjectURL(file);
  image.addEventListener("load", () => {
    URL.revokeObjectURL(url);
    size.textContent = `${image.naturalWidth} × ${image.naturalHeight}, ${bytes(file.size)}`;
  });
  // A TIFF, for one, is known to the model but not to every browser.
  image.addEventListener("error", () => {
    URL.revokeObjectURL(url);
    image.replaceWith(make("div", { class: "unseen" }, "This browser cannot show the file."));
  });
  image.src = url;
  const name = make("bdi", { class: "name", title: file.name }, file.name || "pasted photo");
  return make("figure", { class: "photo" }, image, make("figcaption", {}, name, size));
}

function setState(card, state) {
  card.element.dataset.state = state;
  card.element.setAttribute("aria-busy", String(state === "waiting"));
  card.forget();
  card.forget = () => {};
  for (const old of card.element.querySelectorAll(".members, .answer, .spread")) old.remove();
}

function showWaiting(card) {
  setState(card, "waiting");
  const ghosts = [0, 1, 2, 3].map(() => make("div", { class: "ghost" }));
  card.right.append(make("div", { class: "answer waiting" }, ...ghosts));
}

function showProblem(card, problem, retry) {
  setState(card, "failed");
  const failure = make("div", { class: "answer failure" }, make("h2", {}, problem.title), make("p", {}, problem.message));
  if (problem.canRetry) {
    const button = make("button", { type: "button", class: "quiet" }, "Try again");
    button.addEventListener("click", retry);
    failure.append(button);
  }
  card.right.append(failure);
}

function showAnswer(card, { prediction, milliseconds }) {
  setState(card, "done");
  const top = prediction.top.slice(0, 5);
  const [best] = top;
  const headline = make("div", { class: "best" }, named("h2", best.class), make("span", { class: "percent" }, percent(best.probability)));
  if (best.probability < DOUBTFUL) {
    headline.append(make("p", { class: "doubt" }, "The model is not sure: it may be another class, or none it knows."));
  }
  const meta = make("p", { class: "meta" }, `Answered in ${duration(milliseconds)}`);
  card.right.append(make("div", { class: "answer" }, headline, barList(top), meta));
  const members = top.slice(0, 2).map(memberFigure).filter(Boolean);
  if (members.length > 0) card.left.append(make("div", { class: "members" }, ...members));
  if (Array.isArray(prediction.probabilities) && prediction.probabilities.length > 1) {
    const spread = spreadFigure(prediction.probabilities);
    card.right.append(spread.figure);
    card.forget = spread.forget;
  }
}

function barList(top) {
  const rows = top.map((guess) => {
    const bar = make("i");
    bar.style.width = `${Math.min(100, Math.max(0, guess.probability * 100))}%`;
    const track = make("span", { class: "track", "aria-hidden": "true" }, bar);
    return make("li", {}, named("span", guess.class, { class: "name" }), track, make("span", { class: "percent" }, percent(guess.probability)));
  });
  return make("ol", { class: "bars", "aria-label": "Most probable classes" }, ...rows);
}

/** Training photos of a class, to compare with. */
function memberFigure(guess, place) {
  const photos = examplesOf(guess.index).map((url) => {
    const image = make("img", { src: url, alt: "", width: "112", height: "112" });
    image.addEventListener("error", () => image.remove());
    return image;
  });
  if (photos.length === 0) return null;
  const caption = make("figcaption", {}, named("b", guess.class), place === 0 ? "training photos" : "second guess");
  return make("figure", {}, caption, make("div", {}, ...photos));
}
