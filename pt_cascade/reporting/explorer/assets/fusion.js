// @ts-check
// The ranking by the fused scores of all stages, as the Python package computes it.

/** What scores become in a list by descending score; see normalization.py for the rules. */
const NORMALISERS = {
  "min-max": (scores) => {
    const [high, low] = [scores[0], scores[scores.length - 1]];
    return scores.map((score) => (high > low ? (score - low) / (high - low) : 1));
  },
  "z-score": (scores) => {
    const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
    const deviation = Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / scores.length);
    return scores.map((score) => (scores[0] > scores[scores.length - 1] ? (score - mean) / deviation : 0));
  },
  max: (scores) => {
    const largest = Math.max(scores[0], -scores[scores.length - 1]);
    return scores.map((score) => (largest > 0 ? score / largest : 0));
  },
  sum: (scores) => {
    const low = scores[scores.length - 1];
    const total = scores.reduce((sum, score) => sum + (score - low), 0);
    return scores.map((score) => (total > 0 ? (score - low) / total : 1 / scores.length));
  },
  rank: (scores) => scores.map((_, rank) => 1 - rank / scores.length),
  none: (scores) => scores,
};

/** The fused score of some documents of a query. */
class Fused {
  /**
   * @param {Orders} orders @param {{weights: number[], method: string, normalise: string, k: number}} fusion
   * @param {Float64Array} scores by stage and document
   */
  constructor(orders, fusion, scores) {
    this.orders = orders;
    this.fusion = fusion;
    this.scores = scores;
  }

  /**
   * Rank documents, which are in the order of the last stage; give their scores, too. Those that a stage with a weight failed on
   * follow below; where it failed on all, the last stage's ranking stays. @param {number[]} all
   */
  rank(q, all) {
    const { orders, fusion } = this;
    const failed = (i) => fusion.weights.some((weight, stage) => weight && this.scores[stage * orders.total + i] === -Infinity);
    const [docs, apart] = [all.filter((i) => !failed(i)), all.filter(failed)];
    if (!docs.length) return { ranked: all };
    const terms = new Map(docs.map((i) => [i, []]));
    for (let stage = 0; stage < orders.stages; stage++) {
      if (!fusion.weights[stage]) continue;
      const ranked = orders.select(orders.orders[stage], orders.begin[q], orders.begin[q + 1], docs);
      const scores = ranked.map((i) => this.scores[stage * orders.total + i]);
      const worth = fusion.method === "rrf" ? ranked.map((_, rank) => 1 / (fusion.k + 1 + rank)) : NORMALISERS[fusion.normalise](scores);
      ranked.forEach((i, rank) => terms.get(i).push(worth[rank] * fusion.weights[stage]));
    }
    // from the smallest to the largest, so that documents ranked in opposite order tie
    const fused = new Map(docs.map((i) => [i, terms.get(i).sort((a, b) => a - b).reduce((sum, one) => sum + one)]));
    apart.forEach((i, n) => fused.set(i, -1e30 * (n + 1)));
    return { ranked: [...docs.sort((a, b) => fused.get(b) - fused.get(a)), ...apart], fused };
  }
}

/** Order documents as they are evaluated: by scores in float32, then docnos descending; or by scores, then docnos ascending. */
function orderEvaluated(docs, fused, names, kind) {
  const score = kind ? (i) => fused.get(i) : (i) => Math.fround(fused.get(i));
  return [...docs].sort((a, b) => score(b) - score(a) || (kind ? names[a] - names[b] : names[b] - names[a]));
}
