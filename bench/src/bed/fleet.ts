/** Numbers that the load and the loaded must agree on. */

/** Agent processes, and the slots of each, tried out on two cores as the peers' concurrency was: with 128 the cores wait for the disk a sixth
 * of the time, with 512 no less than with these. */
export const AGENTS = 4;
export const SLOTS = 256;

/** Tasks that may wait, for the scenario that has a million of them do so. */
export const WAITING_TASKS_MAX = 2_000_000;

/** OWASP's number for PBKDF2-HMAC-SHA256, and vault's own default; set so that the bare hash does the same. */
export const PASSWORD_ITERATIONS = 600_000;
/** Hashes that vault computes at once, its own default. */
export const LOGIN_CONCURRENCY = 2;
