// The way to the daemon: the key, the stream of what happens, and what is asked of it.

const KEY = "wharf-key";
/** Without a sign of life for so long, the stream is taken for broken; the daemon says something every 15 seconds. */
const SILENCE = 40_000;
const PAUSES = [500, 1000, 2000, 5000];

/** What was refused, and the exit status of the command that asks the same. */
export class Refused extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/** Takes the ticket out of the address, and exchanges it for the key. */
async function enter() {
  const ticket = location.hash.slice(1);
  if (!/^[0-9a-f]{64}$/.test(ticket)) return;
  history.replaceState(null, "", location.pathname);
  const { key } = await ask("/session", ticket);
  sessionStorage.setItem(KEY, key);
}

async function ask(path, key, body) {
  const headers = { Authorization: `Bearer ${key}` };
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Refused(answer.error, response.status);
  return answer;
}

/** Has the daemon do something: `publish`, `unpublish`, `focus`, `stop`. */
export const act = (errand, body) => ask(`/${errand}`, sessionStorage.getItem(KEY) ?? "", body);

/**
 * Follows what happens for as long as the page is seen. `hear(name, document)` is told everything; `become(state)` how the
 * connection stands: `live`, `locked` (no key), `full`, or `gone`.
 */
export async function follow(hear, become) {
  addEventListener("hashchange", () => stop.abort());
  document.addEventListener("visibilitychange", () => document.hidden && stop.abort());
  let failures = 0;
  let stop = new AbortController();
  for (;;) {
    await seen();
    stop = new AbortController();
    try {
      // A ticket that is no good doesn't matter to who has a key already.
      await enter().catch((error) => {
        if (!(error instanceof Refused)) throw error;
      });
      await listen(stop, (...news) => {
        failures = 0;
        hear(...news);
      }, become);
    } catch (error) {
      if (error instanceof Refused) become(error.code === 503 ? "full" : "locked");
      else if (!stop.signal.aborted || stop.signal.reason === "silence") become("gone");
      if (error instanceof Refused && error.code === 401) await another(stop);
    }
    if (!document.hidden && !stop.signal.aborted) await pause(PAUSES[Math.min(failures++, PAUSES.length - 1)]);
  }
}

async function listen(stop, hear, become) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` };
  const response = await fetch("/live", { headers, signal: stop.signal });
  if (!response.ok) throw new Refused((await response.json()).error, response.status);
  become("live");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let silence;
  let rest = "";
  try {
    for (;;) {
      clearTimeout(silence);
      silence = setTimeout(() => stop.abort("silence"), SILENCE);
      const { value, done } = await reader.read();
      if (done) throw new Error("the stream has ended");
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const [, name, document] = /^event: (.*)\ndata: (.*)$/.exec(part) ?? [];
        if (name) hear(name, JSON.parse(document));
      }
    }
  } finally {
    clearTimeout(silence);
  }
}

/** Waits until somebody looks. */
function seen() {
  if (!document.hidden) return null;
  return new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
}

/** Waits for another address. */
const another = (stop) => new Promise((done) => stop.signal.addEventListener("abort", done, { once: true }));

const pause = (time) => new Promise((done) => setTimeout(done, time));
