import { createHash } from "node:crypto";
import { createPool, type Pool } from "@nexus/postgres";
import type { PayloadReference } from "@nexus/proto/common";
import { JobState, PayloadService, TaskState } from "@nexus/proto/orchestrator";
import { createRpcChannel, createRpcClient, type RpcChannel, type RpcClient } from "@nexus/rpc";
import type { RunningService } from "@nexus/runtime";
import { KiB, MiB } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createPayloadStore,
  forgetUses,
  removeBrokenUploads,
  removeUnusedPayloads,
} from "../src/store/payload-store.ts";
import { expectError } from "./_expect.ts";
import { Harness } from "./_harness.ts";
import type { Behaviour } from "./_router.ts";

const DAY_MS = 86_400_000;
const CHUNK = 200 * KiB;
const harness = new Harness();
const channels: RpcChannel[] = [];
let payloads: RpcClient<typeof PayloadService>;
let pool: Pool;

beforeAll(async () => {
  await harness.open();
  payloads = payloadClient({ sub: "alice" });
  const { url } = harness.database;
  pool = createPool({ url, max: 2, applicationName: "test", schema: "orchestrator" });
});
afterAll(async () => {
  for (const channel of channels) channel.close();
  await pool.close();
  await harness.close();
});

function payloadClient(
  identity: Parameters<typeof harness.identity.tokens>[0],
  service: RunningService = harness.service,
): RpcClient<typeof PayloadService> {
  const channel = createRpcChannel({ address: service.address });
  channels.push(channel);
  return createRpcClient(PayloadService, channel, { tokens: harness.identity.tokens(identity) });
}

let bodies = 0;

/** A body like no other of this file. */
function newBody(length: number): Buffer {
  bodies += 1;
  const body = Buffer.alloc(length, `${bodies}.`);
  for (let at = 0; at + 4 <= length; at += 1_000) body.writeUInt32LE(at, at);
  return body;
}

function referenceTo(body: Buffer) {
  const sha256 = new Uint8Array(createHash("sha256").update(body).digest());
  return { sha256, sizeBytes: BigInt(body.byteLength) };
}

/** The same bytes in an array of the plain kind, so that two can be compared. */
function known(reference: PayloadReference | undefined) {
  const { sha256, sizeBytes } = reference ?? { sha256: [], sizeBytes: 0n };
  return { sha256: new Uint8Array(sha256), sizeBytes };
}

async function* framesOf(body: Buffer, reference = referenceTo(body)) {
  await Promise.resolve();
  yield { frame: { case: "start" as const, value: reference } };
  for (let at = 0; at < body.byteLength; at += CHUNK) {
    const value = new Uint8Array(body.subarray(at, at + CHUNK));
    yield { frame: { case: "chunk" as const, value } };
  }
}

async function upload(body: Buffer, client = payloads) {
  const { reference } = await client.uploadPayload(framesOf(body));
  return known(reference);
}

async function download(sha256: Uint8Array<ArrayBuffer>, offset = 0n, client = payloads) {
  const pieces: Uint8Array[] = [];
  for await (const { chunk } of client.downloadPayload({ sha256, offset })) pieces.push(chunk);
  return Buffer.concat(pieces);
}

/** What is left of uploads that did not end well: nothing. */
async function expectNothingUnderWay() {
  expect(await harness.count("payload_uploads")).toBe(0);
  const orphans = "payload_parts WHERE upload_id NOT IN (SELECT upload_id FROM payloads)";
  expect(await harness.count(orphans)).toBe(0);
}

/** Lets a body look as if nobody had touched it for so long. */
async function age(sha256: Uint8Array, ms: number) {
  const text =
    "UPDATE payloads SET touched_at = now() - $2 * interval '1 millisecond' WHERE sha256 = $1";
  await harness.db.query(text, [Buffer.from(sha256), ms]);
}

