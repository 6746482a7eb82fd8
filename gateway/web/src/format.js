// Numbers and times as the pages write them: the same for everybody, whatever the browser's language. Times are UTC.

const MINUS = "−";
const DAY_MS = 86_400_000;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
  ["s", 1],
];

/** A score: always one decimal. */
export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(1));

/** How far a score moved, with its sign. */
export function moved(by) {
  const tenths = Math.round(by * 10);
  if (tenths === 0) return "0.0";
  return `${tenths > 0 ? "+" : MINUS}${(Math.abs(tenths) / 10).toFixed(1)}`;
}

/** A whole number with commas. */
export const whole = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");

/** So many of something: 1 event, 2 events. */
export const counted = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

const two = (number) => String(number).padStart(2, "0");

/** A day: 7 Jul 2012. */
export function day(ms) {
  const at = new Date(ms);
  return `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
}

/** A moment: 7 Jul 2012, 23:59 UTC. */
export function moment(ms, { seconds = false } = {}) {
  const at = new Date(ms);
  const clock = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  return `${day(ms)}, ${clock}${seconds ? `:${two(at.getUTCSeconds())}` : ""} UTC`;
}

/** A moment under a chart: a day where one begins, else the time of day, as exact as the steps between them are. */
export function tick(ms, stepMs) {
  const at = new Date(ms);
  if (stepMs >= DAY_MS || ms % DAY_MS === 0) return `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
  const clock = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  return stepMs < 60_000 ? `${clock}:${two(at.getUTCSeconds())}` : clock;
}

/** A share of a whole. */
export const percent = (share) => (share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`);

/** How long something is, in its two largest units: 5 h 3 min. */
export function duration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [name, size] of UNITS) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count) parts.push(`${count} ${name}`);
    else if (parts.length) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || "0 s";
}
