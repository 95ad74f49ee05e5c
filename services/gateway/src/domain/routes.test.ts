import { type DescService, getOption } from "@bufbuild/protobuf";
import { direct, internal } from "@nexus/proto/common";
import * as gateway from "@nexus/proto/gateway";
import * as insight from "@nexus/proto/insight";
import * as mesh from "@nexus/proto/mesh";
import * as orchestrator from "@nexus/proto/orchestrator";
import * as registry from "@nexus/proto/registry";
import * as vault from "@nexus/proto/vault";
import { describe, expect, it } from "vitest";
import { ROUTES, type Upstream } from "./routes.ts";

/** Whose contracts are whose. */
const OWNED: Readonly<Record<Upstream, object>> = {
  insight,
  "mesh-router": mesh,
  orchestrator,
  registry,
  vault,
};

function servicesOf(module: object): DescService[] {
  return Object.values(module as Record<string, unknown>).filter(isService);
}

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

const contracts = Object.entries(OWNED).flatMap(([upstream, module]) =>
  servicesOf(module).map((desc) => ({ desc, upstream })),
);

describe("ROUTES", () => {
  it("sends every public contract to its owner, and no internal or direct one anywhere", () => {
    const isPublic = ({ desc }: { desc: DescService }) =>
      !getOption(desc, internal) && !getOption(desc, direct);
    const expected = contracts.filter(isPublic).map(({ desc, upstream }) => [desc.name, upstream]);
    const routed = ROUTES.map(({ desc, upstream }) => [desc.name, upstream]);
    expect(Object.fromEntries(routed)).toEqual(Object.fromEntries(expected));
    expect(routed.length).toBe(expected.length);
    expect(contracts.length).toBeGreaterThan(routed.length);
  });

  it("leaves out what the gateway serves itself", () => {
    const own = servicesOf(gateway);
    expect(own.map(({ name }) => name)).toEqual(["StatusService"]);
    expect(ROUTES.filter(({ desc }) => own.includes(desc))).toEqual([]);
  });
});
