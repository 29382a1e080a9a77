// @ts-check
// Rankings, losses, recall, measures and times at any cut-offs, from the orders of the stages: as the Python package computes them.

/** @typedef {{type: string, data: string}} Packed */
/** @typedef {{name: string, at: number, code: number[] | null, norm: number}} Measure */
/** @typedef {{fixed: number, each: number, pairs: number, compares: boolean, stage: string, depths?: number,
 *             documents?: Float64Array, ms?: Float64Array}} StageTimes */

const ARRAYS = {
  int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, uint32: Uint32Array, float32: Float32Array, float64: Float64Array,
};

/** Read an array or a list of words that Python packed. @param {Packed} packed */
async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const read = new Response(stream);
  return packed.type === "json" ? read.json() : new ARRAYS[packed.type](await read.arrayBuffer());
}

/** Read every packed array inside a value, in place. @param {any} value */
async function unpackAll(value) {
  for (const [key, inner] of Object.entries(value ?? {})) {
    if (inner === null || typeof inner !== "object") continue;
    if (typeof inner.type === "string" && typeof inner.data === "string") value[key] = await unpack(inner);
    else if (!Array.isArray(inner) || typeof inner[0] === "object") await unpackAll(inner);
  }
  return value;
}

/** The queries of the page, and every stage's order of their documents. */
class Orders {
  /** @param {any} content what Python collected, unpacked */
  constructor(content) {
    const queries = content.queries;
    this.stages = content.stages.length;
    this.keep = content.keep;
    this.rel = content.rel;
    this.labels = queries.labels;
    this.relevant = queries.relevant;
    this.norms = queries.norms;
    this.total = this.labels.length;
    this.names = queries.names;
    this.byRank = content.byRank;
    this.fusions = content.fusions.map((fusion) => fusion && new Fused(this, fusion, queries.scores));
    this.count = queries.sizes.length;
    this.begin = new Uint32Array(this.count + 1);
    for (let q = 0; q < this.count; q++) this.begin[q + 1] = this.begin[q] + queries.sizes[q];
    const n = this.total;
    this.orders = [];  // by stage: the document at each place; then in the two orders of evaluation
    for (let stage = 0; stage < this.stages + 2; stage++) {
      const places = stage < this.stages ? stage : this.stages - 1;
      const order = new Int32Array(n).fill(-1);
      for (let q = 0; q < this.count; q++) {
        for (let i = this.begin[q]; i < this.begin[q + 1]; i++) {
          let place = queries.places[places * n + i];
          if (place && stage >= this.stages) place += queries.shifts[(stage - this.stages) * n + i];
          if (place) order[this.begin[q] + place - 1] = i;
        }
      }
      this.orders.push(order);
    }
    this.inside = new Uint8Array(n);
  }

  /**
   * What each stage ranks for one query, and last what is passed on, in rank order; documents are numbered over all queries.
   * With a fusion, the last stage ranks by it.
   * @param {number} q @param {(number|null)[]} cutoffs @param {number} fusion its number @returns {number[][]}
   */
  walk(q, cutoffs, fusion) {
    const [from, to] = [this.begin[q], this.begin[q + 1]];
    /** @type {number[][] & {fused?: Map<number, number>}} */
    const lists = [];  // and, with a fusion, the fused score of each document
    let passed = [];
    for (let i = from; i < to; i++) passed.push(i);
    for (let stage = 0; stage < this.stages; stage++) {
      let ranked = this.select(this.orders[stage], from, to, passed);
      if (stage === this.stages - 1 && this.fusions[fusion]) ({ ranked, fused: lists.fused } = this.fusions[fusion].rank(q, ranked));
      lists.push(ranked);
      passed = cutoffs[stage] === null ? ranked : ranked.slice(0, /** @type {number} */ (cutoffs[stage]));
    }
    lists.push(passed);
    return lists;
  }

  /** Put some documents into an order of their query. @param {number[]} wanted */
  select(order, from, to, wanted) {
    for (const i of wanted) this.inside[i] = 1;
    const found = [];
    for (let place = from; found.length < wanted.length && place < to; place++) {
      const i = order[place];
      if (i >= 0 && this.inside[i]) found.push(i);
    }
    for (const i of wanted) this.inside[i] = 0;
    return found;
  }

  /**
   * The final list of a query as it is evaluated, from what ``walk`` returned.
   * @param {number} kind the order of evaluation: 0 as trec_eval, 1 as ir_measures' own measures
   */
  evaluated(q, lists, cutoffs, kind) {
    const kept = lists[this.stages];
    const final = !lists.fused ? this.select(this.orders[this.stages + kind], this.begin[q], this.begin[q + 1], kept)
      : this.byRank ? [...kept] : orderEvaluated(kept, lists.fused, this.names, kind);
    if (!this.keep) return final;
    for (let stage = this.stages - 1; stage >= 0; stage--) {
      if (cutoffs[stage] !== null) final.push(...lists[stage].slice(cutoffs[stage]));
    }
    return final;
  }

  /** One measure of one query. @param {Measure} measure */
  measure(q, lists, cutoffs, measure) {
    const [kind, cutoff, rel, order] = /** @type {number[]} */ (measure.code);
    const docs = this.evaluated(q, lists, cutoffs, order);
    return measureList(kind, Math.min(cutoff, docs.length), rel, this.norms[measure.norm * this.count + q], docs, this.labels);
  }

