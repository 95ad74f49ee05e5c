import { describe, expect, it } from "vitest";
import { addFollowing, type FollowingDeps, LOOK_MS } from "./following.ts";
import type { LoopSpec } from "./index.ts";

const NOTHING_NEW = {
  revocations: 1n,
  policies: 1n,
  keys: 1n,
  isSealed: false,
  boxKeyVersion: 1,
  entriesWaiting: 0,
  logSize: 0,
  nowMs: 0,
};

/** Adds the loops; a look is run by hand, and says which others it woke, and how. */
function setUp(isBehind: boolean) {
  const specs = new Map<string, LoopSpec>();
  const woken: string[] = [];
  const quiet = async () => undefined;
  const deps = {
    look: async () => NOTHING_NEW,
    revocations: { refresh: quiet },
    book: { refresh: quiet },
    keyStore: { refresh: quiet, hearTime: () => undefined },
    vault: { isBehind: () => isBehind, follow: quiet },
    auditLog: { sequence: async () => false },
    auditFeed: { hear: () => undefined },
    anomalyDesk: { step: async () => false },
    onBacklog: () => undefined,
    onReadFailed: () => undefined,
  } as unknown as FollowingDeps;
  addFollowing((spec) => {
    specs.set(spec.name, spec);
    return {
      trigger: () => woken.push(`${spec.name} at once`),
      soon: (ms) => woken.push(`${spec.name} within ${ms}`),
    };
  }, deps);
  const run = (name: string) => specs.get(name)?.step(new AbortController().signal);
  return { run, woken };
}

describe("addFollowing", () => {
  it("reads at once what a look finds changed, and nothing again that did not", async () => {
    const { run, woken } = setUp(false);
    await run("look");
    expect(woken).toEqual(["revocation-poll at once", "policy-poll at once", "key-poll at once"]);
    for (const name of ["revocation-poll", "policy-poll", "key-poll"]) await run(name);
    woken.splice(0);
    await run("look");
    expect(woken).toEqual([]);
  });

  it("tries a root key that is out of reach again after a pause, however often it is looked", async () => {
    const { run, woken } = setUp(true);
    await run("look");
    woken.splice(0);
    await run("look");
    expect(woken.filter((word) => word.startsWith("seal-poll"))).toEqual([
      `seal-poll within ${LOOK_MS}`,
    ]);
  });
});
