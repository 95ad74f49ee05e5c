import { readFileSync } from "node:fs";
import { createRpcChannel, type RpcChannel } from "@nexus/rpc/client";
import { NexusError } from "@nexus/shared";

/** How to reach a gateway that speaks TLS; `{}` trusts the authorities of the system. */
export interface GatewayTls {
  /** PEM file with the CA certificates that vouch for the gateway. Read for each new connection, so it may change. */
  readonly caFile?: string;
}

/** Opens a channel to a gateway; without `tls` in plaintext. Errors: invalid/CA_FILE_UNREADABLE. */
export function openGatewayChannel(gateway: string, tls: GatewayTls | undefined): RpcChannel {
  if (tls === undefined) return createRpcChannel({ address: gateway });
  const { caFile } = tls;
  // A path that is wrong now would otherwise only show as a gateway that cannot be reached.
  if (caFile !== undefined) readCa(caFile);
  const source = {
    get current() {
      return caFile === undefined ? {} : { ca: readCa(caFile) };
    },
    onChange: () => () => {},
  };
  return createRpcChannel({ address: gateway, tls: { source } });
}

function readCa(caFile: string): Buffer {
  try {
    return readFileSync(caFile);
  } catch (cause) {
    throw new NexusError({
      kind: "invalid",
      reason: "CA_FILE_UNREADABLE",
      message: `The CA file ${caFile} cannot be read.`,
      cause,
    });
  }
}
