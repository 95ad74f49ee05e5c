import { type CallContext, CLIENT_ADDRESS_HEADER } from "@nexus/rpc";
import { addressOfPeer, callerOfAddress } from "@nexus/shared";

/** Longest text of an IPv6 address with a zone and a port, and then some. */
const PEER_CHARACTERS_MAX = 128;

/** What counts as one caller where failed logins are counted: the address that the gateway had the call from.
 *
 * It is taken from whoever passes the call on, proven by a certificate or not: who reaches vault itself and says another
 * address each time is stopped by the count of the name, which holds for all addresses together. */
export function callerOf({ metadata, peer }: Pick<CallContext, "metadata" | "peer">): string {
  const from = metadata.get(CLIENT_ADDRESS_HEADER) ?? peer;
  return callerOfAddress(addressOfPeer(from.slice(0, PEER_CHARACTERS_MAX)));
}
