import { describe, expect, it } from "vitest";
import { assertTransportSafe, type FrameConfig, isLoopback } from "./frame-config.ts";

function config(values: Partial<FrameConfig>): FrameConfig {
  return { host: "127.0.0.1", plaintextAllowed: false, tlsMode: "off", ...values } as FrameConfig;
}

describe("isLoopback", () => {
  it("knows the addresses that only this machine reaches", () => {
    for (const host of ["127.0.0.1", "127.9.9.9", "localhost", "::1"]) {
      expect([host, isLoopback(host)]).toEqual([host, true]);
    }
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "127.evil.example", "registry"]) {
      expect([host, isLoopback(host)]).toEqual([host, false]);
    }
  });
});

describe("assertTransportSafe", () => {
  it("refuses plaintext beyond loopback and says what to set", () => {
    expect(() => assertTransportSafe("mesh-router", config({ host: "0.0.0.0" }))).toThrow(
      /NEXUS_MESH_ROUTER_HOST is not loopback.*NEXUS_MESH_ROUTER_PLAINTEXT_ALLOWED=true/,
    );
  });

  it("accepts loopback, TLS, or the explicit switch", () => {
    const accepted = [
      config({}),
      config({ host: "0.0.0.0", tlsMode: "server" }),
      config({ host: "0.0.0.0", plaintextAllowed: true }),
    ];
    for (const one of accepted) expect(() => assertTransportSafe("registry", one)).not.toThrow();
  });
});
