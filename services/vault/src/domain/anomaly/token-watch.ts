import type { AuditEvent, Finding } from "./alert.ts";
import { SUBJECTS_MAX, SubjectMemory, subjectOf } from "./subject-memory.ts";

const WINDOW_MS = 60_000;
/** Hosts from which one token may be used at the same time: one that moves has two for a moment. */
const HOSTS_MAX = 2;
/** A host with so many principals is a gateway or a network's edge, and says nothing of where a token is. */
const SHARED_PRINCIPALS = 10;

/** So much of the log has to be read before it is known which hosts are shared. */
const LEARNING_MS = 3_600_000;

interface TokenUse {
  /** When it was last used there. Never more than HOSTS_MAX + 1. */
  readonly hosts: Map<string, number>;
  raisedAtMs: number;
}

/** Notices a token that is used in more places than one holder can be. */
export class TokenWatch {
  readonly #tokens = new SubjectMemory<TokenUse>(SUBJECTS_MAX);
  readonly #hosts = new SubjectMemory<Set<string>>(SUBJECTS_MAX);
  #beganAtMs: number | undefined;

  examine(event: AuditEvent): Finding | undefined {
    const { tokenId, host, timeMs, leafIndex, namespace, principalId } = event;
    this.#beganAtMs ??= timeMs;
    if (tokenId === "" || host === "" || this.#isShared(event)) return undefined;
    if (timeMs - this.#beganAtMs < LEARNING_MS) return undefined;
    const subject = subjectOf("parallel-use", tokenId);
    const make = () => ({ hosts: new Map<string, number>(), raisedAtMs: -Infinity });
    const use = this.#tokens.of(subject, make);
    for (const [known, atMs] of use.hosts) {
      if (timeMs - atMs > WINDOW_MS) use.hosts.delete(known);
    }
    use.hosts.set(host, timeMs);
    if (use.hosts.size <= HOSTS_MAX) return undefined;
    const hosts = [...use.hosts.keys()];
    use.hosts.clear();
    if (timeMs - use.raisedAtMs <= WINDOW_MS) return undefined;
    use.raisedAtMs = timeMs;
    return {
      severity: "high",
      namespace,
      principalId,
      timeMs,
      leafIndex,
      subject,
      evidence: { detector: "parallel-use", tokenId, hosts, windowMs: WINDOW_MS },
    };
  }

  #isShared({ host, namespace, principalId }: AuditEvent): boolean {
    const principals = this.#hosts.of(host, () => new Set<string>());
    if (principals.size < SHARED_PRINCIPALS) principals.add(subjectOf(namespace, principalId));
    return principals.size >= SHARED_PRINCIPALS;
  }
}
