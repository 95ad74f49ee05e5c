/** Clocks that processes of one machine share, so that a time taken in one can be subtracted from one of another. */

const NANOS_PER_MS = 1e6;
const TICKS = 5;

/** Milliseconds of the machine's monotonic clock: one zero for all its processes, unlike performance.now(). */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / NANOS_PER_MS;
}

/** Returns what to add to monotonicMs() to get the epoch milliseconds of this moment, good to some microseconds.
 *
 * Date.now() counts whole milliseconds, so its ticks are waited for: takes up to 5 ms of busy waiting. A process that
 * was put aside sees a tick late, never early, so the largest difference is the truest. */
export function epochOffsetMs(): number {
  let offset = Number.NEGATIVE_INFINITY;
  for (let tick = 0; tick < TICKS; tick += 1) {
    const before = Date.now();
    let now = before;
    while (now === before) now = Date.now();
    offset = Math.max(offset, now - monotonicMs());
  }
  return offset;
}
