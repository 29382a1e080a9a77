// @ts-check
// Fills Bokeh's figures, which Python made empty.

const WIDE = 240;
const HIGH = 120;
const CELLS = 160;  // pixels of the surface, each way
const FEW = 3000;  // rows that are drawn one by one
const NEAR = 0.8;  // of the best: where the colors of the surface begin

class Plots {
  constructor(content, rows) {
    this.content = content;
    this.rows = rows;
    this.log = content.cost.log;
    this.plots = {};
    this.views = {};
    this.scales = new Map();
  }

  /** Draw the empty figures. */
  async embed(figures) {
    for (const [name, item] of Object.entries(figures)) {
      const element = document.getElementById(name);
      if (element.closest("figure").hidden) continue;
      const views = await Bokeh.embed.embed_item(item, name);
      [this.views[name]] = views.roots;
      this.plots[name] = this.views[name].model;
      this.views[name].canvas_view.events_el.removeAttribute("tabindex");  // no key does anything there
    }
  }

  model(figure, name) {
    return this.plots[figure].document.get_model_by_name(name);
  }

  fill(figure, name, data) {
    this.model(figure, name).data = data;
  }

  range(figure, x, y) {
    const plot = this.plots[figure];
    [plot.x_range.start, plot.x_range.end] = x;
    [plot.y_range.start, plot.y_range.end] = y;
    if (figure === "recall" || (figure === "front" && this.log)) plot.below[0].ticker.ticks = roundTicks(x[0], x[1]);
  }

  mark(figure, name, x, y) {
    this.fill(figure, name, { x: [x], y: [y] });
  }

  label(figure, x, y) {
    this.plots[figure].below[0].axis_label = x;
    this.plots[figure].left[0].axis_label = y;
  }

  /** Put a copy of each figure beside it, which prints as it is: a figure is not drawn anew in time. */
  copyForPrint() {
    for (const [name, view] of Object.entries(this.views)) {
      const copy = view.export("png").canvas;
      copy.className = "printed";
      document.getElementById(name).parentElement.querySelector(".printed")?.remove();
      document.getElementById(name).after(copy);
    }
  }

  /** Take the colors of the page. */
  paint() {
    const style = getComputedStyle(document.documentElement);
    const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
    for (const plot of Object.values(this.plots)) {
      for (const axis of [...plot.below, ...plot.left]) {
        axis.setv({
          axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: line, major_tick_line_color: line,
          minor_tick_line_color: null, axis_label_text_font_style: "normal", axis_label_text_font_size: "13px", major_label_text_font_size: "12px",
        });
      }
      for (const grid of plot.center) if ("grid_line_color" in grid) grid.grid_line_color = line;
    }
  }

  /** Draw all rows, as points or, where there are many, as an image of how many there are; and the front. */
  drawCloud(measure, front) {
    const { cost } = this.rows;
    const values = this.rows.all[measure];
    const [left, right] = [least(cost), most(cost)];
    const [low, high] = [least(values), most(values)];
    const pad = (high - low || 0.1) * 0.12;  // room for a marker at the edge
    const room = this.log ? (right / left) ** 0.08 : (right - left || 1) * 0.08;
    const edge = this.log ? [left / room, right * room] : [left - room, right + room];
    this.range("front", edge, [low - pad, high + pad]);
    if (cost.length <= FEW) this.fill("front", "cloud", { x: Array.from(cost), y: Array.from(values) });
    else {
      const counts = new Uint32Array(WIDE * HIGH);
      for (let row = 0; row < cost.length; row++) {
        const x = Math.min(Math.floor(shareOf(cost[row], left, right, this.log) * WIDE), WIDE - 1);
        const y = Math.min(Math.floor(shareOf(values[row], low, high, false) * HIGH), HIGH - 1);
        counts[y * WIDE + x]++;
      }
      const top = Math.log(1 + most(counts));
      const colors = counts.map((count) => (count ? ((60 + 150 * (Math.log(1 + count) / top)) << 24 | 0x808080) >>> 0 : 0));
      this.fill("front", "cloud_image", { image: [asImage(colors, HIGH, WIDE)], x: [left], y: [low], dw: [right - left], dh: [high - low] });
    }
    const line = [...front, front[front.length - 1]];
    const x = line.map((row) => cost[row]);
    x[x.length - 1] = right;
    this.fill("front", "line", { x, y: line.map((row) => values[row]) });
    this.values = values;
    this.measure = measure;
  }

