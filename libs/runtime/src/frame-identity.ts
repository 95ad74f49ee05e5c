import {
  type ClosableTokenVerifier,
  createServiceTokenSource,
  createTokenVerifier,
} from "@nexus/identity";
import { AuthService } from "@nexus/proto/vault";
import {
  createRpcClient,
  type Principal,
  type RpcChannel,
  type TokenSource,
  type TokenVerifier,
} from "@nexus/rpc";
import { type Logger, NexusError } from "@nexus/shared";
import { retryUntilUp } from "./retry-until-up.ts";

/** Who a service believes and who it is. */
export interface FrameIdentity {
  /** Refuses everything with unavailable/IDENTITY_UNAVAILABLE until a verifier is there. */
  readonly verifier: TokenVerifier;
  /** The service's own tokens. */
  readonly tokens: TokenSource;
  /** Puts a verifier in place; for vault, which verifies with its own keys. */
  provide(verifier: TokenVerifier): void;
  /** Throws, in words for operators, until tokens can be verified. */
  assertReady(): void;
  close(): Promise<void>;
}

/** How to reach vault, and as whom. */
export interface VaultAccess {
  readonly channel: RpcChannel;
  readonly principalId: string;
  readonly clientSecret: string;
}

/** What createFrameIdentity needs. */
export interface FrameIdentityOptions {
  readonly logger: Logger;
  /** Injected by tests, and by vault. */
  readonly verifier?: TokenVerifier | undefined;
  readonly tokens?: TokenSource | undefined;
  /** Absent for vault, and when a verifier is injected. */
  readonly vault?: VaultAccess | undefined;
}

/** One question for vault's keys may take this long. */
const VAULT_TIMEOUT_MS = 2_000;

function notYetError(): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "IDENTITY_UNAVAILABLE",
    message: "The service cannot verify tokens yet; try again shortly.",
  });
}

const NO_TOKENS: TokenSource = {
  token: () =>
    Promise.reject(
      new NexusError({
        kind: "precondition",
        reason: "NO_SERVICE_IDENTITY",
        message: "The service has no identity of its own to call others with.",
      }),
    ),
};

/** A verifier that stands for another one which may come later. */
class PendingVerifier implements TokenVerifier {
  #target: TokenVerifier | undefined;

  get present(): boolean {
    return this.#target !== undefined;
  }

  provide(target: TokenVerifier): void {
    this.#target = target;
  }

  verify(token: string): Promise<Principal> {
    return this.#target?.verify(token) ?? Promise.reject(notYetError());
  }

  onRevoked(principal: Principal, fn: () => void): () => void {
    // A principal comes out of verify(), so the target is there; the fallback only satisfies the type.
    return this.#target?.onRevoked(principal, fn) ?? (() => {});
  }
}

/** Creates the identity of a service.
 *
 * With a way to vault it connects in the background: the service starts, and says in /ready that it waits, when
 * vault is not up yet. Once tokens could be verified it stays ready, since known keys outlive an absence of vault. */
export function createFrameIdentity(options: FrameIdentityOptions): FrameIdentity {
  const { vault } = options;
  const verifier = new PendingVerifier();
  const tokens = options.tokens ?? (vault === undefined ? NO_TOKENS : serviceTokens(vault));
  const closing = new AbortController();
  let following: ClosableTokenVerifier | undefined;
  let connecting: Promise<void> = Promise.resolve();
  let everFresh = false;

  async function connect(access: VaultAccess): Promise<void> {
    try {
      await waitForVault(access, options.logger, closing.signal);
      following = await createTokenVerifier({
        vault: access.channel,
        tokens,
        logger: options.logger,
      });
      verifier.provide(following);
    } catch (error) {
      if (!closing.signal.aborted) options.logger.error({ err: error }, "no token verifier");
    }
  }

  if (options.verifier !== undefined) verifier.provide(options.verifier);
  else if (vault !== undefined) connecting = connect(vault);

  return {
    verifier,
    tokens,
    provide(target) {
      if (options.verifier === undefined) verifier.provide(target);
    },
    assertReady() {
      if (!verifier.present) throw new Error("waiting for the keys of vault");
      everFresh ||= following === undefined || !following.stale;
      if (!everFresh) throw new Error("waiting for the keys and revocations of vault");
    },
    async close() {
      closing.abort();
      await connecting;
      await following?.close();
    },
  };
}

/** Resolves once vault answers with its keys. A verifier made before would only look for them again when a call
 * brings a token, and a service that is not ready gets no calls. */
async function waitForVault(
  vault: VaultAccess,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const client = createRpcClient(AuthService, vault.channel, { timeoutMs: VAULT_TIMEOUT_MS });
  await retryUntilUp({
    what: "vault",
    fn: () => client.getJwks({}, { signal }),
    signal,
    logger,
    isDown: () => !signal.aborted,
  });
}

function serviceTokens(vault: VaultAccess): TokenSource {
  return createServiceTokenSource({
    vault: vault.channel,
    principalId: vault.principalId,
    clientSecret: vault.clientSecret,
  });
}
