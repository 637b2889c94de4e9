// One pipeline: what it does now, how it went over the last minutes, what it says, and the buttons that change it.

import { ask, follow, of } from "./api.js";
import { Chart } from "./chart.js";
import { now } from "./clock.js";
import { Table, column, confirm, h, made, pill, say, section, showPhase } from "./dom.js";
import { bytes, clock, count, date, milliseconds, since } from "./format.js";
import { Graph } from "./graph.js";
import { Logs } from "./logs.js";
import { Rejected } from "./rejected.js";
import { MOMENTS, Rates, moments, series } from "./rates.js";

/** Delivered epochs that are listed. */
const EPOCHS = 12;

export function pipeline(page, tenant, name) {
  return new Page(page, tenant, name);
}

class Page {
  constructor({ signal, fail }, tenant, name) {
    Object.assign(this, { signal, fail, tenant, name, title: name });
    [this.rates, this.past, this.epochs, this.nodeRates] = [new Rates(), [], new Map(), new Map()];
    this.charts = charts();
    this.tiles = tiles();
    this.logs = new Logs();
    this.rejected = new Rejected(tenant, name, signal, fail);
    this.nodes = nodeTable();
    this.epochTable = epochTable();
    this.build();
    follow(tenant, signal, {
      begin: () => this.begin(),
      status: (event) => event.pipeline === name && this.take(event.status),
      log: (event) => event.pipeline === name && this.logs.add([event.line]),
    }).catch(fail);
  }

