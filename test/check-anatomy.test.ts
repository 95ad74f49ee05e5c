import { describe, expect, it } from "vitest";
import { checkAnatomy } from "../scripts/check-anatomy.ts";
import { toKebabCase } from "../scripts/source/contracts.ts";
import { readIdentifiers } from "../scripts/source/identifiers.ts";
import { parseModule } from "../scripts/source/module.ts";
import { manifest, writeTree } from "./_tree.ts";

const VAULT = {
  "services/vault/package.json": manifest("@nexus/secure-vault"),
  "services/vault/README.md": "",
  "services/vault/src/config.ts": "",
  "services/vault/src/handlers/index.ts": "",
  "services/vault/src/main.ts": "",
  "services/vault/src/server.ts": "",
  "proto/nexus/vault/v1/auth_service.proto":
    "// rpc Old(\nservice AuthService {\n  rpc WhoAmI(WhoAmIRequest) returns (WhoAmIResponse);\n}\n",
};

function messages(files: Record<string, string>): string[] {
  const { problems } = checkAnatomy(writeTree({ ...VAULT, ...files }));
  return problems.map(({ file, message }) => `${file} ${message}`);
}

describe("check-anatomy", () => {
  it("finds the handler and the test from the method's name", () => {
    const files = {
      "services/vault/src/handlers/who-am-i.ts": "",
      "services/vault/test/auth.test.ts": "await client.whoAmI({});",
    };
    expect(messages(files)).toEqual([]);
  });

  it("says which handler and which test are missing", () => {
    expect(messages({})).toEqual([
      "services/vault/src/handlers/who-am-i.ts is missing: AuthService.WhoAmI",
      "services/vault no test of the service names AuthService.WhoAmI",
    ]);
  });

  it("refuses a domain that reads the clock", () => {
    const files = {
      "services/vault/src/handlers/who-am-i.ts": "",
      "services/vault/test/auth.test.ts": "WhoAmI",
      "services/vault/src/domain/a.ts": "export const at = Date.now();\nconst b = new Date(1);",
    };
    expect(messages(files)).toEqual([
      "services/vault/src/domain/a.ts the domain uses Date.now; the clock is injected",
    ]);
  });
});

describe("toKebabCase", () => {
  it.each([
    ["WhoAmI", "who-am-i"],
    ["GetJwks", "get-jwks"],
    ["GetJWKS", "get-jwks"],
    ["ListHTTPRoutes", "list-http-routes"],
    ["Connect", "connect"],
  ])("turns %s into %s", (name, expected) => {
    expect(toKebabCase(name)).toBe(expected);
  });
});

describe("readIdentifiers", () => {
  it("sees calls, members and empty constructions, not strings", () => {
    const { body } = parseModule(
      "a.ts",
      'setTimeout(f); new Date(); "Math.random"; x?.(process.env);',
    );
    const names = readIdentifiers(body).map(({ name }) => name);
    expect(names).toEqual(["setTimeout", "new Date()", "x", "process", "process.env"]);
  });
});
