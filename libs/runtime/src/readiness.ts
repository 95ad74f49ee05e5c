import { withDeadline } from "@nexus/shared";
import { READY_TIMEOUT_MS, type Readiness } from "@nexus/telemetry";

/** Resolves when the dependency serves; rejects, with a text an operator may read, when it does not. */
export type ReadinessCheck = () => unknown;

/** The checks behind /ready. */
export interface ReadinessChecks {
  /** Adds a check under a unique name. */
  add(name: string, check: ReadinessCheck): void;
  /** Runs all checks side by side, each with its own deadline, so that a slow one is named. */
  evaluate(): Promise<Readiness>;
}

/** One check gets less than the whole, so that the answer can still say which one was slow. */
const CHECK_TIMEOUT_MS = READY_TIMEOUT_MS - 500;
const MESSAGE_LENGTH_MAX = 200;

async function run(check: ReadinessCheck): Promise<string> {
  try {
    const timedOut = () => new Error(`no answer within ${CHECK_TIMEOUT_MS} ms`);
    await withDeadline(Promise.resolve().then(check), CHECK_TIMEOUT_MS, timedOut);
    return "ok";
  } catch (error) {
    return describe(error).slice(0, MESSAGE_LENGTH_MAX);
  }
}

/** Node's error for a refused connection to a name with several addresses has a code but no message. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return "failed";
  const { code } = error as NodeJS.ErrnoException;
  return error.message === "" ? (code ?? "failed") : error.message;
}

/** Creates an empty set of checks; it is ready as long as every check is. */
export function createReadinessChecks(): ReadinessChecks {
  const checks = new Map<string, ReadinessCheck>();
  return {
    add(name, check) {
      if (checks.has(name)) throw new Error(`The readiness check ${name} exists.`);
      checks.set(name, check);
    },
    async evaluate() {
      const entries = [...checks];
      const results = await Promise.all(entries.map(([, check]) => run(check)));
      const named = entries.map(([name], i) => [name, results[i] ?? "failed"] as const);
      return {
        ready: results.every((result) => result === "ok"),
        checks: Object.fromEntries(named),
      };
    },
  };
}
