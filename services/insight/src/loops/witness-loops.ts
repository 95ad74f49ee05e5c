/** Loops of the witness. */
import type { Witness } from "../domain/witness.ts";
import type { LoopSpec } from "./retention-loops.ts";

const WITNESS_INTERVAL_MS = 1000;
const PRUNE_INTERVAL_MS = 600_000;

/** Asks the audit log for its newest checkpoint once a second, and thins out what was kept. */
export function witnessLoops(witness: Witness, prune: () => Promise<void>): readonly LoopSpec[] {
  return [
    { name: "witness", intervalMs: WITNESS_INTERVAL_MS, step: () => witness.step() },
    { name: "witness-prune", intervalMs: PRUNE_INTERVAL_MS, step: prune },
  ];
}
