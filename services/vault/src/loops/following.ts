import type { PolicyBook } from "../domain/access/policy-book.ts";
import type { AnomalyDesk } from "../domain/anomaly/anomaly-desk.ts";
import type { AuditFeed } from "../domain/audit/audit-feed.ts";
import type { AuditLog } from "../domain/audit/audit-log.ts";
import type { KeyStore } from "../domain/keys/key-store.ts";
import type { RevocationLog } from "../domain/revocation-log.ts";
import type { SecureVault } from "../domain/secure-vault.ts";
import { type Followed, followNumber, type Standing } from "../domain/standing.ts";
import type { LoopSpec } from "./index.ts";

/** What is followed. */
export interface FollowingDeps {
  readonly look: () => Promise<Standing>;
  readonly revocations: RevocationLog;
  readonly book: PolicyBook;
  readonly keyStore: KeyStore;
  readonly vault: SecureVault;
  readonly auditLog: AuditLog;
  readonly auditFeed: AuditFeed;
  readonly anomalyDesk: AnomalyDesk;
  /** Hears how many entries wait for their place. */
  readonly onBacklog: (waiting: number) => void;
  /** Hears of a reading that failed; the next one follows at the usual time. */
  readonly onReadFailed: (what: string, error: unknown) => void;
}

/** What starts a loop's next step. */
interface Woken {
  trigger(): void;
  soon(withinMs: number): void;
}

/** Adds a loop. */
type AddLoop = (spec: LoopSpec) => Woken;

/** How often vault looks for what another replica did, or for entries that wait for their place: revocations, seals, keys, policies and
 * places are promised within a second, and half of it is left for the reading and the streams. A look at some rows costs less
 * than a NOTIFY, which serialises commits. */
export const LOOK_MS = 200;
/** What changed is read when a look finds it: by itself only in case. */
const IN_CASE_MS = 10_000;
/** How soon a leaf is examined once it has its place. */
const ANOMALY_MS = 1000;

/** Adds the loops that follow the database, and the look that starts them.
 *
 * One statement says what there is to read: five that asked for themselves, each on a connection of its own, made most of what an idle vault
 * did. Each reading is a loop of its own, so that none waits for another: an opening may have to wait for a KMS. They keep their pace when
 * the database is away, where a loop's own pause would grow to half a minute: the promise of a second holds again as soon as it is back. */
export function addFollowing(add: AddLoop, deps: FollowingDeps): void {
  const { revocations, book, keyStore, vault, auditLog, auditFeed, onReadFailed } = deps;
  const trying = (what: string, work: (signal: AbortSignal) => Promise<void>) => {
    return (signal: AbortSignal) =>
      work(signal).catch((error: unknown) => onReadFailed(what, error));
  };
  const follow = (
    name: string,
    what: string,
    followed: Followed,
    wake = (loop: Woken) => loop.trigger(),
  ) => {
    const step = trying(what, (signal) => followed.read(signal));
    const loop = add({ name, intervalMs: IN_CASE_MS, step });
    return (standing: Standing) => {
      if (followed.isNew(standing)) wake(loop);
    };
  };
  const anomalies = createExamination(deps);
  const hearers: ((standing: Standing) => void)[] = [
    follow(
      "revocation-poll",
      "revocations",
      followNumber(({ revocations: head }) => head, revocations.refresh),
    ),
    follow(
      "policy-poll",
      "policies",
      followNumber(({ policies }) => policies, book.refresh),
    ),
    follow(
      "key-poll",
      "keys",
      followNumber(({ keys }) => keys, keyStore.refresh),
    ),
    follow(
      "seal-poll",
      "seal",
      { isNew: (standing) => vault.isBehind(standing), read: () => vault.follow() },
      // While a root key is out of reach each look finds vault behind, also during a try: the next one comes after a pause.
      (loop) => loop.soon(LOOK_MS),
    ),
    follow("audit-sequence", "audit entries", {
      isNew: ({ entriesWaiting }) => entriesWaiting > 0,
      read: async (signal) => {
        while ((await auditLog.sequence()) && !signal.aborted);
      },
    }),
    ({ logSize }) => auditFeed.hear(logSize),
    ({ entriesWaiting }) => deps.onBacklog(entriesWaiting),
    ({ nowMs }) => keyStore.hearTime(nowMs),
    anomalies.hear,
  ];
  add({ name: "anomalies", intervalMs: ANOMALY_MS, step: trying("anomalies", anomalies.step) });
  const look = async (): Promise<void> => {
    const standing = await deps.look();
    for (const hear of hearers) hear(standing);
  };
  add({ name: "look", intervalMs: LOOK_MS, step: trying("changes", look) });
}

/** Examines new leaves at a pace of its own: a second's at once cost less than one by one. */
function createExamination({ anomalyDesk }: Pick<FollowingDeps, "anomalyDesk">) {
  let isDue = false;
  const examined = followNumber(
    ({ logSize }) => logSize,
    async (signal) => {
      while ((await anomalyDesk.step()) && !signal.aborted);
    },
  );
  return {
    hear: (standing: Standing): void => {
      isDue = examined.isNew(standing);
    },
    step: async (signal: AbortSignal): Promise<void> => {
      if (isDue) await examined.read(signal);
    },
  };
}
