// Words and elements. Every text goes in as text: class and file names may be anybody's.

/** An element with attributes and children; a string becomes text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** `001.Japanese_spaniel` as a person writes it. */
function words(name) {
  const plain = String(name).replace(/^\d+\.(?=.)/, "").replace(/_+/g, " ").trim();
  return plain || String(name);
}

/** A class name as an element, kept apart from the text around it where it runs from right to left. */
function named(tag, name, attributes = {}) {
  return make(tag, { dir: "auto", title: String(name), ...attributes }, words(name));
}

function percent(probability) {
  const value = probability * 100;
  if (!(value >= 0)) return "–";
  if (value > 99.95 && value < 100) return "> 99.9 %";
  if (value > 0 && value < 0.05) return "< 0.1 %";
  return value.toFixed(1) + " %";
}

/** The same with as many digits as a small one needs. */
function exactPercent(probability) {
  const value = probability * 100;
  if (value === 0 || value >= 0.1) return percent(probability);
  if (value < 1e-6) return "< 0.000001 %";
  return value.toFixed(Math.min(8, 1 - Math.floor(Math.log10(value)))) + " %";
}

function bytes(count) {
  if (count < 1000) return count + " bytes";
  const [value, unit] = count < 999500 ? [count / 1e3, "KB"] : [count / 1e6, "MB"];
  return value.toFixed(value < 9.95 ? 1 : 0) + " " + unit;
}

function duration(milliseconds) {
  return milliseconds < 999.5 ? Math.max(1, Math.round(milliseconds)) + " ms" : (milliseconds / 1000).toFixed(1) + " s";
}

function day(text) {
  const date = new Date(text);
  return isNaN(date) ? "" : date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}
