import { createHmac } from "node:crypto";
import { matchesScope, NexusError } from "@nexus/shared";
import { beforeAll, describe, expect, it } from "vitest";
import {
  claims,
  clockAtNow,
  createFakeJwks,
  NOW_MS,
  newKey,
  type SigningKey,
  sign,
  silent,
} from "../test/_helpers.ts";
import { createKeyCache } from "./key-cache.ts";
import { createRevocationSet } from "./revocation-set.ts";
import { createLocalTokenVerifier } from "./token-verifier.ts";

let key: SigningKey;
let stranger: SigningKey;

beforeAll(async () => {
  key = await newKey("k1");
  stranger = await newKey("k1");
});

function setup() {
  const clock = clockAtNow();
  const jwks = createFakeJwks([key]);
  const keys = createKeyCache({ fetch: () => jwks.fetch(), clock, logger: silent });
  const revocations = createRevocationSet();
  const verifier = createLocalTokenVerifier({ keys, revocations, clock });
  return { clock, jwks, keys, revocations, verifier };
}

async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (error) {
    return error instanceof NexusError ? `${error.kind}/${error.reason}` : String(error);
  }
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const INVALID = "unauthenticated/TOKEN_INVALID";

describe("createLocalTokenVerifier", () => {
  it("turns a good token into its principal", async () => {
    const { verifier } = setup();
    const principal = await verifier.verify(
      await sign(key, claims({ iat: NOW_MS / 1000 + 0.123 })),
    );
    expect(principal).toEqual({
      namespace: "default",
      principalId: "worker-1",
      kind: "agent",
      scopes: ["mesh:session:connect", "mesh:message:send"],
      tokenId: "tok_1",
      familyId: "fam_1",
      issuedAtMs: NOW_MS + 123,
      expiresAtMs: NOW_MS + 3_600_000,
    });
    expect(matchesScope(principal.scopes, "mesh:message:send")).toBe(true);
  });

  it("refuses no token at all", async () => {
    expect(await reasonOf(setup().verifier.verify(""))).toBe("unauthenticated/TOKEN_MISSING");
  });

  it("refuses every forged header and body", async () => {
    const { verifier } = setup();
    const good = await sign(key, claims());
    const [, body = "", signature = ""] = good.split(".");
    const tampered = encode(claims({ sub: "admin", scope: "*" }));
    const none = `${encode({ alg: "none", typ: "at+jwt", kid: "k1" })}.${body}.`;
    const hmacHead = encode({ alg: "HS256", typ: "at+jwt", kid: "k1" });
    const hmac = (secret: string) =>
      `${hmacHead}.${body}.${createHmac("sha256", secret).update(`${hmacHead}.${body}`).digest("base64url")}`;
    const forged: Record<string, string> = {
      "alg none": none,
      "alg None": none.replace(/^[^.]+/, encode({ alg: "None", typ: "at+jwt", kid: "k1" })),
      "another key under the same kid": await sign(stranger, claims()),
      "HS256 with the public JWK as secret": hmac(JSON.stringify(key.jwk)),
      "HS256 with the public key bytes as secret": hmac(String(key.jwk.x)),
      "embedded jwk": await sign(stranger, claims(), { jwk: stranger.jwk }),
      "embedded jwk without kid": await sign(stranger, claims(), {
        jwk: stranger.jwk,
        kid: undefined,
      }),
      "jku to a stranger": await sign(stranger, claims(), { jku: "http://127.0.0.1:1/keys" }),
      "tampered body": `${good.split(".")[0]}.${tampered}.${signature}`,
      "signature cut": good.slice(0, -8),
      "no signature": `${good.split(".").slice(0, 2).join(".")}.`,
      "five parts": `${good}.a.b`,
      "unknown crit": await sign(key, claims(), { crit: ["x"], x: 1 }).catch(() => "a.b.c"),
      "not a token": "hello",
      "too long": `${good}${"a".repeat(9000)}`,
    };
    for (const [what, token] of Object.entries(forged)) {
      expect(await reasonOf(verifier.verify(token)), what).toBe(INVALID);
    }
  });

  it("refuses wrong or missing claims and the wrong type of token", async () => {
    const { verifier } = setup();
    const cases: Record<string, Promise<string>> = {
      typ: sign(key, claims(), { typ: "JWT" }),
      "missing typ": sign(key, claims(), { typ: undefined }),
      "unknown kid": sign(key, claims(), { kid: "k9" }),
      iss: sign(key, claims({ iss: "someone" })),
      aud: sign(key, claims({ aud: "other" })),
      kind: sign(key, claims({ kind: "root" })),
      ns: sign(key, claims({ ns: "A/B" })),
      "missing fam": sign(key, claims({ fam: undefined })),
      "missing scope": sign(key, claims({ scope: undefined })),
      "roles that are no text": sign(key, claims({ roles: ["ops"] })),
      "denials that are no text": sign(key, claims({ deny: 1 })),
      "missing exp": sign(key, claims({ exp: undefined })),
      "not before later": sign(key, claims({ nbf: NOW_MS / 1000 + 60 })),
    };
    for (const [what, token] of Object.entries(cases)) {
      expect(await reasonOf(verifier.verify(await token)), what).toBe(INVALID);
    }
  });

  it("refuses an ended token, fresh or remembered, and allows five seconds of skew", async () => {
    const { verifier, clock } = setup();
    const token = await sign(key, claims({ exp: NOW_MS / 1000 + 10 }));
    await verifier.verify(token);
    clock.advance(14_000);
    await verifier.verify(token);
    clock.advance(2000);
    expect(await reasonOf(verifier.verify(token))).toBe("unauthenticated/TOKEN_EXPIRED");
    expect(await reasonOf(setup().verifier.verify(await sign(key, claims({ exp: 1 }))))).toBe(
      "unauthenticated/TOKEN_EXPIRED",
    );
  });

  it("refuses a remembered token the moment a revocation covers it", async () => {
    const { verifier, revocations } = setup();
    const token = await sign(key, claims());
    await verifier.verify(token);
    revocations.add([
      {
        target: "family",
        namespace: "default",
        id: "fam_1",
        revokeTimeMs: NOW_MS,
        expireTimeMs: NOW_MS + 9e6,
      },
    ]);
    expect(await reasonOf(verifier.verify(token))).toBe("unauthenticated/TOKEN_REVOKED");
  });

  it("never answers with another token's principal", async () => {
    const { verifier } = setup();
    const names = Array.from({ length: 200 }, (_, i) => `worker-${i}`);
    const tokens = await Promise.all(names.map((sub) => sign(key, claims({ sub, jti: sub }))));
    for (let round = 0; round < 2; round++) {
      const found = await Promise.all(tokens.map((token) => verifier.verify(token)));
      expect(found.map((principal) => principal.principalId)).toEqual(names);
    }
  });

  it("checks remembered tokens anew after their key was withdrawn", async () => {
    const { verifier, jwks, keys, clock } = setup();
    const token = await sign(key, claims());
    await verifier.verify(token);
    jwks.keys = [await newKey("k2")];
    await keys.refresh();
    clock.advance(10_000);
    expect(await reasonOf(verifier.verify(token))).toBe(INVALID);
  });

  it("hands out frozen principals", async () => {
    const principal = await setup().verifier.verify(await sign(key, claims()));
    expect(Object.isFrozen(principal) && Object.isFrozen(principal.scopes)).toBe(true);
  });
});
