import { type ErrorKind, NexusError } from "@nexus/shared";
import { toErrorJson } from "./connect-errors.ts";

/** An answer as the protocol library gives it, before it is written. */
export interface Answer {
  readonly status: number;
  readonly header?: Headers;
  readonly body?: AsyncIterable<Uint8Array> | null;
}

/** Codes with which the protocol library refuses what it cannot read. */
const REASONS: Readonly<Record<string, { readonly kind: ErrorKind; readonly reason: string }>> = {
  invalid_argument: { kind: "invalid", reason: "REQUEST_MALFORMED" },
  resource_exhausted: { kind: "exhausted", reason: "MESSAGE_TOO_LARGE" },
};

/** What the library says of JSON; the rest of it is what it found. */
const FROM_JSON = /^(.* from JSON): (.*)$/s;
const UNKNOWN_FIELD = /^key .* is unknown$/s;

/** Gives errors that the protocol library makes by itself (JSON that does not parse, a body that unpacks to too much)
 * the reason that the gRPC port gives for the same. Only for plain answers: those are what people read. */
export async function explainRefusal<A extends Answer>(answer: A): Promise<A> {
  const { status, header, body } = answer;
  const isJson = header?.get("content-type") === "application/json";
  if (status < 400 || !isJson || body === undefined || body === null) return answer;
  const bytes = await collect(body);
  const explained = Buffer.from(explain(bytes.toString("utf8")));
  header.set("content-length", String(explained.byteLength));
  return { ...answer, body: once(explained) };
}

function explain(json: string): string {
  const { code, message, details } = JSON.parse(json) as Readonly<Record<string, unknown>>;
  const known = details === undefined ? REASONS[String(code)] : undefined;
  if (known === undefined) return json;
  return toErrorJson(new NexusError({ ...known, message: withoutContent(String(message)) }));
}

/** Says what could not be read, and not what stood there: a password may be in the wrong place. */
function withoutContent(message: string): string {
  const [, what, why = ""] = FROM_JSON.exec(message) ?? [];
  if (what === undefined) return message;
  return UNKNOWN_FIELD.test(why) ? `${what}: it has a field that there is not` : what;
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield await Promise.resolve(bytes);
}
