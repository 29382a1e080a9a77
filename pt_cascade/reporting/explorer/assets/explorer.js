// @ts-check
// The page: sliders, words and tables around the figures. What a user named enters as text, never as markup.

const content = JSON.parse(document.getElementById("content").textContent);
const element = (id) => document.getElementById(id);

/** Make an element. @param {string} tag @param {object} given its properties @param {(Node|string)[]} inner */
function make(tag, given = {}, ...inner) {
  const made = document.createElement(tag);
  const { style, ...rest } = /** @type {any} */ (given);
  Object.assign(made, rest);
  Object.assign(made.style, style ?? {});
  made.append(...inner);
  return made;
}

/** Fill a table. @param {string} id @param {[string, boolean][]} heads each with whether it is of numbers @param {(Node|string)[][]} rows */
function fillTable(id, heads, rows, here = -1) {
  const row = (cells, tag) => cells.map((cell, n) => make(tag, { className: heads[n][1] ? "number" : "words", scope: tag === "th" ? "col" : undefined }, cell));
  const head = make("thead", {}, make("tr", {}, ...row(heads.map(([name]) => name), "th")));
  const body = rows.map((cells, n) => make("tr", { className: n === here ? "here" : "" }, ...row(cells, "td")));
  element(id).replaceChildren(head, make("tbody", {}, ...body));
}

const four = (value) => value.toFixed(4).replace(/^-(0\.0+)$/, "$1");
const signed = (value) => (four(value).startsWith("-") ? four(value).replace("-", "−") : `+${four(value)}`);
const amount = (value) => (Number.isFinite(value) ? Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 }) : "none");

class Explorer {
  constructor() {
    this.rows = new Rows(content);
    this.orders = new Orders(content);
    this.plots = new Plots(content, this.rows);
    this.row = content.chosen;
    this.measure = 0;
    this.limit = content.cost.limit ?? Infinity;
    this.axes = content.stages.map((_, n) => n).filter((n) => content.axes[n].values.length > 1).slice(0, 2);
    this.query = null;
    this.replayed = new Map();
  }

  async start() {
    document.querySelector(".evidence").open = innerWidth > 700;
    element("surface-figure").hidden = this.axes.length < 2;
    element("latency-figure").hidden = !content.latency;
    await this.plots.embed(JSON.parse(element("figures").textContent));
    this.makeControls();
    this.makeLegend();
    this.read();
    this.setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
    this.plots.label("front", `${content.cost.label}, ${content.cost.unit}`, "");
    this.plots.label("recall", "cut-off k", "recall@k");
    if (content.latency) this.plots.label("latency", "milliseconds a query", "share of queries");
    if (this.axes.length === 2) this.plots.scaleSurface(this.axes);
    this.drawMeasure();
    this.listen();
    document.documentElement.dataset.ready = "yes";
  }

  /** Add a slider for each axis with several values, and one for the budget. */
  makeControls() {
    content.axes.forEach((axis, n) => {
      if (axis.values.length < 2) return;
      const words = axis.name.startsWith("k") ? `${axis.name}: ${axis.stage} passes on` : `${axis.name}: weight of ${axis.stage}`;
      this.addSlider(axis.name, words, axis.values.length - 1, (place) => this.move(this.rows.closest(this.row, n, place)));
    });
    this.addSlider("budget", `Budget: ${content.cost.label}`, 500, (place) => {
      this.limit = place === 500 ? Infinity : this.scaleLimit(place / 500);
      this.changed();
    });
    content.measures.forEach((measure, n) => element("measure").append(make("option", { value: String(n) }, measure.name)));
  }

  addSlider(name, words, last, act) {
    const input = make("input", { type: "range", id: `slider-${name}`, min: "0", max: String(last), step: "1" });
    const shown = make("output", { id: `shown-${name}`, htmlFor: input.id });
    element("sliders").append(make("label", { htmlFor: input.id }, make("span", {}, words), shown, input));
    input.addEventListener("input", () => act(Number(input.value)));
  }

