// The table of cells, its filter, claims and tables, and which view the address asks for.

const FILTERS = { group: (cell) => placeOf(cell).group, setting: (cell) => placeOf(cell).setting,
  algorithm: (cell) => cell.algorithm, tuning: (cell) => cell.tuning };

/** What a search looks through. */
const wordsOf = (cell) => [cell.name, ...Object.values(FILTERS).map((of) => of(cell)), cell.label, cell.verdict].join(" ").toLowerCase();

function passes(cell) {
  const wanted = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  return Object.entries(FILTERS).every(([name, of]) => [of(cell), ""].includes(byId(`filter-${name}`).value))
    && wanted.every((word) => wordsOf(cell).includes(word));
}

function fillFilters() {
  for (const [name, of] of Object.entries(FILTERS)) {
    byId(`filter-${name}`).append(el("option", { value: "" }, "all"), ...once(study.cells.map(of)).map((value) => el("option", { value }, value)));
  }
}

/** A formatter that shows words as they are. */
const words = (write) => (shownCell) => document.createTextNode(write(shownCell.getData()));

function gainCell(shownCell) {
  const cell = shownCell.getData(), holder = shownCell.getElement();
  if (cell.gain === null) return document.createTextNode("–");
  const share = Math.round(8 + 72 * strength(cell));
  holder.style.background = `color-mix(in srgb, var(--${cell.gain >= 0 ? "up" : "down"}-soft) ${share}%, transparent)`;
  return el("strong", {}, signed(cell.gain, digitsOf(placeOf(cell).unit)));
}

function columns() {
  const digits = (cell) => digitsOf(placeOf(cell).unit);
  const number = (title, field, write, more = {}) => ({ title, field, formatter: words(write), sorter: "number", hozAlign: "right",
    headerHozAlign: "right", sorterParams: { alignEmptyValues: "bottom" }, headerSortStartingDir: "desc", ...more });
  const word = (title, field, read) => ({ title, field, mutator: (_, cell) => read(cell), formatter: words(read), sorter: "string" });
  const units = once(study.places.map((place) => place.unit)).length > 1;
  const place = [word("Suite", "group", FILTERS.group), word("Setting", "setting", FILTERS.setting)];
  const narrow = innerWidth < 700; // there, cell and gain are to be seen without scrolling
  return [
    ...(narrow ? [] : place),
    { title: "Cell", field: "name", sorter: "string", formatter: (each) => el("a", { href: `#cell=${each.getData().id}`, tabindex: -1 }, each.getData().name) },
    ...(units ? [word("Unit", "unit", (cell) => unitWord[placeOf(cell).unit])] : []),
    number("Gain", "gain", null, { formatter: gainCell }),
    number("95% interval", "low", (cell) => interval(cell.interval, digits(cell)), { mutator: (_, cell) => cell.interval?.[0] ?? null }),
    word("Verdict", "told", verdictWord),
    number("p (Holm)", "p", (cell) => chance(cell.p), { headerSortStartingDir: "asc" }),
    number("d_z", "effect", (cell) => fixed(cell.effect, 2)),
    number("Episodes better", "improved", (cell) => percent(cell.improved), { width: 96 }),
    number("Score", "score", (cell) => fixed(cell.score, digits(cell))),
    number("Runs", "runs", (cell) => [String(cell.runs), cell.diverged ? `${cell.diverged} diverged` : "", cell.failed ? `${cell.failed} failed` : ""].filter(Boolean).join(" + ")),
    ...(narrow ? place : []),
  ];
}

const open = (cell) => { location.hash = `cell=${cell.id}`; };

function makeTable() {
  const table = new Tabulator("#table", {
    data: study.cells.map((cell) => ({ ...cell })), index: "id", columns: columns(), layout: "fitDataFill", renderVertical: "basic",
    placeholder: "No cell passes the filter.", columnDefaults: { tooltip: false, resizable: false, headerWordWrap: true },
    rowFormatter: (row) => {
      const element = row.getElement();
      element.tabIndex = 0;
      element.dataset.id = row.getData().id;
      element.onkeydown = (event) => { if (event.key === "Enter") open(row.getData()); };
    },
  });
  table.on("rowClick", (_, row) => open(row.getData()));
  table.on("tableBuilt", () => {
    for (const column of table.getColumns()) {
      const heading = column.getElement();
      heading.tabIndex = 0;
      heading.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        heading.click();
      });
    }
    filter(table);
  });
  return table;
}

function filter(table) {
  table.setFilter(passes);
  const left = study.cells.filter(passes);
  byId("count").textContent = `${left.length} of ${study.cells.length} cells`;
  drawGains(left);
  drawCurves(left);
}

/** Text is typed letter by letter: figures wait for the end of a word. */
function listen(table) {
  let waiting = null;
  const soon = (delay) => { clearTimeout(waiting); waiting = setTimeout(() => filter(table), delay); };
  for (const name of ["input", "change"]) byId("filters").addEventListener(name, () => soon(150));
  byId("filters").addEventListener("reset", () => soon(0));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
}

