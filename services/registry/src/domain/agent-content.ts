/** Rules that an agent's content obeys beyond those of the contract. */
import { type FieldViolation, NexusError } from "@nexus/shared";
import type { AgentContent, AgentRecord, Capability } from "./agent.ts";
import { AGENT_BYTES_MAX, approximateBytesOf } from "./agent-size.ts";
import { fingerprintOf } from "./request-fingerprint.ts";
import { tryParseVersion } from "./version-range.ts";

/** Slots of an agent that names none. */
export const SLOTS_DEFAULT = 1;

/** How long a record outlives the agent's last sign of life when the caller names no time. */
export const TTL_DEFAULT_MS = 86_400_000;

/** Longest promised latency; the contract allows tasks of a day at most. */
export const LATENCY_HINT_MAX_US = 86_400 * 1_000_000;

/** What an update replaces; undefined leaves it as it is. */
export interface AgentPatch {
  readonly displayName: string | undefined;
  readonly capabilities: readonly Capability[] | undefined;
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly region: string | undefined;
  readonly slots: number | undefined;
}

/** Checks content. Errors: invalid/CAPABILITY_DUPLICATE, invalid/REQUEST_INVALID, invalid/AGENT_TOO_LARGE. */
export function assertContent(content: AgentContent): void {
  assertCapabilities(content.capabilities);
  const bytes = approximateBytesOf(content);
  if (bytes <= AGENT_BYTES_MAX) return;
  throw new NexusError({
    kind: "invalid",
    reason: "AGENT_TOO_LARGE",
    message: `The agent's record takes ${bytes} bytes, more than ${AGENT_BYTES_MAX}.`,
  });
}

function assertCapabilities(capabilities: readonly Capability[]): void {
  const seen = new Set<string>();
  const violations: FieldViolation[] = [];
  for (const [position, { name, version, latencyHintUs }] of capabilities.entries()) {
    const field = `capabilities[${position}]`;
    if (seen.has(`${name}@${version}`)) throw duplicate(field, `${name}@${version}`);
    seen.add(`${name}@${version}`);
    if (tryParseVersion(version) === undefined) {
      violations.push({ field: `${field}.version`, description: "must be a semver 2.0.0 version" });
    }
    if (latencyHintUs !== undefined && !isLatency(latencyHintUs)) {
      violations.push({ field: `${field}.latency_hint`, description: "must be 0 s to 24 h" });
    }
  }
  if (violations.length === 0) return;
  throw new NexusError({
    kind: "invalid",
    reason: "REQUEST_INVALID",
    message: `${violations[0]?.field} ${violations[0]?.description}.`,
    details: { fieldViolations: violations },
  });
}

function isLatency(latencyUs: number): boolean {
  return latencyUs >= 0 && latencyUs <= LATENCY_HINT_MAX_US;
}

function duplicate(field: string, capability: string): NexusError {
  const description = `repeats ${capability}`;
  return new NexusError({
    kind: "invalid",
    reason: "CAPABILITY_DUPLICATE",
    message: `${field} ${description}.`,
    details: { fieldViolations: [{ field, description }] },
  });
}

/** Applies a patch to a record. */
export function applyPatch(current: AgentRecord, patch: AgentPatch): AgentContent {
  return {
    displayName: patch.displayName ?? current.displayName,
    capabilities: patch.capabilities ?? current.capabilities,
    labels: patch.labels ?? current.labels,
    region: patch.region ?? current.region,
    slots: patch.slots ?? current.slots,
    ttlMs: current.ttlMs,
  };
}

/** Hashes content: equal content is stored once and changes no revision. */
export function contentHashOf(content: AgentContent): Uint8Array {
  return fingerprintOf("content", {
    displayName: content.displayName,
    capabilities: content.capabilities.map((capability) => ({ ...capability })),
    labels: content.labels,
    region: content.region,
    slots: content.slots,
    ttlMs: content.ttlMs,
  });
}
