/** Tokens and their verifier without vault: the same signer and verifier that the services use, over a key made here. */
import { generateKeyPairSync, randomUUID } from "node:crypto";
import {
  createLocalTokenVerifier,
  createRevocationSet,
  importJwks,
  importSigningJwk,
  signAccessToken,
  TOKEN_ALGORITHM,
} from "@nexus/identity";
import type { Principal, TokenSource, TokenVerifier } from "@nexus/rpc";
import { DEFAULT_NAMESPACE, parseNamespace, SYSTEM_NAMESPACE } from "@nexus/shared";
import { decodeJwt, type JSONWebKeySet, type JWK } from "jose";

const TTL_DEFAULT_MS = 3_600_000;
const ALL_SCOPES: readonly string[] = ["*"];

/** Whom a test token speaks for. */
export interface TestTokenInit {
  readonly sub: string;
  /** @default "user" */
  readonly kind?: Principal["kind"];
  /** @default "default"; "nexus-system" for services */
  readonly ns?: string;
  /** @default ["*"] */
  readonly scopes?: readonly string[];
  /** Negative for a token that has ended already. @default 3_600_000 */
  readonly ttlMs?: number;
  /** @default a new one */
  readonly familyId?: string;
}

/** A small issuer of tokens. */
export interface TestIdentity {
  readonly verifier: TokenVerifier;
  /** The public half of its key, as vault publishes its own. */
  readonly jwks: JSONWebKeySet;
  /** Its key as a text: createTestIdentity makes the same issuer of it in another process. */
  readonly key: string;
  token(init: TestTokenInit): Promise<string>;
  /** A source that always gives a token of this principal. */
  tokens(init: TestTokenInit): TokenSource;
  /** Revokes one token, given as itself or by its `jti`; takes effect before this returns. */
  revoke(tokenOrId: string): void;
}

/** Creates an issuer with a key of its own: its tokens are forgeries to every other one. With the key of another one it is that one,
 * but for what that one revoked. */
export function createTestIdentity(key: string = makeKey(randomUUID())): TestIdentity {
  const { kid, publicJwk, privateJwk } = JSON.parse(key) as IssuerKey;
  const jwks: JSONWebKeySet = { keys: [publicJwk] };
  const publicKeys = importJwks(JSON.stringify(jwks));
  const privateKey = importSigningJwk(privateJwk);
  const revocations = createRevocationSet();
  const namespaces = new Map<string, string>();
  const verifier = createLocalTokenVerifier({
    keys: { epoch: 0, find: async (wanted) => (await publicKeys).get(wanted) },
    revocations,
  });
  const token = async (init: TestTokenInit): Promise<string> => {
    const principal = principalOf(init);
    namespaces.set(principal.tokenId, principal.namespace);
    return signAccessToken(principal, { kid, privateKey: await privateKey });
  };
  return {
    verifier,
    jwks,
    key,
    token,
    tokens: (init) => ({ token: () => token(init) }),
    revoke: (tokenOrId) => {
      const id = tokenOrId.includes(".") ? (decodeJwt(tokenOrId).jti ?? "") : tokenOrId;
      const namespace = namespaces.get(id);
      if (namespace === undefined) throw new Error(`no token ${id} was issued here`);
      const revokeTimeMs = Date.now();
      const expireTimeMs = revokeTimeMs + TTL_DEFAULT_MS;
      revocations.add([{ target: "token", namespace, id, revokeTimeMs, expireTimeMs }]);
    },
  };
}

function principalOf(init: TestTokenInit): Principal {
  const kind = init.kind ?? "user";
  const issuedAtMs = Date.now();
  return {
    namespace: parseNamespace(
      init.ns ?? (kind === "service" ? SYSTEM_NAMESPACE : DEFAULT_NAMESPACE),
    ),
    principalId: init.sub,
    kind,
    scopes: init.scopes ?? ALL_SCOPES,
    tokenId: randomUUID(),
    familyId: init.familyId ?? randomUUID(),
    issuedAtMs,
    expiresAtMs: issuedAtMs + (init.ttlMs ?? TTL_DEFAULT_MS),
  };
}

interface IssuerKey {
  readonly kid: string;
  readonly publicJwk: JWK;
  readonly privateJwk: JWK;
}

/** Made synchronously, so that a test can build its identity outside of a hook. */
function makeKey(kid: string): string {
  const pair = generateKeyPairSync("ed25519");
  const labels = { kid, alg: TOKEN_ALGORITHM, use: "sig" };
  const key: IssuerKey = {
    kid,
    publicJwk: { ...(pair.publicKey.export({ format: "jwk" }) as JWK), ...labels },
    privateJwk: { ...(pair.privateKey.export({ format: "jwk" }) as JWK), ...labels },
  };
  return JSON.stringify(key);
}
