// All of one cell.

/** Names beside values, in two columns. */
const listing = (pairs) => el("dl", {}, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));

const optionText = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function showCell(cell) {
  const view = byId("cell"), place = placeOf(cell), digits = digitsOf(place.unit);
  dropCharts(view);
  view.append(
    el("p", {}, el("a", { href: "#cells", id: "back" }, "← All cells")),
    el("h2", { tabindex: -1, id: "cell-title" }, cell.name),
    el("p", { class: "muted" }, `${placeName(place)}; the agent is asked for ${cell.algorithm === "zero-shot" ? "what the name says" : `${place.asked_for} return`}`),
    listing(numbersOf(cell, place, digits)));
  if (cell.base !== null) {
    view.append(el("p", {}, el("a", { href: `#compare=${cell.id}&${cell.base}` }, `Compare with ${cellById.get(cell.base).name}, episode by episode`)));
  }
  if (cell.curve.steps.length) {
    const what = cell.curve.runs.length ? "every run thin, their mean thick" : "mean of the runs";
    const plot = chart(part(view, "Learning curve"), `${unitWord[place.unit]} on the first episodes: ${what}`, `Learning curve of ${cell.name}`, 320);
    draw(plot, (colours) => runsFigure(cell, colours));
  }
  part(view, "Tasks").append(scrolling("Scores by task", plainTable(["task", "number", "runs", "score", `minus ${study.baseline}`],
    cell.tasks.map((each) => [place.tasks[each.task], String(each.task), String(each.runs), fixed(each.score, digits), signed(each.gain, digits)]))));
  showRepeat(part(view, "To repeat it"), cell);
  if (cell.recipe !== null) showOptions(part(view, "Options"), cell);
  showOrigin(part(view, "What it was made from"), cell);
  part(view, "Runs").append(scrolling("Runs and their few-shot sets", runsTable(cell, place, digits)));
  if (cell.videos.length) {
    part(view, "Videos").append(el("ul", {}, ...cell.videos.map((path) => el("li", {}, el("a", { href: `./${encodeURI(path)}` }, path)))));
  }
}

/** A section with a heading. */
function part(view, title) {
  const made = el("section", {}, el("h3", {}, title));
  view.append(made);
  return made;
}

function numbersOf(cell, place, digits) {
  const ended = [["diverged", cell.diverged], ["failed", cell.failed]].filter(([, count]) => count).map(([word, count]) => `, ${count} ${word}`);
  const told = [["runs", `${cell.runs}${ended.join("")}`], [unitWord[place.unit], fixed(cell.score, digits)]];
  if (place.unit !== "return") told.push(["return", fixed(cell.mean_return, 1)]);
  if (cell.gain !== null) {
    told.push([`minus ${study.baseline}`, `${signed(cell.gain, digits)} ${interval(cell.interval, digits)}, over ${cell.over}`],
      ["verdict", `${verdictWord(cell)}, p ${chance(cell.p)} (Holm)`], ["effect size d_z", fixed(cell.effect, 2)],
      ["better episodes", percent(cell.improved)]);
  }
  if (cell.moved !== null) told.push(["end minus start", signed(cell.moved, digits)]);
  if (cell.selected !== null) told.push(["best point minus last", signed(cell.selected, digits)]);
  if (cell.forgotten !== null) told.push(["forgotten of other tasks", signed(cell.forgotten, digits)]);
  return [...told, ["median seconds", `${cell.seconds[0].toFixed(1)} to finetune, ${cell.seconds[1].toFixed(1)} to evaluate`]];
}

function showRepeat(section, cell) {
  const place = placeOf(cell), [task, seed] = cell.command_of;
  const others = cell.results.length > 1 ? " Other runs of this cell have another task, and another seed where it is trained or prompts are drawn." : "";
  const named = once(cell.commands.join(" ").match(/\b(AGENT|DATA|DELTA)\b/g) ?? []);
  const whose = { AGENT: "the agent of the digest below", DATA: "the dataset of the digest below", DELTA: "a new folder" };
  const folders = named.length ? ` ${named.map((name) => `${name} is ${whose[name]}`).join(", ")}.` : "";
  section.append(
    el("p", {}, `Task ${task} (${place.tasks[task]}), seed ${seed}.${others}${folders}${cell.command_limits ? ` ${cell.command_limits}` : ""}`),
    ...cell.commands.map((command) => el("pre", { tabindex: 0 }, command)));
}

function showOptions(section, cell) {
  const { options, tuning_options: tuning, std, training } = cell.recipe;
  const groups = [["Algorithm", { ...options, std }], ["Tuning", tuning], ["Training", training]];
  section.append(el("div", { class: "columns" }, ...groups.filter(([, values]) => Object.keys(values).length).map(([title, values]) =>
    el("div", {}, el("h4", {}, title), listing(Object.entries(values).map(([name, value]) => [name, optionText(value)]))))));
}

function showOrigin(section, cell) {
  const { evaluation } = cell, training = cell.recipe === null ? null : cell.recipe.training.precision;
  const machines = cell.machines.map((i) => study.machines[i]);
  const versions = (machine) => Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  section.append(listing([
    ["agent", el("code", {}, cell.agent)], ["data", el("code", {}, cell.data)],
    ["number format", `${training === null ? "" : `training ${training}, `}scores ${evaluation.precision}`],
    ["evaluation", `${evaluation.episodes} episodes a run, seed ${evaluation.seed}`],
    ...machines.flatMap((machine) => [["processor", `${machine.processor}, ${machine.threads} thread${machine.threads === 1 ? "" : "s"} a run`], ["versions", versions(machine)]]),
    ...(machines.length ? [] : [["processor and versions", "not recorded"]]),
  ]));
}

function runsTable(cell, place, digits) {
  const rows = cell.results.map((run) => [place.tasks[run.task], String(run.seed), run.ended ?? fixed(run.mean, digits), fixed(run.asked_for, 1),
    run.few_shot === null ? "–" : el("code", {}, study.few_shot[run.few_shot])]);
  return plainTable(["task", "seed", "score", "asked for", "few-shot set"], rows, { words: [0, 4] });
}
