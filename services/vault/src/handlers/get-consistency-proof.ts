import type { AuditLogService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { AuditHandlerDeps } from "./deps.ts";

type GetConsistencyProof = MethodImplementation<typeof AuditLogService.method.getConsistencyProof>;

/** Serves AuditLogService.GetConsistencyProof. */
export function createGetConsistencyProof({ auditLog }: AuditHandlerDeps): GetConsistencyProof {
  return async ({ firstSize, secondSize }) => {
    const proved = await auditLog.consistencyProof(Number(firstSize), Number(secondSize));
    return { secondSize: BigInt(proved.size), proof: proved.proof };
  };
}
