import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";

type HashPassword = MethodImplementation<typeof TransitService.method.hashPassword>;

/** Serves TransitService.HashPassword. */
export function createHashPassword({ passwords }: VaultHandlerDeps): HashPassword {
  return async ({ password }, ctx) => {
    return { phc: await passwords.hash(password, ctx.signal) };
  };
}
