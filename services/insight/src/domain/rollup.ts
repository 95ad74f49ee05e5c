/** Rollups: sums of samples over a minute, an hour and a day (UTC), for each agent, each capability and each pair. */
import { type AttemptKind, PerformanceTally, type TalliedAttempt } from "./performance-tally.ts";

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

/** An attempt that is to be rolled up. */
export interface RolledAttempt extends TalliedAttempt {
  readonly kind: AttemptKind;
}

/** Attempts of one namespace that ended within one minute. */
export interface RolledMinute {
  readonly namespace: string;
  /** When the minute begins. */
  readonly minuteMs: number;
  readonly attempts: readonly RolledAttempt[];
}

const WIDTHS: readonly RollupWidth[] = ["minute", "hour", "day"];

/** Sums attempts up by every rollup they belong to: nine each, of which most are shared by many.
 *
 * The three groupings mean that a question never has to add up all agents of a capability or all capabilities of an agent: it
 * reads one row for each length of time. */
export function rollUp(minutes: readonly RolledMinute[]): RollupDelta[] {
  const deltas = new Map<string, RollupDelta>();
  for (const { of, tally } of groupByMinute(minutes)) {
    for (const key of keysOf(of)) {
      const id = rollupId(key);
      const delta = deltas.get(id) ?? { key, tally: new PerformanceTally() };
      delta.tally.merge(tally);
      deltas.set(id, delta);
    }
  }
  return [...deltas.values()];
}

/** What a group has in common. */
interface Traits {
  readonly namespace: string;
  readonly minuteMs: number;
  readonly agentId: string;
  readonly capability: string;
}

interface Group {
  readonly of: Traits;
  readonly tally: PerformanceTally;
}

/** Sums up what belongs to the same nine rollups, so that each attempt is looked at once and not nine times. */
function groupByMinute(minutes: readonly RolledMinute[]): Iterable<Group> {
  const groups = new Map<string, Group>();
  const groupOf = (of: Traits): Group => {
    const id = `${of.namespace}\n${of.agentId}\n${of.capability}\n${of.minuteMs}`;
    const group = groups.get(id) ?? { of, tally: new PerformanceTally() };
    groups.set(id, group);
    return group;
  };
  for (const { namespace, minuteMs, attempts } of minutes) {
    const byKind = new Map<AttemptKind, Group>();
    for (const attempt of attempts) {
      const { kind } = attempt;
      let group = byKind.get(kind);
      if (group === undefined) {
        const { agentId, capability } = kind;
        group = groupOf({ namespace, minuteMs, agentId, capability });
        byKind.set(kind, group);
      }
      group.tally.add(attempt);
    }
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

function keysOf({ namespace, agentId, capability, minuteMs }: Traits): RollupKey[] {
  return WIDTHS.flatMap((width) => {
    const bucket = { namespace, width, bucketMs: bucketOf(width, minuteMs) };
    return [
      { ...bucket, agentId, capability },
      { ...bucket, agentId, capability: ALL },
      { ...bucket, agentId: ALL, capability },
    ];
  });
}
