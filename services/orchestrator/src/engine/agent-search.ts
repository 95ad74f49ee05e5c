/** How far a search for agents has come: it looks at so many at a time, and goes on where it stopped. */
import type { Rejection } from "../domain/routing-decision.ts";
import type { AgentEntry } from "./agent-entry.ts";
import type { IndexedSet } from "./indexed-set.ts";

/** Most agents looked at for one task at a time. */
export const LOOKS_MAX = 1_024;

/** Where a search that found nobody goes on. */
export interface SearchRest {
  /** The next position among the open agents. */
  readonly at: number;
  /** How many had left them when it began: each that leaves since puts another one in its place, which may be passed over then. */
  readonly departures: number;
}

/** Who could take a task. */
export interface Candidates {
  readonly eligible: readonly AgentEntry[];
  readonly rejections: readonly Rejection[];
  /** Set when nobody was found yet and others are still to be looked at. */
  readonly rest: SearchRest | undefined;
  /** Nobody is eligible of all that are open. */
  readonly sure: boolean;
}

/** The agent that lacks the fewest slots for a task. */
export interface Nearest {
  readonly agent: AgentEntry | undefined;
  /** Where a search that found nobody goes on; undefined when all were looked at. */
  readonly next: number | undefined;
}

/** Nobody, nowhere. */
export const NO_ONE: Nearest = { agent: undefined, next: undefined };

/** Says how far a search has come among the open agents. */
export function howFar(
  open: IndexedSet<AgentEntry>,
  found: boolean,
  rest: SearchRest | undefined,
): Pick<Candidates, "rest" | "sure"> {
  const { departures } = open;
  if (found) return { rest: undefined, sure: false };
  if (rest === undefined) {
    const sure = open.size <= LOOKS_MAX;
    return { rest: sure ? undefined : { at: 0, departures }, sure };
  }
  const at = rest.at + LOOKS_MAX;
  if (at < open.size) return { rest: { ...rest, at }, sure: false };
  return { rest: undefined, sure: departures === rest.departures };
}
