// @ts-check
// The page: sliders, words and tables around the figures. What a user named enters as text, never as markup.

const content = JSON.parse(document.getElementById("content").textContent);

class Explorer {
  constructor() {
    this.rows = new Rows(content);
    this.orders = new Orders(content);
    this.plots = new Plots(content, this.rows);
    this.fronts = content.measures.map((_, n) => this.rows.front(n));
    this.axes = content.stages.map((_, n) => n).filter((n) => content.axes[n].values.length > 1).slice(0, 2);
    this.reset();
    this.tables = new Tables(this);
    this.replayed = new Map();
    this.labels = new Map();  // of buttons
  }

  /** Show the choice. */
  reset() {
    this.row = content.chosen;
    this.measure = 0;
    this.limit = content.cost.limit ?? Infinity;
    this.query = null;
  }

  async start() {
    element("evidence").open = innerWidth > 700;
    element("surface-figure").hidden = this.axes.length < 2;
    element("latency-figure").hidden = !content.latency;
    element("reliability").closest("figure").hidden = !content.calibration;
    await this.plots.embed(JSON.parse(element("figures").textContent));
    this.makeControls();
    this.makeLegend("recall-legend", content.stages);
    if (content.calibration) this.showCalibration(content.calibration);
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
    if (least(this.rows.cost) < most(this.rows.cost)) {
      this.addSlider("budget", `Budget: ${content.cost.label}`, 500, (place) => {
        this.limit = place === 500 ? Infinity : this.scaleLimit(place / 500);
        this.changed();
      });
    } else element("sliders").append(make("p", {}, `No budget to move: all vectors cost the same, ${amount(this.rows.cost[0])} ${content.cost.unit}.`));
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

  /** Name the curves of a figure, with their lines. @param {string} id @param {string[]} names */
  makeLegend(id, names) {
    const colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
    const dashes = ["", "8 4", "6 3 2 3", "2 3"];
    names.forEach((name, n) => {
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
      element(id).append(make("li", {}, line, name));
    });
  }

  /** Show the reliability curves and the errors of each method. @param {any} calibration */
  showCalibration({ methods }) {
    this.makeLegend("reliability-legend", methods.map((method) => method.name));
    methods.forEach(({ curve }, n) => {
      this.plots.fill("reliability", `method${n}`, curve);
      this.plots.fill("reliability", `bins${n}`, { x: curve.x, y: curve.y });
    });
    this.plots.range("reliability", [0, 1], [0, 1]);
    this.plots.label("reliability", "mean probability", "share of relevant documents");
    const rows = methods.map(({ name, measures }) => [name, ...measures.map(([, value, low, high]) => `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`)]);
    fillTable("errors", [["Method", false], ...methods[0].measures.map(([name]) => [name, true])], rows);
    element("reliability").setAttribute("aria-label", `Share of relevant documents by their probability: ${methods.map((one) => `${one.name}, ECE ${four(one.measures[0][1])}`).join("; ")}`);
  }

  listen() {
    element("measure").addEventListener("change", () => { this.measure = Number(element("measure").value); this.drawMeasure(); });
    element("go-chosen").addEventListener("click", () => this.move(content.chosen));
    element("go-picked").hidden = content.picked === content.chosen;
    element("go-picked").addEventListener("click", () => this.move(content.picked));
    element("go-deepest").addEventListener("click", () => this.move(content.deepest));
    element("go-best").addEventListener("click", () => this.move(this.best() ?? this.row));
    element("theme").addEventListener("click", () => this.setTheme(document.documentElement.dataset.theme !== "dark"));
    element("find").addEventListener("input", () => this.tables.listQueries());
    element("link").hidden = location.protocol === "about:";
    this.copies("link", () => location.href);
    this.copies("copy-python", () => element("python").textContent);
    this.copies("copy-command", () => element("command").textContent);
    this.copies("copy-markdown", () => asMarkdown(readTable("compare")));
    this.copies("copy-latex", () => asLatex(readTable("compare")));
    addEventListener("hashchange", () => { if (location.hash !== this.written) { this.read(); this.drawMeasure(); } });
    addEventListener("beforeprint", () => {
      this.was = document.documentElement.dataset.theme;
      this.setTheme(false);
      this.plots.copyForPrint();
    });
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
      if (!this.labels.has(id)) this.labels.set(id, button.textContent);
      button.textContent = (await copyText(text())) ? "Copied" : "Select and copy it by hand";
      setTimeout(() => { button.textContent = this.labels.get(id); }, 1500);
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

  /** The best row within the budget by a measure, else null. */
  best(measure = this.measure) {
    return this.fronts[measure].filter((row) => this.rows.isWithin(row, this.limit)).pop() ?? null;
  }

  values(row) {
    return this.rows.all[this.measure][row];
  }

  /** The cascade of a row, as Python prints it: a fusion stands before the last cut-off. */
  name(row) {
    const steps = content.stages.map((stage, n) => [stage, this.rows.cutoffs(row)[n]]);
    const fused = content.fused.names[this.rows.fusion[row]];
    if (fused) steps.push([fused, steps[steps.length - 1].splice(1, 1, null)[0]]);
    return steps.map(([stage, k]) => (k === null ? stage : `${stage} → ${k}`)).join(" · ");
  }

  /** Draw what only the measure changes, then the rest. */
  drawMeasure() {
    element("measure").value = String(this.measure);
    this.replayed.clear();
    this.front = this.fronts[this.measure];
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
    this.tables.showLosses(now, cutoffs);
    clearTimeout(this.later);
    this.later = setTimeout(() => { this.later = 0; this.tables.listQueries(); this.tables.compare(); this.showCode(); this.write(); }, 120);
  }

  replay(row) {
    if (!this.replayed.has(row)) {
      if (this.replayed.size > 8) this.replayed.delete([...this.replayed.keys()][2]);
      this.replayed.set(row, this.orders.replay(this.rows.cutoffs(row), this.rows.fusion[row], content.measures[this.measure]));
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
    if (!document.getElementById("slider-budget")) return;
    const slider = element("slider-budget");
    const words = Number.isFinite(this.limit) ? `${amount(this.limit)} ${content.cost.unit}` : "no limit";
    const share = Number.isFinite(this.limit) ? shareOf(this.limit, least(this.rows.cost), most(this.rows.cost), this.plots.log) : 1;
    if (document.activeElement !== slider) slider.value = String(Number.isFinite(this.limit) ? Math.min(Math.round(share * 500), 499) : 500);
    slider.setAttribute("aria-valuetext", words);
    element("shown-budget").textContent = words;
  }

  drawSurface() {
    const [low, high] = this.plots.drawSurface(this.row, this.axes, this.limit);
    const name = content.measures[this.measure].name;
    element("surface-title").textContent = `${name} by the cut-offs ${content.axes[this.axes[0]].name} and ${content.axes[this.axes[1]].name}.`;
    const [across, up] = this.axes.map((axis) => `${content.axes[axis].name} is that of ${content.stages[axis]}`);
    element("surface-words").textContent = `${across}, ${up}. ${Number.isFinite(this.limit) ? "Hatched: above the budget. " : ""}Click to move there.`;
    element("surface").setAttribute("aria-label", `${name} from ${four(low)} and less, dark, to ${four(high)}, bright, over two cut-offs; here ${four(this.values(this.row))}`);
    element("scale").style.background = `linear-gradient(to right, ${CIVIDIS.join(", ")})`;
    element("scale").nextSibling?.remove();
    element("scale").after(make("div", { className: "scale-ends" }, make("span", {}, `${four(low)} and less`), make("span", {}, four(high))));
  }

  /** The percentile of the time at a row where its cost is the percentile's upper bound, else null. @param {number} row */
  percentile(row) {
    if (!content.cost.column.endsWith("_bound_ms")) return null;
    return takePercentile(sumTimes(content.latency, this.rows.cutoffs(row)), content.latency.level);
  }

  drawTimes(cutoffs) {
    if (!content.latency) return;
    const times = sumTimes(content.latency, cutoffs);
    const limit = content.cost.unit === "ms" ? this.limit : Infinity;
    const { level, queries } = content.latency;
    const bound = this.percentile(this.row) === null ? null : this.rows.cost[this.row];
    this.plots.drawTimes(times, limit, level, bound);
    const inside = times.filter((ms) => ms <= limit).length;
    const share = Number.isFinite(limit) ? ` ${inside} of ${times.length} times are within the budget.` : "";
    const words = [content.latency.stages[0].ms ? `${queries} queries were timed.` : `By costs given by hand, for the documents of ${queries} queries.`];
    if (level) words.unshift(`Circle${bound === null ? "" : "s"}: ${level === 100 ? "the longest time" : `p${show(level)}`}, ${amount(takePercentile(times, level))} ms`
      + (bound === null ? "." : `, and its upper bound with 95 % certainty, ${amount(bound)} ms, which a budget is compared with.`));
    if (content.cost.column === `p${level}_ms` && level < 100) words.push("They are too few for an upper bound.");
    element("latency-words").textContent = `${words.join(" ")}${share}`;
    element("latency").setAttribute("aria-label", `Share of queries answered within a time. ${words.join(" ")}${share}`);
  }

  /** Say where the sliders stand, against the budget and the best within it. */
  showNow(now) {
    const measure = content.measures[this.measure].name;
    const [cost, best] = [this.rows.cost[this.row], this.best()];
    const over = !this.rows.isWithin(this.row, this.limit);
    const parts = [make("b", {}, this.name(this.row)), `: ${measure} ${four(this.values(this.row))}, ${content.cost.label} ${amount(cost)} ${content.cost.unit}`];
    const percentile = this.percentile(this.row);
    if (percentile !== null) parts.push(` (p${show(content.latency.level)} itself: ${amount(percentile)} ms)`);
    if (Number.isFinite(this.limit)) parts.push(", ", make("span", { className: over ? "over" : "" }, over ? "above the budget" : "within the budget"));
    parts.push(". ");
    if (best === null) parts.push("No vector is within the budget. ");
    else if (this.values(best) > this.values(this.row)) parts.push(`${four(this.values(best) - this.values(this.row))} less than the best ${Number.isFinite(this.limit) ? "within the budget" : "of all"}, ${this.name(best)} (on the queries that chose it). `);
    else if (this.row === best) parts.push("No vector within the budget is better on these queries. ");
    const cut = now.left[1] - now.left[now.left.length - 1];
    parts.push(`Its cut-offs remove ${cut.toLocaleString("en")} of the ${now.left[1].toLocaleString("en")} relevant documents that ${content.stages[0]} found.`);
    element("now").replaceChildren(...parts);
    this.showChanges(best);
    element("front-words").textContent = `Grey: ${this.rows.count === 1 ? "the only vector" : `all ${this.rows.count.toLocaleString("en")} vectors`}. Line: Pareto front. Diamond: choice. Square: deepest. Circle: sliders.${Number.isFinite(this.limit) ? ` Dashed: budget${this.limit > most(this.rows.cost) ? ", beyond all" : ""}.` : ""}`;
    element("front").setAttribute("aria-label", `${measure} against ${content.cost.label} of all vectors. Here ${four(this.values(this.row))} at ${amount(cost)} ${content.cost.unit}`);
    element("recall-words").textContent = "Of what the stage before passes on. Circle: cut-off. Diamond: that of the choice. Band: 1.96 standard errors."
      + (content.stages.some((_, n) => this.plots.isReached(n, now.curves, this.rows.cutoffs(this.row))) ? " Triangle: where recall stops rising, given the stages before." : "");
    const told = content.stages.map((stage, n) => `${stage} ${four(now.recall[Math.min(n + 2, now.recall.length - 1)])}`);
    element("recall").setAttribute("aria-label", `Recall of each stage by its cut-off; after it: ${told.join(", ")}`);
  }

  /** Say which other budget or measure has another best vector. @param {number|null} best within the budget */
  showChanges(best) {
    const at = best === null ? -1 : this.front.indexOf(best);
    const [less, more] = [this.front[at - 1], this.front[at + 1]];
    const tell = (row) => `${this.name(row)}, ${content.measures[this.measure].name} ${four(this.values(row))}`;
    const price = (row) => `${amount(this.rows.cost[row])} ${content.cost.unit}`;
    const found = [];
    if (less !== undefined) found.push(`with a budget below ${price(best)}: ${tell(less)}`);
    if (more !== undefined) found.push(`with a budget of ${price(more)}: ${tell(more)}`);
    content.measures.forEach((measure, n) => {
      const other = n === this.measure ? null : this.best(n);
      if (other !== null && this.rows.all[n][other] > this.rows.all[n][best]) found.push(`by ${measure.name}: ${this.name(other)}, ${four(this.rows.all[n][other])} instead of ${four(this.rows.all[n][best])}`);
    });
    element("changes-lead").hidden = !found.length;
    element("changes").replaceChildren(...found.map((text) => make("li", {}, text)));
  }

  showCode() {
    const cutoffs = this.rows.cutoffs(this.row).map((k) => (k === null ? "None" : String(k)));
    const call = `cascade${content.fused.calls[this.rows.fusion[this.row]]}.with_cutoffs(${cutoffs.join(", ")})`;
    element("python").textContent = `${content.python}\n# as the sliders stand: ${call}`;
    element("command").textContent = content.command;
  }

  /** Write the view into the address, so that a link shows it. */
  write() {
    const state = new URLSearchParams();
    content.axes.forEach((axis, n) => { if (axis.values.length > 1) state.set(axis.name, show(this.rows.value(this.row, n))); });
    if (this.limit !== (content.cost.limit ?? Infinity)) state.set("budget", Number.isFinite(this.limit) ? String(this.limit) : "none");
    if (this.measure) state.set("measure", content.measures[this.measure].name);
    if (this.query !== null) state.set("query", content.queries.qids[this.query]);
    this.written = `#${state}`;
    if (location.protocol !== "about:") history.replaceState(null, "", this.written);  // a frame of a notebook has no address
  }

  read() {
    this.reset();
    element("query").replaceChildren();
    const state = new URLSearchParams(location.hash.slice(1));
    const places = content.axes.map((axis, n) => {
      const at = axis.values.findIndex((value) => show(value) === state.get(axis.name));
      return at < 0 ? this.rows.places[n][this.row] : at;
    });
    this.row = this.rows.find(places);
    const measure = content.measures.findIndex((one) => one.name === state.get("measure"));
    if (measure >= 0) this.measure = measure;
    const budget = Number(state.get("budget"));
    if (state.get("budget") === "none") this.limit = Infinity;
    else if (budget > 0 && Number.isFinite(budget)) this.limit = budget;
    const query = content.queries.qids.indexOf(state.get("query"));
    if (query >= 0) this.query = query;
  }
}

unpackAll(content).then(() => {
  globalThis.explorer = new Explorer();
  return globalThis.explorer.start();
});
