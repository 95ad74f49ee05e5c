import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";

type VerifyPassword = MethodImplementation<typeof TransitService.method.verifyPassword>;

/** Serves TransitService.VerifyPassword. */
export function createVerifyPassword({ passwords }: VaultHandlerDeps): VerifyPassword {
  return async ({ password, phc }, ctx) => {
    return passwords.verify(password, phc, ctx.signal);
  };
}
