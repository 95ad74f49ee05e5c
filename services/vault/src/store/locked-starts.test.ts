import { NexusError, parseNamespace, parsePrincipalId } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { Issuance, NewFamily } from "../domain/ports.ts";
import { LockedStarts } from "./locked-starts.ts";

const GIVE_UP_MS = 1_000;

function familyOf(principal: string, familyId = "fam"): NewFamily {
  const namespace = parseNamespace("default");
  return { namespace, principalId: parsePrincipalId(principal), familyId, credentialVersion: 1 };
}

/** A database in which the rows of some principals are held. Each try takes a tenth of what a grant waits. */
function setUp(
  held: Set<string>,
  over: { readonly maxQueued?: number; readonly lanes?: number } = {},
) {
  let nowMs = 0;
  const tried: string[][] = [];
  const starts = new LockedStarts({
    async start(families) {
      tried.push(families.map(({ principalId, familyId }) => `${principalId}/${familyId}`));
      await Promise.resolve();
      const [first] = families;
      if (first === undefined || held.has(first.principalId)) {
        nowMs += GIVE_UP_MS / 10;
        throw new NexusError({ kind: "conflict", reason: "LOCK_NOT_AVAILABLE", message: "held" });
      }
      return families.map(({ familyId }) => ({ familyId }) as Issuance);
    },
    nowMs: () => nowMs,
    lanes: 2,
    maxQueued: 10,
    maxItems: 2,
    giveUpMs: GIVE_UP_MS,
    ...over,
  });
  return { starts, tried };
}

describe("LockedStarts", () => {
  it("answer for a free principal however many others are held", async () => {
    const held = new Set(["a", "b", "c"]);
    const { starts } = setUp(held);
    const stuck = ["a", "b", "c"].map((name) => starts.add(familyOf(name)));
    const ended = Promise.allSettled(stuck);
    expect(await starts.add(familyOf("free", "fam_1"))).toMatchObject({ familyId: "fam_1" });
    held.clear();
    expect((await ended).map(({ status }) => status)).toEqual(Array(3).fill("fulfilled"));
  });

  it("give up on a row that is held all the time, and only then", async () => {
    const { starts, tried } = setUp(new Set(["a"]));
    await expect(starts.add(familyOf("a"))).rejects.toMatchObject({ reason: "LOCK_NOT_AVAILABLE" });
    expect(tried).toHaveLength(10);
    await starts.close();
  });

  it("try who was not tried yet before all who are stuck", async () => {
    const held = new Set(["a", "b", "c", "d", "e", "f"]);
    const { starts, tried } = setUp(held, { lanes: 1 });
    const stuck = Promise.allSettled([...held].map((name) => starts.add(familyOf(name))));
    while (tried.length < held.size) await Promise.resolve();
    const before = tried.length;
    await starts.add(familyOf("free"));
    expect(tried.slice(before).findIndex(([one]) => one === "free/fam")).toBeLessThanOrEqual(1);
    held.clear();
    await stuck;
  });

  it("try nobody whose time is over or whose caller is gone", async () => {
    const { starts, tried } = setUp(new Set(["a"]), { lanes: 1 });
    const gone = new AbortController();
    const first = starts.add(familyOf("a", "1"));
    const second = starts.add({ ...familyOf("b", "2"), signal: gone.signal });
    gone.abort();
    const refused = { reason: "LOCK_NOT_AVAILABLE" };
    await expect(second).rejects.toMatchObject(refused);
    await expect(first).rejects.toMatchObject(refused);
    expect(new Set(tried.flat())).toEqual(new Set(["a/1"]));
  });

  it("keep the order of their coming when some were tried in vain", async () => {
    const held = new Set(["a"]);
    const { starts, tried } = setUp(held, { lanes: 1 });
    const first = starts.add(familyOf("a", "1"));
    const second = starts.add(familyOf("a", "2"));
    await Promise.resolve();
    held.clear();
    await Promise.all([first, second]);
    expect(tried.slice(0, 2)).toEqual([["a/1"], ["a/1", "a/2"]]);
  });

  it("share a commit between the grants of one principal, in the order of their coming", async () => {
    const { starts, tried } = setUp(new Set());
    const ids = ["1", "2", "3", "4"];
    const answers = await Promise.all(ids.map((id) => starts.add(familyOf("a", id))));
    expect(answers.map((one) => one?.familyId)).toEqual(ids);
    expect(tried).toEqual([["a/1"], ["a/2", "a/3"], ["a/4"]]);
  });

  it("turn away what is beyond the queue, and close when the last has its answer", async () => {
    const held = new Set(["a"]);
    const { starts } = setUp(held, { maxQueued: 1 });
    const waiting = starts.add(familyOf("a"));
    await expect(starts.add(familyOf("b"))).rejects.toMatchObject({ reason: "QUEUE_FULL" });
    held.clear();
    await starts.close();
    expect(await waiting).toBeDefined();
  });

  it("hand on any other failure at once", async () => {
    const failing = new LockedStarts({
      start: () => Promise.reject(new Error("away")),
      nowMs: () => 0,
      lanes: 1,
      maxQueued: 1,
      maxItems: 1,
      giveUpMs: 1,
    });
    await expect(failing.add(familyOf("a"))).rejects.toThrow("away");
    await failing.close();
  });
});
