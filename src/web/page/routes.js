// Who reaches whom, as a table: what the map's lines say, and more.

import { attribute, find, h, keep, say } from "./dom.js";
import { key } from "./model.js";
import { sketch, spark } from "./spaces.js";
import { bytes, end, start } from "./words.js";

/** As many ways are shown, those that carry most. */
const SHOWN = 50;

/** Brings the table up to date. */
export function draw(model) {
  const section = find("#ways");
  const ways = [...model.picture.routes].sort(
    (a, b) => Math.sign(b.sessions) - Math.sign(a.sessions) || b.sent + b.received - a.sent - a.received,
  );
  attribute(find(".scroll", section), "hidden", ways.length ? null : "");
  attribute(find(".note", section), "hidden", ways.length ? null : "");
  attribute(find(".empty", section), "hidden", ways.length ? "" : null);
  keep(find("tbody", section), ways.slice(0, SHOWN), key, make, (tr, way) => update(tr, way, model));
}

function make(way) {
  const number = (name) => h("td", { class: `number ${name}` });
  return h(
    "tr",
    {},
    h("td", {}, start(way)),
    h("td", {}, end(way.to)),
    number("sessions"),
    number("sent"),
    number("received"),
    h("td", {}, h("div", { class: "flow" }, spark(), h("span", { class: "rate" }))),
  );
}

function update(tr, way, model) {
  say(find(".sessions", tr), String(way.sessions));
  say(find(".sent", tr), bytes(way.sent));
  say(find(".received", tr), bytes(way.received));
  sketch(find(".flow", tr), model.histories.get(key(way)));
}
