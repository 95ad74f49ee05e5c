/** Sessions of agents that nobody opened. */
import { Session, type SessionInit } from "./session.ts";

/** A connected session of an agent, in its first epoch and with one slot unless said otherwise. */
export function fakeSession(agentId: string, more: Partial<SessionInit> = {}): Session {
  const session = new Session({
    namespace: "default",
    agentId,
    epoch: 1n,
    sessionId: `ses_${agentId}`,
    resumeHash: new Uint8Array(),
    slots: 1,
    nowMs: 0,
    ...more,
  });
  session.state = "connected";
  return session;
}
