import { type CallContext, CLIENT_ADDRESS_HEADER } from "@nexus/rpc";
import { addressOfPeer, callerOfAddress, isAddress } from "@nexus/shared";

/** Longest text of an IPv6 address with a zone and a port, and then some. */
const PEER_CHARACTERS_MAX = 128;
const BRACKETS = /^\[(.*)\]$/;

/** What counts as one caller where failed logins are counted: the address that the gateway had the call from.
 *
 * It is taken from whoever passes the call on, proven by a certificate or not: who reaches vault itself and says another
 * address each time is stopped by the count of the name, which holds for all addresses together. What is no IP address is
 * not taken: no gateway says it. */
export function callerOf({ metadata, peer }: Pick<CallContext, "metadata" | "peer">): string {
  const said = addressIn(metadata.get(CLIENT_ADDRESS_HEADER) ?? "");
  return callerOfAddress(isAddress(said) ? said : addressIn(peer));
}

/** The address of `address:port`; IPv6 comes with brackets or without. */
function addressIn(peer: string): string {
  return addressOfPeer(peer.slice(0, PEER_CHARACTERS_MAX)).replace(BRACKETS, "$1");
}
