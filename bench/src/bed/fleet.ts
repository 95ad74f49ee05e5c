/** Numbers that the load and the loaded must agree on. */

/** Agent processes, and the slots of each, tried out on two cores as the peers' concurrency was: with 128 the cores wait for the disk a sixth
 * of the time, with 512 no less than with these. */
export const AGENTS = 4;
export const SLOTS = 256;

/** Tasks that may wait, for the scenario that has a million of them do so. */
export const WAITING_TASKS_MAX = 2_000_000;

/** OWASP's number for PBKDF2-HMAC-SHA256, and vault's own default; set so that the bare hash does the same. */
const PASSWORD_ITERATIONS = 600_000;
/** The fewest that vault takes: a quick run compares nothing, and shares the machine with other tests. */
const PASSWORD_ITERATIONS_QUICK = 100_000;
/** Hashes that vault computes at once, its own default. */
export const LOGIN_CONCURRENCY = 2;

/** How many iterations the hashes of a run take, vault's and the bare ones. */
export function passwordIterations({ quick }: { readonly quick: boolean }): number {
  return quick ? PASSWORD_ITERATIONS_QUICK : PASSWORD_ITERATIONS;
}
