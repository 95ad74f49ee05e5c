import { randomBytes } from "node:crypto";
import type { TransitService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";

type GenerateRandom = MethodImplementation<typeof TransitService.method.generateRandom>;

/** Serves TransitService.GenerateRandom. */
export function createGenerateRandom(): GenerateRandom {
  return ({ sizeBytes }) => ({ randomBytes: randomBytes(sizeBytes) });
}
