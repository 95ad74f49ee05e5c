import type { AuthService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";

type GetJwks = MethodImplementation<typeof AuthService.method.getJwks>;

/** Serves AuthService.GetJwks from memory. */
export function createGetJwks({ signingKeys }: VaultHandlerDeps): GetJwks {
  return () => signingKeys.jwks();
}
