/** Filling the audit log the way services do, and proving that leaves are in it. */
import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { type InclusionClaim, tryParseCheckpoint, verifiesInclusion } from "@nexus/merkle";
import { AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { AuditIntakeService, AuthService } from "@nexus/proto/vault";
import { createRpcChannel, createRpcClient } from "@nexus/rpc";
import type { NexusClient } from "@nexus/sdk";
import { monotonicMs } from "../machine-clock.ts";
import { runSaturated, type SaturateResult, type Stretch } from "../pace.ts";

/** Entries in one call of a courier. */
const ENTRIES_A_CALL = 512;
const POLL_MS = 20;
/** No promise, only an end to waiting. */
const PLACED_TIMEOUT_MS = 120_000;
const MICROS_PER_MS = 1_000;
/** Proofs that are kept to be checked again without asking. */
const CLAIMS_MAX = 1_000;
/** Checks between two looks at the clock. */
const CHECKS_A_LOOK = 100;

/** Who tells, and how much. */
export interface AppendOptions {
  /** `host:port` of vault: the gateway does not relay what services tell each other. */
  readonly vault: string;
  /** A service that may tell, and its secret. */
  readonly service: string;
  readonly clientSecret: string;
  readonly entries: number;
  /** Outboxes that are told at once. */
  readonly streams: number;
}

/** How fast the log took entries. */
export interface Appends {
  /** Leaves under a signed checkpoint, for each second from the first call until the last leaf is. */
  readonly perSecond: number;
  /** Leaves of the log at the end. */
  readonly size: number;
}

/** Tells vault entries as the couriers of services do, and waits until all are under a signed checkpoint. */
export async function appendEntries(client: NexusClient, options: AppendOptions): Promise<Appends> {
  const { service, clientSecret, streams } = options;
  const channel = createRpcChannel({ address: options.vault });
  try {
    const auth = createRpcClient(AuthService, channel);
    const namespace = "nexus-system";
    const proof = { namespace, principalId: service, clientSecret };
    const token = (await auth.grantClientToken(proof)).tokens?.accessToken ?? "";
    const intake = createRpcClient(AuditIntakeService, channel);
    const before = await sizeOf(client);
    const calls = Math.ceil(options.entries / ENTRIES_A_CALL);
    const beganAtMs = monotonicMs();
    let next = 0;
    const lane = async () => {
      const stream = `bench-${randomUUID()}`;
      for (let position = 0n; next < calls; position += BigInt(ENTRIES_A_CALL)) {
        next += 1;
        await intake.appendEntries({ stream, entries: entriesFrom(service, position) }, { token });
      }
    };
    await Promise.all(Array.from({ length: streams }, lane));
    const told = calls * ENTRIES_A_CALL;
    const size = await untilSize(client, before + told);
    return { perSecond: (told / (monotonicMs() - beganAtMs)) * 1_000, size };
  } finally {
    channel.close();
  }
}

function entriesFrom(service: string, position: bigint) {
  const timeUs = BigInt(Date.now() * MICROS_PER_MS);
  return Array.from({ length: ENTRIES_A_CALL }, (_, index) => ({
    position: position + BigInt(index + 1),
    draft: draftOf(service),
    timeUs,
  }));
}

/** As large as the entry of a registered agent. */
function draftOf(service: string): Uint8Array {
  const id = randomUUID();
  const entry = create(AuditEntrySchema, {
    entryId: id,
    service,
    action: "nexus.registry.v1.AgentRegistryService/RegisterAgent",
    result: AuditResult.ALLOWED,
    namespace: "default",
    actor: "bench",
    actorKind: "user",
    tokenId: id,
    peer: "127.0.0.1:50000",
    resource: `agent-${id}`,
    requestId: id,
    traceId: id.replaceAll("-", ""),
    fields: [
      { name: "slots", value: "4" },
      { name: "region", value: "eu-west-1" },
      { name: "capabilities", value: "[2]" },
    ],
  });
  return toBinary(AuditEntrySchema, entry);
}

async function sizeOf({ audit }: NexusClient): Promise<number> {
  const { checkpoint } = await audit.getCheckpoint({});
  return tryParseCheckpoint(checkpoint)?.size ?? 0;
}

/** Calls of others have entries, too: the log may be longer than what was told. */
async function untilSize(client: NexusClient, least: number): Promise<number> {
  const giveUpAtMs = monotonicMs() + PLACED_TIMEOUT_MS;
  while (monotonicMs() < giveUpAtMs) {
    const size = await sizeOf(client);
    if (size >= least) return size;
    await wait(POLL_MS);
  }
  throw new Error(`the log has not got ${least} leaves within ${PLACED_TIMEOUT_MS} ms`);
}

/** How to ask for proofs and check them. */
export interface ProofOptions extends Stretch {
  readonly inFlight: number;
}

/** Inclusion proofs. */
export interface ProofChecks extends SaturateResult {
  /** Checks of proofs that are at hand, one process. */
  readonly checksPerSecond: number;
}

/** Asks for proofs of leaves all over the log and checks each against the newest checkpoint; then checks alone. */
export async function proveLeaves(
  client: NexusClient,
  options: ProofOptions,
): Promise<ProofChecks> {
  const { checkpoint } = await client.audit.getCheckpoint({});
  const state = tryParseCheckpoint(checkpoint);
  if (state === undefined) throw new Error("the log has no checkpoint");
  const { size, root } = state;
  const claims: InclusionClaim[] = [];
  const result = await runSaturated(options, async () => {
    const index = Math.floor(Math.random() * size);
    const request = { index: BigInt(index), treeSize: BigInt(size) };
    const { proof, leafHash } = await client.audit.getInclusionProof(request);
    const claim = { index, size, root, proof, leafHash };
    if (!verifiesInclusion(claim)) throw new Error(`leaf ${index} is not where the log has it`);
    if (claims.length < CLAIMS_MAX) claims.push(claim);
  });
  return { ...result, checksPerSecond: countChecks(claims, options.measureMs) };
}

function countChecks(claims: readonly InclusionClaim[], measureMs: number): number {
  const beganAtMs = monotonicMs();
  let checked = 0;
  while (monotonicMs() - beganAtMs < measureMs) {
    for (let check = 0; check < CHECKS_A_LOOK; check += 1) {
      const claim = claims[checked % claims.length];
      if (claim === undefined || !verifiesInclusion(claim)) throw new Error("a proof fails");
      checked += 1;
    }
  }
  return (checked / (monotonicMs() - beganAtMs)) * 1_000;
}
