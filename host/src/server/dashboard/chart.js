// A figure over time: a line with its area, drawn as SVG that stretches, with its labels as text beside it.

import { h, s, say } from "./dom.js";

/** What is longer than this between two moments is a time in which nothing ran, in milliseconds. */
const GAP = 5000;
/** The shortest and the longest time that is drawn, in milliseconds. */
const SPAN = [60_000, 600_000];
const WIDTH = 600;

/** The least round number that is not below, in units of `base` ** n: 1000 or 1024. */
export function ceiling(value, base = 1000) {
  if (value <= 0) return 1;
  const unit = base ** Math.max(0, Math.floor(Math.log(value) / Math.log(base)));
  const power = 10 ** Math.floor(Math.log10(value / unit));
  const steps = [1, 2, 2.5, 5, 10].map((step) => step * power * unit);
  return steps.find((round) => round >= value * 0.999);
}

/** Lines of moments without gaps between them, each as points of the drawing. */
function runs(points, x, y) {
  const found = [];
  let last = -Infinity;
  for (const { time, value } of points) {
    if (time - last > GAP) found.push([]);
    found.at(-1).push([x(time).toFixed(1), y(value).toFixed(1)]);
    last = time;
  }
  return found;
}

function draw(line, area, points, x, y, bottom) {
  const lines = runs(points, x, y);
  line.setAttribute("d", lines.map((run) => `M${run.map((point) => point.join(" ")).join("L")}${run.length === 1 ? "h1" : ""}`).join(""));
  const closed = lines.map((run) => `M${run[0][0]} ${bottom}L${run.map((point) => point.join(" ")).join("L")}L${run.at(-1)[0]} ${bottom}Z`);
  area.setAttribute("d", closed.join(""));
}

/** A large one, with a scale, the latest value, and that under the pointer. */
export class Chart {
  constructor(title, format, { tone = "plain", base = 1000 } = {}) {
    [this.title, this.format, this.base, this.points] = [title, format, base, []];
    this.height = 120;
    this.line = s("path", { class: "line" });
    this.area = s("path", { class: "area" });
    this.hair = s("path", { class: "hair" });
    const grid = [0.25, 0.5, 0.75].map((part) => s("path", { class: "grid", d: `M0 ${this.height * part}H${WIDTH}` }));
    this.drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${this.height}`, preserveAspectRatio: "none", role: "img" }, ...grid, this.area, this.line, this.hair);
    [this.top, this.now, this.from] = [h("span", { class: "top" }), h("span", { class: "value" }), h("span", {})];
    this.element = h("figure", { class: `chart ${tone}` },
      h("figcaption", {}, h("span", {}, title), this.now),
      h("div", { class: "plot" }, this.drawing, this.top),
      h("div", { class: "times" }, this.from, h("span", {}, "now")));
    this.drawing.addEventListener("pointermove", (event) => this.point(event));
    this.drawing.addEventListener("pointerleave", () => this.leave());
  }

  /** Draws points `{ time, value }`, in the order of their times. */
  show(points, now) {
    this.points = points;
    const first = points.length ? points[0].time : now;
    this.span = Math.min(Math.max(now - first, SPAN[0]), SPAN[1]);
    this.begin = now - this.span;
    const most = Math.max(0, ...points.map((point) => point.value));
    const top = ceiling(most, this.base);
    const x = (time) => ((time - this.begin) / this.span) * WIDTH;
    const y = (value) => this.height - 1 - (value / top) * (this.height - 4);
    draw(this.line, this.area, points.filter((point) => point.time >= this.begin), x, y, this.height);
    say(this.top, points.length ? this.format(top) : "");
    say(this.from, `${Math.round(this.span / 1000) >= 120 ? `${Math.round(this.span / 60_000)} min` : `${Math.round(this.span / 1000)} s`} ago`);
    this.latest = points.findLast((point) => now - point.time < GAP);
    const { latest } = this;
    const text = latest ? this.format(latest.value) : "nothing now";
    this.drawing.setAttribute("aria-label", `${this.title}: ${text}; at most ${this.format(most)}`);
    if (!this.isPointed) say(this.now, latest ? text : "–");
  }

  point(event) {
    const box = this.drawing.getBoundingClientRect();
    const time = this.begin + ((event.clientX - box.left) / box.width) * this.span;
    const near = this.points.reduce((best, point) =>
      !best || Math.abs(point.time - time) < Math.abs(best.time - time) ? point : best, null);
    if (!near) return;
    this.isPointed = true;
    const x = ((near.time - this.begin) / this.span) * WIDTH;
    this.hair.setAttribute("d", `M${x} 0V${this.height}`);
    say(this.now, `${new Date(near.time).toLocaleTimeString([], { hour12: false })}  ${this.format(near.value)}`);
  }

  leave() {
    this.isPointed = false;
    this.hair.removeAttribute("d");
    say(this.now, this.latest ? this.format(this.latest.value) : "–");
  }
}

/** A small one for a cell of a table; the figure beside it says the same. */
export class Sparkline {
  constructor() {
    this.line = s("path", { class: "line" });
    this.area = s("path", { class: "area" });
    this.element = s("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" }, this.area, this.line);
  }

  show(points, now) {
    const begin = now - SPAN[0];
    const shown = points.filter((point) => point.time >= begin);
    const top = Math.max(1e-9, ...shown.map((point) => point.value));
    draw(this.line, this.area, shown, (time) => ((time - begin) / SPAN[0]) * 100, (value) => 23 - (value / top) * 21, 24);
  }
}
