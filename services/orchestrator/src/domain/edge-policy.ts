/** What happens along an edge of the graph when its parent ends without success. */

/** FAIL and SKIP: the child is skipped; CONTINUE: it runs without that input. A task that failed is tolerated when it has
 * edges and none of them says FAIL; tolerated failures alone do not fail a job. */
export type EdgePolicy = "FAIL" | "SKIP" | "CONTINUE";

/** The policy of an edge that names none. */
export const DEFAULT_EDGE_POLICY: EdgePolicy = "FAIL";
