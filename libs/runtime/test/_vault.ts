import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { AuthService } from "@nexus/proto/vault";
import type { CallAuditor, RpcServer, ServiceImplementation } from "@nexus/rpc";
import { createRpcServer } from "@nexus/rpc";
import { createSilentLogger, sleep } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { createTestIdentity, type TestIdentity } from "@nexus/testkit";

const SIGN_OF_LIFE_MS = 200;

/** The frame asks for an auditor; what one keeps is tested where it is made. */
const NO_AUDIT: CallAuditor = {
  begin: () => ({
    entryId: "",
    note: () => undefined,
    draft: () => new Uint8Array(),
    stored: () => undefined,
    servedBy: () => undefined,
    allowed: async () => undefined,
    refused: async () => undefined,
  }),
};

/** Handlers of the three methods that other services need; the rest answer UNIMPLEMENTED. */
export function authHandlers(identity: TestIdentity): ServiceImplementation<typeof AuthService> {
  const handlers: Partial<ServiceImplementation<typeof AuthService>> = {
    getJwks: async () => ({ jwksJson: JSON.stringify(identity.jwks), maxAgeSeconds: 300 }),
    grantClientToken: async ({ principalId, namespace }) => {
      const init = { sub: principalId, kind: "service", ns: namespace } as const;
      const expiresAtMs = Date.now() + 3_600_000;
      return {
        tokens: {
          accessToken: await identity.token(init),
          accessExpireTime: timestampFromMs(expiresAtMs),
        },
      };
    },
    async *watchRevocations(_request, ctx) {
      for (let revision = 1n; !ctx.signal.aborted; revision++) {
        yield { revision, revocations: [] };
        await sleep(SIGN_OF_LIFE_MS, ctx.signal);
      }
    },
  };
  for (const method of AuthService.methods) {
    if (method.localName in handlers) continue;
    const unused = () => Promise.reject(new Error(`${method.name} is not part of this test`));
    Object.assign(handlers, { [method.localName]: unused });
  }
  return handlers as ServiceImplementation<typeof AuthService>;
}

/** Adds AuthService to a server. */
export function addAuth(server: RpcServer, identity: TestIdentity): void {
  server.add(AuthService, authHandlers(identity)).useAuditor(NO_AUDIT);
}

/** Starts as much of vault as other services need, over real gRPC. */
export async function startVault(
  port: number,
): Promise<{ identity: TestIdentity; close(): Promise<void> }> {
  const identity = createTestIdentity();
  const server = createRpcServer({
    service: "vault",
    host: "127.0.0.1",
    port,
    logger: createSilentLogger(),
    metrics: createMetrics("vault"),
    verifier: identity.verifier,
  });
  addAuth(server, identity);
  await server.listen();
  return { identity, close: () => server.close(100) };
}
