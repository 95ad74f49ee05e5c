/** Epochs, resume hashes and liveness in Postgres. A thousand agents that connect at once are a few statements. */
import type { Pool } from "@nexus/postgres";
import { type Batcher, createBatcher } from "@nexus/shared";
import type { SessionName } from "../domain/message/carried.ts";
import type {
  OpenedSession,
  OpenRequest,
  SessionStore,
  SurvivingSession,
} from "../domain/ports.ts";
import { sameResumeHash } from "../domain/session/resume-token.ts";
import {
  CLAIM_RESUMED,
  END_ORPHANS,
  END_SESSIONS,
  FORGET_ROUTERS,
  LOAD_SURVIVORS,
  OPEN_NEXT,
  RENEW_ROUTER,
  SELECT_RESUMABLE,
  SETTLE_STANDINGS,
} from "./session-sql.ts";

const BATCH_MAX = 512;
const BATCH_DELAY_MS = 2;
const QUEUED_MAX = 40_000;

/** What the store is made from. */
export interface SessionStoreInit {
  readonly pool: Pool;
  readonly routerId: string;
  /** How long after its last sign of life a replica's connected sessions can still be resumed elsewhere. */
  readonly routerGraceMs: number;
}

type Command =
  | { readonly kind: "open"; readonly request: OpenRequest }
  | { readonly kind: "end"; readonly sessionId: string };

type Result = OpenedSession | boolean;

/** A store that can be closed: what is queued is written first. */
export interface ClosableSessionStore extends SessionStore {
  close(): Promise<void>;
}

interface ResumableRow {
  readonly namespace: string;
  readonly agent_id: string;
  readonly epoch: string;
  readonly session_id: string;
  readonly resume_hash: Buffer;
}

/** Creates the store. Opens and ends of one session are carried out in the order of their calls. */
export function createSessionStore(init: SessionStoreInit): ClosableSessionStore {
  const commands: Batcher<Command, Result> = createBatcher({
    name: "session",
    maxItems: BATCH_MAX,
    maxDelayMs: BATCH_DELAY_MS,
    maxQueued: QUEUED_MAX,
    flush: (batch) => runCommands(init, batch),
  });
  const { pool, routerId } = init;
  return {
    open: async (request) => (await commands.add({ kind: "open", request })) as OpenedSession,
    end: async (sessionId) => (await commands.add({ kind: "end", sessionId })) as boolean,
    settle: async (standings) => {
      const ids = standings.map(({ sessionId }) => sessionId);
      const expiries = standings.map(({ expiresInMs }) => expiresInMs ?? null);
      await pool.query(SETTLE_STANDINGS, [ids, expiries, routerId]);
    },
    loadSurvivors: (graceMs) => loadSurvivors(init, graceMs),
    endOrphans: async (graceMs) => {
      const { rows } = await pool.query<NameRow>(END_ORPHANS, [routerId, graceMs]);
      await pool.query(FORGET_ROUTERS);
      return rows.map(toName);
    },
    renewRouter: async () => {
      await pool.query(RENEW_ROUTER, [routerId]);
    },
    close: () => commands.close(),
  };
}

async function runCommands(init: SessionStoreInit, batch: Command[]): Promise<Result[]> {
  const ends = batch.flatMap((command) => (command.kind === "end" ? [command.sessionId] : []));
  const opens = batch.flatMap((command) => (command.kind === "open" ? [command.request] : []));
  const ended = await endSessions(init, ends);
  const resumed = await resume(init, opens);
  const opened = await openNext(
    init,
    opens.filter((request) => !resumed.has(request)),
  );
  return batch.map((command): Result => {
    if (command.kind === "end") return ended.has(command.sessionId);
    const result = resumed.get(command.request) ?? opened.get(command.request);
    if (result === undefined) throw new Error("A session was neither resumed nor opened.");
    return result;
  });
}

async function endSessions(
  { pool, routerId }: SessionStoreInit,
  sessionIds: readonly string[],
): Promise<Set<string>> {
  if (sessionIds.length === 0) return new Set();
  const { rows } = await pool.query<{ session_id: string }>(END_SESSIONS, [sessionIds, routerId]);
  return new Set(rows.map((row) => row.session_id));
}

