import { SealReason } from "@nexus/proto/vault";
import type { SealReason as DomainReason } from "../domain/secure-vault.ts";

const SEAL_REASONS: Readonly<Record<DomainReason, SealReason>> = {
  no_root_key: SealReason.NO_ROOT_KEY,
  by_operator: SealReason.BY_OPERATOR,
  root_key_unreachable: SealReason.ROOT_KEY_UNREACHABLE,
  root_key_wrong: SealReason.ROOT_KEY_WRONG,
};

/** Why vault is sealed, to the wire; UNSPECIFIED when it is open. */
export function toSealReason(reason: DomainReason | undefined): SealReason {
  return reason === undefined ? SealReason.UNSPECIFIED : SEAL_REASONS[reason];
}
