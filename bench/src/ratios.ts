/** NEXUS beside the peers of the same run. Pure. */
import type { Figure, FigureKey } from "./figure.ts";

/** The ratio of our own tasks a second to each peer's. */
const RATIOS: readonly { readonly key: FigureKey; readonly peer: FigureKey }[] = [
  { key: "ratio_to_bullmq", peer: "bullmq_tasks_per_second" },
  { key: "ratio_to_bullmq_always", peer: "bullmq_always_tasks_per_second" },
  { key: "ratio_to_graphile", peer: "graphile_tasks_per_second" },
  { key: "ratio_to_graphile_local_queue", peer: "graphile_local_queue_tasks_per_second" },
];

/** Makes the ratios of what was measured: one for each peer that was tried, null for one that was not measured. */
export function ratiosOf(figures: readonly Figure[]): Figure[] {
  const find = (key: FigureKey) => figures.find((figure) => figure.key === key);
  const own = find("tasks_per_second")?.value ?? undefined;
  if (own === undefined) return [];
  return RATIOS.flatMap(({ key, peer }): Figure[] => {
    const measured = find(peer);
    if (measured === undefined) return [];
    if (measured.value === null) return [{ key, value: null, load: measured.load }];
    return [
      { key, value: own / measured.value, load: "tasks completed / jobs completed, this run" },
    ];
  });
}
