/** What a task asks of an agent's labels, beyond the plain equality of required and preferred labels. */

/** How a label is held against the values. An absent label satisfies the three that deny something. */
export type LabelComparator =
  | "EQUAL"
  | "NOT_EQUAL"
  | "IN"
  | "NOT_IN"
  | "EXISTS"
  | "NOT_EXISTS"
  | "GREATER_THAN"
  | "LESS_THAN";

/** One demand or wish. */
export interface LabelConstraint {
  readonly key: string;
  readonly comparator: LabelComparator;
  readonly values: readonly string[];
  /** 0: a demand. Above: a wish that counts this much beside the task's other wishes. */
  readonly weight: number;
}

type Labels = Readonly<Record<string, string>>;

/** How many values a comparator takes, and how it decides; `label` is undefined when the agent has none. */
interface Rule {
  readonly values: "none" | "one" | "some" | "number";
  readonly holds: (label: string | undefined, values: readonly string[]) => boolean;
}

const RULES: Readonly<Record<LabelComparator, Rule>> = {
  EQUAL: { values: "one", holds: (label, [value]) => label === value },
  NOT_EQUAL: { values: "one", holds: (label, [value]) => label !== value },
  IN: { values: "some", holds: (label, values) => label !== undefined && values.includes(label) },
  NOT_IN: {
    values: "some",
    holds: (label, values) => label === undefined || !values.includes(label),
  },
  EXISTS: { values: "none", holds: (label) => label !== undefined },
  NOT_EXISTS: { values: "none", holds: (label) => label === undefined },
  GREATER_THAN: { values: "number", holds: (label, [value]) => numberOf(label) > numberOf(value) },
  LESS_THAN: { values: "number", holds: (label, [value]) => numberOf(label) < numberOf(value) },
};

/** Hexadecimal, exponents and blanks are no numbers here: what an operator reads is what is compared. */
const DECIMAL = /^-?\d{1,15}(\.\d{1,15})?$/;

/** NaN for what is no number, so that every comparison with it fails. */
function numberOf(text: string | undefined): number {
  return text !== undefined && DECIMAL.test(text) ? Number(text) : Number.NaN;
}

/** Says whether an agent's labels satisfy a constraint. */
export function satisfies(labels: Labels, { key, comparator, values }: LabelConstraint): boolean {
  const label = Object.hasOwn(labels, key) ? labels[key] : undefined;
  return RULES[comparator].holds(label, values);
}

/** Says whether an agent's labels satisfy every demand among the constraints. */
export function satisfiesDemands(
  labels: Labels,
  constraints: readonly LabelConstraint[] = [],
): boolean {
  for (const constraint of constraints) {
    if (constraint.weight <= 0 && !satisfies(labels, constraint)) return false;
  }
  return true;
}

/** The share of a task's wishes that an agent fulfils, by weight, 0 to 1; 1 when there are none.
 *
 * Each preferred label weighs 1. */
export function shareOfWishes(
  labels: Labels,
  preferred: Labels,
  constraints: readonly LabelConstraint[] = [],
): number {
  let wanted = 0;
  let fulfilled = 0;
  for (const key in preferred) {
    wanted += 1;
    if (labels[key] === preferred[key]) fulfilled += 1;
  }
  for (const constraint of constraints) {
    wanted += constraint.weight;
    if (constraint.weight > 0 && satisfies(labels, constraint)) fulfilled += constraint.weight;
  }
  return wanted === 0 ? 1 : fulfilled / wanted;
}

/** Returns what is wrong with a constraint; undefined when it makes sense. */
export function findConstraintProblem({ comparator, values }: LabelConstraint): string | undefined {
  const expected = RULES[comparator].values;
  if (expected === "none") return values.length === 0 ? undefined : `${comparator} takes no value`;
  if (expected === "some") return values.length > 0 ? undefined : `${comparator} needs a value`;
  if (values.length !== 1) return `${comparator} takes one value, not ${values.length}`;
  if (expected === "number" && Number.isNaN(numberOf(values[0]))) {
    return `${comparator} compares decimal numbers, which "${values[0]}" is not`;
  }
  return undefined;
}
