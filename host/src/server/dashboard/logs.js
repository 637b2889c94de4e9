// What a pipeline says, the latest below. The list follows it as long as nobody scrolls up.

import { h, say } from "./dom.js";
import { clock } from "./format.js";

/** Lines that are shown. */
const LINES = 500;
const LEVELS = ["print", "info", "warn", "error"];

export class Logs {
  constructor() {
    this.list = h("ol", { class: "log", tabindex: "0", "aria-label": "Log lines" });
    this.empty = h("p", { class: "empty" }, "It has said nothing yet.");
    this.least = h("select", { id: "level" }, LEVELS.map((level) => h("option", { value: level }, level === "print" ? "everything" : `${level} and above`)));
    this.least.addEventListener("change", () => this.filter());
    this.element = h("div", {}, h("div", { class: "tools" }, h("label", { for: "level" }, "Show"), this.least), this.list, this.empty);
    this.reset([]);
  }

  /** Begins again with what was said so far. */
  reset(lines) {
    this.list.replaceChildren();
    this.known = new Set();
    this.add(lines);
    // What was said while these were asked for comes by the stream as well.
    this.known = new Set(lines.map((line) => JSON.stringify(line)));
  }

  add(said) {
    const lines = said.filter((line) => !this.known.has(JSON.stringify(line)));
    const follows = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
    this.list.append(...lines.map((line) => this.line(line)));
    while (this.list.childElementCount > LINES) this.list.firstChild.remove();
    this.empty.hidden = this.list.childElementCount > 0;
    this.list.hidden = !this.empty.hidden;
    if (follows) this.list.scrollTop = this.list.scrollHeight;
  }

  line({ time, level, node, message }) {
    const item = h("li", { "data-level": level },
      h("time", { datetime: time }, clock(time)), h("span", { class: "level" }), h("span", { class: "node" }), h("span", { class: "message" }));
    [level, node ?? "", message].forEach((text, place) => say(item.children[place + 1], text));
    item.hidden = !this.shows(level);
    return item;
  }

  shows(level) {
    return LEVELS.indexOf(level) >= LEVELS.indexOf(this.least.value);
  }

  filter() {
    for (const item of this.list.children) item.hidden = !this.shows(item.dataset.level);
    this.list.scrollTop = this.list.scrollHeight;
  }
}
