/** How the slots of one agent are divided among the orchestrators that use it. Arithmetic only. */

/** One orchestrator, as far as one agent goes. */
export interface SlotHolder {
  /** Slots that it has in hand by assignments of its own. */
  readonly held: number;
  /** Slots that it says it has in hand, others' assignments that it took over included; 0 says nothing. */
  readonly claimed: number;
  /** It has more to give than it was told it may. */
  readonly wants: boolean;
}

/** Slots in hand of everybody, and what is left. */
interface Standing {
  readonly inHand: readonly number[];
  readonly free: number;
}

/** Says how many slots each holder may have in hand: what it has, and its part of what is free.
 *
 * Free slots are everyone's while at most one holder wants more, so that nobody waits for a slot that nobody uses; two
 * that take the same one are told apart by a refusal. Once two want more, each of them may have an equal part of
 * what they have together and what is free (max-min fairness); what does not divide goes to the first in turn. Nothing
 * is taken away: a holder above its part is told what it has, and gets nothing until it is below.
 *
 * Shape: holders in turn order -> slots in the same order, each from 0 to `slots`.
 * Units: `unowned` slots in hand that belong to no holder; they count against all, save what holders claim.
 * Source: Bertsekas and Gallager, "Data Networks", 6.5.2 (max-min fairness). */
export function shareSlots(
  slots: number,
  unowned: number,
  holders: readonly SlotHolder[],
): number[] {
  const { inHand, free } = stand(slots, unowned, holders);
  const wanting = [...holders.keys()].filter((index) => holders[index]?.wants);
  const parts = wanting.length < 2 ? holders.map(() => free) : partsOf(free, { inHand, wanting });
  return inHand.map((have, index) => Math.min(slots, have + (parts[index] ?? 0)));
}

function stand(slots: number, unowned: number, holders: readonly SlotHolder[]): Standing {
  let unclaimed = unowned;
  const inHand = holders.map(({ held, claimed }) => {
    const taken = Math.min(unclaimed, Math.max(0, claimed - held));
    unclaimed -= taken;
    return held + taken;
  });
  const sum = inHand.reduce((total, have) => total + have, 0);
  return { inHand, free: Math.max(0, slots - sum - unclaimed) };
}

interface Contest {
  readonly inHand: readonly number[];
  /** Who wants more, in turn order. */
  readonly wanting: readonly number[];
}

/** Divides the free slots: nobody above its equal part, and in turn when they do not reach everybody. */
function partsOf(free: number, { inHand, wanting }: Contest): number[] {
  const pool = wanting.reduce((total, index) => total + (inHand[index] ?? 0), free);
  const equal = Math.floor(pool / wanting.length);
  const rest = pool % wanting.length;
  const parts = inHand.map(() => 0);
  const lacks = inHand.map(() => 0);
  for (const [turn, index] of wanting.entries()) {
    lacks[index] = Math.max(0, equal + (turn < rest ? 1 : 0) - (inHand[index] ?? 0));
  }
  for (let left = free; left > 0; ) {
    const open = wanting.filter((index) => (lacks[index] ?? 0) > 0);
    if (open.length === 0) break;
    const each = Math.max(1, Math.floor(left / open.length));
    for (const index of open) {
      const given = Math.min(each, lacks[index] ?? 0, left);
      parts[index] = (parts[index] ?? 0) + given;
      lacks[index] = (lacks[index] ?? 0) - given;
      left -= given;
    }
  }
  return parts;
}
