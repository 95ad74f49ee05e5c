import { describe, expect, it } from "vitest";
import { StreamCursor, type StreamEvent } from "./task-stream.ts";

const DATA = new Uint8Array([1]);

function show(event: StreamEvent): string {
  switch (event.kind) {
    case "standing":
      return `${event.state} ${event.attempt}`;
    case "started":
      return `${event.restarted ? "restarted" : "started"} ${event.attempt}`;
    case "chunk":
      return `chunk ${event.fence}/${event.sequence}`;
    case "progress":
      return `progress ${event.progress}`;
    case "gap":
      return `gap ${event.afterSequence}..${event.nextSequence}`;
  }
}

/** A cursor whose events are shown as text. */
function walk(afterFence = 0n, afterSequence = 0n) {
  const cursor = new StreamCursor(afterFence, afterSequence);
  return {
    cursor,
    enter: (fence: bigint, attempt = 1) =>
      cursor.enter({ fence, attempt, agentId: "ann" }).map(show),
    chunk: (fence: bigint, sequence: bigint, data: Uint8Array | undefined = DATA) =>
      cursor.chunk({ fence, sequence, data }).map(show),
    marker: (fence: bigint, sequence: bigint) =>
      cursor.chunk({ fence, sequence, data: undefined }).map(show),
    standing: (state: "READY" | "LEASED" | "RUNNING" | "FAILED" | "SUCCEEDED", attempt: number) =>
      cursor.standing({ state, attempt, agentId: "", failure: undefined }).map(show),
  };
}

describe("StreamCursor", () => {
  it("tells each chunk once and in order, however history and live items overlap", () => {
    const { enter, chunk } = walk();
    expect(enter(7n)).toEqual(["started 1"]);
    expect(enter(7n)).toEqual([]);
    const told = [1n, 2n, 1n, 2n, 3n, 3n].flatMap((sequence) => chunk(7n, sequence));
    expect(told).toEqual(["chunk 7/1", "chunk 7/2", "chunk 7/3"]);
  });

  it("goes on behind the place it was given", () => {
    const { enter, chunk } = walk(7n, 2n);
    expect(enter(7n)).toEqual([]);
    expect(chunk(7n, 2n)).toEqual([]);
    expect(chunk(7n, 3n)).toEqual(["chunk 7/3"]);
  });

  it("begins anew with a newer attempt, says so, and swallows what the old one still says", () => {
    const { enter, chunk } = walk(7n, 2n);
    expect(enter(9n, 2)).toEqual(["restarted 2"]);
    expect(chunk(7n, 3n)).toEqual([]);
    expect(chunk(9n, 1n)).toEqual(["chunk 9/1"]);
    expect(enter(7n)).toEqual([]);
  });

  it("says what is missing, with both ends when they are known", () => {
    const { enter, chunk } = walk();
    enter(7n);
    expect(chunk(7n, 3n)).toEqual(["gap 0..3", "chunk 7/3"]);
    expect(chunk(7n, 4n)).toEqual(["chunk 7/4"]);
    expect(chunk(7n, 6n)).toEqual(["gap 4..6", "chunk 7/6"]);
  });

  it("says at a marker that what follows was not kept, once", () => {
    const { enter, chunk, marker } = walk();
    enter(7n);
    chunk(7n, 1n);
    expect(marker(7n, 2n)).toEqual(["gap 1..0"]);
    expect(marker(7n, 2n)).toEqual([]);
    expect(chunk(7n, 9n)).toEqual(["chunk 7/9"]);
    expect(marker(7n, 2n)).toEqual([]);
    expect(chunk(7n, 11n)).toEqual(["gap 9..11", "chunk 7/11"]);
  });

  it("tells a state once, never an older one, and nothing after the end", () => {
    const { cursor, standing } = walk();
    expect(standing("READY", 0)).toEqual(["READY 0"]);
    expect(standing("LEASED", 1)).toEqual(["LEASED 1"]);
    expect(standing("RUNNING", 1)).toEqual(["RUNNING 1"]);
    expect(standing("LEASED", 1)).toEqual([]);
    expect(standing("RUNNING", 1)).toEqual([]);
    expect(standing("READY", 1)).toEqual(["READY 1"]);
    expect(standing("LEASED", 2)).toEqual(["LEASED 2"]);
    expect(cursor.ended).toBe(false);
    // A task that expires while it waits ends outside of any attempt.
    expect(standing("FAILED", 0)).toEqual(["FAILED 0"]);
    expect(cursor.ended).toBe(true);
    expect(standing("SUCCEEDED", 3)).toEqual([]);
  });
});
