import { DispatchService } from "@nexus/proto/mesh";
import { JobService } from "@nexus/proto/orchestrator";
import { describe, expect, it } from "vitest";
import type { Principal } from "../principal.ts";
import type { ServerCall } from "../server/interceptor.ts";
import { planService } from "../server/method-plan.ts";
import { authorise } from "./authorise.ts";

const noHandler = () => () => undefined;
const [dispatch] = planService(DispatchService, noHandler);
const [submitJob] = planService(JobService, noHandler);

async function reasonFor(plan: typeof dispatch, kind: Principal["kind"]): Promise<string> {
  const call = { plan, state: { principal: { kind, scopes: ["*"] } } } as unknown as ServerCall;
  try {
    await authorise(call, () => Promise.resolve());
    return "ok";
  } catch (error) {
    return (error as { reason: string }).reason;
  }
}

describe("authorise", () => {
  it("lets only services call an internal contract, whatever scopes others hold", async () => {
    expect(await reasonFor(dispatch, "service")).toBe("ok");
    expect(await reasonFor(dispatch, "user")).toBe("SERVICE_ONLY");
    expect(await reasonFor(dispatch, "agent")).toBe("SERVICE_ONLY");
    expect(await reasonFor(submitJob, "user")).toBe("ok");
  });
});
