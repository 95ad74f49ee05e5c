/** What every test of this folder starts from: a server of the vault's contract with an identity made here. */
import { createSilentLogger, type Logger, type Namespace, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import {
  createRpcChannel,
  createRpcServer,
  type Principal,
  type RpcChannel,
  type RpcServer,
  type RpcServerOptions,
  type TokenVerifier,
} from "../src/index.ts";

/** Verifies `user:<id>:<scopes>` style tokens and lets a test revoke or expire them. */
export class LocalVerifier implements TokenVerifier {
  readonly #tokens = new Map<string, Principal>();
  readonly #listeners = new Map<string, Set<() => void>>();

  /** Makes a token. */
  token(principalId: string, scopes: readonly string[] = ["*"], ttlMs = 60_000): string {
    const token = `token-${this.#tokens.size}`;
    this.#tokens.set(token, {
      namespace: "default" as Namespace,
      principalId,
      kind: "user",
      scopes,
      tokenId: token,
      familyId: `family-${token}`,
      issuedAtMs: Date.now(),
      expiresAtMs: Date.now() + ttlMs,
    });
    return token;
  }

  revoke(token: string): void {
    this.#tokens.delete(token);
    for (const fn of this.#listeners.get(token) ?? []) fn();
  }

  /** How many streams watch tokens now. */
  get listening(): number {
    let count = 0;
    for (const set of this.#listeners.values()) count += set.size;
    return count;
  }

  async verify(token: string): Promise<Principal> {
    const principal = this.#tokens.get(token);
    if (principal !== undefined) return principal;
    throw new NexusError({
      kind: "unauthenticated",
      reason: "TOKEN_INVALID",
      message: "The token is not valid.",
    });
  }

  onRevoked(principal: Principal, fn: () => void): () => void {
    const set = this.#listeners.get(principal.tokenId) ?? new Set();
    this.#listeners.set(principal.tokenId, set.add(fn));
    return () => set.delete(fn);
  }
}

/** A running server with a channel to it. */
export interface Rig {
  readonly server: RpcServer;
  readonly channel: RpcChannel;
  readonly verifier: LocalVerifier;
  readonly address: string;
  readonly metrics: ReturnType<typeof createMetrics>;
  close(): Promise<void>;
}

/** What a test may change about its rig. */
export type RigOptions = Partial<Pick<RpcServerOptions, "limits" | "tls" | "service">> & {
  readonly logger?: Logger;
  readonly verifier?: LocalVerifier;
  readonly port?: number;
};

/** Starts a server on a free port; `build` adds its services. */
export async function startRig(
  build: (server: RpcServer) => void,
  options: RigOptions = {},
): Promise<Rig> {
  const verifier = options.verifier ?? new LocalVerifier();
  const service = options.service ?? "vault";
  const metrics = createMetrics(service);
  const server = createRpcServer({
    host: "127.0.0.1",
    port: options.port ?? 0,
    service,
    logger: options.logger ?? createSilentLogger(),
    metrics,
    verifier,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...(options.tls === undefined ? {} : { tls: options.tls }),
  });
  build(server);
  const { address } = await server.listen();
  const channel = createRpcChannel({ address });
  return {
    server,
    channel,
    verifier,
    address,
    metrics,
    async close() {
      channel.close();
      await server.close(200);
    },
  };
}
