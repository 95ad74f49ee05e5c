import { CLIENT_ADDRESS_HEADER } from "@nexus/rpc";
import { describe, expect, it } from "vitest";
import { callerOf } from "../src/handlers/caller-of.ts";

type Call = Parameters<typeof callerOf>[0];

const PEER = "192.0.2.1:5000";
const saying = (header: string | undefined, peer = PEER) => {
  const get = (name: string) => (name === CLIENT_ADDRESS_HEADER ? header : undefined);
  return callerOf({ metadata: { get } as Call["metadata"], peer });
};

describe("the caller of a login", () => {
  it("is the address that was passed on, without its port", () => {
    expect(saying("203.0.113.7:40000")).toBe("203.0.113.7");
    expect(saying("2001:db8:0:7::1:40000")).toBe("2001:db8:0:7::/64");
    expect(saying("[2001:db8:0:7::1]:40000")).toBe("2001:db8:0:7::/64");
  });

  it("is the peer when nothing was passed on, or what is no IP address", () => {
    const junk = [undefined, "", "*", "*:1", "[*]:1", "unknown", "a:b:c", "1.2.3:4", "999.1.1.1:2"];
    for (const header of [...junk, "203.0.113.7, 203.0.113.8:1", `${"1".repeat(300)}:1`]) {
      expect([header, saying(header)]).toEqual([header, "192.0.2.1"]);
    }
  });
});
