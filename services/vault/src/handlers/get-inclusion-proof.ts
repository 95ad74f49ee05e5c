import type { AuditLogService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { AuditHandlerDeps } from "./deps.ts";

type GetInclusionProof = MethodImplementation<typeof AuditLogService.method.getInclusionProof>;

/** Serves AuditLogService.GetInclusionProof. */
export function createGetInclusionProof({ auditLog }: AuditHandlerDeps): GetInclusionProof {
  return async ({ index, treeSize }) => {
    const proved = await auditLog.inclusionProof(Number(index), Number(treeSize));
    const { size, proof, leafHash } = proved;
    return { treeSize: BigInt(size), proof, leafHash };
  };
}
