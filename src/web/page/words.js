// Numbers, times and places in words.

/** `12 MB`: three digits at most, and a unit of 1000. */
export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let at = 0;
  while (count >= 999.5 && at + 1 < units.length) {
    count /= 1000;
    at += 1;
  }
  const digits = at === 0 || count >= 99.5 ? 0 : 1;
  return `${count.toFixed(digits)} ${units[at]}`;
}

export const rate = (count) => (count < 0.5 ? "" : `${bytes(count)}/s`);

/** `1 port`, `2 ports`. */
export const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

/** How long ago, in the largest unit that fits. */
export function age(since, now) {
  const seconds = Math.max(0, (now - Date.parse(since)) / 1000);
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [length, unit] = units.find(([length]) => seconds >= length) ?? units.at(-1);
  return `${Math.floor(seconds / length)} ${unit}`;
}

/** The time of day; of another day, that as well. */
export function moment(at, now) {
  const [time, today] = [new Date(at), new Date(now)];
  const clock = time.toLocaleTimeString([], { hour12: false });
  if (time.toDateString() === today.toDateString()) return clock;
  return `${time.toLocaleDateString([], { month: "short", day: "numeric" })} ${clock}`;
}

/** An address and a port, as they are typed. */
export const endpoint = (address, port) => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);

/** The end of a long path, where projects differ. */
export function place(directory) {
  if (!directory) return "";
  const parts = directory.replace(/^\/home\/[^/]+|^\/root/, "~").split("/");
  return parts.length > 4 ? ["…", ...parts.slice(-3)].join("/") : parts.join("/");
}

/** Several things as a sentence has them. */
export function list(things) {
  if (things.length < 2) return things.join("");
  return `${things.slice(0, -1).join(", ")} and ${things.at(-1)}`;
}

/** Where a way leads. */
export function end(to) {
  if (to.place === "space") return `${to.space}:${to.port}`;
  if (to.place === "machine") return `host.internal:${to.port}`;
  return endpoint(to.address, to.port);
}

/** Who is at a way's beginning. */
export function start(way) {
  if (way.from == null) return "this machine";
  return way.program ? `${way.program} in ${way.from}` : way.from;
}
