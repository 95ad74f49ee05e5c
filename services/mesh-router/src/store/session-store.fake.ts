/** The session store in memory, for tests of what stands on it. It passes the same contract as the real one. */
import { NexusError } from "@nexus/shared";
import type { SessionName } from "../domain/message/carried.ts";
import type {
  OpenedSession,
  OpenRequest,
  SessionStanding,
  SessionStore,
  SurvivingSession,
} from "../domain/ports.ts";
import { sameResumeHash } from "../domain/session/resume-token.ts";

interface Row {
  readonly namespace: string;
  readonly agentId: string;
  epoch: bigint;
  sessionId: string;
  routerId: string;
  resumeHash: Uint8Array;
  slots: number;
  live: boolean;
  expiresInMs: number | undefined;
}

/** Rows that several replicas' stores share. */
export type FakeRows = Map<string, Row>;

/** A store of one replica over shared rows. */
export class FakeSessionStore implements SessionStore {
  readonly #rows: FakeRows;
  readonly #routerId: string;
  /** While true every call fails, as with a database that is away. */
  away = false;
  /** Calls that reached the rows. */
  calls = 0;

  constructor(routerId: string, rows: FakeRows = new Map()) {
    this.#routerId = routerId;
    this.#rows = rows;
  }

  async open(request: OpenRequest): Promise<OpenedSession> {
    this.#assertThere();
    const key = `${request.namespace}/${request.agentId}`;
    const row = this.#rows.get(key);
    if (row !== undefined && canResume(row, request)) {
      row.routerId = this.#routerId;
      row.expiresInMs = undefined;
      const { sessionId, epoch } = row;
      return { sessionId, epoch, resumed: true, supersededEpoch: undefined };
    }
    const epoch = (row?.epoch ?? 0n) + 1n;
    const { namespace, agentId, sessionId, resumeHash, slots } = request;
    const opened = { namespace, agentId, sessionId, resumeHash, slots, epoch };
    const rest = { routerId: this.#routerId, live: true, expiresInMs: undefined };
    this.#rows.set(key, { ...opened, ...rest });
    const supersededEpoch = row?.live === true ? row.epoch : undefined;
    return { sessionId, epoch, resumed: false, supersededEpoch };
  }

  async end(sessionId: string): Promise<boolean> {
    this.#assertThere();
    const row = this.#find(sessionId);
    if (row === undefined || !row.live || row.routerId !== this.#routerId) return false;
    row.live = false;
    return true;
  }

  async settle(standings: readonly SessionStanding[]): Promise<void> {
    this.#assertThere();
    for (const { sessionId, expiresInMs } of standings) {
      const row = this.#find(sessionId);
      if (row === undefined || !row.live) continue;
      if (expiresInMs !== undefined && row.routerId !== this.#routerId) continue;
      row.routerId = this.#routerId;
      row.expiresInMs = expiresInMs;
    }
  }

  async loadSurvivors(graceMs: number): Promise<SurvivingSession[]> {
    this.#assertThere();
    return [...this.#rows.values()]
      .filter((row) => row.live && row.routerId === this.#routerId)
      .map((row) => ({ ...row, remainingMs: Math.max(row.expiresInMs ?? 0, graceMs) }));
  }

  async endOrphans(): Promise<SessionName[]> {
    this.#assertThere();
    return [];
  }

  async renewRouter(): Promise<void> {
    this.#assertThere();
  }

  #find(sessionId: string): Row | undefined {
    return [...this.#rows.values()].find((row) => row.sessionId === sessionId);
  }

  #assertThere(): void {
    this.calls += 1;
    if (!this.away) return;
    throw new NexusError({
      kind: "unavailable",
      reason: "DATABASE_UNAVAILABLE",
      message: "The database cannot be reached.",
    });
  }
}

function canResume(row: Row, { presentedHash }: OpenRequest): boolean {
  const inTime = row.expiresInMs === undefined || row.expiresInMs > 0;
  return (
    row.live &&
    inTime &&
    presentedHash !== undefined &&
    sameResumeHash(row.resumeHash, presentedHash)
  );
}
