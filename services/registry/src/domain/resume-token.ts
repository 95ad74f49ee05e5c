/** Where a watch goes on after a broken stream, as an opaque text. */

/** What a token says. */
export interface ResumePoint {
  /** Tells a feed from that of another database. */
  readonly feedId: string;
  readonly revision: number;
  /** What was watched; undefined means all namespaces. */
  readonly namespace: string | undefined;
}

const VERSION = "1";

/** Writes a token. */
export function encodeResumeToken({ feedId, revision, namespace }: ResumePoint): string {
  const parts = [
    VERSION,
    feedId,
    String(revision),
    namespace === undefined ? "*" : `=${namespace}`,
  ];
  return Buffer.from(parts.join(" ")).toString("base64url");
}

/** Reads a token; undefined for a text that encodeResumeToken did not make, which is answered like a token that is too old. */
export function tryDecodeResumeToken(token: string): ResumePoint | undefined {
  const [version, feedId, revision, scope, ...rest] = Buffer.from(token, "base64url")
    .toString("utf8")
    .split(" ");
  if (version !== VERSION || feedId === undefined || rest.length > 0) return undefined;
  if (revision === undefined || !/^\d{1,15}$/.test(revision)) return undefined;
  if (scope !== "*" && scope?.startsWith("=") !== true) return undefined;
  const namespace = scope === "*" ? undefined : scope.slice(1);
  return { feedId, revision: Number(revision), namespace };
}
