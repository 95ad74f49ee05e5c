import { RegistryService } from "@nexus/proto/registry";
import { createRpcClient } from "@nexus/rpc";
import type { ServiceFrame } from "@nexus/runtime";
import { AgentWatcher } from "../clients/agent-watcher.ts";
import { createPresenceClient } from "../clients/presence-client.ts";
import { SLOT_NEWS_MS, SLOT_TURN_MS } from "../domain/limits.ts";
import type { SessionName } from "../domain/message/carried.ts";
import { createPresenceReporter } from "../loops/presence-reporter.ts";
import { createRouterRenewal } from "../loops/router-renewal.ts";
import { createStandingWriter } from "../loops/standing-writer.ts";
import type { ClosableSessionStore } from "../store/session-store.ts";
import type { Mesh } from "./mesh.ts";
import { type Parts, ROUTER_GRACE_LOST_AFTERS } from "./parts.ts";

const RENEWALS_PER_LOST_AFTER = 3;
const SWEEPS_PER_LOST_AFTER = 20;
const MESSAGE_EXPIRY_INTERVAL_MS = 50;
const PRESENCE_STEP_MS = 1_000;
const STANDING_STEP_MS = 1_000;
/** News is told as it comes: by itself only in case. */
const SLOT_NEWS_IDLE_MS = 1_000;

/** Adds the loops around sessions: their ends, their standings, their presence, and the slots they offer. */
export function addSessionLoops(
  parts: Parts & { readonly mesh: Mesh; readonly store: ClosableSessionStore },
): void {
  const { frame, config, mesh, clock, store, routerId } = parts;
  const { lostAfterMs } = config;
  const nowMs = (): number => clock.nowMs();
  const writeStandings = createStandingWriter({ journal: mesh.journal, store, nowMs });
  // The streams of a draining router end after the loops' last step; their standings are the last thing stored.
  frame.defer("session standings", writeStandings);
  const channel = frame.channel(config.registryAddress, "registry");
  const registry = createPresenceClient({ channel, tokens: frame.tokens, routerId });
  const client = createRpcClient(RegistryService, channel, { tokens: frame.tokens });
  const watcher = new AgentWatcher({ client, agents: mesh.agents, events: mesh.events });
  frame.defer("agent watch", () => watcher.close());
  const { board, directory, engine, events, lifecycle } = mesh;
  frame.loop({
    name: "session-sweep",
    intervalMs: lostAfterMs / SWEEPS_PER_LOST_AFTER,
    step: async () => lifecycle.sweep(nowMs()),
  });
  frame.loop({
    name: "message-expiry",
    intervalMs: MESSAGE_EXPIRY_INTERVAL_MS,
    step: async () => {
      engine.expire(nowMs());
      mesh.messages.expire(nowMs());
      mesh.office.expire(nowMs());
    },
  });
  addSlotLoops(frame, mesh);
  const graceMs = lostAfterMs * ROUTER_GRACE_LOST_AFTERS;
  const onOrphans = (orphans: readonly SessionName[]): void =>
    lifecycle.reportGone(orphans, "orphaned");
  frame.loop({
    name: "router-renewal",
    intervalMs: lostAfterMs / RENEWALS_PER_LOST_AFTER,
    step: createRouterRenewal({ store, events, onOrphans, graceMs, nowMs }),
  });
  const standings = frame.loop({
    name: "standing-writer",
    intervalMs: STANDING_STEP_MS,
    step: writeStandings,
  });
  const refreshMs = config.presenceRefreshMs;
  const stepMs = Math.min(PRESENCE_STEP_MS, refreshMs);
  const presence = frame.loop({
    name: "presence-reporter",
    intervalMs: stepMs,
    step: createPresenceReporter({ board, directory, registry, events, refreshMs, stepMs, nowMs }),
  });
  mesh.wake.presence = () => presence.trigger();
  mesh.wake.standing = () => standings.trigger();
}

function addSlotLoops(frame: ServiceFrame, { hub: { slots }, wake }: Mesh): void {
  const news = frame.loop({
    name: "slot-news",
    intervalMs: SLOT_NEWS_IDLE_MS,
    step: async () => slots.tell(),
  });
  wake.slots = () => news.soon(SLOT_NEWS_MS);
  frame.loop({ name: "slot-turns", intervalMs: SLOT_TURN_MS, step: async () => slots.turn() });
}