  /** Mark a row on the front and on the surface. */
  place(name, row, axes) {
    this.mark("front", name, this.rows.cost[row], this.values[row]);
    if (this.plots.surface) this.mark("surface", name, ...axes.map((axis) => this.scale(axis).at[this.rows.places[axis][row]]));
  }

  /** Where the cut-offs of an axis stand, logarithmic, no cut last; the ends; and the cut-off that is nearest to each pixel. */
  scale(axis) {
    if (!this.scales.has(axis)) {
      const { values } = this.rows.axes[axis];
      const top = Math.max(...values.map((value) => value ?? 1));
      const at = values.map((value) => Math.log(value ?? 2 * top));
      const start = at[0] - (at[1] - at[0]) / 2;
      const end = 1.5 * at[at.length - 1] - at[at.length - 2] / 2;
      let place = 0;
      const nearest = Int32Array.from({ length: CELLS }, (_, pixel) => {
        const here = start + ((pixel + 0.5) / CELLS) * (end - start);
        while (place + 1 < at.length && Math.abs(at[place + 1] - here) <= Math.abs(at[place] - here)) place++;
        return place;
      });
      this.scales.set(axis, { at, start, end, nearest });
    }
    return this.scales.get(axis);
  }

  /** Draw the measure over two cut-offs, the others as in a row; what exceeds the budget is hatched, to be told from low values. */
  drawSurface(row, axes, limit) {
    const others = this.rows.axes.map((_, n) => n).filter((n) => !axes.includes(n) && n !== this.rows.stages - 1);
    const drawn = [limit, this.measure, ...others.map((n) => this.rows.places[n][row])].join();
    if (drawn === this.drawn) return this.ends;
    this.drawn = drawn;
    const [places, values, [across, up]] = [this.rows.places, this.values, axes.map((axis) => this.scale(axis))];
    const cells = new Int32Array(across.at.length * up.at.length).fill(-1);
    for (let other = 0; other < this.rows.count; other++) {
      if (others.every((n) => places[n][other] === places[n][row])) cells[places[axes[1]][other] * across.at.length + places[axes[0]][other]] = other;
    }
    const high = most(values);
    const low = Math.max(least(values), NEAR * high);
    const colors = new Uint32Array(CELLS * CELLS);
    for (let pixel = 0; pixel < colors.length; pixel++) {
      const cell = cells[up.nearest[Math.floor(pixel / CELLS)] * across.at.length + across.nearest[pixel % CELLS]];
      const hatched = (Math.floor(pixel / CELLS) + (pixel % CELLS)) % 6 < 3;
      if (cell >= 0) colors[pixel] = shade(shareOf(values[cell], low, high, false), hatched && !this.rows.isWithin(cell, limit) ? 0 : 255);
    }
    const box = { x: [across.start], y: [up.start], dw: [across.end - across.start], dh: [up.end - up.start] };
    this.fill("surface", "cells", { image: [asImage(colors, CELLS, CELLS)], ...box });
    this.ends = [low, high];
    return this.ends;
  }

  /** Write some of the cut-offs at the axes of the surface. */
  scaleSurface(axes) {
    const lines = [this.plots.surface.below[0], this.plots.surface.left[0]];
    const ends = axes.map((axis, n) => {
      const { at, start, end } = this.scale(axis);
      const { values } = this.rows.axes[axis];
      const round = (value) => value === null || /^[125]0*$/.test(String(value));
      const ticks = at.filter((_, place) => round(values[place]) || place === 0);
      lines[n].ticker.ticks = ticks;
      lines[n].major_label_overrides = new Map(ticks.map((tick) => [tick, show(values[at.indexOf(tick)])]));
      return [start, end];
    });
    this.range("surface", ends[0], ends[1]);
    this.label("surface", `${this.rows.axes[axes[0]].name}, the cut-off of stage ${axes[0] + 1}`, this.rows.axes[axes[1]].name);
  }

