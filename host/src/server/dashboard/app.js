// The shell: who is signed in, where one is, and the page that belongs there.

import { ask, connection, signOut, token } from "./api.js";
import { h, say } from "./dom.js";
import { login } from "./login.js";
import { pipeline } from "./pipeline.js";
import { pipelines } from "./pipelines.js";
import { plugin, plugins } from "./plugins.js";
import { tenants } from "./tenants.js";

const NAME = "([a-z0-9-]+)";
const PAGES = [
  [/^#\/tenants$/, tenants],
  [new RegExp(`^#/t/${NAME}/pipelines$`), pipelines],
  [new RegExp(`^#/t/${NAME}/pipelines/${NAME}$`), pipeline],
  [new RegExp(`^#/t/${NAME}/plugins$`), plugins],
  [new RegExp(`^#/t/${NAME}/plugins/${NAME}$`), plugin],
];

const main = document.getElementById("main");
const bar = document.getElementById("bar");
let [who, leave, isFirst] = [null, () => {}, true];

/** Shows a page. Who comes from another begins at its heading, with the keyboard or a screen reader; who comes from outside, above the bar. */
function show(page) {
  main.replaceChildren(page.element);
  document.title = `${page.title} · Wasmill`;
  const heading = main.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  if (!isFirst) heading?.focus({ preventScroll: true });
  isFirst = false;
  scrollTo(0, 0);
}

function failed(error) {
  const known = error.help !== undefined;
  if (!known) console.error(error);
  const notice = h("div", { class: "notice", role: "alert" },
    h("strong", {}, known ? `${error.message}.` : "The dashboard has failed."),
    h("p", {}, known ? error.help : String(error)),
    h("button", { type: "button", onclick: () => notice.remove() }, "Close"));
  main.prepend(notice);
}

function home() {
  return who.tenant ? `#/t/${who.tenant}/pipelines` : "#/tenants";
}

function route() {
  leave();
  if (!who) return;
  const found = PAGES.map(([pattern, page]) => [location.hash.match(pattern), page]).find(([match]) => match);
  if (!found) return location.replace(home());
  const [[, ...names], page] = found;
  const left = new AbortController();
  leave = () => left.abort();
  const fail = (error) => left.signal.aborted || failed(error);
  try {
    draw(names[0]);
    show(page({ signal: left.signal, fail, who }, ...names));
  } catch (error) {
    failed(error);
  }
}

/** Draws the bar: where one can go from here. */
function draw(tenant = who.tenant) {
  const link = (address, text) =>
    h("a", { href: address, "aria-current": location.hash.startsWith(address) ? "page" : null }, text);
  const links = tenant
    ? [link(`#/t/${tenant}/pipelines`, "Pipelines"), link(`#/t/${tenant}/plugins`, "Plugins")]
    : [];
  const all = link("#/tenants", who.tenant ? "Usage" : "Tenants");
  bar.replaceChildren(
    h("a", { class: "brand", href: home() }, h("img", { src: "/dashboard/icon.svg", alt: "", width: 24, height: 24 }), "Wasmill"),
    h("nav", { "aria-label": "Main" }, who.tenant ? [...links, all] : [all, ...links]),
    h("span", { class: "tenant" }, tenant ?? ""),
    h("span", { class: "connection", id: "connection", role: "status" }),
    h("span", { class: "quiet who" }, who.who),
    h("button", { type: "button", class: "plain", onclick: signOut }, "Sign out"));
  bar.hidden = false;
}

addEventListener("connection", ({ detail }) => {
  const place = document.getElementById("connection");
  if (!place) return;
  place.dataset.state = detail;
  say(place, { live: "Live", lost: "Reconnecting…" }[detail] ?? "");
});

function signIn() {
  leave();
  who = null;
  bar.hidden = true;
  show(login(welcome));
  document.getElementById("token").focus();
}

function welcome(known) {
  who = known;
  route();
}

addEventListener("hashchange", route);
addEventListener("signed-out", signIn);

async function start() {
  if (!token()) return signIn();
  try {
    welcome(await ask("/v1/whoami"));
  } catch (error) {
    // A wrong token has led to the sign-in already.
    if (error.status === 401) return;
    failed(error);
    connection("lost");
    setTimeout(() => location.reload(), 5000);
  }
}

start();
