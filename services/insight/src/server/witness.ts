import { randomBytes } from "node:crypto";
import { ed25519FromSeed, formatNoteKey, rawPublicKey } from "@nexus/merkle";
import type { Pool } from "@nexus/postgres";
import type { ServiceFrame } from "@nexus/runtime";
import { createAuditLogClient } from "../clients/audit-log-client.ts";
import type { InsightConfig } from "../config.ts";
import { Witness, type WitnessEvents } from "../domain/witness.ts";
import { witnessLoops } from "../loops/witness-loops.ts";
import { createWitnessStore, ensureWitnessSeed } from "../store/witness-store.ts";

const SEED_BYTES = 32;

/** The witness of vault's audit log, with its loops; returns what its handler needs. */
export async function createWitness(
  frame: ServiceFrame,
  config: InsightConfig,
  { pool, events }: { readonly pool: Pool; readonly events: WitnessEvents },
) {
  const { witnessKey, witnessName, auditLogKey, auditWitness, vaultAddress } = config;
  const given = witnessKey === undefined ? undefined : Buffer.from(witnessKey, "base64");
  const seed =
    given ??
    (await frame.untilUp("postgres", () => ensureWitnessSeed(pool, randomBytes(SEED_BYTES))));
  const privateKey = ed25519FromSeed(seed);
  seed.fill(0);
  const signer = { name: witnessName, publicKey: rawPublicKey(privateKey), privateKey };
  const store = createWitnessStore(pool);
  if (auditWitness) {
    const log = createAuditLogClient(frame.channel(vaultAddress, "vault"), frame.tokens);
    const witness = new Witness({ log, store, signer, pinnedKey: auditLogKey, events });
    for (const loop of witnessLoops(witness, () => store.prune())) frame.loop(loop);
  }
  return { witnessed: store, witnessKey: formatNoteKey(signer) };
}