describe("PayloadService", () => {
  it("stores a body in pieces and gives it back from any offset on", async () => {
    const body = newBody(3 * MiB + 12_345);
    const reference = await upload(body);
    expect(reference).toEqual(referenceTo(body));
    const { sha256 } = reference;
    expect(known((await payloads.findPayload({ sha256 })).reference)).toEqual(reference);
    expect((await download(sha256)).equals(body)).toBe(true);
    for (const offset of [1, 256 * KiB, MiB - 1, MiB, 2 * MiB + 77, body.byteLength - 1]) {
      const rest = await download(sha256, BigInt(offset));
      expect(rest.equals(body.subarray(offset))).toBe(true);
    }
    expect(await download(sha256, BigInt(body.byteLength))).toHaveLength(0);
    await expectNothingUnderWay();
  });

  it("gives back a body of whole parts", async () => {
    const body = newBody(2 * MiB);
    const { sha256 } = await upload(body);
    expect((await download(sha256)).equals(body)).toBe(true);
  });

  it("stores the same body once, also when it comes twice at the same time", async () => {
    const before = await harness.count("payloads");
    const body = newBody(MiB + 1);
    await Promise.all([upload(body), upload(body), upload(body)]);
    await upload(body);
    expect(await harness.count("payloads")).toBe(before + 1);
    await expectNothingUnderWay();
  });

  it("shows nothing of another namespace's bodies", async () => {
    const body = newBody(300 * KiB);
    const { sha256 } = await upload(body);
    const stranger = payloadClient({ sub: "eve", ns: "other" });
    await expectError(stranger.findPayload({ sha256 }), "not_found", "PAYLOAD_NOT_FOUND");
    await expectError(download(sha256, 0n, stranger), "not_found", "PAYLOAD_NOT_FOUND");
    await upload(body, stranger);
    expect((await download(sha256, 0n, stranger)).equals(body)).toBe(true);
  });

  it("refuses who may only read, and takes nothing from him", async () => {
    const reader = payloadClient({ sub: "reader", scopes: ["orchestrator:payload:read"] });
    await expectError(upload(newBody(10), reader), "forbidden", "SCOPE_MISSING");
  });

  it("keeps nothing of a body that is not what was announced", async () => {
    const body = newBody(MiB + 500);
    const { sha256, sizeBytes } = referenceTo(body);
    const announced = [
      { sha256, sizeBytes: sizeBytes + 1n },
      { sha256, sizeBytes: sizeBytes - 1n },
      { sha256: referenceTo(newBody(5)).sha256, sizeBytes },
    ];
    for (const reference of announced) {
      const call = payloads.uploadPayload(framesOf(body, reference));
      await expectError(call, "invalid", "PAYLOAD_MISMATCH");
    }
    await expectError(payloads.findPayload({ sha256 }), "not_found", "PAYLOAD_NOT_FOUND");
    await expectNothingUnderWay();
  });

  it("refuses frames in another order, sizes beyond the limit, and hashes that are none", async () => {
    const chunk = { frame: { case: "chunk" as const, value: new Uint8Array(9) } };
    const start = { frame: { case: "start" as const, value: referenceTo(newBody(9)) } };
    async function* sending(...frames: (typeof chunk | typeof start)[]) {
      await Promise.resolve();
      yield* frames;
    }
    await expectError(payloads.uploadPayload(sending(chunk)), "invalid", "FRAME_INVALID");
    await expectError(payloads.uploadPayload(sending(start, start)), "invalid", "FRAME_INVALID");
    const { sha256 } = referenceTo(newBody(9));
    const huge = { ...start, frame: { ...start.frame, value: { sha256, sizeBytes: 67_108_865n } } };
    await expectError(payloads.uploadPayload(sending(huge)), "invalid", "REQUEST_INVALID");
    const short = new Uint8Array(31);
    await expectError(payloads.findPayload({ sha256: short }), "invalid", "REQUEST_INVALID");
    await expectNothingUnderWay();
  });

  it("stops at the namespace's quota, which what is stored already does not count against", async () => {
    const first = newBody(200 * KiB);
    const { address } = await harness.start({ payloadNamespaceMaxBytes: 300 * KiB });
    const channel = createRpcChannel({ address });
    channels.push(channel);
    const tokens = harness.identity.tokens({ sub: "carol", ns: "small" });
    const client = createRpcClient(PayloadService, channel, { tokens });
    await upload(first, client);
    await expectError(upload(newBody(200 * KiB), client), "exhausted", "PAYLOAD_QUOTA");
    await upload(first, client);
    await expectNothingUnderWay();
  });

  it("is not harmed by an answer that was lost: what is committed stays whole", async () => {
    const body = newBody(300 * KiB);
    const { sha256 } = referenceTo(body);
    const store = createPayloadStore(pool);
    const lost = await store.beginUpload();
    await lost.append(body);
    await lost.commit("default", { sha256, sizeBytes: body.byteLength });
    await lost.abandon();
    expect((await download(new Uint8Array(sha256))).equals(body)).toBe(true);
    await harness.db.query(
      "DELETE FROM payload_parts WHERE upload_id = (SELECT upload_id FROM payloads WHERE sha256 = $1)",
      [Buffer.from(sha256)],
    );
    await expectError(download(new Uint8Array(sha256)), "internal", "INTERNAL");
  });

  it("removes what an upload left that broke, and tells the one that took too long", async () => {
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const body = newBody(2 * MiB);
    async function* slowly() {
      let sent = 0;
      for await (const frame of framesOf(body)) {
        if (sent > MiB) await held;
        if (frame.frame.case === "chunk") sent += CHUNK;
        yield frame;
      }
    }
    const call = payloads.uploadPayload(slowly());
    await waitFor(async () => (await harness.count("payload_uploads")) === 1, { what: "upload" });
    expect(await removeBrokenUploads(pool, 10)).toBe(0);
    await harness.db.query("UPDATE payload_uploads SET started_at = now() - interval '61 minutes'");
    // An upload that stores a part at this moment is left for the next round.
    await waitFor(async () => (await removeBrokenUploads(pool, 10)) === 1, { what: "its removal" });
    goOn();
    await expectError(call, "conflict", "UPLOAD_EXPIRED");
    await expectNothingUnderWay();
  });
});

