/** The witness, against a log that grows as it should and then does not. */
import { cosignedAt, isSignedBy, tryParseNoteKey } from "@nexus/merkle";
import { WitnessService } from "@nexus/proto/insight";
import { createRpcChannel, createRpcClient } from "@nexus/rpc";
import type { RunningService } from "@nexus/runtime";
import {
  createTestDatabase,
  createTestIdentity,
  type TestDatabase,
  testConfig,
  waitFor,
} from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { schema } from "../src/config.ts";
import { startServer } from "../src/server.ts";
import { FakeAuditLog, newSigner } from "./_audit-log.ts";

const identity = createTestIdentity();
const log = new FakeAuditLog();
const ORIGIN = log.signer.name;
let database: TestDatabase;
let insight: RunningService;

beforeAll(async () => {
  database = await createTestDatabase("insight");
  await log.listen(identity);
  insight = await start();
});

afterAll(async () => {
  await insight[Symbol.asyncDispose]();
  await log.close();
  await database.close();
});

function start(): Promise<RunningService> {
  const config = testConfig(schema, { databaseUrl: database.url, vaultAddress: log.address });
  const tokens = identity.tokens({ sub: "insight", kind: "service", scopes: ["vault:audit:read"] });
  return startServer(config, { verifier: identity.verifier, tokens });
}

async function witnessed(scopes = ["insight:witness:read"]) {
  const channel = createRpcChannel({ address: insight.address });
  try {
    const tokens = identity.tokens({ sub: "ada", scopes });
    const client = createRpcClient(WitnessService, channel, { tokens });
    return await client.listWitnessedCheckpoints({ origin: ORIGIN });
  } finally {
    channel.close();
  }
}

const sizes = async () => (await witnessed()).checkpoints.map(({ treeSize }) => Number(treeSize));

function waitForSize(size: number): Promise<unknown> {
  return waitFor(async () => (await sizes())[0] === size, {
    what: `${size} leaves to be witnessed`,
  });
}

function waitForRefusal(why: RegExp): Promise<unknown> {
  return waitFor(async () => why.test((await witnessed()).refusal), { what: "the refusal" });
}

const grow = (to: number, text = "leaf") => {
  while (log.leaves.length < to) log.leaves.push(`${text} ${log.leaves.length}`);
};

describe("the witness", () => {
  it("keeps and cosigns what goes on from what it kept", async () => {
    grow(3);
    await waitForSize(3);
    grow(300);
    await waitForSize(300);
    const { checkpoints, witnessKey } = await witnessed();
    const key = tryParseNoteKey(witnessKey);
    const note = checkpoints[0]?.note ?? "";
    expect(key && cosignedAt(note, key)).toBeGreaterThan(1_700_000_000);
    expect(key && cosignedAt(note.replace("300", "301"), key)).toBeUndefined();
    expect(isSignedBy(note, log.signer)).toBe(true);
  });

  it("lists page by page, and needs the scope", async () => {
    await expect(witnessed(["a:b:c"])).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
    expect(await sizes()).toEqual([300, 3]);
  });

  it("refuses a log that was cut off, also after it was started again", async () => {
    const whole = [...log.leaves];
    log.leaves = whole.slice(0, 200);
    await waitForRefusal(/200 leaves, and had 300/);
    await insight[Symbol.asyncDispose]();
    insight = await start();
    log.leaves = whole.slice(0, 250);
    await waitForRefusal(/250 leaves, and had 300/);
    const metrics = await (await fetch(`http://${insight.opsAddress}/metrics`)).text();
    expect(metrics).toMatch(/nexus_insight_audit_log_refused 1/);
    expect((await sizes())[0]).toBe(300);
    log.leaves = whole;
  });

  it("refuses another history, however long it grows", async () => {
    const whole = [...log.leaves];
    log.leaves = whole.slice(0, 100);
    grow(400, "forged");
    await waitForRefusal(/do not begin with the 300/);
    log.leaves = [...whole.slice(0, 299), "forged"];
    await waitForRefusal(/two trees of 300/);
    log.leaves = whole;
    grow(301);
    await waitForSize(301);
  });

  it("refuses another key under the same name", async () => {
    const honest = log.signer;
    log.signer = newSigner(honest.name);
    grow(302);
    await waitForRefusal(/not signed by the log's key/);
    log.signer = honest;
    await waitForSize(302);
  });

  it("refuses a log that is empty, once it was not", async () => {
    const whole = log.leaves;
    log.leaves = [];
    await waitForRefusal(/empty, and had 302/);
    log.leaves = whole;
    grow(303);
    await waitForSize(303);
  });

  it("refuses a log under another name, also with a key of its own", async () => {
    const honest = log.signer;
    log.signer = newSigner("nexus/another-log");
    grow(304);
    await waitForRefusal(/another log is in its place: nexus\/another-log/);
    log.signer = honest;
    await waitForSize(304);
  });
});