function fillPair() {
  for (const select of [byId("first"), byId("second")]) {
    for (const place of study.places) {
      const own = study.cells.filter((cell) => placeOf(cell) === place);
      select.append(el("optgroup", { label: placeName(place) }, ...own.map((cell) => el("option", { value: cell.id }, cell.name))));
    }
    select.addEventListener("change", () => { location.hash = `compare=${byId("first").value}&${byId("second").value}`; });
  }
  byId("swap").addEventListener("click", () => { location.hash = `compare=${byId("second").value}&${byId("first").value}`; });
}

/** The largest gain beside what it is a gain over: the first comparison that a reader sees. */
function choosePair() {
  const gained = study.cells.filter((cell) => cell.base !== null && cell.gain !== null);
  const best = gained.reduce((found, cell) => (found === null || strength(cell) > strength(found) ? cell : found), null);
  return best === null ? [study.cells[0]?.id, study.cells.at(-1)?.id] : [best.id, best.base];
}

function compare(first, second) {
  byId("first").value = first;
  byId("second").value = second;
  showComparison(first, second);
}

function showClaims() {
  const rows = study.claims.map((claim) => [el("span", { class: `claim ${claim.verdict.replace(/\W/g, "-")}` }, claim.verdict), claim.statement,
    claim.estimate === null ? "–" : signed(claim.estimate, 3), interval(claim.interval, 3), claim.seeds === null ? "–" : String(claim.seeds), claim.source, claim.detail]);
  byId("claims-table").append(plainTable(["verdict", "claim", "estimate", "95% interval", "seeds to decide", "source", "detail"], rows, { words: [0, 1, 5, 6] }));
}

function showTables() {
  for (const table of study.tables) {
    const spans = (entry) => (entry[1] === "best" ? el("strong", {}, entry[0]) : entry[0]);
    const made = plainTable(table.head, [], { caption: table.title });
    for (const block of table.blocks) {
      const rows = plainTable(table.head, block.rows.map((row) => row.map(spans))).tBodies[0];
      if (block.heading) rows.prepend(el("tr", {}, el("th", { colspan: table.head.length, scope: "rowgroup", class: "heading" }, block.heading)));
      made.append(rows);
    }
    byId("tables-given").append(scrolling(table.title, made), ...table.notes.map((note) => el("p", { class: "muted" }, note)));
  }
}

let table = null;
/** The table and all figures, once they are to be seen: what is hidden has no width to draw in. */
function showOverview() {
  byId("overview").hidden = false;
  byId("cell").hidden = true;
  if (table === null) {
    table = makeTable();
    listen(table);
    compare(...choosePair());
  } else {
    table.redraw(true);
    dispatchEvent(new Event("resize")); // the colours may have changed meanwhile
  }
}

/** Show what stands behind the # of the address. */
function route() {
  const [what, ...rest] = location.hash.slice(1).split("="), [first, second] = rest.join("=").split("&");
  const cell = what === "cell" ? cellById.get(first) : undefined, before = byId("cell").hidden ? null : byId("cell").dataset.id;
  if (cell !== undefined) {
    byId("overview").hidden = true;
    byId("cell").hidden = false;
    byId("cell").dataset.id = cell.id;
    showCell(cell);
    scrollTo(0, 0);
    byId("cell-title").focus({ preventScroll: true });
    return;
  }
  if (before !== null || table === null) showOverview();
  if (what === "compare" && first && second) compare(first, second);
  byId(what)?.scrollIntoView();
  if (what === "cells" && before) document.querySelector(`#table [data-id="${CSS.escape(before)}"]`)?.focus();
}

function begin() {
  const runs = study.cells.reduce((sum, cell) => sum + cell.runs + cell.diverged + cell.failed, 0);
  byId("summary").textContent = `${study.cells.length} cells of ${once(study.places.map((place) => place.group)).join(", ")}; ${runs} runs, compared with ${study.baseline}.`;
  byId("made").textContent = `Made by trajtune ${study.trajtune}. It holds all that it shows and asks no network for anything.`;
  byId("legend").textContent = "Colour: size of the gain, blue up and orange down. ▲ ▼: better or worse than the baseline, told apart from chance with all "
    + "cells of its suite and setting counted (Holm); intervals are of each comparison alone. d_z: gain over its deviation between runs.";
  byId("omitted").hidden = study.omitted.length === 0;
  byId("omitted").textContent = `Left out, to keep this page small: ${study.omitted.join(" and ")}. Comparisons are of runs' means.`;
  for (const [name, values] of [["claims", study.claims], ["tables", study.tables]]) {
    byId(name).hidden = byId(`to-${name}`).hidden = values.length === 0;
  }
  showClaims();
  showTables();
  fillFilters();
  fillPair();
  addEventListener("hashchange", route);
  route();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // Paper is white whatever the screen is.
  addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); redraw(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); redraw(); });
}

begin();
