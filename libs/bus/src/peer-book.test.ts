import { describe, expect, it } from "vitest";
import { PeerBook } from "./peer-book.ts";

const LOST_AFTER_MS = 100;
const SWEEP_GAP_MAX_MS = 60;

function setUp() {
  const told: string[] = [];
  const limits = { lostAfterMs: LOST_AFTER_MS, sweepGapMaxMs: SWEEP_GAP_MAX_MS };
  const book = new PeerBook(limits, {
    joined: (id) => told.push(`joined ${id}`),
    lost: (id) => told.push(`lost ${id}`),
    gap: ({ from, cause }) => told.push(`gap ${from} ${cause}`),
  });
  const hear = (
    sequence: number,
    init: { way?: "own" | "all"; start?: string; at?: number } = {},
  ) =>
    book.heard(
      { from: "b", incarnation: init.start ?? "b1", sequence, sentAtMs: 0 },
      init.way ?? "all",
      init.at ?? 0,
    );
  return { book, told, hear };
}

describe("PeerBook", () => {
  it("meets a replica once, and finds nothing missing in a row", () => {
    const { book, told, hear } = setUp();
    expect([hear(1), hear(2), hear(3)]).toEqual([true, true, true]);
    expect(told).toEqual(["joined b"]);
    expect(book.replicaIds).toEqual(["b"]);
  });

  it("tells of a gap before the batch behind it, each way by itself", () => {
    const { told, hear } = setUp();
    hear(1);
    hear(1, { way: "own" });
    expect(hear(4)).toBe(true);
    hear(2, { way: "own" });
    expect(told).toEqual(["joined b", "gap b lost"]);
  });

  it("tells of a gap when it meets a replica in the middle of its words", () => {
    const { told, hear } = setUp();
    hear(5);
    expect(told).toEqual(["joined b", "gap b lost"]);
  });

  it("passes over what it has heard", () => {
    const { told, hear } = setUp();
    hear(1);
    hear(2);
    expect([hear(1), hear(2), hear(3)]).toEqual([false, false, true]);
    expect(told).toEqual(["joined b"]);
  });

  it("learns of a lost last batch from what the replica says it wrote, once", () => {
    const { book, told, hear } = setUp();
    hear(1, { way: "own" });
    book.told("b", 1);
    expect(told).toEqual(["joined b"]);
    book.told("b", 2);
    book.told("b", 2);
    hear(3, { way: "own" });
    expect(told).toEqual(["joined b", "gap b lost"]);
  });

  it("takes another start for another replica, and late words of the earlier one for nothing", () => {
    const { told, hear } = setUp();
    hear(1);
    hear(1, { start: "b2" });
    expect(hear(2)).toBe(false);
    expect(told).toEqual(["joined b", "lost b", "joined b"]);
  });

  it("gives up who is silent, and meets it again with a gap", () => {
    const { book, told, hear } = setUp();
    hear(1, { at: 0 });
    hear(2, { at: 50 });
    book.sweep(149);
    expect(told).toEqual(["joined b"]);
    book.sweep(150);
    hear(3, { at: 200 });
    expect(told).toEqual(["joined b", "lost b", "joined b", "gap b lost"]);
  });

  it("takes the time for which sweeps were held up for nobody's silence", () => {
    const { book, told, hear } = setUp();
    book.sweep(0);
    hear(1, { at: 0 });
    book.sweep(1_000 + SWEEP_GAP_MAX_MS);
    book.sweep(1_000 + LOST_AFTER_MS - 1);
    expect(told).toEqual(["joined b"]);
    book.sweep(1_000 + LOST_AFTER_MS);
    expect(told).toEqual(["joined b", "lost b"]);
  });

  it("counts what it heard after a hold-up, before the late sweep, from when it came", () => {
    const { book, told, hear } = setUp();
    book.sweep(0);
    hear(1, { at: 2_000 });
    book.sweep(2_000);
    book.sweep(2_000 + SWEEP_GAP_MAX_MS);
    book.sweep(2_000 + LOST_AFTER_MS - 1);
    expect(told).toEqual(["joined b"]);
    book.sweep(2_000 + LOST_AFTER_MS);
    expect(told).toEqual(["joined b", "lost b"]);
  });

  it("lets who says so go at once", () => {
    const { book, told, hear } = setUp();
    hear(1);
    book.left("b");
    expect(hear(2)).toBe(false);
    expect(told).toEqual(["joined b", "lost b"]);
  });

  it("knows a bounded number", () => {
    const { book, told } = setUp();
    for (let i = 0; i < 300; i += 1) {
      book.heard({ from: `r${i}`, incarnation: `i${i}`, sequence: 1, sentAtMs: 0 }, "all", i);
    }
    expect(book.replicaIds.length).toBe(256);
    expect(told.filter((word) => word.startsWith("lost"))).toHaveLength(44);
    expect(told).toContain("lost r0");
  });
});
