// Numbers as `berth ps` writes them. What is not known is a dash.

export const DASH = "-";
const UNITS = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];

export function bytes(count) {
  if (count === null) return DASH;
  const unit = UNITS.find(([, size]) => Math.abs(count) >= size);
  return unit ? `${(count / unit[1]).toFixed(2)} ${unit[0]}` : `${count} B`;
}

export function number(count) {
  return count === null ? DASH : String(count);
}

/** Seconds: "0.35 s", "12 s", "3 min". */
export function seconds(count) {
  if (count === null) return DASH;
  if (count < 10) return `${count.toFixed(2)} s`;
  return count < 120 ? `${Math.round(count)} s` : `${Math.round(count / 60)} min`;
}

export function rate(count) {
  return count === null ? DASH : `${count.toFixed(1)} tokens/s`;
}

export function plural(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}
