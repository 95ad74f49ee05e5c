import { randomUUID } from "node:crypto";
import { text } from "node:stream/consumers";
import { IntrospectTokenResponseSchema, TokenUse } from "@nexus/proto/vault";
import type { CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showEnum, showTime, writeJson } from "../show.ts";
import { usageError } from "../usage-error.ts";

/** Flags, as commander names their values, and what they revoke. */
const TARGETS = {
  tokenId: "tokenId",
  family: "familyId",
  principal: "principalId",
  wholeNamespace: "wholeNamespace",
} as const;

/** Takes tokens back. */
export const tokensRevokeCommand: CommandSpec = {
  usage: "tokens revoke",
  about:
    "Revoke a token, a login, a principal's tokens or a namespace's, everywhere within a second",
  example: "nexus tokens revoke --principal my-agent",
  flags: [
    { flags: "--token-id <id>", about: "one access token, by its jti" },
    { flags: "--family <id>", about: "every token of one login" },
    { flags: "--principal <id>", about: "every token that a principal has now" },
    { flags: "--whole-namespace <name>", about: "every token of a namespace, your own included" },
  ],
  run: async (ctx, args) => {
    const given = Object.entries(TARGETS).flatMap(([flag, name]) => {
      const value = args.text(flag);
      return value === undefined ? [] : [{ case: name, value }];
    });
    const [target] = given;
    if (target === undefined || given.length > 1) {
      throw usageError("Give one of --token-id, --family, --principal, --whole-namespace.");
    }
    const { revokeTime } = await ctx
      .client()
      .auth.revokeTokens({ requestId: randomUUID(), target });
    writeLine(ctx, `Revoked at ${showTime(revokeTime)}.`);
    return EXIT.ok;
  },
};

/** Says whether a token is good. */
export const tokensIntrospectCommand: CommandSpec = {
  usage: "tokens introspect",
  about: "Say what a token, read from standard input, says; exit code 7 when it is not good now",
  example: "nexus tokens introspect < token.txt",
  run: async (ctx) => {
    const token = (await text(ctx.terminal.stdin)).trim();
    if (token === "") throw usageError("Write the token to standard input.");
    const answer = await ctx.client().auth.introspectToken({ token });
    if (ctx.format === "json") {
      writeJson(ctx, IntrospectTokenResponseSchema, answer);
      return answer.active ? EXIT.ok : EXIT.awaitedFailed;
    }
    const { active, tokenUse, principal, deniedScopes, limitedScopes, expireTime } = answer;
    writeLine(ctx, active ? `active: ${showEnum(TokenUse, tokenUse)} token` : "not active");
    if (!active) return EXIT.awaitedFailed;
    writeLine(ctx, `${principal?.principalId} in namespace ${principal?.namespace}`);
    writeLine(ctx, `scopes: ${principal?.scopes.join(" ")}`);
    if (limitedScopes.length > 0) writeLine(ctx, `on some resources: ${limitedScopes.join(" ")}`);
    if (deniedScopes.length > 0) writeLine(ctx, `denied: ${deniedScopes.join(" ")}`);
    writeLine(ctx, `ends: ${showTime(expireTime)}`);
    return EXIT.ok;
  },
};
