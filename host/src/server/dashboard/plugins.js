// Plugins of a tenant, and the versions of one.

import { ask, connection, of } from "./api.js";
import { Table, column, h, made } from "./dom.js";
import { bytes, date } from "./format.js";

export function plugins({ signal, fail }, tenant) {
  const table = new Table(`Plugins of ${tenant}`, [
    made("Plugin", (row) => h("a", { href: `#/t/${tenant}/plugins/${row.name}` }, row.name), () => {}),
    column("Newest", (row) => row.version, "number"),
    ...common,
  ], {
    key: (row) => row.name,
    empty: ["No plugins yet. ", h("code", {}, "wasmill plugin push words.wasm"), " pushes the first one."],
  });
  ask(of(tenant, "plugins"), "GET", signal).then((list) => table.update(list)).catch(fail);
  connection("still");
  return { title: "Plugins", element: h("div", {}, h("div", { class: "title" }, h("h1", {}, "Plugins")), table.element) };
}

export function plugin({ signal, fail }, tenant, name) {
  const table = new Table(`Versions of ${name}`, [column("Version", (row) => row.version, "number"), ...common], {
    key: (row) => row.version,
    empty: "…",
  });
  ask(of(tenant, "plugins", name), "GET", signal).then((list) => table.update(list)).catch(fail);
  connection("still");
  const element = h("div", {},
    h("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, h("a", { href: `#/t/${tenant}/plugins` }, "Plugins"), " / ", name),
    h("div", { class: "title" }, h("h1", {}, name)), table.element);
  return { title: name, element };
}

const common = [
  column("World", (row) => row.world, "wide"),
  column("Asks for", (row) => row.capabilities.join(", ") || "nothing", "text"),
  column("Size", (row) => bytes(row.size), "number wide"),
  column("Contract", (row) => row.contract, "wide"),
  column("Pushed", (row) => date(row.pushed), "wide"),
  column("By", (row) => row.pushed_by, "wide"),
  made("Digest", (row) => h("code", { title: row.digest }, row.digest.replace("sha256:", "").slice(0, 12)), () => {}, "wide"),
];
