/** Writes CausalChain into a Delivery. */
import { fieldSize, textSize, uintSize, type WireWriter } from "@nexus/rpc";
import type { Chain } from "../../domain/message/letter.ts";
import { timeSize, toTime, writeTime } from "./time.ts";

/** Field number in Delivery. */
const CHAIN = 16;

/** Bytes of the message, without its tag. */
export function chainSize({ hops, ancestors, deadlineAtMs }: Chain, nowMs: number): number {
  const names = ancestors.reduce((sum, name) => sum + textSize(name), 0);
  const left = deadlineAtMs === undefined ? 0 : fieldSize(timeSize(leftOf(deadlineAtMs, nowMs)));
  return uintSize(hops) + names + left;
}

/** Writes it as the field of a Delivery. */
export function writeChain(writer: WireWriter, chain: Chain, nowMs: number): void {
  const { hops, ancestors, deadlineAtMs } = chain;
  writer.open(CHAIN, chainSize(chain, nowMs));
  writer.uint(1, hops);
  for (const name of ancestors) writer.text(2, name);
  if (deadlineAtMs !== undefined) writeTime(writer, 3, leftOf(deadlineAtMs, nowMs));
}

function leftOf(deadlineAtMs: number, nowMs: number) {
  return toTime(Math.max(0, deadlineAtMs - nowMs));
}
