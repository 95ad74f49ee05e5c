import { describe, expect, it } from "vitest";
import { callerBehind, type TrustedProxies } from "./forwarded.ts";
import { type Network, tryParseNetwork } from "./network.ts";

const networks = ["10.0.0.0/8", "fd00::/8"].map((text) => tryParseNetwork(text) as Network);
const PROXY = { address: "10.0.0.1", port: 5000 };

function from(
  said: string | undefined,
  header: TrustedProxies["header"] = "x-forwarded-for",
  peer = PROXY,
) {
  const { address, port } = callerBehind(peer, said, { networks, header });
  return `${address} ${port}`;
}

describe("the caller behind proxies", () => {
  it.each([
    ["what the only proxy says", "203.0.113.7", "203.0.113.7 0"],
    ["with its port", "203.0.113.7:4711", "203.0.113.7 4711"],
    ["an IPv6 address", "2001:db8::1", "2001:db8::1 0"],
    ["an IPv6 address with a port", "[2001:db8::1]:443", "2001:db8::1 443"],
    ["an IPv6 address in brackets", "[2001:db8::1]", "2001:db8::1 0"],
    ["the rightmost that is no proxy", "203.0.113.7, 10.1.1.1 ,fd00::2", "203.0.113.7 0"],
    ["not what the caller wrote itself", "198.51.100.1, 203.0.113.7, 10.1.1.1", "203.0.113.7 0"],
    ["not a proxy that the caller made up", "10.9.9.9, 203.0.113.7", "203.0.113.7 0"],
    ["the first one where all are proxies", "10.2.2.2, 10.1.1.1", "10.2.2.2 0"],
    ["the proxy whose caller cannot be read", "203.0.113.7, unknown, 10.1.1.1", "10.1.1.1 0"],
    ["the peer when nothing can be read", "junk", "10.0.0.1 5000"],
    ["the peer when nothing is said", "", "10.0.0.1 5000"],
    ["the peer without the header", undefined, "10.0.0.1 5000"],
  ])("is %s", (_what, said, expected) => {
    expect(from(said)).toBe(expected);
  });

  it("is the peer when that is no trusted proxy, or none is", () => {
    const stranger = { address: "203.0.113.9", port: 1 };
    expect(from("198.51.100.1", "x-forwarded-for", stranger)).toBe("203.0.113.9 1");
    const nobody = { networks: [], header: "x-forwarded-for" } as const;
    expect(callerBehind(PROXY, "198.51.100.1", nobody)).toEqual(PROXY);
  });

  it("is behind a proxy whose IPv4 address comes mapped into IPv6", () => {
    const mapped = { address: "::ffff:10.0.0.1", port: 1 };
    expect(from("203.0.113.7", "x-forwarded-for", mapped)).toBe("203.0.113.7 0");
  });

  it.each([
    ["plain", "for=203.0.113.7;proto=https;by=10.0.0.1", "203.0.113.7 0"],
    ["quoted, in any case", 'proto=http;For="[2001:db8::1]:4711"', "2001:db8::1 4711"],
    ["of several elements", "for=198.51.100.1, for=203.0.113.7, for=10.1.1.1", "203.0.113.7 0"],
    ["hidden", "for=203.0.113.7, for=_gazonk", "10.0.0.1 5000"],
    ["unknown", "for=unknown", "10.0.0.1 5000"],
    ["twice in one element", "for=203.0.113.7;for=198.51.100.1", "10.0.0.1 5000"],
    ["missing", "proto=https", "10.0.0.1 5000"],
    ["behind a quote that its caller opened", 'for="x, for="203.0.113.7:80"', "203.0.113.7 80"],
  ])("is read from Forwarded: %s", (_what, said, expected) => {
    expect(from(said, "forwarded")).toBe(expected);
  });
});
