// The whole distribution: one bar a class, the most probable first.

const LOWEST = -6;
/** The bars above are linear already; among a hundred small values only a logarithm tells differences. */
let isLogarithmic = true;
/** What to draw again when the scale changes. */
const charts = new Set();

function shape(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** 0 at the bottom of the plot, 1 at its top. */
function heightOf(probability) {
  const p = Math.min(1, Math.max(0, Number(probability) || 0));
  return isLogarithmic ? Math.max(0, 1 - Math.log10(Math.max(p, 1e-12)) / LOWEST) : p;
}

function marks() {
  return isLogarithmic
    ? [[1, "100 %"], [1e-2, "1 %"], [1e-4, "0.01 %"], [1e-6, "0.0001 %"]]
    : [[1, "100 %"], [0.5, "50 %"], [0, "0 %"]];
}

/** The figure for one prediction. */
function spreadFigure(probabilities) {
  const ranked = probabilities.map((probability, index) => ({ probability, index }));
  ranked.sort((one, other) => other.probability - one.probability);
  const count = ranked.length;
  const gap = count <= 200 ? 0.2 : 0;
  const bar = (rank) => {
    const height = heightOf(ranked[rank].probability) * 100;
    return `M${rank + gap / 2} 100v${-height}h${1 - gap}v${height}z`;
  };
  const svg = shape("svg", { viewBox: `0 0 ${count} 100`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const plot = make("div", {
    class: "plot", tabindex: "0", role: "slider", "aria-label": "Class by rank",
    "aria-valuemin": "1", "aria-valuemax": String(count), "aria-valuenow": "1",
  });
  const under = make("p", { class: "under hint" });
  const one = shape("path", { class: "one" });
  let chosen = 0;

  function choose(rank) {
    chosen = Math.min(count - 1, Math.max(0, rank));
    const { probability, index } = ranked[chosen];
    one.setAttribute("d", bar(chosen));
    under.className = "under";
    const name = make("span", {}, `${chosen + 1}. `, named("bdi", className(index)));
    under.replaceChildren(name, make("span", { class: "percent" }, exactPercent(probability)));
    plot.setAttribute("aria-valuenow", String(chosen + 1));
    plot.setAttribute("aria-valuetext", `${words(className(index))}, ${exactPercent(probability)}`);
  }
  function draw() {
    const lines = marks().map(([value]) => {
      const y = 100 - heightOf(value) * 100;
      return shape("line", { x1: 0, x2: count, y1: y, y2: y });
    });
    const all = shape("path", { class: "all", d: ranked.map((_, rank) => bar(rank)).join("") });
    one.setAttribute("d", bar(chosen));
    svg.replaceChildren(...lines, all, one);
    const labels = marks().map(([value, text]) => {
      const label = make("span", { "aria-hidden": "true" }, text);
      label.style.top = `${100 - heightOf(value) * 100}%`;
      return label;
    });
    plot.replaceChildren(svg, ...labels);
  }
  const follow = (event) => {
    const box = plot.getBoundingClientRect();
    choose(Math.floor(((event.clientX - box.left) / box.width) * count));
  };
  plot.addEventListener("pointermove", follow);
  plot.addEventListener("pointerdown", follow);
  plot.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: chosen - 1, ArrowDown: chosen - 1, ArrowRight: chosen + 1, ArrowUp: chosen + 1,
      PageUp: chosen + 10, PageDown: chosen - 10, Home: 0, End: count - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
  });
  draw();
  choose(0);
  under.className = "under hint";
  under.replaceChildren(matchMedia("(pointer: coarse)").matches ? "Slide along the bars for the class of each." : "Point at a bar, or use the arrow keys, for its class.");
  charts.add(draw);
  const figure = make("figure", { class: "spread" }, spreadTitle(count), plot, under);
  return { figure, forget: () => charts.delete(draw) };
}

function spreadTitle(count) {
  const toggle = make("button", { type: "button", class: "quiet log", "aria-pressed": String(isLogarithmic) }, "Log scale");
  toggle.addEventListener("click", () => {
    isLogarithmic = !isLogarithmic;
    for (const draw of charts) draw();
    for (const other of document.querySelectorAll(".log")) other.setAttribute("aria-pressed", String(isLogarithmic));
  });
  return make("figcaption", {}, make("h2", {}, `All ${count} classes`), toggle);
}
