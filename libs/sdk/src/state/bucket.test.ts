import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  BatchGetEntriesResponseSchema,
  StateChangeKind,
  type StateService,
  StateWriteStatus,
  WatchBucketResponseSchema,
  type WriteEntriesRequest,
  WriteEntriesResponseSchema,
} from "@nexus/proto/mesh";
import type { RpcClient } from "@nexus/rpc/client";
import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { createState } from "./bucket.ts";
import { StateConflict, type StateEvent } from "./state.ts";

type Client = RpcClient<typeof StateService>;
type Message = MessageInitShape<typeof WatchBucketResponseSchema>;

const AWAY = new NexusError({ kind: "unavailable", reason: "UNAVAILABLE", message: "away" });
const LATER = new NexusError({
  kind: "exhausted",
  reason: "RATE_LIMITED",
  message: "too many calls",
  details: { retryAfterMs: 5 },
});
const GONE = new NexusError({
  kind: "not_found",
  reason: "STATE_BUCKET_NOT_FOUND",
  message: "no such bucket",
});

/** A server that answers every write with its place in the call. */
function writing(refuse: (key: string) => string = () => "") {
  const calls: WriteEntriesRequest[] = [];
  const client = {
    writeEntries: async (request: WriteEntriesRequest) => {
      calls.push(request);
      if (request.writes[0]?.key === "away") throw AWAY;
      const results = request.writes.map(({ key }, at) => {
        const reason = refuse(key);
        const status = reason === "" ? StateWriteStatus.APPLIED : StateWriteStatus.REFUSED;
        const current = { key, revision: 9n };
        return { status, revision: BigInt(at), reason, message: reason, current };
      });
      return create(WriteEntriesResponseSchema, { results });
    },
  } as unknown as Client;
  return { client, calls };
}

describe("a bucket's writes", () => {
  it("of one moment travel in one call, in their order, each with its own result", async () => {
    const { client, calls } = writing();
    const bucket = createState(client).bucket<string>("b");
    const results = await Promise.all([
      bucket.put("a", "1"),
      bucket.put("b", "2"),
      bucket.delete("a"),
    ]);
    expect(results.map(({ revision }) => revision)).toEqual([0n, 1n, 2n]);
    expect(calls.map(({ writes }) => writes.map(({ key }) => key))).toEqual([["a", "b", "a"]]);
  });

  it("are split where a call would be too large, and fail call by call", async () => {
    const { client, calls } = writing();
    const bucket = createState(client).bucket<Uint8Array>("b");
    const large = new Uint8Array(250_000);
    const keys = Array.from({ length: 20 }, (_, i) => (i === 8 ? "away" : `k${i}`));
    const written = await Promise.allSettled(keys.map((key) => bucket.put(key, large)));
    expect(calls.length).toBeGreaterThan(2);
    expect(calls.flatMap(({ writes }) => writes.map(({ key }) => key))).toEqual(keys);
    const lost = calls.find(({ writes }) => writes[0]?.key === "away")?.writes.length;
    expect(written.filter(({ status }) => status === "rejected")).toHaveLength(lost ?? -1);
    expect(lost).toBeLessThan(keys.length);
  });

  it("say why they were refused, and show what is stored", async () => {
    const reasons: Record<string, string> = {
      cas: "STATE_REVISION_MISMATCH",
      full: "STATE_KEYS_QUOTA",
    };
    const { client } = writing((key) => reasons[key] ?? "");
    const bucket = createState(client).bucket("b");
    const [conflict, full] = await Promise.allSettled([
      bucket.put("cas", 1),
      bucket.put("full", 1),
    ]);
    const { reason: lost } = conflict as PromiseRejectedResult;
    expect(lost).toBeInstanceOf(StateConflict);
    expect((lost as StateConflict).current).toMatchObject({ key: "cas", revision: 9n });
    expect((full as PromiseRejectedResult).reason).toMatchObject({ kind: "exhausted" });
  });

  it("carry the task's lease, and reject with its end once it is over", async () => {
    const { client, calls } = writing();
    const abort = new AbortController();
    const task = { taskId: "task_1", fence: 7n, signal: abort.signal };
    const bucket = createState(client, task).bucket("b");
    await bucket.put("a", 1);
    expect(calls[0]?.task).toMatchObject({ taskId: "task_1", fence: 7n });
    abort.abort(new Error("the lease is over"));
    await expect(bucket.put("a", 2)).rejects.toThrow("the lease is over");
    expect(calls).toHaveLength(1);
  });
});

