/** Opaque keyset page tokens: base64url of version, checksum and the JSON of `[kind, ...values]`. */
import { createHash } from "node:crypto";
import { NexusError } from "@nexus/shared";

const VERSION = 1;
const CHECKSUM_BYTES = 6;
const HEADER_BYTES = 1 + CHECKSUM_BYTES;
const TOKEN_LENGTH_MAX = 4096;

/** A sort key of the last row of a page. Send timestamps as text from SQL: a Date would lose the microseconds and skip rows. */
export type PageTokenValue = string | number | boolean | null;

/** Encodes the sort key of the last row on a page. `kind` names the listing, and its filter where tokens must not be mixed. */
export function encodePageToken(kind: string, values: readonly PageTokenValue[]): string {
  const body = Buffer.from(JSON.stringify([kind, ...values]), "utf8");
  return Buffer.concat([Buffer.of(VERSION), checksum(body), body]).toString("base64url");
}

/** Decodes a token made for the same kind; the empty token, which asks for the first page, gives undefined.
 *
 * The checksum finds accidents and edits; it is not a signature, so values are still parameters, never SQL text.
 * Errors: invalid/PAGE_TOKEN_INVALID for anything that encodePageToken(kind) did not make. */
export function decodePageToken(
  kind: string,
  token: string,
): readonly PageTokenValue[] | undefined {
  if (token === "") return undefined;
  const values = tryDecode(token);
  if (values === undefined || values[0] !== kind) {
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
  return values.slice(1);
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
