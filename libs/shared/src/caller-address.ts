import { isIP } from "node:net";

const IPV4_MAPPED = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i;
/** A provider gives a subscriber at least this much of IPv6 (RFC 6177), so one caller has all addresses below it. */
const IPV6_NETWORK_GROUPS = 4;
const IPV6_GROUPS = 8;

/** Returns what counts as one caller of an address: IPv4 whole, IPv6 by its /64 network.
 *
 * A new port, or a new address out of one's own network, must not make a new caller. */
export function callerOfAddress(address: string): string {
  const mapped = IPV4_MAPPED.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const missing = tail === undefined ? 0 : Math.max(0, IPV6_GROUPS - left.length - right.length);
  const groups = [...left, ...Array.from({ length: missing }, () => "0"), ...right];
  const network = groups.slice(0, IPV6_NETWORK_GROUPS).map((group) => group.toLowerCase());
  return `${network.join(":")}::/64`;
}

/** Returns the address of a gRPC peer, `address:port`; IPv6 comes without brackets. */
export function addressOfPeer(peer: string): string {
  const colon = peer.lastIndexOf(":");
  return colon > 0 ? peer.slice(0, colon) : peer;
}

/** Whether a text is an IP address, without brackets or a port. */
export function isAddress(text: string): boolean {
  return isIP(text) !== 0;
}
