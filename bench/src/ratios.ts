/** Figures beside others of the same run: NEXUS and its peers, logins and the bare hash. Pure. */
import type { Figure, FigureKey } from "./figure.ts";

interface Ratio {
  readonly key: FigureKey;
  readonly own: FigureKey;
  readonly other: FigureKey;
  readonly load: string;
}

const toPeer = (key: FigureKey, other: FigureKey): Ratio => ({
  key,
  own: "tasks_per_second",
  other,
  load: "tasks completed / jobs completed, this run",
});

const RATIOS: readonly Ratio[] = [
  toPeer("ratio_to_bullmq", "bullmq_tasks_per_second"),
  toPeer("ratio_to_bullmq_always", "bullmq_always_tasks_per_second"),
  toPeer("ratio_to_graphile", "graphile_tasks_per_second"),
  toPeer("ratio_to_graphile_local_queue", "graphile_local_queue_tasks_per_second"),
  {
    key: "ratio_of_logins",
    own: "logins_per_second",
    other: "bare_hashes_per_second",
    load: "this run",
  },
];

/** Makes the ratios of what was measured: one for each pair that was tried, null for one whose other half was not measured. */
export function ratiosOf(figures: readonly Figure[]): Figure[] {
  const find = (key: FigureKey) => figures.find((figure) => figure.key === key);
  return RATIOS.flatMap(({ key, own, other, load }): Figure[] => {
    const ours = find(own)?.value ?? undefined;
    const measured = find(other);
    if (ours === undefined || measured === undefined) return [];
    if (measured.value === null) return [{ key, value: null, load: measured.load }];
    return [{ key, value: ours / measured.value, load }];
  });
}
