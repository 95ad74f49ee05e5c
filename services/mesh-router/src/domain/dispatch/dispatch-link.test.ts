import type { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { DISPATCH_PRESSURE_ITEMS, DISPATCH_QUEUE_MAX } from "../limits.ts";
import type { UpdateKind } from "../message/carried.ts";
import { fakeSession } from "../session/session.fake.ts";
import type { Session } from "../session/session.ts";
import { DispatchLink, type SlotsFor } from "./dispatch-link.ts";

function linkWith(sessions: Session[] = [], slotsFor: SlotsFor = (of) => of.slots) {
  let error: NexusError | undefined;
  let wakes = 0;
  const stream = {
    wake: () => {
      wakes += 1;
    },
    fail: (reason: NexusError) => {
      error = reason;
    },
  };
  const link = new DispatchLink("o-1", stream, slotsFor);
  link.begin(sessions);
  return { link, error: () => error, wakes: () => wakes };
}

const update = (from: Session, kind: UpdateKind = "completed", size = 10) => ({
  session: from,
  update: { taskId: "t", fence: 1n, kind, bytes: new Uint8Array(size) },
});

describe("DispatchLink", () => {
  it("says that the snapshot is complete in its last frame, also when it is empty", () => {
    const { link } = linkWith();
    expect(link.take()).toMatchObject({ sessions: [], snapshotComplete: true });
    expect(link.take()).toBeUndefined();
    const many = linkWith(Array.from({ length: 600 }, (_, i) => fakeSession(`a${i}`))).link;
    const frames = [many.take(), many.take(), many.take()];
    expect(frames.map((frame) => [frame?.sessions.length, frame?.snapshotComplete])).toEqual([
      [512, false],
      [88, true],
      [undefined, undefined],
    ]);
  });

  it("describes a session once, however often it changed", () => {
    const one = fakeSession("a");
    const { link } = linkWith();
    link.take();
    for (let i = 0; i < 10; i += 1) link.pushSession(one);
    expect(link.take()?.sessions).toEqual([{ session: one, slots: 1 }]);
    expect(link.take()).toBeUndefined();
  });

  it("says a number of slots only when it differs from what it said", () => {
    const one = fakeSession("a");
    let slots = 4;
    const { link } = linkWith([one], () => slots);
    expect(link.toldSlots(one)).toBeUndefined();
    expect(link.take()?.sessions).toEqual([{ session: one, slots: 4 }]);
    link.pushSlots(one);
    expect(link.take()).toBeUndefined();
    slots = 3;
    link.pushSlots(one);
    slots = 4;
    expect(link.take()).toBeUndefined();
    slots = 2;
    link.pushSlots(one);
    link.pushSession(one);
    expect(link.take()?.sessions).toEqual([{ session: one, slots: 2 }]);
    expect(link.take()).toBeUndefined();
    expect(link.toldSlots(one)).toBe(2);
  });

  it("says a state whatever the number of slots, and no number of a session that is over", () => {
    const one = fakeSession("a");
    const { link } = linkWith([one]);
    link.take();
    link.pushSession(one);
    expect(link.take()?.sessions).toHaveLength(1);
    one.slots = 7;
    one.state = "closed";
    link.pushSlots(one);
    expect(link.take()).toBeUndefined();
  });

  it("keeps the end of a session behind the updates before it", () => {
    const one = fakeSession("a");
    const { link } = linkWith();
    link.take();
    for (let i = 0; i < 600; i += 1) link.pushUpdate(update(one));
    one.state = "closed";
    link.pushSession(one);
    const frames = [link.take(), link.take(), link.take()];
    expect(frames.map((frame) => [frame?.updates.length, frame?.sessions.length])).toEqual([
      [512, 0],
      [88, 0],
      [0, 1],
    ]);
  });

  it("drops progress and chunks under pressure, and nothing else", () => {
    const one = fakeSession("a");
    const { link, error } = linkWith();
    for (let i = 0; i < DISPATCH_PRESSURE_ITEMS; i += 1) link.pushUpdate(update(one, "accepted"));
    expect(link.pushUpdate(update(one, "progress"))).toBe("dropped");
    expect(link.pushUpdate(update(one, "chunk"))).toBe("dropped");
    for (const kind of ["accepted", "completed", "failed", "released"] as const) {
      expect(link.pushUpdate(update(one, kind))).toBe("queued");
    }
    expect(error()).toBeUndefined();
  });

  it("ends a stream whose queue is full by number or by bytes", () => {
    const one = fakeSession("a");
    const byNumber = linkWith();
    for (let i = 0; i < DISPATCH_QUEUE_MAX; i += 1) byNumber.link.pushUpdate(update(one));
    expect(byNumber.link.pushUpdate(update(one))).toBe("dropped");
    expect(byNumber.error()?.reason).toBe("DISPATCH_TOO_SLOW");
    expect(byNumber.link.queued).toBe(0);
    const byBytes = linkWith();
    for (let i = 0; i < 33; i += 1) byBytes.link.pushUpdate(update(one, "completed", 1_048_576));
    expect(byBytes.error()?.reason).toBe("DISPATCH_TOO_SLOW");
    const ref = { session: one, taskId: "t", fence: 1n, reason: "NO_SESSION" as const };
    const byRefusals = linkWith();
    for (let i = 0; i <= DISPATCH_QUEUE_MAX; i += 1) byRefusals.link.refuse(ref);
    expect(byRefusals.error()?.reason).toBe("DISPATCH_TOO_SLOW");
  });

  it("takes nothing in once it is over", () => {
    const { link, wakes } = linkWith();
    link.close();
    const before = wakes();
    link.pushSession(fakeSession("a"));
    link.pushSlots(fakeSession("a"));
    link.refuse({ session: fakeSession("a"), taskId: "t", fence: 1n, reason: "NO_SESSION" });
    expect(link.pushUpdate(update(fakeSession("a")))).toBe("dropped");
    expect(wakes()).toBe(before);
    expect(link.over).toBe(true);
  });
});
