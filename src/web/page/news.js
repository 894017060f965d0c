// Events as they happen, and conflicts with their story.

import { attribute, find, h, keep, say } from "./dom.js";
import { age, endpoint, moment } from "./words.js";

/** As many events are kept. */
const KEPT = 200;
/** A conflict that is over is shown for so long, in milliseconds. */
const LATELY = 3600_000;

export class News {
  events = [];
  number = 0;

  /** Takes an event in; one that was told before, when the stream began anew, is known. */
  take(event) {
    const name = `${event.at} ${event.socket} ${event.event}`;
    if (this.events.some((known) => known.name === name)) return false;
    this.events.unshift({ ...event, name });
    this.events.length = Math.min(this.events.length, KEPT);
    return true;
  }

  /** Without what was bound and listens since: that is one thing to who reads it. */
  get shown() {
    const listen = new Set(this.events.filter((event) => event.event === "listening").map((event) => event.socket));
    return this.events.filter((event) => event.event !== "bound" || !listen.has(event.socket));
  }

  /** The same conflict many times over is one, the last, with a count. */
  get conflicts() {
    const conflicts = new Map();
    for (const event of this.events) {
      if (event.event !== "conflict") continue;
      const name = JSON.stringify([event.space, event.protocol, event.port, event.program?.program]);
      const known = conflicts.get(name);
      if (known) known.times += 1;
      else conflicts.set(name, { name, event, times: 1 });
    }
    return [...conflicts.values()];
  }
}

const where = ({ protocol, address, port }) => `${endpoint(address, port)}${protocol === "udp" ? "/udp" : ""}`;

/** A conflict in few words, for who hears it. */
export const headline = (event) =>
  `Conflict in ${event.space}: ${event.program?.program ?? "a program"} wanted ${where(event)}, which is taken.`;

/** Brings conflicts and events up to date. */
export function draw(news, model) {
  stories(news, model);
  const section = find("#events");
  attribute(find(".empty", section), "hidden", news.events.length ? "" : null);
  keep(find("ol", section), news.shown, (event) => event.name, line, (li, event) =>
    say(find("time", li), moment(event.at, model.now)),
  );
}

function line(event) {
  const { program } = event;
  const who = program ? ` by ${program.program} (${program.pid})` : "";
  return h(
    "li",
    { class: event.event },
    h("time", { datetime: event.at }),
    h("span", { class: "what" }, event.event),
    h("span", {}, h("b", {}, `${event.space} `), `${where(event)}${who}`),
  );
}

function stories(news, model) {
  const fresh = ({ standing, event }) => standing || model.now - Date.parse(event.at) < LATELY;
  const taken = news.conflicts
    .map((conflict) => ({ ...conflict, standing: stands(conflict.event, model) }))
    .filter(fresh);
  const blocked = model.picture.published.filter((place) => place.state === "blocked").map((place) => ({
    name: `published ${place.space} ${endpoint(place.address, place.port)}`,
    standing: true,
    title: `${endpoint(place.address, place.port)} can’t be published for ${place.space}`,
    story: [place.why],
  }));
  const standing = taken.filter((conflict) => conflict.standing);
  model.contested = new Set(standing.map(({ event }) => `${event.space}/${event.protocol}/${event.port}`));
  const all = [...blocked, ...taken].slice(0, 8);
  attribute(find("#conflicts"), "hidden", all.length ? null : "");
  keep(find(".stories"), all, (conflict) => conflict.name, story, (element, conflict) => {
    const { event, times, standing } = conflict;
    attribute(element, "class", standing ? "story" : "story over");
    say(find("h3", element), conflict.title ?? `Port ${event.port} of ${event.space} was taken already`);
    const when = event && `${age(event.at, model.now)} ago${times > 1 ? `, ${times} times` : ""}`;
    say(find(".when", element), [when, standing ? "" : "over"].filter(Boolean).join(" · "));
  });
}

/** Whether those who were in the way still are. */
function stands({ space, protocol, port, reason }, model) {
  const holders = model.holders(space, protocol, port);
  return (reason.held ?? []).some((holder) => holders.includes(holder.program?.pid));
}

function story({ event, story }) {
  const lines = story ?? event.story ?? [];
  const asked = event?.program && `${event.program.program} (pid ${event.program.pid}) wanted it.`;
  return h(
    "article",
    { class: "story" },
    h("h3", {}),
    h("p", { class: "when" }),
    asked && h("p", {}, asked),
    ...lines.map((line) => h("p", {}, line.trim())),
  );
}
