import { createListener } from "@nexus/postgres";
import { createMailVacuum } from "../loops/mail-vacuum.ts";
import { createMailWriter } from "../loops/mail-writer.ts";
import { forgetAbsentAgents } from "../store/absent-agents.ts";
import { dailyTables, keepDays } from "../store/mail-partitions.ts";
import { MAIL_CHANNEL } from "../store/mail-store.ts";
import { STATE_CHANNEL } from "../store/state-write-store.ts";
import { SUBSCRIPTION_CHANNEL } from "../store/subscription-store.ts";
import type { Mesh } from "./mesh.ts";
import type { Parts } from "./parts.ts";
import type { MeshStores } from "./stores.ts";

/** Acknowledgements ride along with other commits; when there are none, they wait this long. */
const MAIL_SOON_MS = 20;
/** Work wakes the writer: by itself it looks only in case. */
const MAIL_IDLE_MS = 1_000;
const MAIL_EXPIRY_INTERVAL_MS = 5_000;
const MAIL_EXPIRY_BATCH = 500;
const MAIL_VACUUM_INTERVAL_MS = 1_000;
const PARTITION_INTERVAL_MS = 600_000;
const ABSENT_INTERVAL_MS = 600_000;
const ABSENT_BATCH = 500;

/** Adds the loops around durable messages, and what hears of other replicas' commits. */
export async function addMailLoops({
  frame,
  config,
  clock,
  mesh,
  stores: { pool, mail },
}: Parts & { readonly mesh: Mesh; readonly stores: MeshStores }): Promise<void> {
  const { office, desk, events, wake } = mesh;
  const days = dailyTables(config.deadMessagesKeptMs);
  await frame.untilUp("partitions", () => keepDays(pool, days));
  frame.loop({
    name: "mail-partitions",
    intervalMs: PARTITION_INTERVAL_MS,
    step: () => keepDays(pool, days),
  });
  frame.loop({
    name: "mail-expiry",
    intervalMs: MAIL_EXPIRY_INTERVAL_MS,
    step: async (signal) => {
      desk.giveUpExpired();
      while (!signal.aborted && (await mail.buryExpired(MAIL_EXPIRY_BATCH)) === MAIL_EXPIRY_BATCH);
    },
  });
  frame.loop({
    name: "mail-vacuum",
    intervalMs: MAIL_VACUUM_INTERVAL_MS,
    step: createMailVacuum({ mail, clock }),
  });
  const absent = { keptMs: config.absentAgentsKeptMs, limit: ABSENT_BATCH };
  frame.loop({
    name: "absent-agents",
    intervalMs: ABSENT_INTERVAL_MS,
    step: async (signal) => {
      while (!signal.aborted && (await forgetAbsentAgents(pool, absent)) === ABSENT_BATCH);
    },
  });
  // Acknowledgements of the last moment: without them they would be delivered once more.
  frame.defer("mail", () => office.work());
  const writer = frame.loop({
    name: "mail-writer",
    intervalMs: MAIL_IDLE_MS,
    step: createMailWriter({ office, events, again: () => writer.trigger() }),
  });
  const writeNow = oncePerTurn(() => writer.trigger());
  wake.mail = (when) => {
    if (when === "now") writeNow();
    else writer.soon(MAIL_SOON_MS);
  };
  addListener({ frame, config, mesh });
}

/** Calls back at the end of the turn of the event loop: what a whole frame brings is one commit, and not its first message one by itself. */
function oncePerTurn(act: () => void): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    setImmediate(() => {
      isDue = false;
      act();
    });
  };
}

/** Hears what other replicas wrote. Notices may be missed while the connection is away, so then everything is read again. */
function addListener({
  frame,
  config,
  mesh,
}: Pick<Parts, "frame" | "config"> & {
  readonly mesh: Mesh;
}): void {
  const { desk, book, subscriptions, events } = mesh;
  const onFailure = (error: unknown): void => events.subscriptionsFailed(error);
  const listener = createListener({
    url: config.databaseUrl,
    channels: [MAIL_CHANNEL, SUBSCRIPTION_CHANNEL, STATE_CHANNEL],
    onNotify: (channel, notice) => {
      if (channel === MAIL_CHANNEL) {
        for (const id of notice.split(",")) desk.refreshById(BigInt(id));
      } else if (channel === STATE_CHANNEL) mesh.wake.state(notice);
      else {
        const [namespace = "", agentId = ""] = notice.split("/");
        subscriptions.refresh(namespace, agentId).catch(onFailure);
      }
    },
    onReconnect: () => {
      mesh.wake.state("");
      for (const { mailbox } of book.readers()) desk.refreshById(mailbox.mailboxId);
      subscriptions.refreshAll().catch(onFailure);
    },
    logger: frame.logger,
    applicationName: "nexus-mesh-router-listener",
  });
  frame.defer("listener", () => listener.close());
}
