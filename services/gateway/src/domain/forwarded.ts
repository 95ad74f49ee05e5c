/** Where a call comes from when proxies stand before the HTTP port. */
import { isAddress } from "@nexus/shared";
import { isWithin, type Network } from "./network.ts";

/** The headers in which proxies say whom they serve; one of them is believed, as a proxy that writes one passes the other on as
 * its caller wrote it. */
export const FORWARDED_HEADERS = ["x-forwarded-for", "forwarded"] as const;

/** Whom to believe. */
export interface TrustedProxies {
  readonly networks: readonly Network[];
  readonly header: (typeof FORWARDED_HEADERS)[number];
}

/** One end of a connection. */
export interface Hop {
  readonly address: string;
  /** 0: not said. */
  readonly port: number;
}

const PORT = ":(\\d{1,5})";
const WITH_PORT = new RegExp(`^(?:\\[([^\\]]+)\\](?:${PORT})?|([\\d.]+)${PORT})$`);
const FOR = /^for\s*=\s*(?:"([^"\\]*)"|([^"\s]*))$/i;

/** Returns who called: the peer, or, as long as a trusted proxy says so, whom that one had the call from. So it is the rightmost
 * hop that is no trusted proxy: what stands left of it its caller wrote, which may be anything. A hop that cannot be read, or is hidden,
 * ends the walk: the last proxy that is known stands for it. */
export function callerBehind(
  peer: Hop,
  said: string | undefined,
  { networks, header }: TrustedProxies,
): Hop {
  if (said === undefined || networks.length === 0) return peer;
  const read = header === "forwarded" ? tryReadElement : tryReadHop;
  let caller = peer;
  for (const text of said.split(",").reverse()) {
    if (!isWithin(networks, caller.address)) break;
    const hop = read(text.trim());
    if (hop === undefined) break;
    caller = hop;
  }
  return caller;
}

/** An address, with a port or without, IPv6 with a port in brackets. */
function tryReadHop(text: string): Hop | undefined {
  if (isAddress(text)) return { address: text, port: 0 };
  const [, bracketed, its, plain, port] = WITH_PORT.exec(text) ?? [];
  const address = bracketed ?? plain ?? "";
  return isAddress(address) ? { address, port: Number(its ?? port ?? 0) } : undefined;
}

/** An element of `Forwarded` (RFC 7239). Elements are told apart by every comma, from the right: whoever opens a quote on the left must not
 * swallow what proxies added. A comma inside of quotes, which no address has, makes its element unreadable. */
function tryReadElement(text: string): Hop | undefined {
  const found = text.split(";").flatMap((pair) => {
    const [whole, quoted, plain] = FOR.exec(pair.trim()) ?? [];
    return whole === undefined ? [] : [quoted ?? plain ?? ""];
  });
  return found.length === 1 ? tryReadHop(found[0] ?? "") : undefined;
}