describe("a task with a stored payload", () => {
  /** Puts out a stored body, and notes what it received. */
  function putsOut(reference: ReturnType<typeof referenceTo>): Behaviour {
    return (received, router) => {
      router.accept(received);
      router.putOut(received, { contentType: "application/x-tar", reference });
    };
  }

  it("is handed the reference, hands its own on, and shows both", async () => {
    const given = await upload(newBody(400 * KiB));
    const made = await upload(newBody(500 * KiB));
    harness.agent({ agentId: "maker", capabilities: ["make"], behaviour: putsOut(made) });
    const jobId = await harness.submit({
      tasks: [
        { key: "a", capability: "make", input: { contentType: "a/b", reference: given } },
        { key: "b", capability: "make", dependencies: [{ taskKey: "a", inputName: "from" }] },
      ],
    });
    const { results } = await harness.untilState(jobId, JobState.COMPLETED);
    expect(results["b"]?.contentType).toBe("application/x-tar");
    expect(known(results["b"]?.reference)).toEqual(made);
    const [a, b] = harness.router.assignments
      .filter(({ assignment }) => assignment.jobId === jobId)
      .map(({ assignment }) => assignment);
    expect(known(a?.input?.reference)).toEqual(given);
    expect([a?.input?.contentType, a?.input?.data.byteLength]).toEqual(["a/b", 0]);
    expect(known(b?.upstream["from"]?.reference)).toEqual(made);
    const { task } = await harness.client.getTask({ taskId: a?.taskId ?? "" });
    const shown = [task?.spec?.input?.reference, task?.output?.reference];
    expect(shown.map(known)).toEqual([given, made]);
  });

  it("is not taken when its body is not stored, not that large, or there beside it", async () => {
    const stored = await upload(newBody(300 * KiB));
    const before = await harness.count("jobs");
    const submit = (input: object) =>
      harness.submit({ tasks: [{ key: "a", capability: "make", input }] });
    const absent = referenceTo(newBody(300));
    await expectError(submit({ reference: absent }), "not_found", "PAYLOAD_NOT_FOUND");
    const wrong = { ...stored, sizeBytes: stored.sizeBytes - 1n };
    await expectError(submit({ reference: wrong }), "not_found", "PAYLOAD_NOT_FOUND");
    const both = { reference: stored, data: new Uint8Array(3) };
    await expectError(submit(both), "invalid", "PAYLOAD_AMBIGUOUS");
    expect(await harness.count("jobs")).toBe(before);
  });

  it("fails when its output is not stored, and spoils nobody else's", async () => {
    const made = await upload(newBody(300 * KiB));
    const absent = referenceTo(newBody(70));
    const garbage = { sha256: new Uint8Array(3), sizeBytes: -1n };
    harness.agent({ agentId: "liar", capabilities: ["lie"], behaviour: putsOut(absent) });
    harness.agent({ agentId: "fool", capabilities: ["fool"], behaviour: putsOut(garbage) });
    harness.agent({ agentId: "sound", capabilities: ["sound"], behaviour: putsOut(made) });
    const task = (capability: string) => ({ key: capability, capability });
    const jobs = await Promise.all(
      ["lie", "fool", "sound"].map((name) => harness.submit({ tasks: [task(name)] })),
    );
    const [lied, fooled, sound] = jobs as [string, string, string];
    const reasons = await Promise.all(
      [lied, fooled].map(async (id) => (await harness.untilState(id, JobState.FAILED)).failure),
    );
    expect(reasons.map((failure) => failure?.reason)).toEqual(
      Array.from({ length: 2 }, () => "OUTPUT_NOT_STORED"),
    );
    await harness.untilState(sound, JobState.COMPLETED);
  });

  it("fails when what it would be given is more than an agent can hold", async () => {
    const made = await upload(newBody(320 * KiB));
    harness.agent({ agentId: "giver", capabilities: ["give"], behaviour: putsOut(made) });
    const jobId = await harness.submit({
      tasks: [
        { key: "a", capability: "give" },
        { key: "b", capability: "take", dependencies: [{ taskKey: "a", inputName: "from" }] },
      ],
    });
    const sized = () =>
      harness.db.query(
        `UPDATE task_states SET output_stored_bytes = $1
          WHERE output_stored_bytes IS NOT NULL AND job_id = $2 AND state = 'SUCCEEDED'`,
        [257 * MiB, jobId.slice(4)],
      );
    await waitFor(async () => (await sized()).rowCount === 1, { what: "the output" });
    harness.agent({ agentId: "taker", capabilities: ["take"], behaviour: putsOut(made) });
    const { failure } = await harness.untilState(jobId, JobState.FAILED);
    expect(failure).toMatchObject({ reason: "INPUT_TOO_LARGE", taskKey: "b" });
  });

  it("cannot be the list that another is mapped over", async () => {
    const list = await upload(Buffer.from(JSON.stringify(Array.from({ length: 9 }, (_, i) => i))));
    harness.agent({ agentId: "lister", capabilities: ["list"], behaviour: putsOut(list) });
    const jobId = await harness.submit({
      tasks: [
        { key: "source", capability: "list" },
        {
          key: "each",
          capability: "list",
          dependencies: [{ taskKey: "source" }],
          map: { source: "source", itemName: "item" },
        },
      ],
    });
    const { failure } = await harness.untilState(jobId, JobState.FAILED);
    expect(failure).toMatchObject({ reason: "MAP_SOURCE_INVALID", taskKey: "each" });
  });

  it("keeps its body for as long as its job is open, and for the retention after that", async () => {
    const body = await upload(newBody(280 * KiB));
    const input = { contentType: "a/b", reference: body };
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "later", input }] });
    await age(body.sha256, 8 * DAY_MS);
    expect(await removeUnusedPayloads(pool, 7 * DAY_MS, 10)).toBe(0);
    await harness.client.cancelJob({ jobId, requestId: "cancel-later" });
    await harness.untilState(jobId, JobState.CANCELLED);
    const uses = `payload_refs WHERE job_id = '${jobId.slice(4)}'`;
    expect(await harness.count(uses)).toBe(1);
    expect(await forgetUses(pool, 1_000)).toBeGreaterThan(0);
    expect(await harness.count(uses)).toBe(0);
    await payloads.findPayload({ sha256: body.sha256 });
    expect(await removeUnusedPayloads(pool, 7 * DAY_MS, 10)).toBe(0);
    await age(body.sha256, 8 * DAY_MS);
    expect(await removeUnusedPayloads(pool, 7 * DAY_MS, 10)).toBe(1);
    const missing = payloads.findPayload({ sha256: body.sha256 });
    await expectError(missing, "not_found", "PAYLOAD_NOT_FOUND");
    await expectNothingUnderWay();
    const { jobs } = await harness.client.listJobs({});
    expect(jobs.some((job) => job.jobId === jobId)).toBe(true);
  });

  it("is bound again by a job that repeats it", async () => {
    const given = await upload(newBody(290 * KiB));
    const made = await upload(newBody(310 * KiB));
    harness.agent({ agentId: "half", capabilities: ["half"], behaviour: putsOut(made) });
    const input = { contentType: "a/b", reference: given };
    const jobId = await harness.submit({
      tasks: [
        { key: "kept", capability: "half" },
        { key: "again", capability: "nobody", input, dependencies: [{ taskKey: "kept" }] },
      ],
    });
    await waitFor(
      async () => {
        const { tasks } = await harness.client.listTasks({ jobId });
        return tasks.some(({ state }) => state === TaskState.SUCCEEDED);
      },
      { what: "the first task to end" },
    );
    await harness.client.cancelJob({ jobId, requestId: "cancel-half" });
    await harness.untilState(jobId, JobState.CANCELLED);
    const { job } = await harness.client.retryJob({ jobId, requestId: "retry-half" });
    await age(given.sha256, 8 * DAY_MS);
    await age(made.sha256, 8 * DAY_MS);
    expect(await removeUnusedPayloads(pool, 7 * DAY_MS, 10)).toBe(0);
    harness.agent({ agentId: "nobody", capabilities: ["nobody"], behaviour: putsOut(made) });
    await harness.untilState(job?.jobId ?? "", JobState.COMPLETED);
    const last = harness.router.assignments.at(-1)?.assignment;
    expect(known(last?.input?.reference)).toEqual(given);
  });
});
