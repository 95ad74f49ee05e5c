/** Whom the gateway does not let in, vault is told of, whatever port they came to. */
import { fromBinary } from "@bufbuild/protobuf";
import { type AuditEntry, AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { JobService } from "@nexus/proto/orchestrator";
import { AuditIntakeService } from "@nexus/proto/vault";
import { NexusError } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { type GatewayRig, Rigs } from "./_helpers.ts";

const rigs = new Rigs();
afterEach(() => rigs.close());

interface Told {
  readonly stream: string;
  readonly position: bigint;
  readonly entry: AuditEntry;
}

/** A gateway before a vault that takes entries once it is said to. */
async function startRig() {
  const told: Told[] = [];
  const vault = { isAway: false };
  const rig = await rigs.start({
    upstreams: {
      vault: (server) =>
        server.add(AuditIntakeService, {
          appendEntries({ stream, entries }) {
            if (vault.isAway) {
              throw new NexusError({ kind: "unavailable", reason: "UNAVAILABLE", message: "away" });
            }
            for (const { position, draft } of entries) {
              told.push({ stream, position, entry: fromBinary(AuditEntrySchema, draft) });
            }
            return { position: entries.at(-1)?.position ?? 0n };
          },
        }),
    },
  });
  return { rig, told, vault };
}

const cancel = { requestId: "r", jobId: "j" };
const PATH = "nexus.orchestrator.v1.JobService/CancelJob";

function post({ http }: GatewayRig, token?: string): Promise<Response> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return fetch(`${http}/${PATH}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...authorization },
    body: JSON.stringify(cancel),
  });
}

describe("a refusal at the gateway", () => {
  it("is told to vault with the caller, from the gRPC port and from the HTTP port", async () => {
    const { rig, told } = await startRig();
    const jobs = rig.client(JobService);
    const token = await rig.token(["orchestrator:job:read"], "mallory");
    await expect(jobs.cancelJob(cancel, { token })).rejects.toMatchObject({
      reason: "SCOPE_MISSING",
    });
    await expect(jobs.cancelJob(cancel)).rejects.toMatchObject({ reason: "TOKEN_MISSING" });
    expect((await post(rig, await rig.token(["orchestrator:job:read"], "oscar"))).status).toBe(403);
    expect((await post(rig, "forged")).status).toBe(401);
    await waitFor(() => told.length >= 4, { what: "vault to be told" });
    expect(told.map(({ entry }) => [entry.actor, entry.actorKind, entry.reason])).toEqual([
      ["mallory", "user", "SCOPE_MISSING"],
      ["", "anonymous", "TOKEN_MISSING"],
      ["oscar", "user", "SCOPE_MISSING"],
      ["", "anonymous", expect.stringMatching(/^TOKEN_/)],
    ]);
    for (const { entry } of told) {
      expect(entry).toMatchObject({
        service: "gateway",
        action: PATH,
        result: AuditResult.DENIED,
        fields: [],
        peer: expect.stringMatching(/^(?:::ffff:)?127\.0\.0\.1:[1-9]\d*$/),
      });
    }
    expect(new Set(told.map(({ stream }) => stream)).size).toBe(1);
    // Who was not let in was not passed on: such calls say nothing of how well calls are served.
    expect(await rig.metrics("nexus_gateway_relayed_calls_total{")).toEqual([]);
  });

  it("is counted when it is one of many, and kept while vault is away", async () => {
    const { rig, told, vault } = await startRig();
    vault.isAway = true;
    const jobs = rig.client(JobService);
    const token = await rig.token(["orchestrator:job:read"], "mallory");
    const CALLS = 50;
    for (let index = 0; index < CALLS; index++) {
      await jobs.cancelJob(cancel, { token }).catch(() => undefined);
    }
    expect(told).toEqual([]);
    vault.isAway = false;
    const counted = () => told.reduce((total, { entry }) => total + Math.max(1, entry.count), 0);
    await waitFor(() => counted() >= CALLS, { what: "vault to be told of all" });
    expect(counted()).toBe(CALLS);
    expect(told.length).toBeLessThan(CALLS);
    const positions = told.map(({ position }) => position);
    expect(positions).toEqual([...new Set(positions)].sort((a, b) => Number(a - b)));
  });

  it("is told at a stop, those that were only counted as well", async () => {
    const { rig, told } = await startRig();
    const jobs = rig.client(JobService);
    const token = await rig.token(["orchestrator:job:read"], "mallory");
    const CALLS = 20;
    for (let index = 0; index < CALLS; index++) {
      await jobs.cancelJob(cancel, { token }).catch(() => undefined);
    }
    await rig.gateway[Symbol.asyncDispose]();
    // A call that the stop cut off is made again: vault takes each position once.
    const taken = new Map(told.map(({ position, entry }) => [position, Math.max(1, entry.count)]));
    expect([...taken.values()].reduce((total, count) => total + count, 0)).toBe(CALLS);
  });

  it("is no entry when the caller was let in and something else went wrong", async () => {
    const { rig, told } = await startRig();
    const jobs = rig.client(JobService);
    const token = await rig.token();
    // Nobody serves jobs behind this gateway.
    await expect(jobs.cancelJob(cancel, { token, timeoutMs: 5000 })).rejects.toMatchObject({
      kind: "unavailable",
    });
    await jobs.cancelJob(cancel).catch(() => undefined);
    await waitFor(() => told.length > 0, { what: "vault to be told" });
    expect(told.map(({ entry }) => entry.reason)).toEqual(["TOKEN_MISSING"]);
  });
});