  /** The budget at a place of its slider, from 0 to 1. */
  scaleLimit(share) {
    const [low, high] = [least(this.rows.cost), most(this.rows.cost)];
    const limit = this.plots.log ? low * (high / low) ** share : low + (high - low) * share;
    return Number(limit.toPrecision(3));
  }

  makeLegend() {
    const colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
    const dashes = ["", "8 4", "6 3 2 3", "2 3"];
    content.stages.forEach((stage, n) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      line.setAttribute("width", "34");
      line.setAttribute("height", "10");
      line.setAttribute("aria-hidden", "true");
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", "M0 5H34");
      path.setAttribute("stroke", colors[n % colors.length]);
      path.setAttribute("stroke-width", "3");
      path.setAttribute("stroke-dasharray", dashes[n % dashes.length]);
      line.append(path);
      element("recall-legend").append(make("li", {}, line, stage));
    });
  }

  listen() {
    element("measure").addEventListener("change", () => { this.measure = Number(element("measure").value); this.drawMeasure(); });
    element("go-chosen").addEventListener("click", () => this.move(content.chosen));
    element("go-deepest").addEventListener("click", () => this.move(content.deepest));
    element("go-best").addEventListener("click", () => this.move(this.best() ?? this.row));
    element("theme").addEventListener("click", () => this.setTheme(document.documentElement.dataset.theme !== "dark"));
    element("find").addEventListener("input", () => this.listQueries());
    this.copies("link", () => location.href);
    this.copies("copy-python", () => element("python").textContent);
    this.copies("copy-command", () => element("command").textContent);
    this.copies("copy-markdown", () => asMarkdown(readTable("compare")));
    this.copies("copy-latex", () => asLatex(readTable("compare")));
    addEventListener("hashchange", () => { if (location.hash !== this.written) { this.read(); this.drawMeasure(); } });
    addEventListener("beforeprint", () => { this.was = document.documentElement.dataset.theme; this.setTheme(false); });
    addEventListener("afterprint", () => this.setTheme(this.was === "dark"));
    if (this.plots.plots.surface) {
      this.plots.plots.surface.on_event("tap", (event) => {
        const places = content.axes.map((_, n) => this.rows.places[n][this.row]);
        this.axes.forEach((axis, n) => { places[axis] = this.plots.nearest(axis, n ? event.y : event.x); });
        this.move(this.rows.find(places));
      });
    }
  }

  copies(id, text) {
    element(id).addEventListener("click", async () => {
      const button = element(id);
      this.words ??= new Map();
      if (!this.words.has(id)) this.words.set(id, button.textContent);
      button.textContent = (await copyText(text())) ? "Copied" : "Select and copy it by hand";
      setTimeout(() => { button.textContent = this.words.get(id); }, 1500);
    });
  }

  setTheme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    this.plots.paint();
  }

  move(row) {
    this.row = row;
    this.changed();
  }

  /** Draw once before the next frame, however often the sliders move. */
  changed() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.draw(); });
  }

  best() {
    return bestWithin(this.front, this.rows.cost, this.limit);
  }

  values(row) {
    return this.rows.all[this.measure][row];
  }

  name(row) {
    const cutoffs = this.rows.cutoffs(row).map((k, n) => (k === null ? content.stages[n] : `${content.stages[n]} → ${k}`));
    const weights = content.axes.map((axis, n) => [axis, this.rows.value(row, n)]).filter(([axis, value]) => axis.name.startsWith("w") && value !== null);
    return cutoffs.join(" · ") + (weights.length ? `, fused ${weights.map(([axis, value]) => `${axis.stage} ${show(value)}`).join(", ")}` : "");
  }

  /** Draw what only the measure changes, then the rest. */
  drawMeasure() {
    element("measure").value = String(this.measure);
    this.replayed.clear();
    this.front = this.rows.front(this.measure);
    this.plots.drawCloud(this.measure, this.front);
    const name = content.measures[this.measure].name;
    this.plots.label("front", `${content.cost.label}, ${content.cost.unit}`, name);
    element("front-title").textContent = `${name} and ${content.cost.label}.`;
    for (const [marker, row] of [["chosen", content.chosen], ["deepest", content.deepest]]) this.plots.place(marker, row, this.axes);
    this.draw();
  }

  /** Draw all that the sliders change. */
  draw() {
    const cutoffs = this.rows.cutoffs(this.row);
    const now = this.replay(this.row);
    this.showControls();
    this.plots.place("current", this.row, this.axes);
    this.plots.setLimit("front", this.limit);
    if (this.axes.length === 2) this.drawSurface();
    this.plots.drawRecall(now.curves, cutoffs);
    this.drawTimes(cutoffs);
    this.showNow(now);
    this.showLosses(now, cutoffs);
    clearTimeout(this.later);
    this.later = setTimeout(() => { this.listQueries(); this.compare(); this.showCode(); this.write(); }, 120);
  }

  replay(row) {
    if (!this.replayed.has(row)) {
      if (this.replayed.size > 8) this.replayed.delete([...this.replayed.keys()][2]);
      this.replayed.set(row, this.orders.replay(this.rows.cutoffs(row), content.measures[this.measure], this.rows.isFused(row)));
    }
    return this.replayed.get(row);
  }

  showControls() {
    content.axes.forEach((axis, n) => {
      if (axis.values.length < 2) return;
      const input = element(`slider-${axis.name}`);
      const value = this.rows.value(this.row, n);
      const words = value === null && axis.name.startsWith("w") ? "not fused" : show(value);
      input.value = String(this.rows.places[n][this.row]);
      input.setAttribute("aria-valuetext", words);
      element(`shown-${axis.name}`).textContent = words;
    });
    const words = Number.isFinite(this.limit) ? `${amount(this.limit)} ${content.cost.unit}` : "no limit";
    const share = Number.isFinite(this.limit) ? shareOf(this.limit, least(this.rows.cost), most(this.rows.cost), this.plots.log) : 1;
    const slider = element("slider-budget");
    if (document.activeElement !== slider) slider.value = String(Number.isFinite(this.limit) ? Math.min(Math.round(share * 500), 499) : 500);
    slider.setAttribute("aria-valuetext", words);
    element("shown-budget").textContent = words;
  }

  drawSurface() {
    const [low, high] = this.plots.drawSurface(this.row, this.axes, this.limit);
    const name = content.measures[this.measure].name;
    element("surface-title").textContent = `${name} over ${content.axes[this.axes[0]].name} and ${content.axes[this.axes[1]].name}.`;
    const [across, up] = this.axes.map((axis) => `${content.axes[axis].name} is the cut-off of ${content.stages[axis]}`);
    element("surface-words").textContent = `${across}, ${up}. ${Number.isFinite(this.limit) ? "Faint: above the budget. " : ""}Click to move there.`;
    element("surface").setAttribute("aria-label", `${name} from ${four(low)} and less, dark, to ${four(high)}, bright, over two cut-offs; here ${four(this.values(this.row))}`);
    element("scale").style.background = `linear-gradient(to right, ${CIVIDIS.join(", ")})`;
    element("scale").nextSibling?.remove();
    element("scale").after(make("div", { className: "scale-ends" }, make("span", {}, `${four(low)} and less`), make("span", {}, four(high))));
  }

  drawTimes(cutoffs) {
    if (!content.latency) return;
    const times = sumTimes(content.latency, cutoffs);
    const timed = content.cost.unit === "ms";
    const limit = timed ? this.limit : Infinity;
    const level = timed ? content.cost.percentile : 95;
    this.plots.drawTimes(times, limit, level);
    const inside = times.filter((ms) => ms <= limit).length;
    const share = Number.isFinite(limit) ? ` ${inside} of ${times.length} timed runs are within the budget.` : "";
    const at = level ? `p${show(level)} is ${amount(takePercentile(times, level))} ms, of ${content.latency.queries} queries.` : `${content.latency.queries} queries were timed.`;
    element("latency-words").textContent = `${at}${share}`;
    element("latency").setAttribute("aria-label", `Share of queries answered within a time. ${at}${share}`);
  }

  /** Say where the sliders stand, against the budget and the best within it. */
  showNow(now) {
    const measure = content.measures[this.measure].name;
    const [cost, best] = [this.rows.cost[this.row], this.best()];
    const over = cost > this.limit;
    const parts = [make("b", {}, this.name(this.row)), `: ${measure} ${four(this.values(this.row))}, ${content.cost.label} ${amount(cost)} ${content.cost.unit}`];
    if (Number.isFinite(this.limit)) parts.push(", ", make("span", { className: over ? "over" : "" }, over ? "above the budget" : "within the budget"));
    parts.push(". ");
    if (best === null) parts.push("No vector is within the budget. ");
    else if (this.values(best) > this.values(this.row)) parts.push(`${four(this.values(best) - this.values(this.row))} less than the best ${Number.isFinite(this.limit) ? "within the budget" : "of all"}, ${this.name(best)} (on the queries that chose it). `);
    else if (this.row === best) parts.push("No vector within the budget is better on these queries. ");
    const cut = now.left[1] - now.left[now.left.length - 1];
    parts.push(`Its cut-offs remove ${cut.toLocaleString("en")} of the ${now.left[1].toLocaleString("en")} relevant documents that ${content.stages[0]} found.`);
    element("now").replaceChildren(...parts);
    element("front-words").textContent = `Grey: all ${this.rows.count.toLocaleString("en")} vectors. Line: the Pareto front. Diamond: the choice. Square: the deepest. Circle: the sliders.${Number.isFinite(this.limit) ? " Dashed: the budget." : ""}`;
    element("front").setAttribute("aria-label", `${measure} against ${content.cost.label} of all vectors. Here ${four(this.values(this.row))} at ${amount(cost)} ${content.cost.unit}`);
    element("recall-words").textContent = "Circle: the cut-off. Band: 1.96 standard errors. Each stage ranks what the one before passes on."
      + (content.plateaus.length ? " Triangle: where recall stops rising." : "");
    const told = content.stages.map((stage, n) => `${stage} ${four(now.recall[Math.min(n + 2, now.recall.length - 1)])}`);
    element("recall").setAttribute("aria-label", `Recall of each stage by its cut-off; after it: ${told.join(", ")}`);
  }

  showLosses(now, cutoffs) {
    const names = [`not retrieved by ${content.stages[0]}`, ...content.stages.map((stage, n) => `cut by ${stage}${cutoffs[n] === null ? "" : ` → ${cutoffs[n]}`}`)];
    const unknown = this.rows.isFused(this.row) && cutoffs[cutoffs.length - 1] !== null;
    const rows = names.map((name, n) => {
      const lost = now.left[n] - now.left[n + 1];
      if (unknown && n === names.length - 1) return [name, "–", "–", "the order of a fusion is not in this page"];
      const width = `${(100 * lost) / Math.max(now.left[0], 1)}%`;
      return [name, lost.toLocaleString("en"), four(now.recall[n + 1]), make("span", { className: "bar", style: { width } })];
    });
    fillTable("losses", [["Where", false], ["Relevant lost", true], ["Recall left", true], [`Of ${now.left[0].toLocaleString("en")} relevant`, false]], rows);
  }

  /** List the queries that lose the most against the deepest vector. */
  listQueries() {
    const wanted = element("find").value.trim().toLowerCase();
    const measure = content.measures[this.measure];
    const [now, deepest] = [this.replay(this.row).values, this.replay(content.deepest).values];
    const known = !Number.isNaN(now[0]) && !Number.isNaN(deepest[0]);
    const { qids, texts } = content.queries;
    const worded = texts.some((text) => text.trim());
    const found = qids.map((_, q) => q).filter((q) => !wanted || qids[q].toLowerCase().includes(wanted) || texts[q].toLowerCase().includes(wanted));
    if (known) found.sort((a, b) => (now[a] - deepest[a]) - (now[b] - deepest[b]));
    const shown = found.slice(0, 12);
    element("queries-words").textContent = known
      ? `${shown.length} of ${found.length} queries, those first that lose the most against the deepest vector, ${this.name(content.deepest)}.`
      : `${shown.length} of ${found.length} queries. ${measure.code ? "The order of a fusion" : measure.name} is not computed in this page; sweep.per_query gives each query's ${measure.name}.`;
    const rows = shown.map((q) => {
      const button = make("button", { type: "button" }, qids[q]);
      button.addEventListener("click", () => { this.query = q; this.explain(); this.write(); element("query").scrollIntoView({ block: "nearest" }); });
      const numbers = known ? [four(now[q]), four(deepest[q]), signed(now[q] - deepest[q])] : ["–", "–", "–"];
      return worded ? [button, texts[q], ...numbers] : [button, ...numbers];
    });
    fillTable("queries", [["Query", false], ...(worded ? [["Text", false]] : []), [measure.name, true], ["Deepest", true], ["Difference", true]], rows);
    this.explain();
  }

  docno(i) {
    this.docnos ??= new Map(Array.from(content.queries.named, (at, n) => [at, content.queries.docnos[n]]));
    return this.docnos.get(i) ?? `a document at rank ${i - this.orders.begin[this.query] + 1} of ${content.stages[0]}`;
  }

  /** Say what became of the relevant documents of one query: which stage cut each, at which rank, and what stood above it. */
  explain() {
    if (this.query === null) return;
    const q = this.query;
    const cutoffs = this.rows.cutoffs(this.row);
    const lists = this.orders.walk(q, cutoffs);
    const rows = [];
    for (const i of lists[0]) {
      if (this.orders.labels[i] < this.orders.rel) continue;
      let stage = 0;
      while (stage < content.stages.length && lists[stage + 1].includes(i)) stage++;
      const last = Math.min(stage, content.stages.length - 1);
      const kept = stage === content.stages.length;
      const rank = lists[last].indexOf(i);
      const above = lists[last].slice(Math.max(0, rank - 3), rank).reverse();
      const fate = kept ? `kept, at rank ${rank + 1} of ${content.stages[last]}` : `cut by ${content.stages[stage]} → ${cutoffs[stage]}, at rank ${rank + 1}`;
      const told = above.map((one) => `${this.docno(one)} (${this.describe(one)})`).join("; ");
      rows.push([kept ? 1 : 0, -this.orders.labels[i], rank, [this.docno(i), String(this.orders.labels[i]), fate, told || "nothing"]]);
    }
    rows.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
    const shown = rows.slice(0, 15);
    const missing = this.orders.relevant[q] - rows.length;
    const title = make("h3", {}, `Query ${content.queries.qids[q]}: ${content.queries.texts[q]}`);
    const words = make("p", {}, `${rows.filter((row) => !row[0]).length} of ${this.orders.relevant[q]} relevant documents are cut, ${missing} were not retrieved by ${content.stages[0]}.${shown.length < rows.length ? ` The first ${shown.length}, those with the highest label first:` : ""}`);
    const scroll = make("div", { className: "scroll", tabIndex: 0 }, make("table", { id: "fates" }));
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "What became of its relevant documents");
    element("query").replaceChildren(title, words, scroll);
    fillTable("fates", [["Relevant document", false], ["Label", true], ["What became of it", false], ["Just above it", false]], shown.map((row) => row[3]));
  }

  describe(i) {
    const label = this.orders.labels[i];
    return label === -2147483648 ? "not judged" : label >= this.orders.rel ? `relevant, ${label}` : `not relevant, ${label}`;
  }

  /** Fill the table of vectors: the sliders', the choice, the deepest, the best within the budget, and some of the front. */
  compare() {
    const step = Math.max(1, Math.ceil(this.front.length / 8));
    const front = this.front.filter((_, n) => n % step === 0 || n === this.front.length - 1);
    const named = [["sliders", this.row], ["choice", content.chosen], ["deepest", content.deepest], ["best within the budget", this.best()], ...front.map((row) => ["front", row])];
    const rows = named.filter(([, row]) => row !== null).map(([what, row]) => [
      what, this.name(row), ...content.measures.map((_, n) => four(this.rows.all[n][row])), amount(this.rows.cost[row]),
    ]);
    const heads = [["What", false], ["Cascade", false], ...content.measures.map((measure) => [measure.name, true]), [`${content.cost.label}, ${content.cost.unit}`, true]];
    fillTable("compare", heads, rows, 0);
  }

  showCode() {
    const cutoffs = this.rows.cutoffs(this.row).map((k) => (k === null ? "None" : String(k)));
    const weights = content.axes.map((axis, n) => [axis, this.rows.value(this.row, n)]).filter(([axis, value]) => axis.name.startsWith("w") && value);
    const fused = weights.length ? `\ncascade = cascade.fused({${weights.map(([axis, value]) => `${JSON.stringify(axis.stage)}: ${show(value)}`).join(", ")}})` : "";
    element("python").textContent = `${content.python}${fused}\ncascade = cascade.with_cutoffs(${cutoffs.join(", ")})`;
    element("command").textContent = content.command;
  }

  /** Write the view into the address, so that a link shows it. */
  write() {
    const state = new URLSearchParams();
    content.axes.forEach((axis, n) => { if (axis.values.length > 1) state.set(axis.name, show(this.rows.value(this.row, n))); });
    if (Number.isFinite(this.limit)) state.set("budget", String(this.limit));
    if (this.measure) state.set("measure", content.measures[this.measure].name);
    if (this.query !== null) state.set("query", content.queries.qids[this.query]);
    this.written = `#${state}`;
    history.replaceState(null, "", this.written);
  }

  read() {
    const state = new URLSearchParams(location.hash.slice(1));
    const places = content.axes.map((axis, n) => {
      const at = axis.values.findIndex((value) => show(value) === state.get(axis.name));
      return at < 0 ? this.rows.places[n][this.row] : at;
    });
    this.row = this.rows.find(places);
    const measure = content.measures.findIndex((one) => one.name === state.get("measure"));
    if (measure >= 0) this.measure = measure;
    if (Number(state.get("budget")) > 0) this.limit = Number(state.get("budget"));
    const query = content.queries.qids.indexOf(state.get("query"));
    if (query >= 0) this.query = query;
  }
}

