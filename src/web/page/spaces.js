// The spaces and their ports: the middle of the map.

import { attribute, find, h, keep, say, svg } from "./dom.js";
import { SPAN } from "./model.js";
import { age, count, endpoint, list, place, rate, start } from "./words.js";
import { focus, publish, stop, unpublish } from "./actions.js";

const [WIDTH, HEIGHT] = [96, 22];

/** Brings all spaces up to date. */
export function draw(model) {
  const { spaces } = model.picture;
  const parent = find(".spaces");
  if (spaces.length === 0) {
    keep(parent, ["none"], String, nothing);
    return;
  }
  keep(parent, spaces, (space) => space.name, make, (element, space) => update(element, space, model));
}

function nothing() {
  return h(
    "div",
    { class: "empty" },
    h("p", {}, "No space runs now. Go to a project and start something in it:"),
    h("pre", {}, "wharf run -- npm run dev"),
    h("p", {}, "It appears here by itself."),
  );
}

function make() {
  return h(
    "article",
    { class: "space" },
    h(
      "header",
      {},
      h("h3", {}, h("a", {})),
      h("span", { class: "badge", hidden: "" }, "in focus"),
      h("p", { class: "where" }),
      h("div", { class: "flow" }, spark(), h("span", { class: "rate" })),
      h("div", { class: "buttons" }),
    ),
    h(
      "table",
      { role: "table" },
      h(
        "thead",
        { role: "rowgroup" },
        h(
          "tr",
          { role: "row" },
          ...["Port", "Program", "Reached at", "Sessions"].map((title) =>
            h("th", { scope: "col", role: "columnheader" }, title),
          ),
        ),
      ),
      h("tbody", { role: "rowgroup" }),
    ),
    h("p", { class: "empty" }),
    h("p", { class: "others" }),
  );
}

function update(element, space, model) {
  const { picture } = model;
  const title = `space-${space.name}`;
  attribute(element, "aria-labelledby", title);
  const name = find("h3", element);
  attribute(name, "id", title);
  const link = find("a", name);
  say(link, space.name);
  attribute(link, "href", space.url && `${space.url}/`);
  attribute(find(".badge", element), "hidden", picture.focus === space.name ? null : "");
  where(find(".where", element), space);
  sketch(find(".flow", element), model.histories.get(`space ${space.name}`));
  buttons(find(".buttons", element), space, picture);
  const ports = model.ports(space.name);
  attribute(find("table", element), "hidden", ports.length ? null : "");
  keep(find("tbody", element), ports, (port) => `${port.protocol}/${port.port}`, row, (tr, port) =>
    fill(tr, port, space, model),
  );
  say(find(".empty", element), ports.length ? "" : "Nothing listens here yet.");
  others(find(".others", element), space, ports);
}

function where(element, space) {
  const branches = new Set(space.programs.map((program) => program.branch).filter(Boolean));
  const parts = [place(space.directory), [...branches].join(", "), space.ipv4].filter(Boolean);
  say(element, parts.join(" · "));
  attribute(element, "title", [space.directory, space.ipv4, space.ipv6].filter(Boolean).join("\n"));
}

function buttons(parent, space, picture) {
  const actions = [
    ["Focus", () => focus(space.name)],
    ["Publish", () => publish(space)],
    ["Stop", () => stop(space.name)],
  ];
  keep(
    parent,
    actions,
    ([word]) => word,
    ([word, onclick]) => h("button", { type: "button", onclick, "aria-label": `${word} ${space.name}` }, word),
    (button, [word]) => {
      if (word !== "Focus") return;
      attribute(button, "aria-pressed", String(picture.focus === space.name));
      attribute(button, "title", "Have the shared ports of localhost lead to this space");
    },
  );
}

function row() {
  const cell = (name, ...children) => h("td", { role: "cell", class: name }, ...children);
  return h(
    "tr",
    { role: "row" },
    h("th", { scope: "row", role: "rowheader" }, h("b", {}), h("span", { class: "use" }), h("span", { class: "contest" })),
    cell("program", h("span", { class: "name" }), h("span", { class: "more" })),
    cell("reach", h("ul", {})),
    cell(
      "load",
      h("div", { class: "flow" }, h("b", { class: "sessions" }), spark()),
      h("span", { class: "more" }, h("span", { class: "rate" }), h("span", { class: "from" })),
    ),
  );
}

function fill(tr, port, space, model) {
  const { holds, ways } = port;
  attribute(tr, "data-port", `${space.name}/${port.protocol}/${port.port}`);
  attribute(tr, "class", holds.length ? null : "closed");
  say(find("th b", tr), port.protocol === "udp" ? `${port.port}/udp` : String(port.port));
  say(find(".use", tr), holds.find((hold) => hold.use)?.use ?? "");
  const contested = model.contested.has(`${space.name}/${port.protocol}/${port.port}`);
  say(find(".contest", tr), contested ? "conflict" : "");
  programs(tr, port, model);
  keep(find("ul", tr), reached(port, space), ([text]) => text, item, (li, [, place]) => state(li, place));
  // The kernel counts nothing of UDP.
  if (port.protocol === "udp") return;
  const sessions = ways.reduce((sum, way) => sum + way.sessions, 0);
  say(find(".sessions", tr), sessions ? String(sessions) : "");
  attribute(find(".sessions", tr), "aria-label", count(sessions, "session"));
  sketch(find(".load", tr), model.histories.get(`port ${space.name}/${port.port}`));
  const from = ways.filter((way) => way.sessions).map(start);
  say(find(".from", tr), from.length ? `from ${list([...new Set(from)])}` : "");
}

