// The lines of the map: one for each way that has connections, or had some in the last minute.

import { attribute, find, keep, say, svg } from "./dom.js";
import { key } from "./model.js";
import { count, end, list } from "./words.js";

/** Draws the lines, if the map is wide enough to have shores. */
export function draw(model) {
  const ways = model.ways;
  shores(ways);
  const lines = find(".lines");
  if (getComputedStyle(lines).display === "none") return;
  const origin = lines.getBoundingClientRect();
  const drawn = merge(ways, model).flatMap((line) => {
    const path = shape(line.way, origin);
    return path ? [{ ...line, path }] : [];
  });
  keep(find("g", lines), drawn, (line) => line.name, () => svg("path"), (path, { path: d, rate, sessions }) => {
    attribute(path, "d", d);
    attribute(path, "class", rate > 0 ? "moves" : sessions ? "stands" : "was");
    // Ten times the bytes are half a pixel.
    attribute(path, "stroke-width", (1.2 + Math.max(0, Math.log10(rate + 1) - 2) * 0.5).toFixed(1));
  });
}

/** Ways that look the same on the map: the programs at their beginning don't show, nor do addresses of the network. */
function merge(ways, model) {
  const lines = new Map();
  for (const way of ways) {
    const to = way.to.place === "space" ? end(way.to) : way.to.place;
    const name = `${way.from} ${to}`;
    const line = lines.get(name) ?? { name, way, rate: 0, sessions: 0 };
    line.rate += model.history(key(way)).rate;
    line.sessions += way.sessions;
    lines.set(name, line);
  }
  return lines.values();
}

/** What stands at the map's right side. */
function shores(ways) {
  for (const [place, what] of [["machine", "#host"], ["network", "#network"]]) {
    const element = find(what);
    const to = ways.filter((way) => way.to.place === place);
    attribute(element, "hidden", to.length ? null : "");
    const ends = [...new Set(to.map((way) => (place === "machine" ? String(way.to.port) : end(way.to))))];
    const told = ends.slice(0, 5);
    if (ends.length > told.length) told.push(count(ends.length - told.length, "other"));
    say(find("p", element), list(told));
  }
}

function shape(way, origin) {
  const box = (element) => {
    if (!element) return null;
    const { left, right, top, height } = element.getBoundingClientRect();
    return { left: left - origin.left, right: right - origin.left, y: top - origin.top + height / 2 };
  };
  const card = (space) => box(document.querySelector(`[data-key="${CSS.escape(space)}"] > header`));
  const port = ({ space, port }) => box(document.querySelector(`[data-port="${CSS.escape(`${space}/tcp/${port}`)}"]`));
  const { from, to } = way;
  if (from === null) {
    const [start, finish] = [box(find("#machine h3")), to.place === "space" && port(to)];
    return start && finish ? curve(find("#machine").getBoundingClientRect().right - origin.left, start.y, finish.left, finish.y) : null;
  }
  // Within a space there is no way to draw: the row says it.
  if (to.space === from) return null;
  const start = card(from);
  if (!start) return null;
  if (to.place === "space") {
    const finish = port(to);
    return finish && arc(start.right, start.y, finish.right, finish.y);
  }
  const finish = box(find(to.place === "machine" ? "#host" : "#network"));
  return curve(start.right, start.y, finish.left, finish.y);
}

function curve(x1, y1, x2, y2) {
  const bend = (x2 - x1) / 2;
  return `M${r(x1)} ${r(y1)}C${r(x1 + bend)} ${r(y1)} ${r(x2 - bend)} ${r(y2)} ${r(x2)} ${r(y2)}`;
}

/** Out to the right and back. */
function arc(x1, y1, x2, y2) {
  const out = Math.min(28 + Math.abs(y2 - y1) * 0.15, 84);
  const far = Math.max(x1, x2) + out;
  return `M${r(x1)} ${r(y1)}C${r(far)} ${r(y1)} ${r(far)} ${r(y2)} ${r(x2 + 1)} ${r(y2)}`;
}

const r = (number) => Math.round(number * 2) / 2;
