/** What vault does a second: encrypt and decrypt, prove who somebody is, keep its log and have it checked. */
import { join } from "node:path";
import type { Bed, ClientWorker } from "../bed/bed.ts";
import { runNexus } from "../bed/command-line.ts";
import type { Figure, FigureKey } from "../figure.ts";
import { formatCount, formatValue } from "../report.ts";
import { loginsScenario } from "./logins.ts";
import { type Scenario, seconds, shortfall, stretchOf } from "./scenario.ts";
import { tokensScenario } from "./tokens.ts";

const PLAINTEXT_BYTES = 1_024;
/** Calls in flight, and messages in a call of many: as many as it may hold. The smaller ones are answered in time by a stack
 * that has just been started. */
const FULL = { calls: 64, batches: 4, batch: 256 };
const QUICK = { calls: 8, batches: 1, batch: 16 };
/** Leaves that are told, and then checked. */
const LEAVES = 200_000;
const LEAVES_QUICK = 1_000;
const STREAMS = 2;
const PROOFS_IN_FLIGHT = 32;
const SERVICE = "registry";

/** Transit first, then the scenarios about identity, then the log, which is much longer afterwards. */
export const vaultScenario: Scenario = {
  name: "vault",
  about: "encryptions, tokens and logins a second; how fast the audit log grows and is checked",
  run: measureTransit,
  further: [tokensScenario.run, loginsScenario.run, measureAuditLog],
};

interface TransitLoad {
  readonly key: FigureKey;
  readonly operation: "encrypt" | "decrypt";
  readonly isBatched: boolean;
}

const TRANSIT_LOADS: readonly TransitLoad[] = [
  { key: "encrypts_per_second", operation: "encrypt", isBatched: false },
  { key: "decrypts_per_second", operation: "decrypt", isBatched: false },
  { key: "batched_encrypts_per_second", operation: "encrypt", isBatched: true },
  { key: "batched_decrypts_per_second", operation: "decrypt", isBatched: true },
];

/** Every call has its entry in the audit log, committed before it is answered: there is no way to call without. So what the
 * log and the way to vault cost is seen beside the cipher alone. */
async function measureTransit(bed: Bed): Promise<Figure[]> {
  const stretch = stretchOf(bed, { warmUpMs: 2_000, measureMs: 10_000 });
  const size = bed.quick ? QUICK : FULL;
  const client = await bed.client();
  const keyName = await client.call("createTransitKey", null);
  const figures: Figure[] = [];
  for (const { key, operation, isBatched } of TRANSIT_LOADS) {
    const [inFlight, batch] = isBatched ? [size.batches, size.batch] : [size.calls, 1];
    const message = { keyName, operation, batch, plaintextBytes: PLAINTEXT_BYTES };
    const rate = await client.call("useTransitKey", { ...stretch, ...message, inFlight });
    const calls = isBatched ? `calls of ${batch}` : "calls";
    const took = `p95 ${formatValue(rate.latencyMs.p95)} ms`;
    const load = `1 KiB, ${inFlight} ${calls} in flight (${took}), each call with its entry, ${seconds(stretch.measureMs)}`;
    figures.push({ key, value: rate.perSecond, load: load + shortfall(rate) });
  }
  const bare = {
    plaintextBytes: PLAINTEXT_BYTES,
    measureMs: stretch.measureMs,
  };
  figures.push({
    key: "bare_encrypts_per_second",
    value: await client.call("encryptBare", bare),
    load: `1 KiB, one process, no call, no entry, ${seconds(bare.measureMs)}`,
  });
  return figures;
}

async function measureAuditLog(bed: Bed): Promise<Figure[]> {
  const client = await bed.client();
  const appends = await client.call("appendEntries", {
    vault: bed.info.services.vault.grpc,
    service: SERVICE,
    clientSecret: bed.clientSecretOf(SERVICE),
    entries: bed.quick ? LEAVES_QUICK : LEAVES,
    streams: STREAMS,
  });
  // The detectors look at every entry as well.
  await bed.settle();
  return [
    {
      key: "audit_appends_per_second",
      value: appends.perSecond,
      load: `${STREAMS} outboxes, 512 entries a call, committed and under a signed checkpoint, ${formatCount(appends.size)} leaves at the end`,
    },
    ...(await measureProofs(bed, client)),
    await measureVerification(bed),
  ];
}

async function measureProofs(bed: Bed, client: ClientWorker): Promise<Figure[]> {
  const stretch = stretchOf(bed, { warmUpMs: 1_000, measureMs: 5_000 });
  const proofs = await client.call("proveLeaves", { ...stretch, inFlight: PROOFS_IN_FLIGHT });
  const took = seconds(stretch.measureMs);
  return [
    {
      key: "audit_proofs_per_second",
      value: proofs.perSecond,
      load: `${PROOFS_IN_FLIGHT} in flight, each checked, ${took}${shortfall(proofs)}`,
    },
    {
      key: "audit_proof_checks_per_second",
      value: proofs.checksPerSecond,
      load: `proofs at hand, one process, ${took}`,
    },
  ];
}

/** The command as a user runs it: what it takes to start is in the figure. */
async function measureVerification(bed: Bed): Promise<Figure> {
  const file = join(bed.info.dataDir, "audit.jsonl");
  const env = { NEXUS_GATEWAY: bed.info.gateway, NEXUS_TOKEN: await bed.adminToken() };
  const exported = await runNexus(["audit", "export", file], env);
  const { stdout, tookMs } = await runNexus(["audit", "verify", "--file", file, "-o", "json"], env);
  const { ok, leaves } = JSON.parse(stdout) as { readonly ok: boolean; readonly leaves: number };
  if (!ok) throw new Error(`the log is not as it was signed: ${stdout}`);
  return {
    key: "audit_leaves_verified_per_second",
    value: (leaves / tookMs) * 1_000,
    load: `${formatCount(leaves)} leaves in a file, one process with its start; exported in ${seconds(exported.tookMs)}`,
  };
}
