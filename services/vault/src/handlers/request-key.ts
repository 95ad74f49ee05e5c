import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { CallContext } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { RequestKey } from "../domain/ports.ts";

/** Digests a request body so that it can be recognised and not guessed: it may hold a password. */
export type DigestBody = (body: Uint8Array) => Buffer;

/** What makes a retry of this call recognisable: its caller, its id, and a digest of method and body. */
export function requestKey<D extends DescMessage>(
  ctx: CallContext,
  schema: D,
  request: MessageShape<D> & { readonly requestId: string },
  digest: DigestBody,
): RequestKey {
  const { namespace, principalId } = requirePrincipal(ctx);
  const body = Buffer.concat([Buffer.from(`${schema.typeName}\0`), toBinary(schema, request)]);
  return {
    caller: { namespace, principalId },
    requestId: request.requestId,
    bodyDigest: digest(body),
    audit: ctx.audit,
  };
}
