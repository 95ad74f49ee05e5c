import { describe, expect, it } from "vitest";
import { addressOfPeer, callerOfAddress, isAddress } from "./caller-address.ts";

describe("callerOfAddress", () => {
  it("takes an IPv4 address whole, also when it comes mapped into IPv6", () => {
    expect(callerOfAddress("192.0.2.7")).toBe("192.0.2.7");
    expect(callerOfAddress("::ffff:192.0.2.7")).toBe("192.0.2.7");
    expect(callerOfAddress("::FFFF:192.0.2.8")).toBe("192.0.2.8");
  });

  it("takes an IPv6 address by its /64 network, however it is written", () => {
    const network = "2001:db8:1:2::/64";
    for (const address of ["2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6", "2001:DB8:1:2::%eth0"]) {
      expect([address, callerOfAddress(address)]).toEqual([address, network]);
    }
    expect(callerOfAddress("2001:db8:1:3::1")).not.toBe(network);
    expect(callerOfAddress("2001:db8::1")).toBe("2001:db8:0:0::/64");
    expect(callerOfAddress("::1")).toBe("0:0:0:0::/64");
    expect(callerOfAddress("1::2:3:4:5:6:7")).toBe("1:0:2:3::/64");
  });

  it("keeps what is no address as it is", () => {
    expect(callerOfAddress("unknown")).toBe("unknown");
    expect(callerOfAddress("")).toBe("");
  });
});

describe("addressOfPeer", () => {
  it("drops the port", () => {
    expect(addressOfPeer("192.0.2.7:5000")).toBe("192.0.2.7");
    expect(addressOfPeer("2001:db8::1:5000")).toBe("2001:db8::1");
    expect(addressOfPeer("unknown")).toBe("unknown");
  });
});

describe("isAddress", () => {
  it("takes IPv4 and IPv6 alone", () => {
    const all = ["192.0.2.7", "2001:db8::1", "fe80::1%eth0", "::ffff:192.0.2.7"];
    expect(all.filter(isAddress)).toEqual(all);
    expect(["", "*", "unknown", "192.0.2.7:1", "[::1]", "999.0.2.7"].filter(isAddress)).toEqual([]);
  });
});
