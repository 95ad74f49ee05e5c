import { DispatchService } from "@nexus/proto/mesh";
import { JobService } from "@nexus/proto/orchestrator";
import { TransitService } from "@nexus/proto/vault";
import { describe, expect, it } from "vitest";
import type { Principal } from "../principal.ts";
import type { ServerCall } from "../server/interceptor.ts";
import { planService } from "../server/method-plan.ts";
import { authorise } from "./authorise.ts";

type Held = Partial<Pick<Principal, "kind" | "scopes" | "deniedScopes" | "limitedScopes">>;

const noHandler = () => () => undefined;
const [dispatch] = planService(DispatchService, noHandler);
const [submitJob] = planService(JobService, noHandler);

const planOf = (name: string) =>
  planService(TransitService, noHandler).find(({ method }) => method.localName === name);
const [encrypt, generateRandom] = [planOf("encrypt"), planOf("generateRandom")];

async function reasonFor(plan: typeof dispatch, held: Held): Promise<string> {
  const principal = { kind: "user", scopes: ["*"], ...held };
  const call = { plan, state: { principal } } as unknown as ServerCall;
  try {
    await authorise(call, () => Promise.resolve());
    return "ok";
  } catch (error) {
    return (error as { reason: string }).reason;
  }
}

describe("authorise", () => {
  it("lets only services call an internal contract, whatever scopes others hold", async () => {
    expect(await reasonFor(dispatch, { kind: "service" })).toBe("ok");
    expect(await reasonFor(dispatch, { kind: "user" })).toBe("SERVICE_ONLY");
    expect(await reasonFor(dispatch, { kind: "agent" })).toBe("SERVICE_ONLY");
    expect(await reasonFor(submitJob, { kind: "user" })).toBe("ok");
  });

  it("refuses by default, and lets a denial win over every grant", async () => {
    expect(await reasonFor(encrypt, { scopes: [] })).toBe("SCOPE_MISSING");
    expect(await reasonFor(encrypt, { scopes: ["vault:transit:encrypt"] })).toBe("ok");
    expect(await reasonFor(encrypt, { deniedScopes: ["vault:transit:encrypt"] })).toBe(
      "SCOPE_MISSING",
    );
    expect(await reasonFor(encrypt, { deniedScopes: ["vault:*:*"] })).toBe("SCOPE_MISSING");
    expect(await reasonFor(encrypt, { deniedScopes: ["vault:transit:decrypt"] })).toBe("ok");
  });

  it("takes a scope on some resources where the resource is checked, and nowhere else", async () => {
    const limited = { scopes: [], limitedScopes: ["vault:transit:*"] };
    expect(await reasonFor(encrypt, limited)).toBe("ok");
    expect(await reasonFor(generateRandom, limited)).toBe("SCOPE_MISSING");
    const denied = { ...limited, deniedScopes: ["vault:transit:encrypt"] };
    expect(await reasonFor(encrypt, denied)).toBe("SCOPE_MISSING");
  });
});
