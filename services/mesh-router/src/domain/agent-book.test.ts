import { describe, expect, it } from "vitest";
import { AgentBook } from "./agent-book.ts";

const NS = "default";
const agent = (agentId: string, ...capabilities: string[]) => ({
  namespace: NS,
  agentId,
  capabilities,
});

describe("AgentBook", () => {
  it("knows who can do what, as it was told last", () => {
    const book = new AgentBook();
    book.put(agent("a", "x", "y"));
    book.put(agent("b", "x"));
    expect(book.members(NS, "x")).toEqual(["a", "b"]);
    book.put(agent("a", "y"));
    expect(book.members(NS, "x")).toEqual(["b"]);
    expect(book.members(NS, "y")).toEqual(["a"]);
    book.remove(NS, "b");
    expect(book.members(NS, "x")).toEqual([]);
    expect(book.has(NS, "b")).toBe(false);
    expect(book.members("other", "y")).toEqual([]);
    expect([...book.everyone()]).toEqual([{ namespace: NS, agentId: "a" }]);
  });

  it("leaves a list as it is that somebody has", () => {
    const book = new AgentBook();
    book.put(agent("a", "x"));
    const asked = book.members(NS, "x");
    book.put(agent("b", "x"));
    expect(asked).toEqual(["a"]);
    expect(book.members(NS, "x")).toEqual(["a", "b"]);
  });

  it("takes a snapshot in of thousands that can do much", () => {
    const book = new AgentBook();
    const all = Array.from({ length: 200 }, (_, i) => `cap-${i}`);
    for (let i = 0; i < 5_000; i += 1) book.put(agent(`agent-${i}`, ...all));
    expect(book.members(NS, "cap-199")).toHaveLength(5_000);
  });
});
