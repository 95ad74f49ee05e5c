import type { AccessService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toDecisionReason } from "./convert-access.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type CheckAccess = MethodImplementation<typeof AccessService.method.checkAccess>;

/** Serves AccessService.CheckAccess. */
export function createCheckAccess({ accessDirectory }: VaultHandlerDeps): CheckAccess {
  return async ({ principalId, action, resource }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const question = resource === "" ? { action } : { action, resource };
    const decision = await accessDirectory.check(namespace, principalId, question);
    const { allowed, reason, policy = "" } = decision;
    return { allowed, reason: toDecisionReason(reason), policy };
  };
}
