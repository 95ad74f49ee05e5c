/** How large agents are, roughly: what keeps answers below the message limit and the index in memory. */
import { KiB, MiB } from "@nexus/shared";
import type { AgentContent, Capability } from "./agent.ts";

/** Largest record of one agent. A list or a watch must be able to carry any agent in a message of 4 MiB. */
export const AGENT_BYTES_MAX = 1 * MiB;

/** A list, a discovery or a watch message stops before it grows beyond this; one agent always fits. */
export const ANSWER_BYTES_MAX = 2 * MiB;

/** Numbers, times, field tags and lengths on the wire, rounded up. */
const AGENT_OVERHEAD_BYTES = 512;
const CAPABILITY_OVERHEAD_BYTES = 64;
const LABEL_OVERHEAD_BYTES = 8;
/** One reputation, which an agent may have for each of its capabilities. */
const REPUTATION_BYTES = KiB / 4;

/** Upper estimate of an agent's size on the wire, with a reputation for each capability. */
export function approximateBytesOf(content: AgentContent): number {
  let bytes = AGENT_OVERHEAD_BYTES + Buffer.byteLength(content.displayName + content.region);
  for (const [name, value] of Object.entries(content.labels)) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value) + LABEL_OVERHEAD_BYTES;
  }
  for (const capability of content.capabilities) {
    bytes += bytesOfCapability(capability) + REPUTATION_BYTES;
  }
  return bytes;
}

function bytesOfCapability(capability: Capability): number {
  const { name, version, description, inputSchema, outputSchema, tags } = capability;
  let bytes = CAPABILITY_OVERHEAD_BYTES;
  for (const text of [name, version, description, inputSchema, outputSchema, ...tags]) {
    bytes += Buffer.byteLength(text);
  }
  return bytes;
}
