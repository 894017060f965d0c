// The page: from what the daemon tells to what is seen.

import { known } from "./actions.js";
import { follow } from "./connection.js";
import { attribute, find, h, say } from "./dom.js";
import * as lines from "./lines.js";
import { Model } from "./model.js";
import * as news from "./news.js";
import * as routes from "./routes.js";
import * as spaces from "./spaces.js";
import { count, rate } from "./words.js";

const model = new Model();
const told = new news.News();
known.model = model;

const STATES = {
  live: ["Live", null],
  gone: [
    "Not connected",
    ["wharf doesn’t run now: it ends with its last space. Start something in one, and then open the page again:",
      "wharf run -- COMMAND", "wharf web"],
  ],
  locked: ["Locked", ["This page needs a key, which comes with the address that this prints, good for one use:", "wharf web"]],
  full: ["Not connected", ["Too many of these pages are open. Close one; this one comes by itself then."]],
};

function hear(name, document) {
  if (name === "clock") {
    model.ahead = Date.parse(document.now) - Date.now();
    model.forget();
  } else if (name === "picture") model.take(document);
  else if (name === "past") told.take(document);
  else if (name === "port" && told.take(document) && document.event === "conflict") announce(news.headline(document));
  soon();
}

/** Says it to who can't see it. */
function announce(sentence) {
  const alert = find("#alert");
  if (alert.className === "hidden") say(alert, sentence);
}

function become(state) {
  const [word, notice] = STATES[state];
  say(find("#status"), word);
  attribute(document.body, "class", state);
  const element = find("#notice");
  attribute(element, "hidden", notice ? null : "");
  if (!notice) return;
  const [sentence, ...commands] = notice;
  element.replaceChildren(h("p", {}, sentence), ...commands.map((command) => h("pre", {}, command)));
}

let waiting = false;

/** What comes together is drawn together. */
function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

function draw() {
  if (!model.picture) return;
  attribute(find("#main"), "hidden", null);
  summarise();
  news.draw(told, model);
  spaces.draw(model);
  routes.draw(model);
  lines.draw(model);
}

function summarise() {
  const { spaces, listeners, routes } = model.picture;
  const ports = new Set(listeners.map((hold) => `${hold.space} ${hold.protocol} ${hold.port}`));
  const sessions = routes.reduce((sum, route) => sum + route.sessions, 0);
  const parts = [count(spaces.length, "space"), count(ports.size, "port"), count(sessions, "session")];
  const now = rate(model.history("all").rate);
  say(find("#summary"), [...parts, now].filter(Boolean).join(" · "));
}

setInterval(() => {
  if (document.hidden || document.body.className !== "live") return;
  model.tick();
  soon();
}, 1000);
new ResizeObserver(soon).observe(find(".map"));
follow(hear, become);
