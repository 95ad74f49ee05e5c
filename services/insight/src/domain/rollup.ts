/** Rollups: sums of samples over a minute, an hour and a day (UTC), for each agent, each capability and each pair. */
import { PerformanceTally, type TalliedAttempt } from "./performance-tally.ts";

/** The lengths of time that sums are kept for. */
export type RollupWidth = "minute" | "hour" | "day";

/** Milliseconds of each width. */
export const WIDTH_MS: Readonly<Record<RollupWidth, number>> = {
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};

/** In the place of an agent or a capability: all of them. No agent and no capability has this name. */
export const ALL = "";

/** Names one rollup. */
export interface RollupKey {
  readonly namespace: string;
  readonly width: RollupWidth;
  /** When its time begins. */
  readonly bucketMs: number;
  readonly agentId: string;
  readonly capability: string;
}

/** A rollup and what is added to it. */
export interface RollupDelta {
  readonly key: RollupKey;
  readonly tally: PerformanceTally;
}

/** A sample that is to be rolled up. */
export interface RolledSample extends TalliedAttempt {
  readonly namespace: string;
  readonly measuredAtMs: number;
  readonly agentId: string;
  readonly capability: string;
}

const WIDTHS: readonly RollupWidth[] = ["minute", "hour", "day"];

/** Sums samples up by every rollup they belong to: nine each, of which most are shared by many samples.
 *
 * The three groupings mean that a question never has to add up all agents of a capability or all capabilities of an agent: it
 * reads one row for each length of time. */
export function rollUp(samples: readonly RolledSample[]): RollupDelta[] {
  const deltas = new Map<string, RollupDelta>();
  for (const { first, tally } of groupByMinute(samples)) {
    for (const key of keysOf(first)) {
      const id = rollupId(key);
      const delta = deltas.get(id) ?? { key, tally: new PerformanceTally() };
      delta.tally.merge(tally);
      deltas.set(id, delta);
    }
  }
  return [...deltas.values()];
}

interface Group {
  readonly first: RolledSample;
  readonly tally: PerformanceTally;
}

/** Sums up what belongs to the same nine rollups, so that each sample is looked at once and not nine times. */
function groupByMinute(samples: readonly RolledSample[]): Iterable<Group> {
  const groups = new Map<string, Group>();
  for (const sample of samples) {
    const { namespace, agentId, capability, measuredAtMs } = sample;
    const minute = bucketOf("minute", measuredAtMs);
    const id = `${namespace}\n${agentId}\n${capability}\n${minute}`;
    let group = groups.get(id);
    if (group === undefined) {
      group = { first: sample, tally: new PerformanceTally() };
      groups.set(id, group);
    }
    group.tally.add(sample);
  }
  return groups.values();
}

/** A rollup's key as one text. */
export function rollupId(key: RollupKey): string {
  return [key.namespace, key.width, key.bucketMs, key.agentId, key.capability].join("\n");
}

/** When the time of a moment's bucket begins. */
export function bucketOf(width: RollupWidth, atMs: number): number {
  return Math.floor(atMs / WIDTH_MS[width]) * WIDTH_MS[width];
}

function keysOf({ namespace, agentId, capability, measuredAtMs }: RolledSample): RollupKey[] {
  return WIDTHS.flatMap((width) => {
    const bucket = { namespace, width, bucketMs: bucketOf(width, measuredAtMs) };
    return [
      { ...bucket, agentId, capability },
      { ...bucket, agentId, capability: ALL },
      { ...bucket, agentId: ALL, capability },
    ];
  });
}
