/** How messages cause messages, and where that ends. */

import { HOPS_MAX } from "../limits.ts";
import type { Chain, Letter, Verdict } from "./letter.ts";

/** A chain that goes on: what the receiver gets, and who must not be one. */
export interface Onward {
  readonly chain: Chain | undefined;
  readonly timeoutMs: number;
}

/** Takes a message's chain one hop on; a verdict when it ends here.
 *
 * A message without a chain gets none: that its sender is its only ancestor goes without saying. */
export function continueChain(sender: string, letter: Letter, nowMs: number): Onward | Verdict {
  const { chain, timeoutMs } = letter;
  if (chain === undefined) return { chain: undefined, timeoutMs };
  const hops = chain.hops + 1;
  if (hops > HOPS_MAX) {
    return { outcome: "hop_limit", text: `more than ${HOPS_MAX} messages caused each other` };
  }
  const leftMs = (chain.deadlineAtMs ?? Number.POSITIVE_INFINITY) - nowMs;
  if (leftMs <= 0) {
    return { outcome: "expired", text: "the time of the request that caused it is over" };
  }
  const known = chain.ancestors.includes(sender);
  const ancestors = known ? chain.ancestors : [...chain.ancestors, sender];
  const { deadlineAtMs } = chain;
  return { chain: { hops, ancestors, deadlineAtMs }, timeoutMs: Math.min(timeoutMs, leftMs) };
}

/** Says whether a receiver is among those who caused the message. */
export function isAncestor(letter: Letter, agentId: string): boolean {
  return letter.chain?.ancestors.includes(agentId) === true;
}
