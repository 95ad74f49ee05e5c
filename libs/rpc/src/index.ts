export { admitCall, type CallCredentials, type Caller } from "./admission.ts";
export type { AuditFacts, AuditRecord } from "./audit.ts";
export type { AuditedCall, CallAuditor, CallRecord } from "./call-auditor.ts";
export type { CallContext, ReadonlyMetadata } from "./call-context.ts";
export {
  type CallOptions,
  CLIENT_ADDRESS_HEADER,
  callOptions,
  clientAddressMetadata,
  relayOptions,
} from "./client/call-options.ts";
export { createRpcChannel, type RpcChannel, type RpcChannelOptions } from "./client/channel.ts";
export { createRpcClient, type RpcClientOptions } from "./client/client.ts";
export { type RawCallOptions, rawStream, rawUnary } from "./client/raw-client.ts";
export { type FailedCall, toPublicError } from "./interceptors/error-map.ts";
export { type HeaderReader, type ServerSpan, startServerSpan } from "./interceptors/trace.ts";
export {
  DEADLINE_MARGIN_MS,
  DEFAULT_DEADLINE_MS,
  MAX_MESSAGE_BYTES,
  type RpcServerLimits,
} from "./limits.ts";
export {
  type Principal,
  type TokenSource,
  type TokenVerifier,
} from "./principal.ts";
export { requirePrincipal } from "./require-principal.ts";
export { NOT_SERVING_PREFIX } from "./server/health.ts";
export { callersOf, resourceFieldOf, scopeOf } from "./server/method-plan.ts";
export type { RawCall, RawRelay } from "./server/raw-relay.ts";
export {
  type InnerCall,
  type InnerMethod,
  type InnerServing,
  serveInside,
} from "./server/serve-inside.ts";
export {
  type AddOptions,
  createRpcServer,
  type LocalSocket,
  type RpcServer,
  type RpcServerOptions,
} from "./server/server.ts";
export type {
  ClientMethod,
  MethodImplementation,
  RpcClient,
  ServiceImplementation,
} from "./service-types.ts";
export {
  type ClientCertificates,
  contextOptions,
  fixedTls,
  type TlsMaterial,
  type TlsOptions,
  type TlsSource,
} from "./tls/material.ts";
export { serviceNameOf, spiffeIdOf } from "./tls/service-name.ts";
export { decode as decodeMessage, encode as encodeMessage, methodPath } from "./wire/codec.ts";
export { readTableAttempts } from "./wire/outcome-table.ts";
export {
  encodeStatus,
  fromWireStatus,
  isSentByServer,
  toWireStatus,
  type WireStatus,
} from "./wire/status.ts";
export {
  FIXED64,
  LENGTH,
  readVarints,
  textLength,
  VARINT,
  WireError,
  WireReader,
} from "./wire/wire-reader.ts";
export {
  fieldSize,
  fieldSizeIfAny,
  textSize,
  uintSize,
  WireWriter,
} from "./wire/wire-writer.ts";
