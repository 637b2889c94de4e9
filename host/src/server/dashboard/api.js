// The API, as any client has it: a bearer token, JSON, and a stream of events.

import { hear } from "./clock.js";

const KEY = "wasmill-token";

/** What the server did not do, and what to do about it. */
export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `the server answered ${status}`);
    this.status = status;
    this.help = error?.help ?? "";
  }
}

/** The server was not reached, or a stream broke off. */
export class Lost extends Error {
  constructor() {
    super("the server does not answer");
    this.help = "It may be starting again. This page goes on by itself when it is back.";
  }
}

const reached = (promise) => promise.catch((error) => {
  throw error.name === "AbortError" ? error : new Lost();
});

/** The token of this tab: it is gone when the tab is, and no other site sees it. */
export const token = () => sessionStorage.getItem(KEY);

/** Keeps a token that opens something, and says who its holder is. */
export async function signIn(secret) {
  const header = { Authorization: `Bearer ${secret}` };
  const response = await reached(fetch("/v1/whoami", { headers: header }));
  if (!response.ok) throw new Refused(response.status, (await response.json().catch(() => null))?.error);
  sessionStorage.setItem(KEY, secret);
  return response.json();
}

export function signOut() {
  sessionStorage.removeItem(KEY);
  dispatchEvent(new Event("signed-out"));
}

const headers = () => ({ Authorization: `Bearer ${token()}` });

async function checked(response) {
  hear(response);
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  if (response.status === 401 && token()) signOut();
  throw new Refused(response.status, body?.error);
}

/** Asks, perhaps with something to say, and gives the JSON that was answered. */
export async function ask(path, method = "GET", signal = undefined, said = undefined) {
  const json = said && { "Content-Type": "application/json" };
  const body = said && JSON.stringify(said);
  const response = await checked(await reached(fetch(path, { method, headers: { ...headers(), ...json }, signal, body })));
  return response.status === 204 ? null : response.json();
}

export const of = (tenant, ...rest) => ["/v1/tenants", tenant, ...rest].map((part, place) =>
  place === 0 ? part : encodeURIComponent(part)).join("/");

/** The server says something every 15 seconds, and be it that there is nothing; after so many milliseconds of silence it is gone. */
const SILENCE = 40_000;

/** What is read next, or that the stream is lost. */
function heard(reader) {
  let timer;
  const silence = new Promise((_, lose) => {
    timer = setTimeout(() => lose(new Lost()), SILENCE);
  });
  return Promise.race([reached(reader.read()), silence]).finally(() => clearTimeout(timer));
}

/** The events of a stream, one after another. `EventSource` cannot send a token, so the format is read here. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await heard(reader);
      if (done) return;
      const pieces = (text + value).split("\n\n");
      text = pieces.pop();
      yield* pieces.map(event).filter(({ data }) => data);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function event(lines) {
  const event = { name: "message", data: "" };
  for (const line of lines.split("\n")) {
    if (line.startsWith("event:")) event.name = line.slice(6).trim();
    if (line.startsWith("data:")) event.data += line.slice(5).trim();
  }
  return event;
}

/** The first wait before a stream is opened again, and the longest, in milliseconds. */
const WAITS = [500, 10_000];

/**
 * Follows what happens to a tenant's pipelines until the signal says so, over lost connections and restarts of the server.
 * `begin` is called whenever a stream has begun: what was missed before is to be asked for then. Its errors begin a stream anew.
 */
export async function follow(tenant, signal, { begin, status, log }) {
  let wait = WAITS[0];
  while (!signal.aborted) {
    try {
      const response = await checked(await reached(fetch(of(tenant, "events"), { headers: headers(), signal })));
      // What happens meanwhile waits in the stream.
      await begin();
      wait = WAITS[0];
      connection("live");
      for await (const event of events(response.body)) {
        if (event.name === "status") status?.(JSON.parse(event.data));
        if (event.name === "log") log?.(JSON.parse(event.data));
        if (event.name === "missed") await begin();
      }
    } catch (error) {
      if (signal.aborted) return;
      const passes = error instanceof Lost || (error instanceof Refused && error.status >= 500);
      // Else asking again will not help: the page shows why.
      if (!passes) throw error;
    }
    connection("lost");
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, WAITS[1]);
  }
}

/** Says to whoever shows it whether figures are live. */
export function connection(state) {
  dispatchEvent(new CustomEvent("connection", { detail: state }));
}
