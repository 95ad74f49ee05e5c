import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { AuthoritySchema } from "@nexus/proto/vault";
import type { AuthorityRow } from "../domain/authority.ts";

/** Writes an authority; its key has no field. */
export function toAuthority(
  row: Omit<AuthorityRow, "certPem" | "keyBox">,
): MessageInitShape<typeof AuthoritySchema> {
  const { caId, signsFromMs, notAfterMs, trustedUntilMs } = row;
  return {
    caId,
    signTime: timestampFromMs(signsFromMs),
    expireTime: timestampFromMs(notAfterMs),
    ...(trustedUntilMs === undefined ? {} : { retireTime: timestampFromMs(trustedUntilMs) }),
  };
}