/** Continues the sessions whose presented hash is the stored one. */
async function resume(
  init: SessionStoreInit,
  opens: readonly OpenRequest[],
): Promise<Map<OpenRequest, OpenedSession>> {
  const resumed = new Map<OpenRequest, OpenedSession>();
  const asking = opens.filter(({ presentedHash }) => presentedHash !== undefined);
  if (asking.length === 0) return resumed;
  const good = await findGood(init, asking);
  const ids = [...good.values()].map((row) => row.session_id);
  if (ids.length === 0) return resumed;
  const claimed = await init.pool.query<{ session_id: string }>(CLAIM_RESUMED, [
    ids,
    init.routerId,
  ]);
  const claimedIds = new Set(claimed.rows.map((row) => row.session_id));
  for (const [request, row] of good) {
    const { session_id: sessionId, epoch } = row;
    if (!claimedIds.has(sessionId)) continue;
    resumed.set(request, {
      sessionId,
      epoch: BigInt(epoch),
      resumed: true,
      supersededEpoch: undefined,
    });
  }
  return resumed;
}

async function findGood(
  { pool, routerGraceMs }: SessionStoreInit,
  asking: readonly OpenRequest[],
): Promise<Map<OpenRequest, ResumableRow>> {
  const { rows } = await pool.query<ResumableRow>(SELECT_RESUMABLE, [
    asking.map(({ namespace }) => namespace),
    asking.map(({ agentId }) => agentId),
    routerGraceMs,
  ]);
  const byAgent = new Map(rows.map((row) => [keyOf(row.namespace, row.agent_id), row]));
  const good = new Map<OpenRequest, ResumableRow>();
  for (const request of asking) {
    const row = byAgent.get(keyOf(request.namespace, request.agentId));
    const { presentedHash } = request;
    if (row === undefined || presentedHash === undefined) continue;
    if (sameResumeHash(row.resume_hash, presentedHash)) good.set(request, row);
  }
  return good;
}

/** Begins the next epochs. One statement can change a row once, so an agent that asks twice waits a round. */
async function openNext(
  { pool, routerId }: SessionStoreInit,
  opens: readonly OpenRequest[],
): Promise<Map<OpenRequest, OpenedSession>> {
  const opened = new Map<OpenRequest, OpenedSession>();
  for (const round of distinctRounds(opens)) {
    const { rows } = await pool.query<OpenedRow>(OPEN_NEXT, [
      round.map(({ namespace }) => namespace),
      round.map(({ agentId }) => agentId),
      round.map(({ sessionId }) => sessionId),
      round.map(({ resumeHash }) => resumeHash),
      round.map(({ slots }) => slots),
      routerId,
    ]);
    const bySession = new Map(rows.map((row) => [row.session_id, row]));
    for (const request of round) {
      const row = bySession.get(request.sessionId);
      if (row !== undefined) opened.set(request, toOpened(row));
    }
  }
  return opened;
}

interface OpenedRow {
  readonly session_id: string;
  readonly epoch: string;
  readonly superseded_epoch: string | null;
}

function toOpened(row: OpenedRow): OpenedSession {
  const superseded = row.superseded_epoch;
  return {
    sessionId: row.session_id,
    epoch: BigInt(row.epoch),
    resumed: false,
    supersededEpoch: superseded === null ? undefined : BigInt(superseded),
  };
}

/** Splits requests so that no agent is twice in a round; the order of one agent's requests is kept. */
export function distinctRounds(opens: readonly OpenRequest[]): OpenRequest[][] {
  const rounds: OpenRequest[][] = [];
  const nextRound = new Map<string, number>();
  for (const request of opens) {
    const key = keyOf(request.namespace, request.agentId);
    const index = nextRound.get(key) ?? 0;
    nextRound.set(key, index + 1);
    const round = rounds[index];
    if (round === undefined) rounds.push([request]);
    else round.push(request);
  }
  return rounds;
}

interface NameRow {
  readonly namespace: string;
  readonly agent_id: string;
  readonly epoch: string;
}

interface SurvivorRow extends NameRow {
  readonly session_id: string;
  readonly resume_hash: Buffer;
  readonly slots: number;
  readonly remaining_ms: number;
}

async function loadSurvivors(
  { pool, routerId }: SessionStoreInit,
  graceMs: number,
): Promise<SurvivingSession[]> {
  const { rows } = await pool.query<SurvivorRow>(LOAD_SURVIVORS, [routerId, graceMs]);
  return rows.map((row) => ({
    ...toName(row),
    sessionId: row.session_id,
    resumeHash: row.resume_hash,
    slots: row.slots,
    remainingMs: row.remaining_ms,
  }));
}

function toName(row: NameRow): SessionName {
  return { namespace: row.namespace, agentId: row.agent_id, epoch: BigInt(row.epoch) };
}

/** Neither part can hold a slash. */
function keyOf(namespace: string, agentId: string): string {
  return `${namespace}/${agentId}`;
}
