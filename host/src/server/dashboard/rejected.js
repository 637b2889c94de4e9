// Rejected rows of a pipeline: how many for which reason, the latest of them with where they came from, and what becomes of them.

import { Lost, Refused, ask, of } from "./api.js";
import { Table, column, confirm, h, made, say } from "./dom.js";
import { count, date } from "./format.js";

/** Rows that are listed. */
const ROWS = 20;

/** Times that it asks once all rows that were counted are delivered. */
const LOOKS = 3;

/** What can be done with rows, and how that is asked and told. */
const REPLAY = {
  verb: "Replay",
  path: "replay",
  detail: "They come again, once, as input of the steps that have rejected them. What cannot come again stays.",
  tell: ({ rows, left_out, why }) => {
    const told = `${count(rows)} given back`;
    return left_out ? `${told}, ${count(left_out)} cannot come again; of ${why[0].id}: ${why[0].reason}` : told;
  },
};
const DISCARD = {
  verb: "Discard",
  path: "discard",
  detail: "What is kept of them is removed for good, with all also what is kept of those that were given back.",
  tell: ({ rows }) => `${count(rows)} discarded`,
};

export class Rejected {
  constructor(tenant, name, signal, fail) {
    Object.assign(this, { signal, fail, path: (...rest) => of(tenant, "pipelines", name, "rejected", ...rest) });
    [this.groups, this.rows, this.note] = [groupTable(), rowTable(this), h("p", { class: "quiet" })];
    [this.done, this.seen] = [h("p", { role: "status" }), undefined];
    const all = (action) => h("button", {
      type: "button", id: `${action.path}-all`,
      onclick: () => this.act(action, "all rejected rows", { all: true }),
    }, `${action.verb} all`);
    this.buttons = h("div", { class: "buttons", hidden: true }, all(REPLAY), all(DISCARD));
    this.element = h("div", { class: "rejected" },
      this.groups.element, this.note, this.buttons, this.done, this.rows.element);
  }

  /** Does something with the rows that are meant, if that is confirmed. */
  async act({ verb, path, detail, tell }, rows, choice) {
    if (!(await confirm(`${verb} ${rows}?`, detail, verb))) return;
    try {
      say(this.done, tell(await ask(this.path(path), "POST", undefined, choice)));
      await this.look();
    } catch (refused) {
      this.fail(refused);
    }
  }

  /** Asks again if a status says that rows were rejected, or that a run has begun. */
  async follow({ figures }) {
    const rejected = Object.values(figures.nodes).reduce((sum, node) => sum + node.rejected, 0);
    this.delivered = figures.delivered;
    if (rejected !== this.seen) {
      [this.seen, this.due] = [rejected, figures.cut];
      await this.catchUp(LOOKS);
    }
  }

  /** Asks now and every second: rows are counted at once, and can be read when their epoch is committed, soon after it is delivered. */
  async catchUp(looks) {
    clearTimeout(this.timer);
    // The page asks for everything again when the server is back.
    await this.look().catch((error) => {
      if (!(error instanceof Lost)) throw error;
    });
    const left = this.delivered < this.due ? LOOKS : looks - 1;
    if (left > 0 && !this.signal.aborted) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.catchUp(left).catch(this.fail), 1000);
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
    this.rows.element.hidden = this.buttons.hidden = !open;
  }
}

const common = [
  column("Step", (row) => row.input == null ? row.node : `${row.node}, input ${row.input}`),
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

function rowTable(rejected) {
  const button = (row, action) => h("button", {
    type: "button", class: "plain", "aria-label": `${action.verb} ${row.id}`,
    onclick: () => rejected.act(action, row.id, { ids: [row.id] }),
  }, action.verb);
  return new Table("Latest rejected rows", [
    column("Row", (row) => row.id),
    ...common,
    column("Origin", (row) => row.origin, "text"),
    column("Time", (row) => date(row.time), "wide"),
    made("Content", (row) => h("details", {},
      h("summary", { "aria-label": `Content of ${row.id}` }, row.cut ? "show beginning" : "show"),
      h("pre", {}, JSON.stringify(row.row, null, 1))), () => {}, "text"),
    made("Then", (row) => h("div", { class: "buttons" }, button(row, REPLAY), button(row, DISCARD)), () => {}),
  ], { key: (row) => row.id, empty: "" });
}
