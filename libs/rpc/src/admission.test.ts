import { JobService } from "@nexus/proto/orchestrator";
import { AuthService } from "@nexus/proto/vault";
import { DEFAULT_NAMESPACE, NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { admitCall } from "./admission.ts";
import type { Principal, TokenVerifier } from "./principal.ts";

const PRINCIPAL: Principal = {
  namespace: DEFAULT_NAMESPACE,
  principalId: "ada",
  kind: "user",
  scopes: ["orchestrator:job:read"],
  tokenId: "t",
  familyId: "f",
  issuedAtMs: 0,
  expiresAtMs: 1,
};
const verifier: TokenVerifier = {
  verify(token) {
    if (token === "good") return Promise.resolve(PRINCIPAL);
    const message = "No.";
    return Promise.reject(
      new NexusError({ kind: "unauthenticated", reason: "TOKEN_INVALID", message }),
    );
  },
  onRevoked: () => () => undefined,
};
const { getJob, submitJob } = JobService.method;
const { login, logout } = AuthService.method;

describe("admitCall", () => {
  it("lets a token in that holds the method's scope, however its scheme is spelled", async () => {
    for (const authorization of ["Bearer good", "bearer  good"]) {
      const caller = await admitCall({ method: getJob, authorization, verifier });
      expect(caller).toEqual({ principal: PRINCIPAL, token: "good" });
    }
  });

  it("asks public methods for nothing and takes nothing from them", async () => {
    const nobody = { principal: undefined, token: undefined };
    expect(await admitCall({ method: login, authorization: undefined, verifier })).toEqual(nobody);
    expect(await admitCall({ method: login, authorization: "Bearer bad", verifier })).toEqual(
      nobody,
    );
  });

  it("asks methods for the signed-in for any token that verifies", async () => {
    const call = { method: logout, verifier };
    expect((await admitCall({ ...call, authorization: "Bearer good" })).principal).toBe(PRINCIPAL);
  });

  it("refuses a missing, malformed, wrong or too weak token by its own reason", async () => {
    const cases = [
      [getJob, undefined, "unauthenticated/TOKEN_MISSING"],
      [getJob, "", "unauthenticated/TOKEN_MISSING"],
      [getJob, "Basic good", "unauthenticated/TOKEN_MISSING"],
      [getJob, "Bearer good extra", "unauthenticated/TOKEN_MISSING"],
      [getJob, "Bearer bad", "unauthenticated/TOKEN_INVALID"],
      [submitJob, "Bearer good", "forbidden/SCOPE_MISSING"],
    ] as const;
    for (const [method, authorization, expected] of cases) {
      const refused = await admitCall({ method, authorization, verifier }).catch(NexusError.from);
      expect(refused).toBeInstanceOf(NexusError);
      const { kind, reason } = refused as NexusError;
      expect([method.name, authorization, `${kind}/${reason}`]).toEqual([
        method.name,
        authorization,
        expected,
      ]);
    }
  });
});
