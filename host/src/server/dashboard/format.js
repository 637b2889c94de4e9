// Figures as people read them: three digits and a unit.

import { now } from "./clock.js";

function scaled(value, units, step) {
  let place = 0;
  while (Math.abs(value) >= step && place < units.length - 1) {
    value /= step;
    place += 1;
  }
  const digits = place === 0 || Math.abs(value) >= 100 ? 0 : 1;
  return [value.toFixed(digits), units[place]];
}

/** 1234567 is `1.2M`. */
export const count = (value) => scaled(value, ["", "k", "M", "G", "T"], 1000).join("");

/** 1536 is `1.5 KiB`. */
export const bytes = (value) => scaled(value, ["B", "KiB", "MiB", "GiB", "TiB"], 1024).join(" ");

/** Milliseconds: 0.4 is `400 µs`, 1500 is `1.5 s`. */
export function milliseconds(value) {
  if (value > 0 && value < 1) return `${Math.round(value * 1000)} µs`;
  if (value < 1000) return `${value < 10 && value % 1 ? value.toFixed(1) : Math.round(value)} ms`;
  if (value < 60_000) return `${(value / 1000).toFixed(1)} s`;
  return span(value / 1000);
}

/** Seconds: 4000 is `1 h 6 min`. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => whole >= size);
  if (first < 0) return "0 s";
  const [size, unit] = parts[first];
  const text = `${Math.floor(whole / size)} ${unit}`;
  const next = parts[first + 1];
  const rest = next ? Math.floor((whole % size) / next[0]) : 0;
  return rest ? `${text} ${rest} ${next[1]}` : text;
}

/** How long ago a moment was. */
export const since = (time) => span((now() - new Date(time)) / 1000);

/** The time of the day. */
export const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });

/** Day and time. */
export function date(time) {
  const local = new Date(time);
  const day = [local.getFullYear(), local.getMonth() + 1, local.getDate()].map((part) => String(part).padStart(2, "0"));
  return `${day.join("-")} ${local.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false })}`;
}

/** A number of things. */
export const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
