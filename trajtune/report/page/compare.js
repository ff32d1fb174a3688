// Two cells, run by run and episode by episode: pairs have the same task, seed and episode.

/** Why two cells are no pairs; null where they are. As `differences` in trajtune/report/scores.py judges it. */
function obstacle(first, second) {
  const [a, b] = [placeOf(first), placeOf(second)];
  if (a.suite !== b.suite) return "They are of two suites: their tasks are not the same.";
  if (a.unit !== b.unit) return `One is told as ${unitWord[a.unit]}, the other as ${unitWord[b.unit]}.`;
  const odd = ["agent", "data"].filter((name) => first[name] !== second[name]);
  for (const name of ["episodes", "seed", "precision", "forgetting"]) {
    if (first.evaluation[name] !== second.evaluation[name]) odd.push(`${name} of the evaluation`);
  }
  return odd.length ? `They differ in ${odd.join(", ")}: their episodes are no pairs.` : null;
}

/** Runs of the same task and seed; without single episodes, their means. */
function pairsOf(first, second) {
  const key = (run) => `${run.task} ${run.seed}`;
  const others = new Map(second.results.filter((run) => run.mean !== null).map((run) => [key(run), run]));
  const scores = (run) => (run.episodes.length ? run.episodes : [run.mean]);
  const same = (run) => others.has(key(run)) && others.get(key(run)).episodes.length === run.episodes.length;
  return first.results.filter((run) => run.mean !== null && same(run)).map((run) => {
    const [x, y] = [scores(others.get(key(run))), scores(run)];
    return { task: run.task, seed: run.seed, x, y, differences: y.map((value, i) => value - x[i]) };
  });
}

const OVER = {
  tasks: (pairs) => `Student's t over means of ${once(pairs.map((pair) => pair.task)).length} tasks: it speaks of other tasks`,
  seeds: () => "fewer than three tasks, so Student's t over means of seeds: it speaks of other seeds of these tasks",
  episodes: () => "fewer than three tasks and one seed, so Student's t over episodes: it speaks of other episodes of these runs",
  nothing: () => "nothing was drawn twice, so there is no interval",
};

function showComparison(firstId, secondId) {
  const [first, second] = [cellById.get(firstId), cellById.get(secondId)];
  const box = byId("comparison"), figures = [byId("scatter"), byId("histogram")];
  [...figures, byId("pair-tasks")].forEach(dropCharts);
  if (!first || !second) return;
  const why = obstacle(first, second), pairs = why === null ? pairsOf(first, second) : [];
  if (!pairs.length) {
    box.replaceChildren(el("p", { class: "note" }, why ?? (first.results.length && second.results.length ? "They have no task and seed in common."
      : "Single runs were left out to keep this page small: report fewer results to compare them.")));
    return;
  }
  const unit = placeOf(first).unit, digits = digitsOf(unit), found = estimate(pairs);
  const all = pairs.flatMap((pair) => pair.differences);
  const better = all.filter((each) => each > 0).length / all.length, equal = all.filter((each) => each === 0).length / all.length;
  const alone = study.omitted.length > 0;
  const counted = alone ? "pairs of runs" : `paired episodes of ${pairs.length} runs`;
  const fullName = (cell) => `${cell.name} (${placeName(placeOf(cell))})`;
  box.replaceChildren(
    el("p", {}, `${fullName(first)} minus ${fullName(second)}`),
    el("p", { class: "headline" }, el("strong", { id: "difference", "data-value": found.value }, signed(found.value, digits)), " ",
      el("span", { id: "difference-interval", "data-value": JSON.stringify(found.interval) }, interval(found.interval, digits)),
      ` ${unitWord[unit]}, with its 95% interval`),
    el("p", { class: "muted" }, `${all.length} ${counted}; ${OVER[found.over](pairs)}. `,
      el("span", { id: "difference-p", "data-value": found.p }, chanceIs(found.p)),
      ` for this comparison alone: nothing is corrected for having looked at others. The first is better in ${percent(better)}`,
      equal > 0 ? `, equal in ${percent(equal)}.` : "."));
  const scatter = chart(figures[0], `Each ${alone ? "run" : "episode"}, first against second`, "Scatter of paired scores", 360);
  draw(scatter, (colours) => scatterFigure(pairs, first, second, colours));
  const histogram = chart(figures[1], "Differences, first minus second", "Histogram of paired differences", 360);
  draw(histogram, (colours) => histogramFigure(all, found, unit, colours));
  byId("pair-tasks").append(taskDifferences(pairs, placeOf(first), digits));
}

