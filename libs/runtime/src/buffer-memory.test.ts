import { constants, type PerformanceEntry, PerformanceObserver } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { KiB, MiB } from "@nexus/shared";
import { expect, it } from "vitest";
import { countBuffersAsMemory } from "./buffer-memory.ts";

const PASSED_BYTES = 1_024 * MiB;
const PIECE_BYTES = 64 * KiB;

it("lets buffers pass without a collection of the whole heap for each few", async () => {
  countBuffersAsMemory();
  const collections: PerformanceEntry[] = [];
  const observer = new PerformanceObserver((list) => collections.push(...list.getEntries()));
  observer.observe({ entryTypes: ["gc"] });
  for (let at = 0; at < PASSED_BYTES; at += PIECE_BYTES) Buffer.allocUnsafe(PIECE_BYTES);
  // What is seen comes in one batch, some turns of the event loop later.
  while (collections.length === 0) await setImmediate();
  observer.disconnect();
  const whole = collections.filter((one) => kindOf(one) === constants.NODE_PERFORMANCE_GC_MAJOR);
  // One for each 64 MiB would be 16.
  expect(whole.length).toBeLessThan(8);
});

function kindOf(collection: PerformanceEntry): number | undefined {
  return (collection as { readonly detail?: { readonly kind: number } }).detail?.kind;
}
