// All pipelines of a tenant, live.

import { Refused, ask, follow, of } from "./api.js";
import { now } from "./clock.js";
import { Sparkline } from "./chart.js";
import { Table, column, h, made, pill, say, showPhase } from "./dom.js";
import { bytes, count, milliseconds, plural, since } from "./format.js";
import { MOMENTS, Rates, moments, series } from "./rates.js";

/** How often the list is asked for again, in milliseconds. */
const AGAIN = 15_000;

/** Nothing, where what was asked of has been removed meanwhile. */
function gone(error) {
  if (error instanceof Refused && error.status === 404) return null;
  throw error;
}

export const address = (tenant, name) => `#/t/${tenant}/pipelines/${name}`;

export function pipelines({ signal, fail }, tenant) {
  const known = new Map();
  const summary = h("p", { class: "summary" });
  const table = new Table(`Pipelines of ${tenant}`, columns(tenant), {
    key: (row) => row.name,
    empty: ["No pipelines yet. ", h("code", {}, "wasmill pipeline apply pipeline.toml"), " makes the first one."],
  });
  const draw = () => {
    const rows = [...known.values()].sort((one, other) => one.name.localeCompare(other.name));
    table.update(rows);
    say(summary, summed(rows));
  };
  const begin = async () => {
    const views = await ask(of(tenant, "pipelines"), "GET", signal);
    const names = new Set(views.map((view) => view.name));
    for (const name of known.keys()) if (!names.has(name)) known.delete(name);
    for (const view of views) {
      const row = known.get(view.name) ?? { rates: new Rates(), past: [], tenant };
      known.set(view.name, Object.assign(row, view));
    }
    draw();
    const ask_past = views.map(async (view) => {
      const past = await ask(of(tenant, "pipelines", view.name, "history"), "GET", signal).catch(gone);
      const row = known.get(view.name);
      if (row && past) row.past = moments(past);
    });
    await Promise.all(ask_past);
    draw();
  };
  // The stream does not say that one was removed.
  const again = setInterval(() => begin().catch(() => {}), AGAIN);
  signal.addEventListener("abort", () => clearInterval(again));
  const status = ({ pipeline, status }) => {
    const row = known.get(pipeline);
    // One that is new: the catalog says the rest of it.
    if (!row) return begin().catch(fail);
    row.status = status;
    const next = row.rates.next(status);
    if (next) row.past = [...row.past, next.moment].slice(-MOMENTS);
    draw();
  };
  follow(tenant, signal, { begin, status }).catch(fail);
  const element = h("div", {}, h("div", { class: "title" }, h("h1", {}, "Pipelines"), summary), table.element);
  return { title: "Pipelines", element };
}

const runs = (row) => ["running", "draining"].includes(row.status?.phase.phase);
const latest = (row) => (runs(row) ? row.past.at(-1) : undefined);
const figure = (row, show) => (latest(row) ? show(latest(row)) : "–");

function summed(rows) {
  const inPhase = (...phases) => rows.filter((row) => phases.includes(row.status?.phase.phase)).length;
  const rate = rows.reduce((sum, row) => sum + (latest(row)?.rows_per_second ?? 0), 0);
  const parts = [`${inPhase("running")} of ${plural(rows.length, "pipeline")} running`, `${count(rate)} rows/s`];
  const failing = inPhase("failed", "waiting");
  if (failing) parts.push(`${failing} failing`);
  return rows.length ? parts.join(" · ") : "";
}

const columns = (tenant) => [
  made("Pipeline", (row) => h("a", { href: address(tenant, row.name) }, row.name), () => {}),
  made("State", pill, (element, row) => showPhase(element, row.status)),
  column("Since", (row) => (row.status ? since(row.status.since) : "–"), "wide"),
  column("Version", (row) => row.version, "number wide"),
  {
    title: "Last minute", class: "wide",
    show(cell, row) {
      row.spark ??= new Sparkline();
      if (cell.firstChild !== row.spark.element) cell.replaceChildren(row.spark.element);
      row.spark.show(series(row.past, "rows_per_second"), now());
    },
  },
  column("Rows/s", (row) => figure(row, (now) => count(now.rows_per_second)), "number"),
  column("Processing", (row) => figure(row, (now) => milliseconds(now.processing_ms)), "number wide"),
  column("Delay", (row) => figure(row, (now) => milliseconds(now.delay_ms)), "number wide"),
  column("Backlog", (row) => figure(row, (now) => bytes(now.backlog_bytes)), "number wide"),
  column("Epochs", (row) => count(row.status?.figures.delivered ?? 0), "number wide"),
  column("Restarts", (row) => row.status?.restarts ?? 0, "number wide"),
];