/** Copy a text. @returns {Promise<boolean>} whether it was copied */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { value: text, readOnly: true });
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

/** The cells of a table as text. @returns {string[][]} */
function readTable(id) {
  return [...element(id).rows].map((row) => [...row.cells].map((cell) => cell.textContent));
}

/** @param {string[][]} rows */
function asMarkdown(rows) {
  const lines = rows.map((row) => `| ${row.map((cell) => cell.replace(/[\\|]/g, "\\$&")).join(" | ")} |`);
  lines.splice(1, 0, `|${rows[0].map(() => "---|").join("")}`);
  return `${lines.join("\n")}\n`;
}

/** @param {string[][]} rows */
function asLatex(rows) {
  const marks = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "→": "$\\rightarrow$", "·": "$\\cdot$" };
  const clean = (cell) => cell.replace(/[\\~^→·]|[&%$#_{}]/g, (sign) => marks[sign] ?? `\\${sign}`);
  const [head, ...body] = rows.map((row) => `${row.map(clean).join(" & ")} \\\\`);
  return `\\begin{tabular}{ll${"r".repeat(rows[0].length - 2)}}\n\\toprule\n${head}\n\\midrule\n${body.join("\n")}\n\\bottomrule\n\\end{tabular}\n`;
}

unpackAll(content).then(() => {
  globalThis.explorer = new Explorer();
  return globalThis.explorer.start();
});
