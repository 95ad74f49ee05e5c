import type { PayloadService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { payloadNotFound } from "../domain/stored-payload.ts";
import { fromReference } from "./convert.ts";
import type { PayloadHandlerDeps } from "./deps.ts";

/** Serves PayloadService.FindPayload. */
export function createFindPayload({
  payloads,
}: PayloadHandlerDeps): MethodImplementation<typeof PayloadService.method.findPayload> {
  return async ({ sha256 }, ctx) => {
    const found = await payloads.find(requirePrincipal(ctx).namespace, sha256);
    if (found === undefined) throw payloadNotFound();
    return { reference: fromReference(found) };
  };
}