function scatterFigure(pairs, first, second, colours) {
  const place = placeOf(first), digits = digitsOf(place.unit);
  const points = pairs.flatMap((pair) => pair.x.map((x, i) => ({ ...pair, x, y: pair.y[i], i })));
  const ends = points.flatMap((point) => [point.x, point.y]);
  const low = Math.min(...ends), high = Math.max(...ends), room = 0.05 * (high - low || 1), range = [low - room, high + room];
  const trace = {
    type: "scatter", mode: "markers", x: points.map((point) => point.x), y: points.map((point) => point.y), hoverinfo: "text",
    marker: { size: 6, opacity: 0.6, color: points.map((point) => (point.y >= point.x ? colours.up : colours.down)), symbol: points.map((point) => (point.y >= point.x ? "circle" : "diamond")) },
    hovertext: points.map((point) => lines(`${place.tasks[point.task]} (task ${point.task}), seed ${point.seed}`,
      `first ${fixed(point.y, digits)}, second ${fixed(point.x, digits)}`)),
  };
  const diagonal = { type: "line", x0: range[0], y0: range[0], x1: range[1], y1: range[1], line: { color: colours.muted, width: 1, dash: "dot" } };
  const words = (cell) => shown(clipped(cell.name));
  return { traces: [trace], layout: { shapes: [diagonal],
    xaxis: { range, title: { text: `second: ${words(second)}` }, zeroline: false }, yaxis: { range, title: { text: `first: ${words(first)}` }, zeroline: false } } };
}

function histogramFigure(values, found, unit, colours) {
  const least = Math.min(...values), high = Math.max(...values);
  const width = (high - least) / Math.max(5, Math.min(40, Math.ceil(Math.sqrt(values.length)))) || 1;
  const low = width * Math.floor(least / width), count = Math.floor((high - low) / width) + 1; // no bin holds both signs
  const counts = Array(count).fill(0);
  for (const value of values) counts[Math.min(count - 1, Math.floor((value - low) / width))] += 1;
  const middles = counts.map((_, i) => low + (i + 0.5) * width), digits = digitsOf(unit);
  const trace = {
    type: "bar", x: middles, y: counts, width: Array(count).fill(0.92 * width), hoverinfo: "text",
    marker: { color: middles.map((x) => (x >= 0 ? colours.up : colours.down)), opacity: 0.75 },
    hovertext: counts.map((n, i) => lines(`${n} of ${signed(low + i * width, digits)} to ${signed(low + (i + 1) * width, digits)}`)),
  };
  const band = found.interval === null ? [] : [{ type: "rect", x0: found.interval[0], x1: found.interval[1], yref: "paper", y0: 0, y1: 1,
    fillcolor: colours.muted, opacity: 0.2, line: { width: 0 } }];
  const middle = { ...vertical(found.value, colours), line: { color: colours.ink, width: 2 } };
  return { traces: [trace], layout: { shapes: [...band, vertical(0, colours), middle], xaxis: { title: { text: `difference, ${unitWord[unit]}` } },
    yaxis: { title: { text: "pairs" } } } };
}

function taskDifferences(pairs, place, digits) {
  const rows = once(pairs.map((pair) => pair.task)).map((task) => {
    const own = pairs.filter((pair) => pair.task === task);
    const of = (name) => mean(own.map((pair) => mean(pair[name])));
    return [place.tasks[task], String(own.length), fixed(of("y"), digits), fixed(of("x"), digits), signed(of("differences"), digits)];
  });
  return plainTable(["task", "runs", "first", "second", "difference"], rows);
}
