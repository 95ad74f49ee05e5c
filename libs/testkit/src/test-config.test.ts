import { bool, defineConfig, int, port, secret } from "@nexus/core";
import { describe, expect, it } from "vitest";
import { testConfig } from "./test-config.ts";

const schema = defineConfig({
  service: "registry",
  fields: {
    grpcPort: port({ env: "NEXUS_REGISTRY_GRPC_PORT", default: 7401, about: "Port." }),
    clientSecret: secret({ env: "NEXUS_REGISTRY_CLIENT_SECRET", min: 32, about: "Secret." }),
    sizeMax: int({ env: "NEXUS_REGISTRY_SIZE_MAX", default: 5, min: 1, max: 9, about: "Size." }),
    flag: bool({ env: "NEXUS_REGISTRY_FLAG", default: false, about: "Flag." }),
  },
});

describe("testConfig", () => {
  it("takes free ports, stand-in secrets and the given values", () => {
    const { current } = testConfig(schema, { sizeMax: 7, flag: true });
    expect(current).toMatchObject({ grpcPort: 0, sizeMax: 7, flag: true });
    expect(current.clientSecret.length).toBeGreaterThanOrEqual(32);
  });

  it("refuses what the real configuration would refuse", () => {
    expect(() => testConfig(schema, { sizeMax: 10 })).toThrow(/NEXUS_REGISTRY_SIZE_MAX/);
  });

  it("refuses a field that does not exist", () => {
    expect(() => testConfig(schema, { size: 1 } as never)).toThrow(/no field size/);
  });
});