  build() {
    [this.phase, this.facts, this.failure] = [pill(), h("span", { class: "quiet" }), h("p", { class: "wrong", role: "alert", hidden: true })];
    this.buttons = {
      pause: this.button("Pause", "pause", "It stops at a committed epoch, keeps what it remembers, and goes on from there when it is resumed."),
      resume: this.button("Resume", "resume", "It goes on from its last commit."),
      stop: this.button("Stop", "stop", "It delivers what it has read and ends. It keeps what it remembers until it is removed."),
    };
    this.graph = h("div", {}, h("p", { class: "empty" }, "…"));
    this.versions = h("div");
    this.element = h("div", {},
      h("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, h("a", { href: `#/t/${this.tenant}/pipelines` }, "Pipelines"), " / ", this.name),
      h("div", { class: "title" },
        h("h1", {}, this.name), h("span", { role: "status" }, this.phase), this.facts,
        h("div", { class: "buttons" }, ...Object.values(this.buttons))),
      this.failure,
      h("dl", { class: "tiles" }, this.tiles.map((tile) => tile.element)),
      section("Graph", this.graph),
      section("Last minutes", h("div", { class: "charts" }, this.charts.map((one) => one.chart.element))),
      section("Sources, steps and sinks", this.nodes.element),
      h("div", { class: "pair" },
        section("Latest epochs", this.epochTable.element),
        section("Log", this.logs.element)),
      section("Rejected rows", this.rejected.element),
      section("Versions", this.versions));
  }

  button(verb, action, detail) {
    return h("button", {
      type: "button", id: action, hidden: true,
      onclick: async () => {
        if (!(await confirm(`${verb} ${this.name}?`, detail, verb))) return;
        try {
          this.see(await ask(of(this.tenant, "pipelines", this.name, action), "POST"));
        } catch (refused) {
          this.fail(refused);
        }
      },
    }, verb);
  }

  /** Asks for everything that the stream does not say. */
  async begin() {
    const path = (...rest) => of(this.tenant, "pipelines", this.name, ...rest);
    const get = (...rest) => ask(path(...rest), "GET", this.signal);
    const [view, past, lines, outline, versions] = await Promise.all(
      [get(), get("history"), get("logs"), get("graph"), get("versions")]);
    this.past = moments(past);
    past.epochs.forEach((epoch) => this.epochs.set(epoch.epoch, epoch));
    this.logs.reset(lines);
    this.outline = outline;
    this.drawing = new Graph(outline);
    this.graph.replaceChildren(this.drawing.element);
    this.versions.replaceChildren(versionTable(versions, view.version).element, definition(versions, view.version));
    this.see(view);
    await this.rejected.look();
  }

  /** Shows what the catalog wants, and how that stands. */
  see(view) {
    this.view = view;
    if (view.status) this.take(view.status);
    else this.draw();
  }

  take(status) {
    const before = this.view.status;
    this.view.status = status;
    const next = this.rates.next(status);
    if (next) {
      this.past = [...this.past, next.moment].slice(-MOMENTS);
      this.nodeRates = next.nodes;
    }
    if (!this.rates.last) this.nodeRates = new Map();
    status.figures.recent.forEach((epoch) => this.epochs.set(epoch.epoch, epoch));
    this.draw();
    this.rejected.follow(status).catch(this.fail);
    // Whatever happened may be someone's wish, of which the stream says nothing.
    if (before && before.version !== status.version) this.begin().catch(this.fail);
    else if (before && before.phase.phase !== status.phase.phase) this.look().catch(this.fail);
  }

  async look() {
    this.see(await ask(of(this.tenant, "pipelines", this.name), "GET", this.signal));
  }

  draw() {
    const { status, wanted, version } = this.view;
    showPhase(this.phase, status);
    const facts = [`version ${version}`];
    if (status) facts.push(`for ${since(status.since)}`);
    if (status?.restarts) facts.push(`${status.restarts} restarts`);
    say(this.facts, facts.join(" · "));
    this.failure.hidden = !status?.failure;
    say(this.failure, status?.failure ?? "");
    const failed = status?.phase.phase === "failed";
    this.buttons.pause.hidden = wanted !== "running" || failed;
    this.buttons.resume.hidden = wanted === "running" && !failed;
    this.buttons.stop.hidden = wanted === "stopped";
    for (const { chart, figure } of this.charts) chart.show(series(this.past, figure), now());
    const latest = this.rates.last ? this.past.at(-1) : undefined;
    for (const tile of this.tiles) say(tile.value, status ? tile.show(status.figures, latest) : "–");
    this.drawing?.show(this.nodeRates);
    const counts = status?.figures.nodes ?? {};
    this.nodes.update((this.outline ?? []).map((node) => ({ ...node, counts: counts[node.name], now: this.nodeRates.get(node.name) })));
    this.drawEpochs();
  }

  drawEpochs() {
    const numbers = [...this.epochs.keys()].sort((one, other) => other - one);
    for (const old of numbers.slice(100)) this.epochs.delete(old);
    this.epochTable.update(numbers.slice(0, EPOCHS).map((number) => this.epochs.get(number)));
  }
}

const charts = () => [
  { figure: "rows_per_second", chart: new Chart("Input rate", (value) => `${count(value)} rows/s`) },
  { figure: "processing_ms", chart: new Chart("Processing time", milliseconds, { tone: "second" }) },
  { figure: "delay_ms", chart: new Chart("Scheduling delay", milliseconds, { tone: "third" }) },
  { figure: "backlog_bytes", chart: new Chart("Backlog", bytes, { tone: "fourth", base: 1024 }) },
];

function tiles() {
  const tile = (title, show) => {
    const value = h("dd");
    return { element: h("div", {}, h("dt", {}, title), value), value, show };
  };
  return [
    tile("Input", (figures, now) => (now ? `${count(now.rows_per_second)} rows/s` : "–")),
    tile("Bytes in", (figures, now) => (now ? `${bytes(now.bytes_per_second)}/s` : "–")),
    tile("Processing", (figures, now) => (now ? milliseconds(figures.processing_ms) : "–")),
    tile("Delay", (figures, now) => (now ? milliseconds(figures.delay_ms) : "–")),
    tile("Epochs", (figures) => count(figures.delivered)),
    tile("In flight", (figures, now) => (now ? figures.cut - figures.delivered : "–")),
    tile("Live memory", (figures, now) => (now ? bytes(figures.live_bytes) : "–")),
    tile("Dropped rows", (figures) => count(figures.dropped)),
  ];
}

function nodeTable() {
  const rate = (figure) => (row) => (row.now ? count(row.now[figure]) : "–");
  const total = (...figures) => (row) => (row.counts ? count(figures.reduce((sum, one) => sum + row.counts[one], 0)) : "–");
  const ofPlugin = (show) => (row) => (row.plugin ? show(row) : "");
  return new Table("Sources, steps and sinks", [
    column("Name", (row) => row.name),
    column("Is", (row) => `${row.role} · ${row.plugin ?? row.kind}`, "wide"),
    column("Rows in/s", rate("in"), "number"),
    column("Rows out/s", rate("out"), "number"),
    column("Rows in", total("rows_in"), "number wide"),
    column("Rows out", total("rows_out"), "number wide"),
    column("Calls", ofPlugin(total("calls")), "number wide"),
    column("Busy", ofPlugin((row) => (row.now ? `${(row.now.busy * 100).toFixed(row.now.busy < 0.1 ? 1 : 0)} %` : "–")), "number wide"),
    column("Skipped", total("skipped"), "number wide"),
    column("Rejected", total("rejected"), "number wide"),
    column("Traps", ofPlugin(total("traps")), "number wide"),
  ], { key: (row) => row.name, empty: "…" });
}

function epochTable() {
  return new Table("Latest epochs", [
    column("Epoch", (row) => row.epoch, "number"),
    column("Time", (row) => clock(row.time), "wide"),
    column("Input", (row) => bytes(row.bytes), "number"),
    column("Processing", (row) => milliseconds(row.processing_us / 1000), "number"),
    column("Delay", (row) => milliseconds(row.delay_us / 1000), "number"),
  ], { key: (row) => row.epoch, empty: "No epoch was delivered since the server started." });
}

function versionTable(versions, current) {
  const table = new Table("Versions of the pipeline", [
    column("Version", (row) => row.version, "number"),
    made("State", () => h("span", { class: "tag" }), (tag, row) => {
      tag.hidden = row.version !== current;
      say(tag, "current");
    }),
    column("Applied", (row) => date(row.applied)),
    column("By", (row) => row.applied_by, "wide"),
    column("Workers", (row) => row.workers, "number wide"),
    column("Plugins", (row) => row.plugins.map((used) => `${used.plugin}@${used.version}`).join(", "), "text"),
  ], { key: (row) => row.version, empty: "" });
  table.update(versions);
  return table;
}

function definition(versions, current) {
  const text = versions.find((version) => version.version === current)?.text ?? "";
  return h("details", {}, h("summary", {}, "Pipeline file"), h("pre", { tabindex: "0" }, text));
}
