// The graph of a pipeline: its nodes in columns, every one to the right of all that it reads, with the rates of the moment.

import { h, s, say } from "./dom.js";
import { count } from "./format.js";

const BOX = { width: 184, height: 68, right: 64, down: 24, margin: 6 };

/** A column and a place in it for each node: pure, of `[{ name, inputs }]`, whose inputs are names of nodes. */
export function layout(nodes) {
  const known = new Map(nodes.map((node) => [node.name, node]));
  const columns = new Map();
  const depth = (node, path) => {
    if (columns.has(node.name)) return columns.get(node.name);
    // A file that reads itself in a circle is never applied; it must not hang the page all the same.
    if (path.includes(node.name)) return 0;
    const before = node.inputs.map((name) => known.get(name)).filter(Boolean);
    const column = Math.max(-1, ...before.map((one) => depth(one, [...path, node.name]))) + 1;
    columns.set(node.name, column);
    return column;
  };
  nodes.forEach((node) => depth(node, []));
  const places = new Map();
  const filled = [];
  const sorted = nodes.toSorted((one, other) => columns.get(one.name) - columns.get(other.name));
  for (const node of sorted) {
    const column = columns.get(node.name);
    const before = node.inputs.map((name) => places.get(name)?.row).filter((row) => row !== undefined);
    // Beside what it reads, where there is room.
    const wanted = before.length ? Math.floor(before.reduce((sum, row) => sum + row, 0) / before.length) : 0;
    const taken = (filled[column] ??= new Set());
    let row = wanted;
    while (taken.has(row)) row += 1;
    taken.add(row);
    places.set(node.name, { column, row });
  }
  return places;
}

export class Graph {
  /** Of an outline `[{ name, role, kind, plugin, inputs }]`. */
  constructor(outline) {
    const nodes = outline.map((node) => ({ ...node, inputs: [...new Set(node.inputs.map((input) => input.split(".")[0]))] }));
    const places = layout(nodes);
    const x = (place) => BOX.margin + place.column * (BOX.width + BOX.right);
    const y = (place) => BOX.margin + place.row * (BOX.height + BOX.down);
    this.edges = [];
    this.rates = new Map();
    const edges = nodes.flatMap((node) => node.inputs.filter((name) => places.has(name)).map((name) => {
      const [from, to] = [places.get(name), places.get(node.name)];
      const [x1, y1, x2, y2] = [x(from) + BOX.width, y(from) + BOX.height / 2, x(to), y(to) + BOX.height / 2];
      const bend = Math.max(24, (x2 - x1) / 2);
      const edge = s("path", { class: "edge", d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
      this.edges.push({ from: name, edge });
      return edge;
    }));
    const boxes = nodes.map((node) => this.box(node, x(places.get(node.name)), y(places.get(node.name))));
    const all = [...places.values()];
    const width = Math.max(0, ...all.map((place) => x(place) + BOX.width)) + BOX.margin;
    const height = Math.max(0, ...all.map((place) => y(place) + BOX.height)) + BOX.margin;
    const label = `${nodes.length} nodes: ${nodes.map((node) => node.inputs.length ? `${node.name} reads ${node.inputs.join(" and ")}` : node.name).join("; ")}`;
    const drawing = s("svg", { class: "graph", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...edges, ...boxes);
    this.element = h("div", { class: "scroll graphs", tabindex: "0", role: "region", "aria-label": "Graph of the pipeline" }, drawing);
  }

  box(node, x, y) {
    const rate = s("text", { x: 14, y: 57, class: "rate" });
    const trouble = s("text", { x: BOX.width - 12, y: 23, class: "trouble", "text-anchor": "end" });
    this.rates.set(node.name, { rate, trouble, role: node.role });
    const what = node.plugin ?? node.kind;
    return s("g", { class: `node ${node.role}`, transform: `translate(${x} ${y})` },
      s("title", {}, `${node.role} ${node.name}: ${what}`),
      s("rect", { width: BOX.width, height: BOX.height, rx: 8 }),
      s("path", { class: "stripe", d: `M4 12v${BOX.height - 24}` }),
      s("text", { x: 14, y: 23, class: "name" }, short(node.name, 18)),
      s("text", { x: 14, y: 40, class: "what" }, short(node.plugin ? `plugin ${what}` : what, 26)),
      rate, trouble);
  }

  /** Shows rates `{ in, out, dropped }` a second by node; nothing of those that are not there. */
  show(rates) {
    for (const [name, { rate, trouble, role }] of this.rates) {
      const now = rates.get(name);
      const sides = { source: [now?.in], sink: [now?.in], step: [now?.in, now?.out] }[role];
      say(rate, now ? `${sides.map(count).join(" → ")} rows/s` : "– rows/s");
      say(trouble, now?.dropped ? `${count(now.dropped)} dropped` : "");
    }
    for (const { from, edge } of this.edges) {
      const flow = rates.get(from)?.out ?? 0;
      edge.classList.toggle("flows", flow > 0);
      edge.setAttribute("stroke-width", (1.5 + Math.min(4, Math.log10(1 + flow) * 0.7)).toFixed(1));
    }
  }
}

const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
