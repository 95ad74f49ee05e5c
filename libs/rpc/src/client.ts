/** @nexus/rpc/client: what a caller needs and nothing of a server, for processes that only call: agents, the command
 * line. Loading it costs half of loading @nexus/rpc. */
export type { CallOptions } from "./client/call-options.ts";
export { createRpcChannel, type RpcChannel, type RpcChannelOptions } from "./client/channel.ts";
export { createRpcClient, type RpcClientOptions } from "./client/client.ts";
export type { TokenSource } from "./principal.ts";
export type { ClientMethod, RpcClient } from "./service-types.ts";
export { fixedTls, type TlsMaterial, type TlsOptions, type TlsSource } from "./tls/material.ts";
export { decodeStatus } from "./wire/status.ts";
