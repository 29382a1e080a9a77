// @ts-check
// The rows of the sweep: which row the sliders show, the Pareto front, and what the budget allows.

class Rows {
  /** @param {any} content what Python collected, unpacked */
  constructor(content) {
    this.axes = content.axes;
    this.stages = content.stages.length;
    this.count = content.rows.cost.length;
    this.cost = content.rows.cost;
    this.allowed = content.rows.allowed;  // by another limit of the budget; null: all
    this.places = this.axes.map((_, n) => content.rows.axes.subarray(n * this.count, (n + 1) * this.count));
    this.fusion = content.rows.axes.subarray(this.axes.length * this.count);
    this.fusions = content.fusions;
    this.all = content.measures.map((measure) => content.rows.values.subarray(measure.at * this.count, (measure.at + 1) * this.count));
  }

  /** The value of a row on an axis; null: no cut, or not fused. */
  value(row, axis) {
    return this.axes[axis].values[this.places[axis][row]];
  }

  /** @returns {(number|null)[]} */
  cutoffs(row) {
    return this.axes.slice(0, this.stages).map((_, n) => this.value(row, n));
  }

  isFused(row) {
    return Boolean(this.fusions[this.fusion[row]]);
  }

  /** Whether a row is within a limit, as stored: costs are float32. @param {number} row @param {number} limit */
  isWithin(row, limit) {
    return this.cost[row] <= Math.fround(limit) && (!this.allowed || this.allowed[row] === 1);
  }

  /** The row with one axis at a place and the others closest to those of a row. */
  closest(row, axis, place) {
    let [best, least] = [row, Infinity];
    const wide = this.axes.map((one) => 1 / one.values.length);
    for (let other = 0; other < this.count; other++) {
      if (this.places[axis][other] !== place) continue;
      let far = 0;
      for (let n = 0; n < this.axes.length && far < least; n++) far += Math.abs(this.places[n][other] - this.places[n][row]) * wide[n];
      if (far < least) [best, least] = [other, far];
    }
    return best;
  }

  /** The row with these places, or the closest one in all axes. @param {number[]} places */
  find(places) {
    let [best, least] = [0, Infinity];
    for (let row = 0; row < this.count; row++) {
      let far = 0;
      for (let n = 0; n < places.length && far < least; n++) far += Math.abs(this.places[n][row] - places[n]);
      if (far < least) [best, least] = [row, far];
    }
    return best;
  }

  /** The allowed rows that no other beats at the same or lower cost, cheapest first; of equal ones the first. @param {number} measure */
  front(measure) {
    const values = this.all[measure];
    const order = Uint32Array.from(this.cost.keys()).sort((a, b) => this.cost[a] - this.cost[b] || values[b] - values[a] || a - b);
    const found = [];
    let best = -Infinity;
    for (const row of order) {
      if (values[row] > best && this.isWithin(row, Infinity)) {
        found.push(row);
        best = values[row];
      }
    }
    return found;
  }
}

const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
const SHADES = Array.from({ length: 256 }, (_, n) => {
  const at = (n / 255) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  const part = (color, start) => parseInt(CIVIDIS[color].slice(start, start + 2), 16);
  return [1, 3, 5].map((start) => Math.round(part(low, start) + (part(low + 1, start) - part(low, start)) * (at - low)));
});

/** A color of the scale as a number for an image: alpha, blue, green, red. @param {number} share from 0 to 1 */
function shade(share, alpha) {
  const [red, green, blue] = SHADES[Math.round(255 * Math.min(Math.max(share, 0), 1))];
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Where a value stands between two ends, from 0 to 1, on a linear or logarithmic scale. */
function shareOf(value, low, high, log) {
  if (log) return high > low ? (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low)) : 0;
  return high > low ? (value - low) / (high - low) : 0;
}
