// Elements, made by hand. Text is only ever set as text, so nothing that a pipeline says becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return element;
}

/** An HTML element: its attributes, listeners as `onclick`, and children. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same of SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Sets a text, and touches nothing if it stands there already: selections and screen readers are left alone. */
export function say(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** How a pipeline's phase is shown: a word with a colour, never a colour alone. */
export function pill() {
  return h("span", { class: "pill" });
}

export function showPhase(element, status) {
  const phase = status?.phase.phase ?? "unknown";
  element.dataset.phase = phase;
  say(element, phase === "waiting" ? "restarting" : phase);
  const until = status?.phase.until;
  element.title = until ? `starts again at ${new Date(until).toLocaleTimeString()}` : "";
}

/**
 * A table whose rows stay in place while their figures change, so that focus and selection stay too.
 * A column has a `title`, perhaps a `class`, and `show(cell, row)`, which is called at every update.
 */
export class Table {
  constructor(caption, columns, { key, empty }) {
    this.columns = columns;
    this.key = key;
    this.rows = new Map();
    this.body = h("tbody");
    const headings = columns.map((column) => h("th", { scope: "col", class: column.class }, column.title));
    const table = h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, headings)), this.body);
    this.empty = h("p", { class: "empty" }, ...[empty].flat());
    this.scroller = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
    this.element = h("div", {}, this.scroller, this.empty);
    this.update([]);
  }

  update(items) {
    const wanted = new Set();
    let before = null;
    for (const item of items) {
      const key = String(this.key(item));
      wanted.add(key);
      if (!this.rows.has(key)) this.rows.set(key, this.row());
      const row = this.rows.get(key);
      const place = before ? before.nextSibling : this.body.firstChild;
      if (place !== row) this.body.insertBefore(row, place);
      this.columns.forEach((column, index) => column.show(row.cells[index], item));
      before = row;
    }
    for (const [key, row] of this.rows) {
      if (wanted.has(key)) continue;
      row.remove();
      this.rows.delete(key);
    }
    this.scroller.hidden = items.length === 0;
    this.empty.hidden = items.length > 0;
  }

  row() {
    const cells = this.columns.map((column, index) =>
      index === 0 ? h("th", { scope: "row", class: column.class }) : h("td", { class: column.class }));
    return h("tr", {}, cells);
  }
}

/** A column of a text. */
export function column(title, text, kind = "") {
  return { title, class: kind, show: (cell, row) => say(cell, text(row)) };
}

/** A column whose cell is made once and then changed. */
export function made(title, make, change, kind = "") {
  return {
    title,
    class: kind,
    show(cell, row) {
      if (!cell.firstChild) cell.append(make(row));
      change(cell.firstChild, row);
    },
  };
}

/** Asks before something is done; whether it was confirmed. */
export function confirm(question, detail, verb) {
  return new Promise((answered) => {
    const close = (value) => () => dialog.close(value);
    const dialog = h("dialog", { "aria-labelledby": "question" },
      h("h2", { id: "question" }, question),
      h("p", {}, detail),
      h("div", { class: "buttons" },
        h("button", { type: "button", onclick: close("") }, "Cancel"),
        h("button", { type: "button", class: "strong", id: "confirm", onclick: close("yes") }, verb)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      answered(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A section with a heading. */
export function section(title, ...children) {
  return h("section", {}, h("h2", {}, title), ...children);
}
