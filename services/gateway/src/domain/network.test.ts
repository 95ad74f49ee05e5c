import { describe, expect, it } from "vitest";
import { isWithin, type Network, tryParseNetwork } from "./network.ts";

const networkOf = (text: string) => tryParseNetwork(text) as Network;

describe("a network", () => {
  it.each([
    ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "::1", "a::10"]],
    ["192.0.2.7", ["192.0.2.7", "::ffff:c000:207"], ["192.0.2.6", "192.0.2.8"]],
    ["192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127"]],
    ["::ffff:10.0.0.0/8", ["10.9.9.9"], ["11.0.0.1", "::ffff:0:1"]],
    ["fd00::/8", ["fd00::1", "fdff:1:2:3:4:5:6:7", "fd12::%eth0"], ["fe00::1", "253.0.0.1"]],
    ["2001:db8:0:7::/64", ["2001:db8:0:7:1::", "2001:DB8::7:0:0:0:1"], ["2001:db8:0:8::1"]],
    ["::1", ["::1", "0:0:0:0:0:0:0:1"], ["::2", "127.0.0.1", "1::"]],
    ["64:ff9b::192.0.2.0/120", ["64:ff9b::c000:2ff"], ["64:ff9b::c000:300"]],
  ])("%s holds %j and not %j", (text, within, without) => {
    const networks = [networkOf(text)];
    expect(within.filter((address) => !isWithin(networks, address))).toEqual([]);
    expect(without.filter((address) => isWithin(networks, address))).toEqual([]);
  });

  it("holds nothing that is no address", () => {
    for (const text of ["", "unknown", "10.0.0.1:80", "[::1]"]) {
      expect(isWithin([networkOf("10.0.0.0/8"), networkOf("::/1")], text)).toBe(false);
    }
  });

  it.each([
    "",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/8/8",
    "10.0.0/8",
    "::/129",
    "fe80::1%eth0",
    "proxy",
    "0.0.0.0/0",
    "::/0",
    "10.0.0.0/-1",
  ])("is not %j", (text) => {
    expect(tryParseNetwork(text)).toBeUndefined();
  });
});
