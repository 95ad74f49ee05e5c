import { describe, expect, it } from "vitest";
import type { JobEvents } from "../domain/job-event.ts";
import { WATCH_BUFFER_MAX, WatchHub, type WatchItem } from "./watch-hub.ts";

function events(first: number, count: number, jobId = "job"): JobEvents {
  const change = { kind: "job", jobId, state: "RUNNING", failure: undefined } as const;
  const changes = Array.from({ length: count }, () => change);
  return { jobId, first: BigInt(first), at: new Date(0), changes };
}

async function drain(items: AsyncIterable<WatchItem>): Promise<number> {
  let count = 0;
  for await (const item of items) if (item.kind === "event") count += 1;
  return count;
}

describe("WatchHub", () => {
  it("gives each watcher the events of its own job, and nothing once it left", async () => {
    const hub = new WatchHub();
    const one = hub.subscribe("job");
    const other = hub.subscribe("other");
    hub.publish([events(1, 2), events(3, 1, "other")]);
    expect(one.items.size).toBe(2);
    expect(other.items.size).toBe(1);
    one.close();
    other.close();
    expect(hub.size).toBe(0);
    expect(hub.isWatched("job")).toBe(false);
    expect(await drain(one.items)).toBe(0);
  });

  it("ends a watcher that is too far behind, after what it has, and leaves the others alone", async () => {
    const hub = new WatchHub();
    const slow = hub.subscribe("job");
    hub.publish([events(1, WATCH_BUFFER_MAX + 1)]);
    const fresh = hub.subscribe("job");
    hub.publish([events(9_999, 1)]);
    expect(fresh.items.size).toBe(1);
    expect(hub.size).toBe(1);
    let seen = 0;
    const reading = (async () => {
      for await (const item of slow.items) if (item.kind === "event") seen += 1;
    })();
    await expect(reading).rejects.toMatchObject({ kind: "exhausted", reason: "WATCHER_TOO_SLOW" });
    expect(seen).toBe(WATCH_BUFFER_MAX);
  });

  it("tells every watcher of a gap", () => {
    const hub = new WatchHub();
    const watchers = ["a", "b"].map((jobId) => hub.subscribe(jobId));
    hub.announceGap();
    expect(watchers.map(({ items }) => items.size)).toEqual([1, 1]);
  });
});
