// Figures of the cells that the filter leaves: one a suite and setting.

const vertical = (x, colours) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { color: colours.muted, width: 1 } });

/** The cells of each place, places in the order of the study. */
function byPlace(cells) {
  const found = new Map();
  for (const cell of cells) found.set(placeOf(cell), [...(found.get(placeOf(cell)) ?? []), cell]);
  return found;
}

/** The same scale in every figure of a unit, so that sizes can be compared between them. */
function reachOfGains(cells) {
  const ends = cells.flatMap((cell) => [cell.gain, ...(cell.interval ?? [])]).filter((each) => each !== null);
  const low = Math.min(0, ...ends), high = Math.max(0, ...ends);
  const room = 0.05 * (high - low || 1);
  return [low - room, high + room];
}

function drawGains(cells) {
  const box = byId("gain-charts");
  dropCharts(box);
  const told = cells.filter((cell) => cell.gain !== null);
  for (const [place, own] of byPlace(told)) {
    const rows = [...own].sort((a, b) => a.gain - b.gain);
    const range = reachOfGains(told.filter((cell) => placeOf(cell).unit === place.unit));
    const title = placeName(place);
    const plot = chart(box, title, `Gains of ${rows.length} cells: ${title}`, 60 + 22 * rows.length);
    draw(plot, (colours) => gainFigure(rows, place, range, colours));
    plot.on("plotly_click", (event) => { location.hash = `cell=${event.points[0].customdata}`; });
  }
  byId("gains-note").textContent = told.length ? `Score minus that of ${study.baseline}, with its 95% interval. ▲ and ▼: better and `
    + "worse, told apart from chance with all comparisons counted." : "None of these cells has a gain.";
}

function gainFigure(rows, place, range, colours) {
  const digits = digitsOf(place.unit);
  const tint = (cell) => mix(colours.mid, cell.gain >= 0 ? colours.up : colours.down, 0.25 + 0.75 * strength(cell));
  const y = rows.map((_, i) => i);
  const distance = (end) => rows.map((cell) => (cell.interval === null ? 0 : Math.abs(cell.interval[end] - cell.gain)));
  const trace = {
    type: "scatter", mode: "markers", x: rows.map((cell) => cell.gain), y, customdata: rows.map((cell) => cell.id),
    marker: { size: 12, color: rows.map(tint), symbol: rows.map((cell) => ({ better: "triangle-up", worse: "triangle-down" })[cell.verdict] ?? "circle") },
    error_x: { type: "data", symmetric: false, array: distance(1), arrayminus: distance(0), color: colours.muted, thickness: 1.2, width: 3 },
    hoverinfo: "text",
    hovertext: rows.map((cell) => lines(cell.name, `${signed(cell.gain, digits)} ${interval(cell.interval, digits)}`,
      `${verdictWord(cell)}, p ${chance(cell.p)} (Holm)`, `d_z ${fixed(cell.effect, 2)}, ${cell.runs} runs`)),
  };
  return { traces: [trace], layout: {
    shapes: [vertical(0, colours)], margin: { l: 8, r: 12, t: 4, b: 44 },
    xaxis: { range, nticks: 7, title: { text: `gain, ${unitWord[place.unit]}` }, zeroline: false },
    yaxis: { tickvals: y, ticktext: rows.map((cell) => shown(clipped(cell.name))), range: [-0.7, rows.length - 0.3], showgrid: false, zeroline: false },
  } };
}

const clipped = (words) => (words.length > 28 ? `${words.slice(0, 27)}…` : words);

function drawCurves(cells) {
  const box = byId("curve-charts");
  dropCharts(box);
  for (const [place, own] of byPlace(cells.filter((cell) => cell.curve.steps.length))) {
    const title = placeName(place);
    const plot = chart(box, title, `Learning curves of ${own.length} cells: ${title}`, 300);
    draw(plot, (colours) => curveFigure(own, place, colours));
    plot.on("plotly_click", (event) => { location.hash = `cell=${event.points[0].data.meta}`; });
  }
  const learning = once(cells.map((cell) => cell.algorithm)).filter((name) => algorithms.includes(name));
  const used = once(cells.map((cell) => cell.tuning)).filter((name) => tunings.includes(name));
  byId("curve-legend").replaceChildren(
    ...learning.map((algorithm) => {
      const { colour, symbol } = lookOf({ algorithm, tuning: used[0] });
      return el("span", {}, el("span", { class: "glyph", style: `color:${colour}`, "aria-hidden": "true" }, symbol[1]), algorithm);
    }),
    ...used.map((tuning) => el("span", {}, el("span", { class: "glyph", "aria-hidden": "true" }, turn(DASHES, tunings.indexOf(tuning))[1]), tuning)));
}

function curveFigure(cells, place, colours) {
  const digits = digitsOf(place.unit);
  const last = Math.max(1, ...cells.flatMap((cell) => cell.curve.steps));
  const traces = cells.map((cell) => {
    const { colour, symbol, dash } = lookOf(cell);
    const { steps, mean: scores } = cell.curve;
    const flat = steps.length === 1; // zero-shot: one point, and no training that could move it
    const x = flat ? [steps[0], last] : steps, y = flat ? [scores[0], scores[0]] : scores;
    return {
      type: "scatter", mode: flat ? "lines" : "lines+markers", x, y, meta: cell.id, line: { color: colour, width: 2, dash },
      marker: { symbol: symbol[0], size: 7, color: colour }, hoverinfo: "text", connectgaps: true,
      hovertext: y.map((score, i) => lines(cell.name, `${fixed(score, digits)} after ${x[i]} updates`)),
    };
  });
  return { traces, layout: { xaxis: { title: { text: "updates" }, zeroline: false }, yaxis: { title: { text: unitWord[place.unit] }, zeroline: false } } };
}

/** Every run's curve of one cell, thin, under their mean. */
function runsFigure(cell, colours) {
  const { steps, mean: scores, runs } = cell.curve, digits = digitsOf(placeOf(cell).unit);
  const thin = runs.map((y) => ({
    type: "scatter", mode: steps.length === 1 ? "markers" : "lines", x: steps, y, line: { color: colours.muted, width: 1 }, opacity: 0.45,
    marker: { color: colours.muted, size: 5 }, connectgaps: true, hoverinfo: "skip",
  }));
  const thick = { type: "scatter", mode: "lines+markers", x: steps, y: scores, line: { color: colours.up, width: 3 }, marker: { size: 8 },
    hoverinfo: "text", hovertext: scores.map((score, i) => lines(`mean ${fixed(score, digits)} after ${steps[i]} updates`)) };
  return { traces: [...thin, thick], layout: {
    xaxis: { title: { text: "updates" }, zeroline: false }, yaxis: { title: { text: unitWord[placeOf(cell).unit] }, zeroline: false },
  } };
}
