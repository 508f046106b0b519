// Numbers, units and times as text. Prefixes are those of SI everywhere: 1 kB is 1000 bytes, as 1 kbit is 1000 bits.

const PREFIXES = ["", "k", "M", "G", "T", "P"];

/** A number of three figures and its prefix: [12.3, "k"]. */
function scaled(value) {
  let step = 0;
  let size = Math.abs(value);
  // What rounds to 1000 is 1.00 of the next prefix.
  while (size >= 999.5 && step < PREFIXES.length - 1) {
    size /= 1000;
    step += 1;
  }
  const decimals = step === 0 ? (size < 9.95 && size % 1 >= 0.05 ? 1 : 0) : size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  return [size.toFixed(decimals), PREFIXES[step]];
}

function withUnit(value, unit) {
  const [number, prefix] = scaled(value);
  return `${number} ${prefix}${unit}`;
}

/** Bits a second, of bytes a second. */
export const bits = (bytes) => withUnit(bytes * 8, "bit/s");
/** Packets a second. */
export const packets = (rate) => withUnit(rate, "p/s");
/** Anything a second. */
export const rate = (value) => withUnit(value, "/s");
export const bytes = (value) => withUnit(value, "B");
/** A number in full, its thousands apart. */
export const count = (value) => value.toLocaleString("en").replaceAll(",", "\u202f");
/** A number and its unit, apart. */
export function parts(text) {
  const space = text.indexOf(" ");
  return [text.slice(0, space), text.slice(space + 1)];
}

export const plural = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;

/** `42 s`, `3 min 20 s`, `5 h 1 min`, `12 d 3 h`: as `rewire status` writes it. */
export function duration(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}

/** A time of the gateway in the reader's time zone, to the second. */
export function moment(rfc3339) {
  const time = new Date(rfc3339);
  if (Number.isNaN(time.getTime())) return rfc3339;
  const two = (number) => String(number).padStart(2, "0");
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

/** How long ago that was. */
export function ago(rfc3339, now = Date.now()) {
  const seconds = Math.max(0, (now - new Date(rfc3339).getTime()) / 1000);
  if (seconds < 60) return "just now";
  return `${duration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

export const milliseconds = (nanoseconds) => `${(nanoseconds / 1e6).toFixed(1)} ms`;
/** A name as people read it: no_route is "no route". */
export const words = (name) => name.replaceAll("_", " ");

/** An end of a connection. */
export function end(address, port) {
  if (port === 0) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
