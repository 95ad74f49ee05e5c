/** What the database itself ends a transaction for, whose COMMIT is on its way already: SQLSTATEs of our own, in a class that
 * Postgres leaves to others. A statement says `refuse_unless(condition, 'NX001')`. */
import { sqlStateOf } from "@nexus/postgres";

/** The state of each reason. */
export const REFUSALS = {
  /** The replica does not own what it writes for. */
  notHeld: "NX001",
  /** A request was made before. */
  repeated: "NX002",
  /** A stored body is not there. */
  bodyMissing: "NX003",
  /** A statement moved another number of rows than it should have. */
  miscounted: "NX004",
} as const;

/** Says whether this is why a transaction was ended. */
export function isRefused(error: unknown, reason: keyof typeof REFUSALS): boolean {
  return sqlStateOf(error) === REFUSALS[reason];
}
