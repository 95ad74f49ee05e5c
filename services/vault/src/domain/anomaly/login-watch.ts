import type { AuditEvent, Finding } from "./alert.ts";
import { SUBJECTS_MAX, SubjectMemory, subjectOf } from "./subject-memory.ts";

const WINDOW_MS = 600_000;
/** Failures under one name. People mistype less often; a lockout comes sooner, and opens again. */
const FAILURES_MAX = 10;
/** Names that one host fails to sign in to: one behind which many people are has some, too. */
const NAMES_MAX = 20;

/** What proves a name. Who guesses at a password with a token that was stolen wants to keep the account. */
const SIGN_IN: ReadonlySet<string> = new Set(["Login", "GrantClientToken", "ChangePassword"]);

const NONE: readonly Finding[] = [];

interface NameWindow {
  window: number;
  failures: number;
}

interface HostWindow extends NameWindow {
  /** Never more than NAMES_MAX. */
  readonly names: Set<string>;
}

/** Notices guessing: many failures under one name, and one host that fails under many. */
export class LoginWatch {
  readonly #names = new SubjectMemory<NameWindow>(SUBJECTS_MAX);
  readonly #hosts = new SubjectMemory<HostWindow>(SUBJECTS_MAX);

  examine(event: AuditEvent): readonly Finding[] {
    if (event.outcome !== "denied" || !SIGN_IN.has(event.method)) return NONE;
    // Refused before a password was looked at, as for want of a token: a guess at nobody.
    if (event.method === "ChangePassword" && event.resource === "") return NONE;
    const findings = [this.#examineName(event), this.#examineHost(event)];
    return findings.filter((finding) => finding !== undefined);
  }

  #examineName(event: AuditEvent): Finding | undefined {
    const { namespace, resource: name, host, timeMs, leafIndex, count } = event;
    const subject = subjectOf("failed-logins", namespace, name);
    const state = this.#names.of(subject, () => ({ window: 0, failures: 0 }));
    const window = Math.floor(timeMs / WINDOW_MS);
    if (window > state.window) Object.assign(state, { window, failures: 0 });
    const before = state.failures;
    state.failures += count;
    if (before >= FAILURES_MAX || state.failures < FAILURES_MAX) return undefined;
    const { failures } = state;
    return {
      severity: "medium",
      namespace,
      principalId: "",
      timeMs,
      leafIndex,
      subject,
      evidence: { detector: "failed-logins", name, failures, host, windowMs: WINDOW_MS },
    };
  }

  #examineHost({ resource: name, host, timeMs, leafIndex, count }: AuditEvent) {
    const subject = subjectOf("login-spread", host);
    const make = () => ({ window: 0, failures: 0, names: new Set<string>() });
    const state = this.#hosts.of(subject, make);
    const window = Math.floor(timeMs / WINDOW_MS);
    if (window > state.window) {
      Object.assign(state, { window, failures: 0 });
      state.names.clear();
    }
    state.failures += count;
    if (state.names.size >= NAMES_MAX) return undefined;
    state.names.add(name);
    if (state.names.size < NAMES_MAX) return undefined;
    const { failures, names } = state;
    const finding: Finding = {
      severity: "high",
      // It concerns whoever administers all namespaces.
      namespace: "",
      principalId: "",
      timeMs,
      leafIndex,
      subject,
      evidence: {
        detector: "login-spread",
        host,
        names: names.size,
        failures,
        windowMs: WINDOW_MS,
      },
    };
    return finding;
  }
}