describe("a bucket's reads", () => {
  it("of one moment travel in one call, and go on until all were read", async () => {
    const asked: (readonly string[])[] = [];
    const client = {
      batchGetEntries: async ({ keys }: { keys: readonly string[] }) => {
        asked.push(keys);
        const [first = "", ...unreadKeys] = keys.filter((key) => key !== "none");
        return create(BatchGetEntriesResponseSchema, { entries: [{ key: first }], unreadKeys });
      },
    } as unknown as Client;
    const bucket = createState(client).bucket("b");
    const read = await Promise.all(["a", "none", "b", "a"].map((key) => bucket.get(key)));
    expect(read.map((entry) => entry?.key)).toEqual(["a", undefined, "b", "a"]);
    expect(asked).toEqual([["a", "none", "b"], ["b"]]);
  });
});

/** A server whose streams go by these scripts, one after the other. */
function watching(scripts: readonly { messages?: readonly Message[]; error?: NexusError }[]) {
  const asked: (bigint | undefined)[] = [];
  const client = {
    async *watchBucket({ resumeRevision }: { resumeRevision?: bigint }) {
      const { messages = [], error = GONE } = scripts[asked.length] ?? {};
      asked.push(resumeRevision);
      for (const message of messages) yield create(WatchBucketResponseSchema, message);
      throw error;
    },
  } as unknown as Client;
  return { asked, client };
}

function change(revision: bigint, key = "k", kind = StateChangeKind.PUT): Message {
  return { revision, changes: [{ kind, entry: { key, revision } }] };
}

async function eventsOf(client: Client): Promise<string[]> {
  const told: string[] = [];
  const show = (event: StateEvent<unknown>): string => {
    if (event.kind === "entry") return `entry ${event.entry.key}@${event.entry.revision}`;
    return "revision" in event ? `${event.kind} ${event.revision}` : event.kind;
  };
  try {
    for await (const event of createState(client).bucket("b").watch()) told.push(show(event));
  } catch (error) {
    told.push(NexusError.from(error).reason);
  }
  return told;
}

describe("a watch of a bucket", () => {
  it("goes on behind the last change after a break", async () => {
    const { client, asked } = watching([
      { messages: [{ revision: 4n, snapshotComplete: true }, change(5n)], error: AWAY },
      { messages: [change(6n), { revision: 9n }], error: AWAY },
      { error: LATER },
      { messages: [change(10n, "k", StateChangeKind.EXPIRE)] },
    ]);
    expect(await eventsOf(client)).toEqual([
      "ready 4",
      "put 5",
      "put 6",
      "expire 10",
      "STATE_BUCKET_NOT_FOUND",
    ]);
    expect(asked).toEqual([undefined, 5n, 9n, 9n]);
  });

  it("tells a change once that the keys at the beginning show already", async () => {
    const entries = [
      { key: "new", revision: 6n },
      { key: "old", revision: 2n },
    ];
    const { client } = watching([
      {
        messages: [
          { entries },
          { revision: 4n, snapshotComplete: true },
          change(5n, "new"),
          change(6n, "new"),
          change(7n, "new"),
          change(8n, "old"),
        ],
      },
    ]);
    expect(await eventsOf(client)).toEqual([
      "entry new@6",
      "entry old@2",
      "ready 4",
      "put 7",
      "put 8",
      "STATE_BUCKET_NOT_FOUND",
    ]);
  });

  it("says when what was told is void: changes are missing, or not all keys were told", async () => {
    const { client, asked } = watching([
      { messages: [{ entries: [{ key: "a", revision: 1n }] }], error: AWAY },
      {
        messages: [
          { revision: 3n, snapshotComplete: true },
          { resync: { oldestRevision: 8n } },
          { revision: 9n, snapshotComplete: true },
        ],
      },
    ]);
    expect(await eventsOf(client)).toEqual([
      "entry a@1",
      "resync",
      "ready 3",
      "resync",
      "ready 9",
      "STATE_BUCKET_NOT_FOUND",
    ]);
    expect(asked).toEqual([undefined, undefined]);
  });

  it("ends at once when the password is refused, and at the second refused token", async () => {
    const refused = (reason: string) =>
      new NexusError({ kind: "unauthenticated", reason, message: "refused" });
    const error = refused("CREDENTIALS_INVALID");
    const locked = watching([{ error }, { error }]);
    expect(await eventsOf(locked.client)).toEqual(["CREDENTIALS_INVALID"]);
    expect(locked.asked).toHaveLength(1);
    const ended = { error: refused("TOKEN_EXPIRED") };
    const again = watching([
      ended,
      { messages: [{ revision: 3n, snapshotComplete: true }], ...ended },
      ended,
    ]);
    expect(await eventsOf(again.client)).toEqual(["ready 3", "TOKEN_EXPIRED"]);
    expect(again.asked).toEqual([undefined, undefined, 3n]);
  });

  it("voids nothing when nothing was told before the break", async () => {
    const { client } = watching([{ error: AWAY }, { messages: [{}], error: AWAY }]);
    expect(await eventsOf(client)).toEqual(["STATE_BUCKET_NOT_FOUND"]);
  });
});
