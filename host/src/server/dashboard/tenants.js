// Tenants, what they may have and what they use. A tenant sees itself.

import { ask, connection, of } from "./api.js";
import { Table, column, h, made, say } from "./dom.js";
import { bytes, count, plural } from "./format.js";
import { Rates } from "./rates.js";

/** Between two looks at everything, in milliseconds. */
const PAUSE = 3000;
/** Tenants that are asked for at once. */
const AT_ONCE = 4;

export function tenants({ signal, fail, who }) {
  const known = new Map();
  const table = new Table("Tenants", columns, {
    key: (row) => row.name,
    empty: ["No tenants yet. ", h("code", {}, "wasmill tenant create NAME"), " makes the first one."],
  });
  const summary = h("p", { class: "summary" });
  const look = async () => {
    const list = await ask("/v1/tenants", "GET", signal);
    const waiting = list.map((tenant) => Object.assign(known.get(tenant.name) ?? { rates: new Map() }, tenant));
    const rows = [...waiting];
    rows.forEach((row) => known.set(row.name, row));
    const ask_some = async () => {
      for (let row = waiting.shift(); row; row = waiting.shift()) {
        const [views, cost] = await Promise.all([of(row.name, "pipelines"), of(row.name, "usage")].map((path) => ask(path, "GET", signal)));
        use(row, views, cost);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, ask_some));
    table.update(rows);
    const pipelines = rows.reduce((sum, row) => sum + row.used.pipelines, 0);
    say(summary, who.role === "admin" ? `${plural(rows.length, "tenant")} · ${plural(pipelines, "pipeline")}` : "");
  };
  keep(look, signal, fail);
  const title = who.role === "admin" ? "Tenants" : "Usage";
  return { title, element: h("div", {}, h("div", { class: "title" }, h("h1", {}, title), summary), table.element) };
}

/** Looks again and again, through times in which the server does not answer. */
async function keep(look, signal, fail) {
  while (!signal.aborted) {
    try {
      await look();
      connection("live");
    } catch (error) {
      if (signal.aborted) return;
      if (error.status && error.status < 500) return fail(error);
      connection("lost");
    }
    await new Promise((done) => setTimeout(done, PAUSE));
  }
}

/** Sums up what a tenant's pipelines do. */
function use(row, views, cost) {
  const used = { pipelines: views.length, running: 0, failing: 0, rows: 0, bytes: 0, memory: cost.memory_bytes };
  const time = Date.now();
  used.cores = row.cost ? (cost.cpu_ms - row.cost.cpu_ms) / (time - row.cost.time) : 0;
  row.cost = { cpu_ms: cost.cpu_ms, time };
  for (const { name, status } of views) {
    if (!status) continue;
    const phase = status.phase.phase;
    used.running += phase === "running";
    used.failing += phase === "failed" || phase === "waiting";
    if (!row.rates.has(name)) row.rates.set(name, new Rates());
    const next = row.rates.get(name).next(status);
    if (!next) continue;
    used.rows += next.moment.rows_per_second;
    used.bytes += next.moment.bytes_per_second;
  }
  row.used = used;
}

const limited = (text, most) => `${text} of ${most}`;

const columns = [
  made("Tenant", (row) => h("a", { href: `#/t/${row.name}/pipelines` }, row.name), () => {}),
  column("Pipelines", (row) => limited(row.used.pipelines, row.policy.max_pipelines), "number"),
  column("Running", (row) => row.used.running, "number"),
  column("Failing", (row) => row.used.failing, "number wide"),
  column("Rows/s", (row) => count(row.used.rows), "number"),
  column("Bytes/s", (row) => bytes(row.used.bytes), "number wide"),
  column("Cores", (row) => Math.max(0, row.used.cores).toFixed(2), "number wide"),
  column("Memory", (row) => bytes(row.used.memory), "number wide"),
  column("Cores for plugins", (row) => (row.policy.plugin_millicores ? row.policy.plugin_millicores / 1000 : "no limit"), "number wide"),
  column("Workers a pipeline", (row) => row.policy.max_workers, "number wide"),
  column("May reach", (row) => [...row.policy.allow_addresses, ...row.policy.allow_http].join(", ") || "nothing outside", "wide"),
];
