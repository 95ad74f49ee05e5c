/** The life of a session as a table; a cell that is not there is a transition that cannot happen. */

/** How a session stands. CLOSED and LOST are terminal. */
export type SessionState = "connected" | "draining" | "detached" | "closed" | "lost";

/** What can happen to a session.
 *
 * pause, unpause: the agent sets its slots to 0, or above. break: the stream ended without a goodbye. resume: a new
 * stream continues the epoch. supersede: a new epoch began. goodbye: the agent left. expire: nothing was heard for
 * too long. revoke: the token was taken back. */
export type SessionEvent =
  | "pause"
  | "unpause"
  | "break"
  | "resume"
  | "supersede"
  | "goodbye"
  | "expire"
  | "revoke";

/** All states, for tables and tests. */
export const SESSION_STATES: readonly SessionState[] = [
  "connected",
  "draining",
  "detached",
  "closed",
  "lost",
];

/** All events, for tables and tests. */
export const SESSION_EVENTS: readonly SessionEvent[] = [
  "pause",
  "unpause",
  "break",
  "resume",
  "supersede",
  "goodbye",
  "expire",
  "revoke",
];

/** State x event -> next state. */
export const SESSION_TRANSITIONS: Readonly<
  Record<SessionState, Readonly<Partial<Record<SessionEvent, SessionState>>>>
> = {
  connected: {
    pause: "draining",
    unpause: "connected",
    break: "detached",
    // The agent came back before the router saw the old stream end.
    resume: "connected",
    supersede: "lost",
    goodbye: "closed",
    expire: "lost",
    revoke: "lost",
  },
  draining: {
    pause: "draining",
    unpause: "connected",
    break: "detached",
    resume: "connected",
    supersede: "lost",
    goodbye: "closed",
    expire: "lost",
    revoke: "lost",
  },
  detached: {
    resume: "connected",
    supersede: "lost",
    expire: "lost",
  },
  closed: {},
  lost: {},
};

/** Returns the state after an event, or undefined when the event cannot happen in this state. */
export function nextSessionState(
  state: SessionState,
  event: SessionEvent,
): SessionState | undefined {
  return SESSION_TRANSITIONS[state][event];
}

/** Says whether a session ended for good. */
export function isOver(state: SessionState): boolean {
  return state === "closed" || state === "lost";
}

/** Says whether a session has a stream. */
export function isAttached(state: SessionState): boolean {
  return state === "connected" || state === "draining";
}
