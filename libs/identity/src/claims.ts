import type { Principal } from "@nexus/rpc";
import { parseNamespace } from "@nexus/shared";
import type { JWTPayload } from "jose";

/** `iss` of every access token. */
export const TOKEN_ISSUER = "nexus-vault";
/** `aud` of every access token. */
export const TOKEN_AUDIENCE = "nexus";
/** The only signature algorithm: Ed25519. A list of one, so no header can choose a weaker one (RFC 8725 section 3.1). */
export const TOKEN_ALGORITHM = "EdDSA";
/** `typ` header of every access token (RFC 9068), so that no other signed object can pass for one. */
export const TOKEN_TYPE = "at+jwt";
/** How far the clocks of vault and of a verifier may lie apart before a token counts as ended. */
export const CLOCK_SKEW_MS = 5000;

const KINDS: readonly string[] = ["user", "agent", "service"] satisfies Principal["kind"][];

function text(payload: JWTPayload, claim: string): string {
  const value = payload[claim];
  if (typeof value === "string" && value !== "") return value;
  throw new TypeError(`claim ${claim} is not a text`);
}

function epochMs(payload: JWTPayload, claim: "iat" | "exp"): number {
  const value = payload[claim];
  if (typeof value === "number" && Number.isFinite(value)) return Math.round(value * 1000);
  throw new TypeError(`claim ${claim} is not a number`);
}

function words(claim: string, value: unknown): readonly string[] {
  if (typeof value !== "string") throw new TypeError(`claim ${claim} is not a text`);
  return Object.freeze(value.split(" ").filter((part) => part !== ""));
}

/** Turns the claims of a verified access token into the principal that it speaks for.
 *
 * `iat` may hold a fraction (RFC 7519 section 2, NumericDate): "issued before the revocation" is decided to the
 * millisecond. The result is frozen, because it is cached and shared by all calls that carry the token.
 *
 * Errors: TypeError when a claim is missing or of another type. */
export function principalFromClaims(payload: JWTPayload): Principal {
  const kind = text(payload, "kind");
  if (!KINDS.includes(kind)) throw new TypeError("claim kind is unknown");
  const { roles, deny, lscope } = payload;
  return Object.freeze({
    namespace: parseNamespace(text(payload, "ns")),
    principalId: text(payload, "sub"),
    kind: kind as Principal["kind"],
    scopes: words("scope", payload["scope"]),
    ...(roles === undefined ? {} : { roles: words("roles", roles) }),
    ...(deny === undefined ? {} : { deniedScopes: words("deny", deny) }),
    ...(lscope === undefined ? {} : { limitedScopes: words("lscope", lscope) }),
    tokenId: text(payload, "jti"),
    familyId: text(payload, "fam"),
    issuedAtMs: epochMs(payload, "iat"),
    expiresAtMs: epochMs(payload, "exp"),
  });
}
