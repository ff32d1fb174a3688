// The study, and what every view is made with. Words from results become text nodes, never HTML.

const study = JSON.parse(document.getElementById("data").textContent);
const cellById = new Map(study.cells.map((cell) => [cell.id, cell]));
const placeOf = (cell) => study.places[cell.place];
const placeName = (place) => `${place.group}, ${place.setting}`;
const byId = (id) => document.getElementById(id);
const once = (values) => [...new Set(values)];

/** An element with attributes and children; a string child is text. Functions among the attributes listen. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A table of rows of strings or elements; columns of numbers stand to the right, ``words`` are those of words. */
function plainTable(head, rows, { words = [0], caption = null } = {}) {
  const side = (i) => (words.includes(i) ? null : "number");
  const cells = (row) => row.map((each, i) => el(i === 0 ? "th" : "td", { class: side(i), scope: i === 0 ? "row" : null }, each));
  return el("table", {},
    caption === null ? null : el("caption", {}, caption),
    el("thead", {}, el("tr", {}, ...head.map((each, i) => el("th", { scope: "col", class: side(i) }, each)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells(row)))));
}

const scrolling = (label, child) => el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, child);

// Numbers as they are read: returns are large, scores lie between 0 and 1.
const digitsOf = (unit) => (unit === "return" ? 1 : 3);
const minus = (text) => text.replace("-", "−");
const fixed = (value, digits) => (value === null ? "–" : minus(value.toFixed(digits)));
const signed = (value, digits) => (value === null ? "–" : (value > 0 ? "+" : "") + fixed(value, digits));
const interval = (ends, digits) => (ends === null ? "–" : `[${signed(ends[0], digits)}, ${signed(ends[1], digits)}]`);
const chance = (p) => (p === null ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3));
const chanceIs = (p) => (p === null ? "p is not told" : p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);
const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(0)}%`);
const unitWord = { normalised: "normalised score", success: "success rate", return: "return" };
const VERDICTS = { better: "▲ better", worse: "▼ worse", same: "not told apart", "": "–" };
const verdictWord = (cell) => VERDICTS[cell.verdict] ?? cell.verdict;

// Okabe and Ito's colours, told apart by colour-blind readers, their yellow darker to be seen on white; symbols and dashes say the same without colour.
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800"];
const SYMBOLS = [["circle", "●"], ["square", "■"], ["diamond", "◆"], ["triangle-up", "▲"], ["cross", "✚"], ["x", "✖"], ["star", "★"]];
const DASHES = [["solid", "━━━"], ["dash", "━ ━"], ["dot", "· · ·"], ["dashdot", "━ · ━"], ["longdash", "━━ ━━"]];
const algorithms = once(study.cells.map((cell) => cell.algorithm)).filter((name) => name !== "zero-shot");
const tunings = once(study.cells.filter((cell) => cell.algorithm !== "zero-shot").map((cell) => cell.tuning));
const turn = (list, i) => list[i % list.length];
/** After seven algorithms colours come again with another symbol. */
function lookOf(cell) {
  const i = algorithms.indexOf(cell.algorithm);
  if (i < 0) return { colour: theme().muted, symbol: SYMBOLS[0], dash: "dot" };
  const symbol = turn(SYMBOLS, i + Math.floor(i / COLOURS.length));
  return { colour: turn(COLOURS, i), symbol, dash: turn(DASHES, tunings.indexOf(cell.tuning))[0] };
}

/** Colours of the moment: the style sheet has them, light, dark and printed. */
function theme() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "muted", "line", "paper", "up", "down", "mid"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Mix two #rrggbb colours. */
function mix(from, to, share) {
  const parts = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const [a, b] = [parts(from), parts(to)];
  return `rgb(${a.map((each, i) => Math.round(each + (b[i] - each) * share)).join(",")})`;
}

/** Largest gain of a unit, either way: what the strongest colour stands for. */
const largestGain = Object.fromEntries(once(study.places.map((place) => place.unit)).map((unit) => [unit,
  Math.max(...study.cells.filter((cell) => placeOf(cell).unit === unit).map((cell) => Math.abs(cell.gain ?? 0)), 1e-12)]));
const strength = (cell) => Math.min(1, Math.abs(cell.gain ?? 0) / largestGain[placeOf(cell).unit]);

/** Plotly reads some HTML in its texts: words from results are to be shown as they are. */
const shown = (words) => words.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const lines = (...parts) => parts.map(shown).join("<br>");

const drawn = new Map();
const pending = new WeakMap();
/** Draw into an element, again whenever the colours change; ``make`` gives traces and layout in the theme's. */
function draw(element, make) {
  drawn.set(element, make);
  const colours = theme();
  const { traces, layout } = make(colours);
  const axis = { gridcolor: colours.line, zerolinecolor: colours.muted, linecolor: colours.line, automargin: true, fixedrange: true };
  const axes = { xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis } };
  const font = { family: "system-ui, sans-serif", size: 12, color: colours.ink };
  const base = { font, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    margin: { l: 8, r: 12, t: 8, b: 40 }, dragmode: false,
    hoverlabel: { bgcolor: colours.paper, bordercolor: colours.muted, font: { color: colours.ink }, align: "left" } };
  pending.set(element, Plotly.react(element, traces, { ...base, ...layout, ...axes }, { displayModeBar: false, responsive: true }));
}
/** Forget a box's figures. Plotly draws in several turns, and complains of what is taken from it in between. */
function dropCharts(box) {
  for (const element of [...drawn.keys()].filter((each) => box.contains(each))) {
    drawn.delete(element);
    pending.get(element).then(() => Plotly.purge(element));
  }
  box.replaceChildren();
}
const redraw = () => drawn.forEach((make, element) => draw(element, make));

/** A figure with words above it and, for those who do not see it, what it shows. */
function chart(box, title, label, height) {
  const plot = el("div", { class: "plot", role: "img", "aria-label": label, style: `height:${height}px` });
  box.append(el("figure", {}, el("figcaption", {}, title), plot));
  return plot;
}
