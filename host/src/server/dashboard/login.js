// Where a token is asked for.

import { signIn } from "./api.js";
import { h, say } from "./dom.js";

export function login(done) {
  const field = h("input", { type: "password", id: "token", name: "token", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "token-help" });
  const error = h("p", { class: "wrong", role: "alert" });
  const button = h("button", { class: "strong" }, "Sign in");
  const form = h("form", { method: "post" },
    h("label", { for: "token" }, "Token"), field, error, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    say(error, "");
    try {
      done(await signIn(field.value.trim()));
    } catch (refused) {
      say(error, `${refused.message}.`);
      field.focus();
      field.select();
    } finally {
      button.disabled = false;
    }
  });
  const element = h("div", { class: "login" },
    h("img", { src: "/dashboard/icon.svg", alt: "", width: 48, height: 48 }),
    h("h1", {}, "Wasmill"),
    form,
    h("p", { id: "token-help", class: "quiet" },
      "It begins with ", h("code", {}, "wm_"), ". Administrators get one at the server's first start, tenants from their administrator. This tab keeps it until it is closed."));
  return { title: "Sign in", element };
}
