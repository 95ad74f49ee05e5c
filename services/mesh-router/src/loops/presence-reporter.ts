import { sleep } from "@nexus/shared";
import { PRESENCE_BATCH_MAX } from "../domain/limits.ts";
import type { PresencePort, ReportEvents } from "../domain/ports.ts";
import type { PresenceBoard } from "../domain/session/presence.ts";
import type { Session } from "../domain/session/session.ts";
import type { SessionDirectory } from "../domain/session/session-directory.ts";

/** Changes that follow each other faster than this are reported together. */
const CHANGE_GAP_MS = 50;

/** What the reporter works with. */
export interface PresenceReporterInit {
  readonly board: PresenceBoard;
  readonly directory: SessionDirectory;
  readonly registry: PresencePort;
  readonly events: ReportEvents;
  /** How often everything is reported. */
  readonly refreshMs: number;
  /** How often the reporter is called. */
  readonly stepMs: number;
  readonly nowMs: () => number;
}

/** Reports changes, and everything once its time has come. A registry that is away costs nothing but the report:
 * what was not told is told again by the next step. */
export function createPresenceReporter(init: PresenceReporterInit) {
  let refreshedAtMs = Number.NEGATIVE_INFINITY;
  return async (signal: AbortSignal): Promise<void> => {
    try {
      await reportChanges(init, signal);
      const nowMs = init.nowMs();
      // Steps are an interval apart, less or more by a little: half of one early is on time, and the next would be late.
      if (nowMs - refreshedAtMs >= init.refreshMs - init.stepMs / 2) {
        await refresh(init, signal);
        refreshedAtMs = nowMs;
      }
    } catch (error) {
      if (!signal.aborted) init.events.presenceFailed(error);
      return;
    }
    // A stop cuts the pause short, which is all it should do.
    await sleep(CHANGE_GAP_MS, signal).catch(() => undefined);
  };
}

async function reportChanges(init: PresenceReporterInit, signal: AbortSignal): Promise<void> {
  while (init.board.size > 0 && !signal.aborted) {
    await report(init, init.board.takeChanges(PRESENCE_BATCH_MAX), signal);
  }
}

async function refresh(init: PresenceReporterInit, signal: AbortSignal): Promise<void> {
  const sessions = [...init.directory];
  for (let i = 0; i < sessions.length && !signal.aborted; i += PRESENCE_BATCH_MAX) {
    const live = sessions.slice(i, i + PRESENCE_BATCH_MAX).filter((session) => !session.over);
    await report(init, live, signal);
  }
}

async function report(
  { board, registry, events }: PresenceReporterInit,
  sessions: readonly Session[],
  signal: AbortSignal,
): Promise<void> {
  if (sessions.length === 0) return;
  const presences = board.describe(sessions);
  try {
    events.presenceReported(presences.length, await registry.report(presences, signal));
  } catch (error) {
    board.putBack(sessions);
    throw error;
  }
}
