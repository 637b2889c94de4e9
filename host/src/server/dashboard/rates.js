// From counts that grow to rates: what was counted since the figures before.

import { now } from "./clock.js";

/** The shortest time that a rate is said of, in milliseconds: figures come once a second, and with every change of phase. */
const SHORTEST = 500;

/** Turns one job's statuses into moments as the server's history has them, and into rates by node. */
export class Rates {
  /** The next moment and `{ in, out, dropped, calls, busy }` a second by node, or nothing if this status gives none. */
  next(status) {
    const time = now();
    const runs = ["running", "draining"].includes(status.phase.phase);
    const before = this.last;
    if (!runs) {
      this.last = null;
      return null;
    }
    if (before && time - before.time < SHORTEST) return null;
    this.last = { time, figures: status.figures };
    const isOther = before && status.figures.delivered < before.figures.delivered;
    if (!before || isOther) return null;
    return between(before.figures, status.figures, time, (time - before.time) / 1000);
  }
}

function between(before, after, time, seconds) {
  const a_second = (count, then) => Math.max(0, count - (then ?? 0)) / seconds;
  const nodes = Object.entries(after.nodes).map(([name, counts]) => {
    const then = before.nodes[name] ?? {};
    return [name, {
      in: a_second(counts.rows_in, then.rows_in),
      out: a_second(counts.rows_out, then.rows_out),
      dropped: counts.skipped + counts.rejected,
      calls: a_second(counts.calls, then.calls),
      busy: a_second(counts.busy_nanos, then.busy_nanos) / 1e9,
    }];
  });
  return {
    moment: {
      time,
      rows_per_second: a_second(after.rows_in, before.rows_in),
      bytes_per_second: a_second(after.bytes_in, before.bytes_in),
      processing_ms: after.processing_ms,
      delay_ms: after.delay_ms,
      backlog_bytes: after.backlog_bytes,
    },
    nodes: new Map(nodes),
  };
}

/** Moments of the server's history, with times as numbers. */
export const moments = (past) => past.moments.map((moment) => ({ ...moment, time: Date.parse(moment.time) }));

/** One figure of moments, to be drawn. */
export const series = (list, figure) => list.map((moment) => ({ time: moment.time, value: moment[figure] }));

/** Moments that are drawn at most. */
export const MOMENTS = 600;
