import { describe, expect, it } from "vitest";
import { AffinityBook } from "./affinity-book.ts";
import { fakeTask } from "./engine.fake.ts";

describe("AffinityBook", () => {
  it("remembers the last agent of a key, per namespace", () => {
    const book = new AffinityBook();
    const task = fakeTask({}, { affinityKey: "chat-1" });
    expect(book.agentOf(task)).toBe("");
    book.note(task, "a");
    book.note(task, "b");
    expect(book.agentOf(fakeTask({}, { affinityKey: "chat-1" }))).toBe("b");
    expect(book.agentOf(fakeTask({}, { affinityKey: "chat-2" }))).toBe("");
    expect(book.agentOf(fakeTask({ namespace: "other" }, { affinityKey: "chat-1" }))).toBe("");
  });

  it("remembers nothing of tasks without a key", () => {
    const book = new AffinityBook();
    book.note(fakeTask(), "a");
    expect(book.agentOf(fakeTask())).toBe("");
  });

  it("forgets the key that was used longest ago when it is full", () => {
    const book = new AffinityBook(2);
    const [one, two, three] = ["1", "2", "3"].map((affinityKey) => fakeTask({}, { affinityKey }));
    if (one === undefined || two === undefined || three === undefined) throw new Error("no tasks");
    book.note(one, "a");
    book.note(two, "b");
    book.agentOf(one);
    book.note(three, "c");
    expect([one, two, three].map((task) => book.agentOf(task))).toEqual(["a", "", "c"]);
  });
});
