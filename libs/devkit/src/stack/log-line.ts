/** Turns one JSON log line of a service into a line for a person. Pure. */

const NAME_WIDTH = 12;
const LEVEL_WIDTH = 5;
const CAUSES_MAX = 4;
/** Shown in the head of the line, or the same on every line. */
const HEAD_FIELDS: ReadonlySet<string> = new Set(["time", "level", "msg", "service", "pid"]);
const CLOCK = /T(\d\d:\d\d:\d\d\.\d{3})/;

/** Formats a line as `10:32:01.123 registry     info  message key=value`; a line that is not JSON stays as it is. */
export function formatLogLine(name: string, line: string): string {
  const label = name.padEnd(NAME_WIDTH);
  const fields = parseFields(line);
  if (fields === undefined) return `${label} ${line}`;
  const clock = CLOCK.exec(show(fields["time"]))?.[1] ?? "";
  const level = show(fields["level"]).padEnd(LEVEL_WIDTH);
  const rest = Object.entries(fields)
    .filter(([key]) => !HEAD_FIELDS.has(key))
    .map(([key, value]) => ` ${key}=${show(value)}`);
  return `${clock} ${label} ${level} ${show(fields["msg"])}${rest.join("")}`;
}

function parseFields(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    // Something else that begins with a brace: shown as it is.
    return undefined;
  }
}

function show(value: unknown): string {
  if (typeof value === "string") return value;
  if (value === undefined) return "";
  return messagesOf(value) ?? JSON.stringify(value);
}

/** An error is shown by its message and those of its causes; its stack is for files. */
function messagesOf(value: unknown): string | undefined {
  const messages: string[] = [];
  let link = value as { readonly message?: unknown; readonly cause?: unknown } | null | undefined;
  while (typeof link?.message === "string" && messages.length < CAUSES_MAX) {
    messages.push(link.message);
    link = link.cause as typeof link;
  }
  return messages.length === 0 ? undefined : JSON.stringify(messages.join(": "));
}
