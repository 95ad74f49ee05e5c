import { ReplicaTeller } from "../clients/replica-link.ts";
import type { Mesh } from "./mesh.ts";
import type { Parts } from "./parts.ts";

/** A roster that is not known is asked for again after this time; everything else is told at once. */
const ROSTER_STEP_MS = 1_000;

/** Hears the other replicas, and tells them who is here. */
export function addReplicas({ frame, clock, mesh }: Parts & { readonly mesh: Mesh }): void {
  const { bus, exchange, roster, wake, events } = mesh;
  const teller = new ReplicaTeller({
    bus,
    exchange,
    roster,
    clock,
    wake: () => wake.roster(),
    onFailed: (error) => events.locateFailed(error),
  });
  frame.defer("replicas", () => teller.close());
  const loop = frame.loop({
    name: "roster",
    intervalMs: ROSTER_STEP_MS,
    step: () => teller.step(),
  });
  wake.roster = () => loop.trigger();
}