  /** The place of the cut-off that is nearest to a point of an axis. */
  nearest(axis, point) {
    const { start, end, nearest } = this.scale(axis);
    return nearest[Math.min(Math.max(Math.floor(((point - start) / (end - start)) * CELLS), 0), CELLS - 1)];
  }

  /** Draw each stage's recall, with its cut-off, that of the choice, and its plateau. */
  drawRecall(curves, cutoffs) {
    const longest = Math.max(...curves.map((curve) => curve.recall.length), 2);
    this.range("recall", [0.9, longest * 1.1], [0, 1.03]);
    curves.forEach((curve, n) => {
      const k = curve.recall.map((_, at) => at + 1);
      const band = (sign) => curve.recall.map((mean, at) => Math.min(Math.max(mean + sign * curve.error[at], 0), 1));
      this.fill("recall", `recall${n}`, { x: k, y: curve.recall, low: band(-1), high: band(1) });
      const at = (cutoff) => Math.min(cutoff ?? Infinity, k.length);
      for (const [name, cutoff] of [["cut", cutoffs[n]], ["chosen", this.rows.value(this.content.chosen, n)]]) {
        this.fill("recall", `${name}${n}`, k.length ? { x: [at(cutoff)], y: [curve.recall[at(cutoff) - 1]] } : { x: [], y: [] });
      }
      const plateau = this.isReached(n, curves, cutoffs) ? this.content.plateaus[n].k : null;
      this.fill("recall", `plateau${n}`, plateau ? { x: [plateau], y: [curve.recall[plateau - 1]] } : { x: [], y: [] });
    });
  }

  /** Whether a stage has a plateau, and the stages before it are cut as where it was found. */
  isReached(stage, curves, cutoffs) {
    const { plateaus } = this.content;
    const as = (n) => Math.min(cutoffs[n] ?? Infinity, curves[n].recall.length) === plateaus[n].k;
    return Boolean(plateaus[stage]?.reached) && curves.slice(0, stage).every((_, n) => as(n));
  }

  /** Draw the share of queries answered within a time, and a percentile with its upper bound, if it has one. */
  drawTimes(times, limit, level, bound) {
    const share = Array.from(times, (_, n) => (n + 1) / times.length);
    const end = Math.max(times[times.length - 1], bound ?? 0, Number.isFinite(limit) && limit < 4 * times[times.length - 1] ? limit : 0, 1e-3) * 1.06;
    this.range("latency", [0, end], [0, 1.04]);
    this.fill("latency", "times", { x: [times[0], ...times, end], y: [0, ...share, 1] });
    const marks = level ? [takePercentile(times, level), ...(bound === null ? [] : [bound])] : [];
    this.fill("latency", "percentile", { x: marks, y: marks.map(() => level / 100) });
    this.setLimit("latency", limit);
  }

  setLimit(figure, limit) {
    this.model(figure, "limit").setv({ location: Number.isFinite(limit) ? limit : 1, visible: Number.isFinite(limit) });
  }
}

/** Round numbers for a logarithmic axis: 1, 2 and 5, or the powers of ten where those would be many. */
function roundTicks(low, high) {
  const powers = Array.from({ length: 40 }, (_, n) => 10 ** (n - 20));
  const inside = (ticks) => ticks.filter((tick) => low <= tick && tick <= high);
  const all = inside(powers.flatMap((power) => [1, 2, 5].map((one) => Number((one * power).toPrecision(1)))));
  return all.length > 7 ? inside(powers) : all;
}

/** Make what Bokeh takes as an image of colors. */
function asImage(colors, high, wide) {
  return Bokeh.require("core/util/ndarray").ndarray(colors, { dtype: "uint32", shape: [high, wide] });
}

/** @param {ArrayLike<number>} values */
function least(values) {
  let low = Infinity;
  for (let n = 0; n < values.length; n++) if (values[n] < low) low = values[n];
  return low;
}

/** @param {ArrayLike<number>} values */
function most(values) {
  let high = -Infinity;
  for (let n = 0; n < values.length; n++) if (values[n] > high) high = values[n];
  return high;
}

/** A cut-off or a weight as text. @param {number|null} value */
function show(value) {
  return value === null ? "all" : String(Number(value.toFixed(3)));
}