  /**
   * Replay all queries: the measure of each, relevant documents left after each step, and each stage's recall@k with its spread.
   * @param {(number|null)[]} cutoffs @param {number} fusion its number @param {Measure} measure
   */
  replay(cutoffs, fusion, measure) {
    const values = new Float64Array(this.count).fill(NaN);
    const left = new Array(this.stages + 2).fill(0);
    const recall = new Array(this.stages + 2).fill(0);
    const curves = [];
    for (let stage = 0; stage < this.stages; stage++) curves.push({ sum: [], square: [], longest: 0 });
    for (let q = 0; q < this.count; q++) {
      const lists = this.walk(q, cutoffs, fusion);
      const all = this.relevant[q];
      const counts = [all, ...lists.map((list) => this.countRelevant(list))];
      counts.forEach((count, step) => { left[step] += count; recall[step] += count / Math.max(all, 1); });
      lists.slice(0, this.stages).forEach((list, stage) => this.addRecall(curves[stage], list, all));
      if (measure.code) values[q] = this.measure(q, lists, cutoffs, measure);
    }
    return { values, left, recall: recall.map((sum) => sum / this.count), curves: curves.map((one) => this.finish(one)) };
  }

  countRelevant(list) {
    let count = 0;
    for (const i of list) if (this.labels[i] >= this.rel) count++;
    return count;
  }

  /** Add one query's recall to sums over queries: its steps, and those of its square. */
  addRecall(curve, list, all) {
    curve.longest = Math.max(curve.longest, list.length);
    let hits = 0;
    for (let rank = 0; rank < list.length; rank++) {
      if (this.labels[list[rank]] < this.rel) continue;
      curve.sum[rank] = (curve.sum[rank] ?? 0) + 1 / all;
      curve.square[rank] = (curve.square[rank] ?? 0) + (2 * hits + 1) / (all * all);
      hits++;
    }
  }

  /** Turn steps into means at k = 1, 2, ... with 1.96 standard errors. */
  finish(curve) {
    const [recall, error] = [[], []];
    let [sum, square] = [0, 0];
    for (let rank = 0; rank < curve.longest; rank++) {
      sum += curve.sum[rank] ?? 0;
      square += curve.square[rank] ?? 0;
      const mean = sum / this.count;
      const variance = this.count > 1 ? Math.max(square - this.count * mean * mean, 0) / (this.count - 1) : 0;
      recall.push(mean);
      error.push(1.96 * Math.sqrt(variance / this.count));
    }
    return { recall, error };
  }
}

/** The measure of the first documents of a list, as trec_eval defines it; kinds as in kernel_measures.py. */
function measureList(kind, depth, rel, norm, docs, labels) {
  const [NDCG, RR, RECALL, PRECISION, AP, JUDGED, SUCCESS] = [0, 1, 2, 3, 4, 5, 6];
  let [found, total] = [0, 0];
  for (let i = 0; i < depth; i++) {
    const label = labels[docs[i]];
    if (kind === NDCG) total += label > 0 ? label / Math.log2(i + 2) : 0;
    else if (kind === JUDGED) found += label !== -2147483648 ? 1 : 0;
    else if (label >= rel) {
      found++;
      if (kind === AP) total += found / (i + 1);
      else if (kind === RR) return 1 / (i + 1);
    }
  }
  if (kind === JUDGED) return depth ? found / depth : 0;
  if (kind === RECALL || kind === PRECISION) total = found;
  else if (kind === SUCCESS) total = Math.min(found, 1);
  return norm > 0 ? total / norm : 0;
}

/**
 * The time of each timed query at some cut-offs, ascending; as Cost and StageTimes compute it.
 * @param {{retrieved: Int32Array, stages: StageTimes[]}} latency @param {(number|null)[]} cutoffs
 */
function sumTimes(latency, cutoffs) {
  const sums = new Float64Array(latency.retrieved.length);
  let depth = Infinity;
  latency.stages.forEach((stage, n) => {
    for (let row = 0; row < sums.length; row++) {
      const given = n ? Math.min(depth, latency.retrieved[row]) : 0;
      if (!n || given >= (stage.compares ? 2 : 1)) sums[row] += timeAt(stage, row, given);
    }
    depth = Math.min(depth, cutoffs[n] ?? Infinity);
  });
  return sums.sort();
}

/** One query's time in one stage. @param {StageTimes} stage */
function timeAt(stage, row, given) {
  const pairs = (documents) => (stage.compares ? documents * documents - documents : documents * stage.pairs);
  const fitted = (documents) => stage.fixed + stage.each * pairs(documents);
  if (!stage.depths || !stage.documents || !stage.ms) return fitted(given);
  const at = row * stage.depths;
  const known = stage.documents.subarray(at, at + stage.depths);
  const times = stage.ms.subarray(at, at + stage.depths);
  const inside = Math.min(Math.max(given, known[0]), known[known.length - 1]);
  let ms = times[0];
  for (let n = 0; n + 1 < known.length; n++) {
    const gap = Math.max(pairs(known[n + 1]) - pairs(known[n]), 1);
    ms += Math.min(Math.max((pairs(inside) - pairs(known[n])) / gap, 0), 1) * (times[n + 1] - times[n]);
  }
  return fitted(inside) > 0 ? (ms * fitted(given)) / fitted(inside) : ms;
}

/** The least value that at least so many per cent of ascending values do not exceed. */
function takePercentile(sorted, level) {
  const place = Math.max(Math.ceil(Number(((level * sorted.length) / 100).toFixed(9))), 1) - 1;
  return sorted[place];
}
