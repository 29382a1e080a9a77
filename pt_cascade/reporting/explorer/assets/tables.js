// @ts-check
// The tables below the figures: losses, queries, one query, and vectors to compare.

class Tables {
  /** @param {any} page the explorer */
  constructor(page) {
    this.page = page;
    this.docnos = new Map(Array.from(content.queries.named, (at, n) => [at, content.queries.docnos[n]]));
  }

  showLosses(now, cutoffs) {
    const names = [`not retrieved by ${content.stages[0]}`, ...content.stages.map((_, n) => `cut by ${this.ranker(n)}${cutoffs[n] === null ? " (no cut-off)" : ` → ${cutoffs[n]}`}`)];
    const rows = names.map((name, n) => {
      const lost = now.left[n] - now.left[n + 1];
      const width = `${(100 * lost) / Math.max(now.left[0], 1)}%`;
      return [name, lost.toLocaleString("en"), four(now.recall[n + 1]), make("span", { className: "bar", style: { width } })];
    });
    fillTable("losses", [["Where", false], ["Relevant lost", true], ["Recall left", true], [`Of ${now.left[0].toLocaleString("en")} relevant`, false]], rows);
  }

  /** What ranks at a stage: the stage, and at the last one the fusion, where there is one. */
  ranker(stage) {
    return stage === content.stages.length - 1 && this.page.rows.isFused(this.page.row) ? "the fusion" : content.stages[stage];
  }

  /** List the queries that lose the most against the deepest vector. */
  listQueries() {
    const wanted = element("find").value.trim().toLowerCase();
    const measure = content.measures[this.page.measure];
    const [now, deepest] = [this.page.replay(this.page.row).values, this.page.replay(content.deepest).values];
    const known = !Number.isNaN(now[0]) && !Number.isNaN(deepest[0]);
    const { qids, texts } = content.queries;
    const worded = texts.some((text) => text.trim());
    const found = qids.map((_, q) => q).filter((q) => !wanted || qids[q].toLowerCase().includes(wanted) || texts[q].toLowerCase().includes(wanted));
    if (known) found.sort((a, b) => (now[a] - deepest[a]) - (now[b] - deepest[b]));
    const shown = found.slice(0, 12);
    element("queries-words").textContent = known
      ? `${shown.length} of ${found.length} queries, those first that lose the most against the deepest vector, ${this.page.name(content.deepest)}.`
      : `${shown.length} of ${found.length} queries. ${measure.name} is not computed in this page; sweep.per_query gives each query's ${measure.name}.`;
    const rows = shown.map((q) => {
      const button = make("button", { type: "button" }, isolate(qids[q]));
      button.addEventListener("click", () => { this.page.query = q; this.explain(); this.page.write(); element("query").scrollIntoView({ block: "nearest" }); });
      const numbers = known ? [four(now[q]), four(deepest[q]), signed(now[q] - deepest[q])] : ["–", "–", "–"];
      return worded ? [button, isolate(texts[q]), ...numbers] : [button, ...numbers];
    });
    fillTable("queries", [["Query", false], ...(worded ? [["Text", false]] : []), [measure.name, true], ["Deepest", true], ["Difference", true]], rows);
    this.explain();
  }

  docno(i) {
    return this.docnos.get(i) ?? `a document at rank ${i - this.page.orders.begin[this.page.query] + 1} of ${content.stages[0]}`;
  }

  /** Say what became of the relevant documents of one query: which stage cut each, at which rank, and what stood above it. */
  explain() {
    if (this.page.query === null) return;
    const q = this.page.query;
    const cutoffs = this.page.rows.cutoffs(this.page.row);
    const lists = this.page.orders.walk(q, cutoffs, this.page.rows.fusion[this.page.row]);
    const rows = [];
    for (const i of lists[0]) {
      if (this.page.orders.labels[i] < this.page.orders.rel) continue;
      let stage = 0;
      while (stage < content.stages.length && lists[stage + 1].includes(i)) stage++;
      const last = Math.min(stage, content.stages.length - 1);
      const kept = stage === content.stages.length;
      const rank = lists[last].indexOf(i);
      const above = lists[last].slice(Math.max(0, rank - 3), rank).reverse();
      const fate = kept ? `kept, at rank ${rank + 1} of ${this.ranker(last)}` : `cut by ${this.ranker(stage)} → ${cutoffs[stage]}, at rank ${rank + 1}`;
      const told = above.flatMap((one, n) => [n ? "; " : "", isolate(this.docno(one)), ` (${this.describe(one)})`]);
      rows.push([kept ? 1 : 0, -this.page.orders.labels[i], rank, [isolate(this.docno(i)), String(this.page.orders.labels[i]), fate, told.length ? make("span", {}, ...told) : "nothing"]]);
    }
    rows.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
    const shown = rows.slice(0, 15);
    const missing = this.page.orders.relevant[q] - rows.length;
    const title = make("h3", {}, "Query ", isolate(content.queries.qids[q]), ...(content.queries.texts[q].trim() ? [": ", isolate(content.queries.texts[q])] : []));
    const words = make("p", {}, `${rows.filter((row) => !row[0]).length} of ${this.page.orders.relevant[q]} relevant documents are cut, ${missing} were not retrieved by ${content.stages[0]}.${shown.length < rows.length ? ` The first ${shown.length}, those with the highest label first:` : ""}`);
    const scroll = make("div", { className: "scroll", tabIndex: 0 }, make("table", { id: "fates" }));
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "What became of its relevant documents");
    element("query").replaceChildren(title, words, scroll);
    fillTable("fates", [["Relevant document", false], ["Label", true], ["What became of it", false], ["Just above it", false]], shown.map((row) => row[3]));
  }

  describe(i) {
    const label = this.page.orders.labels[i];
    return label === -2147483648 ? "not judged" : label >= this.page.orders.rel ? `relevant, ${label}` : `not relevant, ${label}`;
  }

  /** Fill the table of vectors: the sliders', the choice, the deepest, the best within the budget, and some of the front. */
  compare() {
    const step = Math.max(1, Math.ceil(this.page.front.length / 8));
    const front = this.page.front.filter((_, n) => n % step === 0 || n === this.page.front.length - 1);
    const named = [["sliders", this.page.row], ["choice", content.chosen], ["method's pick", content.picked === content.chosen ? null : content.picked], ["deepest", content.deepest], ["best within the budget", this.page.best()], ...front.map((row) => ["front", row])];
    const rows = named.filter(([, row]) => row !== null).map(([what, row]) => [
      what, this.page.name(row), ...content.measures.map((_, n) => four(this.page.rows.all[n][row])), amount(this.page.rows.cost[row]),
      ...(this.page.percentile(row) === null ? [] : [amount(this.page.percentile(row))]),
    ]);
    const heads = [["What", false], ["Cascade", false], ...content.measures.map((measure) => [measure.name, true]), [`${content.cost.label}, ${content.cost.unit}`, true]];
    if (this.page.percentile(this.page.row) !== null) heads.push([`p${show(content.latency.level)}, ms`, true]);
    fillTable("compare", heads, rows, 0);
  }
}
