import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { hashData } from "../domain/transit-engine.ts";
import { fromHashAlgorithm } from "./convert-transit.ts";

type HashData = MethodImplementation<typeof TransitService.method.hashData>;

/** Serves TransitService.HashData. */
export function createHashData(): HashData {
  return ({ algorithm, data }) => ({ digest: hashData(fromHashAlgorithm(algorithm), data) });
}
