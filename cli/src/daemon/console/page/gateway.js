// What the gateway says, asked once a second while somebody looks, and the last ten minutes of it.

const EVERY = 1000;
// Rates need two answers: the second one comes soon.
const FIRST = 250;
const PATIENCE = 5000;
const KEPT = 600;

/** The last answer, the one before it, and what they come to. Views read it and write nothing. */
export const gateway = {
  /** As `rewire status --json`; null before the first answer. */
  status: null,
  /** Columns of the last minutes, as /api/recent. */
  recent: null,
  /** Since when there is no answer, and why; null while there are answers. */
  gone: null,
};

let before = null;
const listeners = new Set();

/** Calls a function after each answer, and each time there is none. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Asks for something once: its answer, or an error with the reason in words. */
export async function ask(path, parameters) {
  const query = parameters ? `?${new URLSearchParams(parameters)}` : "";
  let response;
  try {
    response = await fetch(`/api/${path}${query}`, { signal: AbortSignal.timeout(PATIENCE) });
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? "the gateway does not answer" : "the gateway is not running", { cause: error });
  }
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(text.trim() || `status ${response.status}`);
  }
  if (!response.ok) throw new Error(answer.error ?? `status ${response.status}`);
  return answer;
}

/** How fast a counter went up between the last two answers, a second. `read` takes it out of an answer. */
export function rate(read) {
  const now = gateway.status;
  if (!now || !before) return 0;
  const seconds = (now.uptime_ns - before.uptime_ns) / 1e9;
  const from = read(before);
  const to = read(now);
  // What was not there before, or began again, has no rate yet.
  return seconds > 0 && from !== undefined && to >= from ? (to - from) / seconds : 0;
}

const named = (list, name) => list.find((one) => one.name === name);

/** Of an interface. After the first answer, the gateway's own last second says it. */
export function interfaceRate(name, counter) {
  if (before) return rate((status) => named(status.interfaces, name)?.counters?.[counter]);
  const [direction, unit] = counter.split("_");
  const known = gateway.recent?.interfaces[name]?.[direction];
  return (Array.isArray(known) ? known : known?.[unit])?.at(-1) ?? 0;
}

/** Of a reason to drop packets, likewise. */
export function dropRate(reason) {
  if (!before) return gateway.recent?.drops[reason]?.at(-1) ?? 0;
  return rate((status) => status.drops.find((drop) => drop.reason === reason)?.packets);
}

const all = (counter) => rate((status) => status.interfaces.reduce((sum, one) => sum + (one.counters?.[counter] ?? 0), 0));

/** The share of its time that each worker had packets, from 0 to 1; null where that is not known. */
export function busy() {
  const { status } = gateway;
  return (status?.worker_times ?? []).map((now, worker) => {
    const from = before?.worker_times[worker];
    if (!from) return null;
    const spent = now.busy_ns - from.busy_ns;
    const all = spent + now.idle_ns - from.idle_ns;
    return all > 0 && spent >= 0 ? spent / all : null;
  });
}

function put(column, value) {
  column.push(Math.round(value));
  if (column.length > KEPT) column.shift();
}

/** Adds the second that the last two answers are apart. */
function remember() {
  const { recent, status } = gateway;
  const length = recent.time_ms.length;
  const blank = () => new Array(length).fill(0);
  const pair = () => ({ packets: blank(), bytes: blank() });
  put(recent.received.packets, rate((s) => s.packets.received));
  put(recent.received.bytes, all("received_bytes"));
  put(recent.transmitted.packets, rate((s) => s.packets.transmitted));
  put(recent.transmitted.bytes, all("transmitted_bytes"));
  put(recent.dropped, rate((s) => s.packets.dropped));
  put(recent.connections, status.connections.now);
  put(recent.connections_created, rate((s) => s.connections.created));
  for (const { name } of status.interfaces) {
    recent.interfaces[name] ??= { received: pair(), transmitted: pair(), dropped: blank() };
  }
  for (const [name, rates] of Object.entries(recent.interfaces)) {
    put(rates.received.packets, interfaceRate(name, "received_packets"));
    put(rates.received.bytes, interfaceRate(name, "received_bytes"));
    put(rates.transmitted.packets, interfaceRate(name, "transmitted_packets"));
    put(rates.transmitted.bytes, interfaceRate(name, "transmitted_bytes"));
    put(rates.dropped, interfaceRate(name, "dropped_packets"));
  }
  for (const { reason } of status.drops) {
    const packets = dropRate(reason);
    if (packets > 0) recent.drops[reason] ??= blank();
    if (recent.drops[reason]) put(recent.drops[reason], packets);
  }
  put(recent.time_ms, Date.now());
}

async function look() {
  try {
    const status = await ask("status");
    const isAnother = gateway.status?.pid !== status.pid || status.uptime_ns < gateway.status.uptime_ns;
    // After a pause, or where it is another gateway, it knows more than the page.
    if (isAnother || gateway.gone || gateway.stale) {
      gateway.recent = await ask("recent");
      before = null;
    } else {
      before = gateway.status;
    }
    gateway.status = status;
    gateway.gone = null;
    gateway.stale = false;
    // A column is a second.
    if (before && status.uptime_ns - before.uptime_ns > EVERY * 5e5) remember();
  } catch (error) {
    gateway.gone ??= { since: new Date(), why: "" };
    gateway.gone.why = error.message;
  }
  for (const listener of listeners) listener();
}

/** Asks again and again, while the page is seen. */
export async function follow() {
  for (;;) {
    const begun = performance.now();
    await look();
    const pause = before || gateway.gone ? EVERY : FIRST;
    await new Promise((done) => setTimeout(done, Math.max(100, pause - (performance.now() - begun))));
    if (document.hidden) {
      await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
      gateway.stale = true;
    }
  }
}
