import { setImmediate } from "node:timers/promises";
import { type CallContext, type CallOptions, CLIENT_ADDRESS_HEADER } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { atOwner, type OwnedCall, streamAtOwner } from "./at-owner.ts";
import type { HandlerDeps } from "./deps.ts";

const JOB = "job_1";
const CALLER = "203.0.113.7:50000";

/** A ring in which one job has an owner, and this replica owns nothing. */
class FakeRing {
  owner: string | undefined = "a:1";
  isCutOff = false;
  refreshes = 0;

  addressOf = () => this.owner;
  anyOther = () => this.owner;
  hasReplicaAt = (address: string) => address === this.owner;
  refresh = () => {
    this.refreshes += 1;
    return Promise.resolve();
  };
}

function setUp() {
  const ring = new FakeRing();
  const engine = { ring, owns: () => false, ownsAny: false, assertServing: () => undefined };
  const peer = (address: string) => ({ address });
  const deps = { engine, peer } as unknown as HandlerDeps;
  const metadata = { get: () => undefined };
  const signal = new AbortController().signal;
  const ctx = { metadata, signal, peer: CALLER } as unknown as CallContext;
  return { ring, deps, ctx };
}

/** What a client does whose signal aborts. */
function untilAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    const error = new NexusError({ kind: "cancelled", reason: "CANCELLED", message: "aborted" });
    signal?.addEventListener("abort", () => reject(error));
  });
}

function ownedCall(id: string | undefined, asked: string[]): OwnedCall<Promise<string>> {
  return {
    id,
    local: () => Promise.resolve("here"),
    remote: (peer, { signal }) => {
      const { address } = peer as unknown as { address: string };
      asked.push(address);
      return address === "b:1" ? Promise.resolve("there") : untilAborted(signal);
    },
  };
}

describe("a call that was handed on", () => {
  it.each([JOB, undefined])(
    "leaves an owner that never answers once it is none (%s)",
    async (id) => {
      const { ring, deps, ctx } = setUp();
      const asked: string[] = [];
      const answer = atOwner(deps, ctx, ownedCall(id, asked));
      await setImmediate();
      ring.owner = "b:1";
      expect(await answer).toBe("there");
      expect(asked).toEqual(["a:1", "b:1"]);
    },
  );

  it("says where it came from, so that its entry has the caller's address and not this replica's", async () => {
    const { ring, deps, ctx } = setUp();
    ring.owner = "b:1";
    const told: CallOptions["metadata"][] = [];
    const remote = (_peer: unknown, { metadata }: CallOptions) => {
      told.push(metadata);
      return Promise.resolve("there");
    };
    await atOwner(deps, ctx, { ...ownedCall(JOB, []), remote });
    expect(told).toEqual([expect.objectContaining({ [CLIENT_ADDRESS_HEADER]: CALLER })]);
  });

  it("goes on with a stream at the next owner", async () => {
    const { ring, deps, ctx } = setUp();
    const resume = () => ({
      id: JOB,
      async *local() {},
      async *remote(peer: unknown, { signal }: CallOptions) {
        const { address } = peer as { address: string };
        yield address;
        if (address === "a:1") await untilAborted(signal);
      },
    });
    const seen: string[] = [];
    for await (const address of streamAtOwner<string>(deps, ctx, resume)) {
      seen.push(address);
      ring.owner = "b:1";
    }
    expect(seen).toEqual(["a:1", "b:1"]);
  });

  it("is not waited for any longer by a replica that no longer reaches its database", async () => {
    const { ring, deps, ctx } = setUp();
    deps.engine.owns = () => true;
    const local = () => new Promise<string>(() => undefined);
    const answer = atOwner(deps, ctx, { ...ownedCall(JOB, []), local });
    await setImmediate();
    ring.isCutOff = true;
    await expect(answer).rejects.toMatchObject({ kind: "unavailable", reason: "NOT_OWNER" });
  });

  it("is not looked for by a replica that does not reach its database", async () => {
    const { ring, deps, ctx } = setUp();
    ring.owner = undefined;
    ring.isCutOff = true;
    const answer = atOwner(deps, ctx, ownedCall(JOB, []));
    await expect(answer).rejects.toMatchObject({ kind: "unavailable", reason: "NOT_OWNER" });
    expect(ring.refreshes).toBe(0);
  });
});
