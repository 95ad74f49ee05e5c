import { describe, expect, it } from "vitest";
import {
  type AuthorityRow,
  caPublishMs,
  caRetireMs,
  foreignNames,
  namesOfService,
  parseServiceHosts,
  signerOf,
} from "./authority.ts";

const HOUR_MS = 3_600_000;

function row(caId: string, signsFromMs: number, hasKey = true): AuthorityRow {
  return {
    caId,
    certPem: `${caId}\n`,
    keyBox: hasKey ? { box: Buffer.alloc(1), keyVersion: 1 } : undefined,
    signsFromMs,
    notAfterMs: 10 * HOUR_MS,
    trustedUntilMs: undefined,
  };
}

describe("signerOf", () => {
  it("is the newest whose time has come", () => {
    const rows = [row("one", 0), row("two", 100), row("three", 200)];
    expect(signerOf(rows, 99).caId).toBe("one");
    expect(signerOf(rows, 100).caId).toBe("two");
    expect(signerOf(rows, 1_000).caId).toBe("three");
  });

  it("is never one without a key", () => {
    expect(() => signerOf([row("one", 0, false)], 1)).toThrow("No authority may sign");
    expect(() => signerOf([row("one", 100)], 99)).toThrow("No authority may sign");
  });
});

describe("the times of an authority", () => {
  it("let every certificate of before be renewed before it signs, and end before it goes", () => {
    for (const ttlMs of [1_000, HOUR_MS, 90 * 24 * HOUR_MS]) {
      expect(caPublishMs(ttlMs)).toBeGreaterThan(ttlMs);
      expect(caRetireMs(ttlMs)).toBeGreaterThan(ttlMs);
    }
  });
});

describe("the names of a service", () => {
  const parsed = parseServiceHosts(["gateway=nexus.example.com", "gateway=10.0.0.7"]);
  const hosts = "hosts" in parsed ? parsed.hosts : new Map<string, readonly string[]>();

  it("are its id, the id as a host, and its own hosts", () => {
    expect(namesOfService("spiffe://a/nexus/gateway", "gateway", hosts)).toEqual({
      uris: ["spiffe://a/nexus/gateway"],
      dnsNames: ["gateway", "nexus.example.com"],
      ipAddresses: ["10.0.0.7"],
    });
    const registry = namesOfService("spiffe://a/nexus/registry", "registry", hosts);
    expect(registry).toMatchObject({ dnsNames: ["registry"], ipAddresses: [] });
  });

  it("are all that a request may ask for", () => {
    const granted = namesOfService("spiffe://a/nexus/registry", "registry", hosts);
    expect(foreignNames({ uris: [], dnsNames: ["registry"], ipAddresses: [] }, granted)).toBe(
      undefined,
    );
    const asked = { uris: [], dnsNames: ["registry"], ipAddresses: ["10.0.0.7"] };
    expect(foreignNames(asked, granted)).toBe("10.0.0.7");
  });

  it("come from settings of one form", () => {
    for (const wrong of ["gateway", "gateway=", "=host", "gateway=a=b", "gateway=*.example.com"]) {
      expect(parseServiceHosts([wrong]), wrong).toMatchObject({ problem: expect.any(String) });
    }
  });
});
