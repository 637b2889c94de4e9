// Rejected rows of a pipeline: how many for which reason, and the latest of them with where they came from.

import { Lost, Refused, ask, of } from "./api.js";
import { Table, column, h, made, say } from "./dom.js";
import { count, date } from "./format.js";

/** Rows that are listed. */
const ROWS = 20;

export class Rejected {
  constructor(tenant, name, signal) {
    Object.assign(this, { signal, path: (...rest) => of(tenant, "pipelines", name, "rejected", ...rest) });
    [this.groups, this.rows, this.note] = [groupTable(), rowTable(), h("p", { class: "quiet" })];
    this.element = h("div", { class: "rejected" }, this.groups.element, this.note, this.rows.element);
    this.seen = undefined;
  }

  /** Asks again if a status says that rows were rejected, or that a run has begun. */
  async follow(status) {
    const nodes = Object.values(status?.figures.nodes ?? {});
    const rejected = nodes.reduce((sum, node) => sum + node.rejected, 0);
    if (rejected !== this.seen) {
      this.seen = rejected;
      // The page asks for everything again when the server is back.
      await this.look().catch((error) => {
        if (!(error instanceof Lost)) throw error;
      });
    }
  }

  /** Asks what there is: one question at a time, and once more if something has happened meanwhile. */
  async look() {
    this.again = this.asking;
    if (this.asking) return;
    this.asking = true;
    try {
      await this.fetch();
    } finally {
      this.asking = false;
    }
    if (this.again) await this.look();
  }

  async fetch() {
    try {
      const [all, rows] = await Promise.all([
        ask(this.path(), "GET", this.signal),
        ask(`${this.path("rows")}?limit=${ROWS}`, "GET", this.signal)]);
      this.groups.update(all.groups.filter((group) => group.open));
      this.rows.update(rows);
      this.tell(all);
    } catch (refused) {
      // A pipeline that writes them itself.
      if (!(refused instanceof Refused) || refused.status !== 409) throw refused;
      say(this.note, `${refused.message}: ${refused.help}`);
    }
  }

  tell({ open, given_back, dropped, more_groups }) {
    const facts = [];
    if (open) facts.push(`${count(open)} open`);
    if (given_back) facts.push(`${count(given_back)} given back`);
    if (dropped) facts.push(`${count(dropped)} dropped to keep within the limit`);
    if (more_groups) facts.push(`${count(more_groups)} other reasons`);
    say(this.note, facts.join(" · "));
    this.rows.element.hidden = !open;
  }
}

const common = [
  column("Step", (row) => row.node),
  column("Reason", (row) => row.reason, "text"),
];

function groupTable() {
  return new Table("Rejected rows by reason", [
    ...common,
    column("Open", (row) => count(row.open), "number"),
    column("First", (row) => date(row.first), "wide"),
    column("Last", (row) => date(row.last), "wide"),
    made("Plugin", () => h("code"), (code, row) => {
      code.hidden = !row.plugin;
      say(code, row.plugin?.replace("sha256:", "").slice(0, 12) ?? "");
    }, "wide"),
  ], { key: (row) => `${row.node} ${row.plugin} ${row.reason}`, empty: "No rejected row waits for anything." });
}

function rowTable() {
  return new Table("Latest rejected rows", [
    column("Row", (row) => row.id),
    ...common,
    column("Origin", (row) => row.origin, "text"),
    column("Time", (row) => date(row.time), "wide"),
    made("Content", (row) => h("details", {},
      h("summary", { "aria-label": `Content of ${row.id}` }, "show"),
      h("pre", {}, JSON.stringify(row.row, null, 1))), () => {}, "text"),
  ], { key: (row) => row.id, empty: "" });
}
