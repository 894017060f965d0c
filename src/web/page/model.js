// What is known: the last picture, put in order for the eye, and the last minute of what goes where.

/** Seconds that sparklines reach back. */
export const SPAN = 60;

/** One minute of a quantity, a slot for each second. */
class History {
  slots = new Float64Array(SPAN);
  sessions = new Float64Array(SPAN);

  /** Empty, up to this second. */
  constructor(second) {
    this.at = second;
  }

  /** Moves on to this second; in those between there were no bytes, and as many sessions as before. */
  advance(second) {
    const steps = Math.min(SPAN, second - this.at);
    if (steps <= 0) return;
    const last = this.sessions[SPAN - 1];
    for (const slots of [this.slots, this.sessions]) slots.copyWithin(0, steps);
    this.slots.fill(0, SPAN - steps);
    this.sessions.fill(last, SPAN - steps);
    this.at = second;
  }

  add(bytes) {
    this.slots[SPAN - 1] += bytes;
  }

  /** Bytes a second, of the last three whole seconds. */
  get rate() {
    return (this.slots[SPAN - 2] + this.slots[SPAN - 3] + this.slots[SPAN - 4]) / 3;
  }

  get quiet() {
    return !this.slots.some(Boolean) && !this.sessions.some(Boolean);
  }
}

export class Model {
  picture = null;
  /** By what they are about: a way, `port shop/3000`, `space shop`, `all`. */
  histories = new Map();
  totals = new Map();
  /** Ports that somebody wanted and didn't get, and that are still held: `shop/tcp/3000`. */
  contested = new Set();
  /** How far the machine's clock is ahead of the browser's, in milliseconds. */
  ahead = 0;

  get now() {
    return Date.now() + this.ahead;
  }

  get second() {
    return Math.floor(Date.now() / 1000);
  }

  history(name) {
    if (!this.histories.has(name)) this.histories.set(name, new History(this.second));
    return this.histories.get(name);
  }

  /** Time goes on. */
  tick() {
    for (const history of this.histories.values()) history.advance(this.second);
  }

  /** Takes a new picture in. */
  take(picture) {
    this.tick();
    const first = this.picture === null;
    this.picture = picture;
    const sessions = new Map([...this.histories.keys()].map((name) => [name, 0]));
    const totals = new Map();
    for (const route of picture.routes) {
      const total = route.sent + route.received;
      const before = this.totals.get(key(route));
      const moved = before === undefined ? (first ? 0 : total) : Math.max(0, total - before);
      totals.set(key(route), total);
      for (const name of subjects(route)) {
        this.history(name).add(moved);
        sessions.set(name, (sessions.get(name) ?? 0) + route.sessions);
      }
    }
    this.totals = totals;
    for (const [name, count] of sessions) this.history(name).sessions[SPAN - 1] = count;
    for (const [name, history] of this.histories) {
      if (!sessions.get(name) && history.quiet) this.histories.delete(name);
    }
  }

  /** Counting begins anew: another daemon, or the stream was interrupted. */
  forget() {
    this.picture = null;
    this.totals = new Map();
  }

  /** The ports of a space: those that listen, and those that are published and wait for that. */
  ports(space) {
    const { listeners, published, routes } = this.picture;
    const ports = new Map();
    const at = (protocol, port) => {
      const name = `${protocol}/${port}`;
      if (!ports.has(name)) {
        ports.set(name, { space, protocol, port, holds: [], places: [], ways: [] });
      }
      return ports.get(name);
    };
    for (const hold of listeners) if (hold.space === space) at(hold.protocol, hold.port).holds.push(hold);
    for (const place of published) if (place.space === space) at(place.protocol, place.inside).places.push(place);
    for (const way of routes) {
      const { to } = way;
      if (to.place === "space" && to.space === space) ports.get(`tcp/${to.port}`)?.ways.push(way);
    }
    return [...ports.values()].sort((a, b) => a.port - b.port || a.protocol.localeCompare(b.protocol));
  }

  /** Ways that have connections, or had some in the last minute. */
  get ways() {
    return this.picture.routes.filter((route) => route.sessions > 0 || !this.history(key(route)).quiet);
  }

  /** The processes that listen at this port of a space. */
  holders(space, protocol, port) {
    const holds = this.picture.listeners.filter(
      (hold) => hold.space === space && hold.protocol === protocol && hold.port === port,
    );
    return holds.flatMap((hold) => hold.programs.map((program) => program.pid));
  }
}

/** A way's name. */
export const key = (way) => JSON.stringify([way.from, way.program, way.to]);

function subjects(way) {
  const subjects = [key(way), "all"];
  if (way.to.place === "space") subjects.push(`port ${way.to.space}/${way.to.port}`, `space ${way.to.space}`);
  if (way.from !== null && way.from !== way.to.space) subjects.push(`space ${way.from}`);
  return subjects;
}