function programs(tr, { holds }, model) {
  const programs = new Map(holds.flatMap((hold) => hold.programs).map((program) => [program.pid, program]));
  const [oldest] = programs.values();
  const name = find(".name", tr);
  if (!holds.length) say(name, "nothing listens");
  else say(name, oldest ? oldest.program : "not to be seen");
  attribute(name, "title", oldest?.command.join(" "));
  const more = [];
  if (oldest) more.push(`pid ${oldest.pid}${programs.size > 1 ? ` and ${programs.size - 1} more` : ""}`);
  const [{ since } = {}] = holds;
  if (since) more.push(age(since, model.now));
  const waiting = holds.reduce((sum, hold) => sum + hold.waiting, 0);
  if (waiting) more.push(`${waiting} waiting to be accepted`);
  say(find(".more", tr), more.join(" · "));
}

/** Where a port is reached: by name, from other spaces, and where it is published. */
function reached({ holds, places }, space) {
  const reach = [...new Set(holds.flatMap((hold) => hold.reach))];
  const only = reach.length > 0 && !reach.some((text) => text.includes(".internal:"));
  // Places have a line of their own, which says more.
  const published = new Set(places.map((place) => endpoint(place.address, place.port)));
  const texts = reach.filter((text) => !text.endsWith(` in ${space.name}`) && !published.has(text));
  const reached = texts.map((text) => [text, null]);
  if (only) reached.push(["its own loopback only", null]);
  return [...reached, ...places.map((place) => [`${endpoint(place.address, place.port)} published`, place])];
}

function item([text, place]) {
  if (place) {
    const where = endpoint(place.address, place.port);
    const named = `${where}${place.protocol === "udp" ? "/udp" : ""}`;
    const end = () => unpublish(place.space, named);
    return h(
      "li",
      { class: "place" },
      h("span", {}, where),
      h("i", {}),
      h("button", { type: "button", onclick: end, "aria-label": `Unpublish ${where}`, title: "Unpublish" }, "×"),
    );
  }
  if (text.startsWith("http")) return h("li", {}, h("a", { href: `${text}/` }, text.replace("http://", "")));
  return h("li", { class: text.includes(":") ? "" : "remark" }, text);
}

function state(li, place) {
  if (!place) return;
  const states = {
    served: "",
    waiting: "waits for a program",
    elsewhere: `leads to ${place.to}`,
    blocked: "taken by another",
  };
  attribute(li, "class", `place ${place.state}`);
  attribute(li, "title", place.why);
  say(find("i", li), states[place.state]);
}

/** Programs inside that have no port. */
function others(element, space, ports) {
  const listening = new Set(ports.flatMap((port) => port.holds.flatMap((hold) => hold.programs.map(({ pid }) => pid))));
  const others = space.programs.filter(({ pid }) => !listening.has(pid));
  const names = others.map(({ program, pid }) => `${program} (${pid})`);
  if (space.more_programs) names.push(`${space.more_programs} more`);
  say(element, names.length ? `${ports.length ? "Also runs" : "Runs"} ${list(names)}` : "");
  attribute(element, "title", others.map(({ command }) => command.join(" ")).join("\n"));
}

/** An empty sparkline. */
export function spark() {
  return svg(
    "svg",
    { class: "spark idle", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" },
    svg("path", { class: "bytes" }),
    svg("path", { class: "sessions" }),
  );
}

/** Draws the last minute into a sparkline, and says what moves now beside it. */
export function sketch(parent, history) {
  const bytes = history ? [...history.slots] : [];
  const sessions = history ? [...history.sessions] : [];
  const [hills, stairs] = [area(bytes), steps(sessions)];
  attribute(find("path.bytes", parent), "d", hills);
  attribute(find("path.sessions", parent), "d", stairs);
  attribute(find(".spark", parent), "class", hills || stairs ? "spark" : "spark idle");
  say(find(".rate", parent), history ? rate(history.rate) : "");
}

/** The stretches of a minute in which there was something, as first and last slot. */
function stretches(values) {
  const all = [];
  values.forEach((value, at) => {
    if (!value) return;
    if (all.length && all.at(-1)[1] === at - 1) all.at(-1)[1] = at;
    else all.push([at, at]);
  });
  return all;
}

const x = (at) => ((Math.max(0, Math.min(SPAN - 1, at)) * WIDTH) / (SPAN - 1)).toFixed(1);

function area(values) {
  const most = Math.max(...values, 0);
  // A root has small flows be seen beside large ones.
  const y = (value) => (HEIGHT - 1 - Math.sqrt(value / most) * (HEIGHT - 4)).toFixed(1);
  const hill = ([first, last]) => {
    const tops = values.slice(first, last + 1).map((value, at) => `L${x(first + at)} ${y(value)}`);
    return `M${x(first - 1)} ${HEIGHT}${tops.join("")}L${x(last + 1)} ${HEIGHT}`;
  };
  return stretches(values).map(hill).join("") || null;
}

function steps(values) {
  const most = Math.max(...values, 0);
  const y = (value) => (HEIGHT - 1 - (value / most) * (HEIGHT - 4)).toFixed(1);
  const stair = ([first, last]) => {
    const treads = values.slice(first, last + 1).map((value, at) => `V${y(value)}H${x(first + at + 1)}`);
    return `M${x(first)} ${HEIGHT}${treads.join("")}V${HEIGHT}`;
  };
  return stretches(values).map(stair).join("") || null;
}
