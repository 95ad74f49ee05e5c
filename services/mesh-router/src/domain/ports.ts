/** What the domain needs from outside, small and named by role. */
import type { RefusalReason, SessionName, UpdateKind } from "./message/carried.ts";
import type { Outcome } from "./message/letter.ts";
import type { Presence } from "./session/presence.ts";
import type { Session } from "./session/session.ts";

/** Hears about work between orchestrators and agents. */
export interface DispatchEvents {
  orchestratorAttached(orchestratorId: string): void;
  orchestratorDetached(orchestratorId: string): void;
  assignmentRefused(reason: RefusalReason): void;
  updateDropped(kind: UpdateKind): void;
}

/** Hears about messages. */
export interface MessageEvents {
  messageSettled(outcome: Outcome): void;
  /** Milliseconds from acceptance to the receiver's acknowledgement. */
  messageDelivered(latencyMs: number): void;
}

/** Hears about sessions. */
export interface SessionEvents {
  sessionOpened(session: Session, resumed: boolean): void;
  sessionDetached(session: Session): void;
  sessionEnded(session: Session, cause: string): void;
}

/** A session as it is asked for. */
export interface OpenRequest {
  readonly namespace: string;
  readonly agentId: string;
  readonly sessionId: string;
  readonly resumeHash: Uint8Array;
  readonly slots: number;
  /** Hash of the presented resume token; undefined when none was. */
  readonly presentedHash: Uint8Array | undefined;
}

/** A session as it was stored. */
export interface OpenedSession {
  readonly sessionId: string;
  readonly epoch: bigint;
  /** True when the presented token was good: epoch and session id are the old ones. */
  readonly resumed: boolean;
  /** The live epoch that this one ended, if there was one. */
  readonly supersededEpoch: bigint | undefined;
}

/** A live session that an earlier run of this replica left behind. */
export interface SurvivingSession extends SessionName {
  readonly sessionId: string;
  readonly resumeHash: Uint8Array;
  readonly slots: number;
  /** What is left of its grace, by database time. */
  readonly remainingMs: number;
}

/** Whether a session has a stream, for the store. */
export interface SessionStanding {
  readonly sessionId: string;
  /** Milliseconds until it is given up; undefined while it has a stream. */
  readonly expiresInMs: number | undefined;
}

/** Where epochs and resume hashes live. Every call may be one of many that share a statement. */
export interface SessionStore {
  /** Continues the session of a good resume hash, or begins the next epoch.
   *
   * Errors: unavailable/DATABASE_UNAVAILABLE; exhausted/QUEUE_FULL. */
  open(request: OpenRequest): Promise<OpenedSession>;
  /** Ends a session. False when it is no longer this replica's to end: it was resumed elsewhere. */
  end(sessionId: string): Promise<boolean>;
  /** Stores whether sessions have a stream. */
  settle(standings: readonly SessionStanding[]): Promise<void>;
  /** Gives every live session of this replica a grace to come back. */
  loadSurvivors(graceMs: number): Promise<SurvivingSession[]>;
  /** Ends the overdue sessions of replicas that stopped reporting, and returns them. */
  endOrphans(graceMs: number): Promise<SessionName[]>;
  /** Says that this replica lives. */
  renewRouter(): Promise<void>;
}

/** Hears every change of a session that others are told of. */
export interface SessionObserver {
  /** State or slots changed; also the first and the last change. */
  sessionChanged(session: Session): void;
  /** It is over here, and may be elsewhere: others need not be told. */
  sessionMoved?(session: Session): void;
}

/** Tells the registry who is connected. */
export interface PresencePort {
  /** Reports one batch. Returns how many of its agents are not registered. */
  report(presences: readonly Presence[], signal: AbortSignal): Promise<number>;
}

/** Hears about the reports to the registry and to the store. */
export interface ReportEvents {
  presenceReported(count: number, unknown: number): void;
  presenceFailed(error: unknown): void;
  renewalFailed(error: unknown): void;
  mailWriteFailed(error: unknown): void;
  agentWatchFailed(error: unknown): void;
  subscriptionsFailed(error: unknown): void;
  /** It could not be found out where agents are. */
  locateFailed(error: unknown): void;
}
