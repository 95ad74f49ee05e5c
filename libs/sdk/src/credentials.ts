import { timestampMs } from "@bufbuild/protobuf/wkt";
import { AuthService, type TokenSet } from "@nexus/proto/vault";
import {
  createRpcClient,
  type RpcChannel,
  type RpcClient,
  type TokenSource,
} from "@nexus/rpc/client";
import { DEFAULT_NAMESPACE, NexusError } from "@nexus/shared";

/** How a caller proves who it is. */
export type Credentials =
  | {
      readonly kind: "password";
      readonly principalId: string;
      readonly password: string;
      readonly namespace?: string;
    }
  | {
      readonly kind: "client-secret";
      readonly principalId: string;
      readonly clientSecret: string;
      readonly namespace?: string;
    }
  | {
      readonly kind: "refresh-token";
      readonly refreshToken: string;
      /** A still valid access token, used until it ends. */
      readonly accessToken?: string;
      readonly accessExpiresAtMs?: number;
    }
  | { readonly kind: "token"; readonly accessToken: string };

/** An access token with its end. */
export interface AccessToken {
  readonly value: string;
  /** Epoch milliseconds; Infinity when the SDK was given a bare token and cannot know. */
  readonly expiresAtMs: number;
}

/** Hands out access tokens and renews them before they end. */
export interface CredentialSource extends TokenSource {
  /** The current token, renewed when less than a fifth of its life is left. Concurrent calls share one renewal. */
  accessToken(): Promise<AccessToken>;
  /** Drops the current token, so that the next call gets a new one. Call it when a token was refused. */
  invalidate(): void;
  /** False for a bare token: when it is over there will be no other. */
  readonly renewable: boolean;
  renewSince(calledAtMs: number): boolean;
}

/** What createCredentialSource needs. */
export interface CredentialSourceOptions {
  readonly channel: RpcChannel;
  readonly credentials: Credentials;
  /** Called with every new token set, for callers that keep them. */
  readonly onTokens?: ((tokens: TokenSet) => void) | undefined;
}

const RENEW_AT_LIFE_SHARE = 0.8;
/** A refusal renews no token that is younger: whoever may not do something asks vault for no token at each try. */
const RENEW_AGAIN_MS = 2_000;

/** Creates a source of tokens for a user or an agent, over the gateway's AuthService.
 *
 * A password or secret is sent once; after that the refresh token is spent, and only if that fails are the first
 * credentials used again. A call that is refused by what the token holds is made once more with a new one, which has what the
 * principal was given since; at most every 2 s.
 *
 * Errors: unauthenticated/CREDENTIALS_INVALID when they are refused; unavailable when the gateway is away. */
export function createCredentialSource(options: CredentialSourceOptions): CredentialSource {
  const auth = createRpcClient(AuthService, options.channel);
  const first = options.credentials;
  let current: (AccessToken & { readonly renewAtMs: number }) | undefined = initialToken(first);
  /** On the clock of `performance.now()`; when one that was given beforehand was issued is not known. */
  let issuedAtMs = Number.NEGATIVE_INFINITY;
  let refreshToken = first.kind === "refresh-token" ? first.refreshToken : "";
  let pending: Promise<AccessToken> | undefined;

  async function refresh(): Promise<TokenSet | undefined> {
    const spent = refreshToken;
    refreshToken = "";
    try {
      return (await auth.refreshToken({ refreshToken: spent })).tokens;
    } catch (error) {
      const refused = NexusError.from(error).kind === "unauthenticated";
      if (!refused) refreshToken = spent;
      if (!refused || first.kind === "refresh-token") throw error;
      return grantBy(auth, first);
    }
  }

  async function renew(): Promise<AccessToken> {
    const tokens = refreshToken === "" ? await grantBy(auth, first) : await refresh();
    if (tokens === undefined) throw tokenEnded();
    options.onTokens?.(tokens);
    refreshToken = tokens.refreshToken;
    issuedAtMs = performance.now();
    const nowMs = Date.now();
    const expiresAtMs = tokens.accessExpireTime ? timestampMs(tokens.accessExpireTime) : nowMs;
    const renewAtMs = nowMs + (expiresAtMs - nowMs) * RENEW_AT_LIFE_SHARE;
    current = { value: tokens.accessToken, expiresAtMs, renewAtMs };
    return current;
  }

  async function accessToken(): Promise<AccessToken> {
    if (current !== undefined && Date.now() < current.renewAtMs) return current;
    pending ??= renew().finally(() => {
      pending = undefined;
    });
    return pending;
  }

  return {
    accessToken,
    token: async () => (await accessToken()).value,
    invalidate: () => {
      if (first.kind !== "token") current = undefined;
    },
    renewable: first.kind !== "token",
    renewSince: (calledAtMs) => {
      if (first.kind === "token") return false;
      // Another call was refused, too, and had it renewed.
      if (current === undefined || issuedAtMs >= calledAtMs) return true;
      if (performance.now() - issuedAtMs < RENEW_AGAIN_MS) return false;
      current = undefined;
      return true;
    },
  };
}

/** Errors: unauthenticated/TOKEN_EXPIRED when nothing but tokens was given. */
async function grantBy(
  auth: RpcClient<typeof AuthService>,
  first: Credentials,
): Promise<TokenSet | undefined> {
  const namespace = "namespace" in first ? (first.namespace ?? DEFAULT_NAMESPACE) : "";
  switch (first.kind) {
    case "password": {
      const { principalId, password } = first;
      return (await auth.login({ namespace, principalId, password })).tokens;
    }
    case "client-secret": {
      const { principalId, clientSecret } = first;
      return (await auth.grantClientToken({ namespace, principalId, clientSecret })).tokens;
    }
    default:
      throw tokenEnded();
  }
}

function initialToken(credentials: Credentials) {
  if (credentials.kind === "token") {
    const value = credentials.accessToken;
    return { value, expiresAtMs: Number.POSITIVE_INFINITY, renewAtMs: Number.POSITIVE_INFINITY };
  }
  if (credentials.kind !== "refresh-token") return undefined;
  if (credentials.accessToken === undefined) return undefined;
  const expiresAtMs = credentials.accessExpiresAtMs ?? 0;
  return { value: credentials.accessToken, expiresAtMs, renewAtMs: expiresAtMs - 30_000 };
}

function tokenEnded(): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "TOKEN_EXPIRED",
    message: "The token has ended and there is nothing to renew it with. Log in again.",
  });
}
