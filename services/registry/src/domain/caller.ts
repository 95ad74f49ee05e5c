/** Who calls, and what follows from it. */
import { NexusError } from "@nexus/shared";
import type { AuditLeaf } from "./ports.ts";

/** The part of a principal that decides here. */
export interface Caller {
  readonly namespace: string;
  readonly principalId: string;
  readonly kind: "user" | "agent" | "service";
  /** The entry of the call in the audit log, where it is kept. */
  readonly leaf?: AuditLeaf | undefined;
}

/** Refuses an agent that acts for another id than its own. Errors: forbidden/AGENT_ID_MISMATCH. */
export function assertSpeaksFor(caller: Caller, agentId: string): void {
  if (caller.kind !== "agent" || caller.principalId === agentId) return;
  throw new NexusError({
    kind: "forbidden",
    reason: "AGENT_ID_MISMATCH",
    message: `The token speaks for agent ${caller.principalId}, not for ${agentId}.`,
  });
}

/** Refuses everybody but services. Errors: forbidden/SERVICE_ONLY. */
export function assertService(caller: Caller, what: string): void {
  if (caller.kind === "service") return;
  throw new NexusError({
    kind: "forbidden",
    reason: "SERVICE_ONLY",
    message: `Only a service principal may ${what}.`,
  });
}
