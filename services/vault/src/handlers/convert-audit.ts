import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { AuditResult } from "@nexus/proto/common";
import type { AuditFilter, AuditLeafSchema } from "@nexus/proto/vault";
import type { CallContext } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { DEFAULT_NAMESPACE } from "@nexus/shared";
import type { EntryFilter, Leaf } from "../domain/audit/audit-entries.ts";

/** Writes a digest of a name as entries hold it; undefined while vault is sealed. */
export type DigestName = (name: string) => string;

/** A leaf to the wire. */
export function toAuditLeaf({ index, leaf }: Leaf): MessageInitShape<typeof AuditLeafSchema> {
  return { index: BigInt(index), leaf };
}

/** What the caller may see of what it asks for: one outside of the namespace of all sees its own tenant's only. */
export function fromFilter(
  ctx: CallContext,
  filter: AuditFilter | undefined,
  digestName: DigestName,
): EntryFilter {
  const { namespace } = requirePrincipal(ctx);
  const given = (text: string | undefined) => (text === "" ? undefined : text);
  const resource = given(filter?.resource);
  const result = filter?.result ?? AuditResult.UNSPECIFIED;
  return {
    namespace: namespace === DEFAULT_NAMESPACE ? undefined : namespace,
    fromMs: filter?.fromTime === undefined ? undefined : timestampMs(filter.fromTime),
    toMs: filter?.toTime === undefined ? undefined : timestampMs(filter.toTime),
    actor: given(filter?.actor),
    action: given(filter?.action),
    resources: resource === undefined ? undefined : [resource, digestName(resource)],
    result: result === AuditResult.UNSPECIFIED ? undefined : result,
  };
}
