import type { Pool } from "@nexus/postgres";
import {
  AgentSessionService,
  DeadMessageService,
  DispatchService,
  MessagingService,
} from "@nexus/proto/mesh";
import { WireWriter } from "@nexus/rpc";
import { NEXUS_VERSION } from "@nexus/shared";
import {
  createAgentSessionRelay,
  createDeadMessageHandlers,
  createDispatchRelay,
  createMessagingHandlers,
  TurnScheduler,
} from "../handlers/index.ts";
import { createDeadMessageStore } from "../store/dead-message-store.ts";
import { createRouteStore } from "../store/route-store.ts";
import type { Mesh } from "./mesh.ts";
import type { Parts } from "./parts.ts";
import type { SessionState } from "./state.ts";

/** Adds everything that can be called. */
export function addServices({
  frame,
  config,
  mesh,
  pool,
  clock,
  routerId,
  state,
}: Parts & { readonly mesh: Mesh; readonly pool: Pool; readonly state: SessionState }): void {
  const { engine, hub, lifecycle, opener, events, messages, subscriptions } = mesh;
  const { heartbeatIntervalMs, lostAfterMs } = config;
  const turns = new TurnScheduler();
  const writer = new WireWriter();
  frame.server
    .addRaw(
      AgentSessionService,
      createAgentSessionRelay({
        lifecycle,
        opener,
        engine,
        messages,
        subscriptions,
        hub,
        clock,
        turns,
        writer,
        ...state,
        heartbeatIntervalMs,
        lostAfterMs,
        serverVersion: NEXUS_VERSION,
        frameSent: () => events.frameSent("agent"),
      }),
    )
    .addRaw(
      DispatchService,
      createDispatchRelay({
        hub,
        turns,
        writer,
        clock,
        routerId,
        frameSent: () => events.frameSent("orchestrator"),
      }),
    )
    .add(
      MessagingService,
      createMessagingHandlers({
        ...mesh,
        routes: createRouteStore(pool),
        clock,
        ids: frame.ids,
      }),
    )
    .add(
      DeadMessageService,
      createDeadMessageHandlers({ deadMessages: createDeadMessageStore(pool) }),
    );
}
