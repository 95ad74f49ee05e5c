import { AgentState, PresenceService } from "@nexus/proto/registry";
import { createRpcClient, type RpcChannel, type TokenSource } from "@nexus/rpc";
import type { PresencePort } from "../domain/ports.ts";
import type { Presence, PresenceState } from "../domain/session/presence.ts";

/** The registry answers a batch in one statement; a report that takes longer is repeated. */
const REPORT_TIMEOUT_MS = 2_000;

const STATES: Readonly<Record<PresenceState, AgentState>> = {
  online: AgentState.ONLINE,
  busy: AgentState.BUSY,
  draining: AgentState.DRAINING,
  offline: AgentState.OFFLINE,
  lost: AgentState.LOST,
};

/** What the client needs. */
export interface PresenceClientInit {
  readonly channel: RpcChannel;
  readonly tokens: TokenSource;
  readonly routerId: string;
}

/** Creates the client of the registry's PresenceService. */
export function createPresenceClient(init: PresenceClientInit): PresencePort {
  const { channel, tokens, routerId } = init;
  const client = createRpcClient(PresenceService, channel, {
    tokens,
    timeoutMs: REPORT_TIMEOUT_MS,
  });
  return {
    report: async (presences, signal) => {
      const request = { routerId, presences: presences.map(toPresence) };
      const { unknown } = await client.reportPresence(request, { signal });
      return unknown;
    },
  };
}

function toPresence({ state, ...presence }: Presence) {
  return { ...presence, state: STATES[state] };
}
