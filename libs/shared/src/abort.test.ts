import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { onAbort } from "./abort.ts";
import { sleep } from "./timing.ts";

const listening = (signal: AbortSignal) => getEventListeners(signal, "abort").length;

describe("onAbort", () => {
  it("tells everyone once, in order, and listens once", () => {
    const { signal, ...controller } = createController();
    const heard: number[] = [];
    for (let i = 0; i < 20; i += 1) onAbort(signal, () => heard.push(i));
    expect(listening(signal)).toBe(1);
    controller.abort();
    controller.abort();
    expect(heard).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it("tells nobody who has left, and does not listen for nobody", () => {
    const { signal, abort } = createController();
    const heard: string[] = [];
    const note = () => heard.push("same");
    const leaveFirst = onAbort(signal, note);
    const leaveSecond = onAbort(signal, note);
    onAbort(signal, () => leaveLast());
    const leaveLast = onAbort(signal, () => heard.push("left while the others were told"));
    leaveFirst();
    leaveFirst();
    abort();
    expect(heard).toEqual(["same"]);
    const other = createController();
    onAbort(other.signal, note)();
    expect(listening(other.signal)).toBe(0);
    onAbort(other.signal, note);
    expect(listening(other.signal)).toBe(1);
    leaveSecond();
    other.abort();
    expect(heard).toEqual(["same", "same"]);
  });

  it("does not listen to what has aborted", () => {
    const signal = AbortSignal.abort();
    onAbort(signal, () => {
      throw new Error("heard");
    })();
    expect(listening(signal)).toBe(0);
  });
});

describe("sleep", () => {
  it("listens once to a signal on which many wait", async () => {
    const { signal, abort } = createController();
    const waits = Array.from({ length: 20 }, () => sleep(60_000, signal));
    expect(listening(signal)).toBe(1);
    const ends = Promise.allSettled(waits);
    abort();
    expect((await ends).every(({ status }) => status === "rejected")).toBe(true);
    await sleep(1, createController().signal);
  });
});

function createController() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}
