/** Networks of IP addresses, by which proxies are named. */
import { isAddress } from "@nexus/shared";

/** The addresses that begin with the same bits. */
export interface Network {
  readonly family: 4 | 6;
  readonly bits: bigint;
  /** How many of them count, from the left. */
  readonly prefix: number;
}

type Address = Omit<Network, "prefix">;

const WIDTH = { 4: 32, 6: 128 } as const;
const IPV4_MAPPED_PREFIX = 0xffffn;
const IPV4_BITS = 32n;
const GROUPS = 8;
const PREFIX = /^\d{1,3}$/;

/** Reads `10.0.0.0/8`, `fd00::/8`, or an address alone. Returns undefined for anything else, and for all addresses there are. */
export function tryParseNetwork(text: string): Network | undefined {
  const [head = "", tail, ...rest] = text.split("/");
  const address = tryParseAddress(head);
  if (address === undefined || head.includes("%") || rest.length > 0) return undefined;
  const width = WIDTH[address.family];
  const prefix = prefixOf(tail ?? String(width));
  return prefix >= 1 && prefix <= width ? { ...address, prefix } : undefined;
}

/** Says whether one of the networks holds the address, an IPv4 one also as it is mapped into IPv6. What is no address is in none. */
export function isWithin(networks: readonly Network[], address: string): boolean {
  const wanted = tryParseAddress(address);
  if (wanted === undefined) return false;
  return networks.some(({ family, bits, prefix }) => {
    const others = BigInt(WIDTH[family] - prefix);
    return family === wanted.family && bits >> others === wanted.bits >> others;
  });
}

function prefixOf(text: string): number {
  return PREFIX.test(text) ? Number(text) : 0;
}

function tryParseAddress(text: string): Address | undefined {
  if (!isAddress(text)) return undefined;
  if (!text.includes(":")) return { family: 4, bits: ipv4Bits(text) };
  const bits = ipv6Bits(text.split("%")[0] ?? "");
  return bits >> IPV4_BITS === IPV4_MAPPED_PREFIX
    ? { family: 4, bits: BigInt.asUintN(WIDTH[4], bits) }
    : { family: 6, bits };
}

function ipv4Bits(text: string): bigint {
  return text.split(".").reduce((bits, part) => (bits << 8n) | BigInt(part), 0n);
}

function ipv6Bits(text: string): bigint {
  const [left = [], right] = text.split("::").map(groupsOf);
  const missing = right === undefined ? 0 : GROUPS - left.length - right.length;
  const groups = [...left, ...Array.from({ length: missing }, () => 0n), ...(right ?? [])];
  return groups.reduce((bits, group) => (bits << 16n) | group, 0n);
}

/** The last group may be an IPv4 address, which stands for two. */
function groupsOf(text: string): bigint[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [BigInt(`0x${group}`)];
    const bits = ipv4Bits(group);
    return [bits >> 16n, bits & 0xffffn];
  });
}
