/** Opaque keyset page tokens: base64url of version, checksum and the JSON of `[kind, ...values]`. */
import { createHash } from "node:crypto";
import { NexusError } from "@nexus/shared";

const VERSION = 1;
const CHECKSUM_BYTES = 6;
const HEADER_BYTES = 1 + CHECKSUM_BYTES;
const TOKEN_LENGTH_MAX = 4096;

/** A sort key of the last row of a page. Send timestamps as text from SQL: a Date would lose the microseconds and skip rows. */
export type PageTokenValue = string | number | boolean | null;

/** What a place of a token holds, as the statement takes it: `text` without NUL; `integer` and `bigint`, which is sent as text, within
 * Postgres' own; `uuid`; `moment`, a timestamptz as Postgres writes it. */
export type PageTokenType = "text" | "integer" | "bigint" | "uuid" | "moment";

/** Encodes the sort key of the last row on a page. `kind` names the listing, and its filter where tokens must not be mixed. */
export function encodePageToken(kind: string, values: readonly PageTokenValue[]): string {
  const body = Buffer.from(JSON.stringify([kind, ...values]), "utf8");
  return Buffer.concat([Buffer.of(VERSION), checksum(body), body]).toString("base64url");
}

/** Decodes a token made for the same kind, with values of these types; the empty token, which asks for the first page, gives undefined.
 *
 * The checksum finds accidents and edits; it is not a signature, and whoever computes it may write any value. So values are still
 * parameters, never SQL text, and one that the database would refuse is found here.
 * Errors: invalid/PAGE_TOKEN_INVALID for anything that encodePageToken(kind) did not make. */
export function decodePageToken(
  kind: string,
  token: string,
  types: readonly PageTokenType[],
): readonly PageTokenValue[] | undefined {
  if (token === "") return undefined;
  const [found, ...values] = tryDecode(token) ?? [];
  if (found !== kind || values.length !== types.length || !types.every(isOfType(values))) {
    throw new NexusError({
      kind: "invalid",
      reason: "PAGE_TOKEN_INVALID",
      message: "the page token is not one that this listing gave out",
      details: {
        fieldViolations: [
          { field: "page_token", description: "must be a token from the previous page, unchanged" },
        ],
      },
    });
  }
  return values;
}

const isOfType = (values: readonly PageTokenValue[]) => (type: PageTokenType, place: number) =>
  CHECKS[type](values[place] ?? null);

const INTEGER_MAX = 2_147_483_647;
const BIGINT_MAX = 9_223_372_036_854_775_807n;
const BIGINT = /^-?\d{1,19}$/;
const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;
const MOMENT =
  /^(?<day>\d{4}-\d\d-\d\d) (?<time>\d\d:\d\d:\d\d)(\.\d{1,6})?[+-](0\d|1[0-5])(:[0-5]\d){0,2}$/;

const CHECKS: Readonly<Record<PageTokenType, (value: PageTokenValue) => boolean>> = {
  text: (value) => typeof value === "string" && !value.includes("\0"),
  integer: (value) => Number.isInteger(value) && Math.abs(Number(value)) <= INTEGER_MAX,
  bigint: (value) => typeof value === "string" && BIGINT.test(value) && isBigint(BigInt(value)),
  uuid: (value) => typeof value === "string" && UUID.test(value),
  moment: (value) => typeof value === "string" && isMoment(value),
};

function isBigint(value: bigint): boolean {
  return value <= BIGINT_MAX && value >= -BIGINT_MAX;
}

/** February has no 30th: a date that is none is not what it is read as. */
function isMoment(text: string): boolean {
  const { day, time } = MOMENT.exec(text)?.groups ?? {};
  const utc = `${day}T${time}`;
  const readAt = new Date(`${utc}Z`);
  return !Number.isNaN(readAt.getTime()) && readAt.toISOString().startsWith(utc);
}

function tryDecode(token: string): PageTokenValue[] | undefined {
  if (token.length > TOKEN_LENGTH_MAX || !/^[A-Za-z0-9_-]+$/.test(token)) return undefined;
  const bytes = Buffer.from(token, "base64url");
  const body = bytes.subarray(HEADER_BYTES);
  const whole = bytes.subarray(1, HEADER_BYTES).equals(checksum(body));
  if (bytes[0] !== VERSION || !whole) return undefined;
  try {
    const parsed: unknown = JSON.parse(body.toString("utf8"));
    return Array.isArray(parsed) && parsed.every(isPageTokenValue) ? parsed : undefined;
  } catch {
    // Not JSON, so not ours: reported as an invalid token by the caller.
    return undefined;
  }
}

function isPageTokenValue(value: unknown): value is PageTokenValue {
  return value === null || ["string", "number", "boolean"].includes(typeof value);
}

function checksum(body: Buffer): Buffer {
  return createHash("sha256")
    .update("nexus-page-token")
    .update(body)
    .digest()
    .subarray(0, CHECKSUM_BYTES);
}
