/** What a task asks of the place where it runs, to and from the contract. What is at its default is left out, both ways. */
import {
  LabelComparator as WireComparator,
  type TaskSpec as WireTaskSpec,
} from "@nexus/proto/orchestrator";
import type { LabelComparator, LabelConstraint } from "../domain/label-constraint.ts";
import type { TaskSpec } from "../domain/task.ts";

type Placement = Pick<
  TaskSpec,
  "slotCost" | "affinityKey" | "preferredRegion" | "labelConstraints"
>;
type Draft = { -readonly [K in keyof Placement]: Placement[K] };

const COMPARATORS: Readonly<Record<LabelComparator, WireComparator>> = {
  EQUAL: WireComparator.EQUAL,
  NOT_EQUAL: WireComparator.NOT_EQUAL,
  IN: WireComparator.IN,
  NOT_IN: WireComparator.NOT_IN,
  EXISTS: WireComparator.EXISTS,
  NOT_EXISTS: WireComparator.NOT_EXISTS,
  GREATER_THAN: WireComparator.GREATER_THAN,
  LESS_THAN: WireComparator.LESS_THAN,
};

const COMPARATOR_OF = new Map(
  Object.entries(COMPARATORS).map(([name, wire]) => [wire, name as LabelComparator]),
);

/** Reads slot cost, affinity key, region and label constraints into a spec. Validation has refused comparators of no meaning. */
export function readPlacement(spec: WireTaskSpec, into: Draft): void {
  const { slotCost, affinityKey, preferredRegion, labelConstraints } = spec;
  if (slotCost > 1) into.slotCost = slotCost;
  if (affinityKey !== "") into.affinityKey = affinityKey;
  if (preferredRegion !== "") into.preferredRegion = preferredRegion;
  if (labelConstraints.length === 0) return;
  const constraints = labelConstraints.flatMap((constraint): LabelConstraint[] => {
    const comparator = COMPARATOR_OF.get(constraint.comparator);
    if (comparator === undefined) return [];
    const { key, values, weight } = constraint;
    return [{ key, comparator, values: [...values], weight }];
  });
  if (constraints.length > 0) into.labelConstraints = constraints;
}

/** Writes them. */
export function fromPlacement(placement: Placement) {
  const { slotCost, affinityKey, preferredRegion, labelConstraints } = placement;
  return {
    ...(slotCost === undefined ? {} : { slotCost }),
    ...(affinityKey === undefined ? {} : { affinityKey }),
    ...(preferredRegion === undefined ? {} : { preferredRegion }),
    ...(labelConstraints === undefined
      ? {}
      : {
          labelConstraints: labelConstraints.map(({ key, comparator, values, weight }) => ({
            key,
            comparator: COMPARATORS[comparator],
            values: [...values],
            weight,
          })),
        }),
  };
}
