import { NexusError } from "./nexus-error.ts";

/** Longest resource or pattern, in characters. */
export const RESOURCE_LENGTH_MAX = 512;

const ANY = "*";
const FORBIDDEN_SEGMENTS: ReadonlySet<string> = new Set(["", ".", ".."]);

function isCanonical(text: string): boolean {
  return (
    text.length <= RESOURCE_LENGTH_MAX &&
    text === text.normalize("NFC") &&
    !/[\p{Cc}\p{Cs}\\]/u.test(text) &&
    text.split("/").every((segment) => !FORBIDDEN_SEGMENTS.has(segment))
  );
}

/** Says whether a text is a resource in its only form: segments between slashes, none empty, `.` or `..`, Unicode NFC,
 * no control characters, no backslash and no `*`. What is not, matches no pattern and is refused. */
export function isResource(text: string): boolean {
  return !text.includes(ANY) && isCanonical(text);
}

/** Checks the form of a resource pattern: a resource in which a whole segment may be `*`, any one segment, and the last
 * character may be `*`, any rest with all its slashes. `prod/*` is everything below `prod`, `team-*` every name that
 * begins so, `*` everything.
 *
 * Errors: invalid/RESOURCE_INVALID. */
export function parseResourcePattern(pattern: string): string {
  const body = pattern.endsWith(ANY) ? pattern.slice(0, -1) : pattern;
  const starsStandAlone =
    !pattern.includes("**") &&
    body.split("/").every((segment) => segment === ANY || !segment.includes(ANY));
  if (starsStandAlone && isCanonical(pattern)) return pattern;
  const description = "must be segments between slashes, with * for a segment or for the end";
  throw new NexusError({
    kind: "invalid",
    reason: "RESOURCE_INVALID",
    message: `A resource pattern ${description}.`,
    details: { fieldViolations: [{ field: "resources", description }] },
  });
}

/** Says whether a resource lies under the pattern it was made from. */
export type ResourceMatcher = (resource: string) => boolean;

/** Makes the matcher of a pattern that parseResourcePattern let through. The matcher expects what isResource accepts. */
export function compileResourcePattern(pattern: string): ResourceMatcher {
  if (pattern === ANY) return () => true;
  const isOpen = pattern.endsWith(ANY);
  const body = isOpen ? pattern.slice(0, -1) : pattern;
  if (!body.includes(ANY)) {
    return isOpen ? (resource) => resource.startsWith(body) : (resource) => resource === body;
  }
  const segments = body.split("/");
  const last = segments.pop() as string;
  return (resource) => {
    const parts = resource.split("/");
    if (isOpen ? parts.length <= segments.length : parts.length !== segments.length + 1) {
      return false;
    }
    if (!segments.every((segment, i) => segment === ANY || segment === parts[i])) return false;
    const rest = parts[segments.length] as string;
    return isOpen ? rest.startsWith(last) : rest === last;
  };
}
