import { randomUUID } from "node:crypto";
import { KiB, NexusError } from "@nexus/shared";
import type { CommandArguments, CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { askHidden, readStandardInput } from "../input.ts";
import { writeLine } from "../output.ts";
import { readProfile, writeProfile } from "../profile.ts";
import { usageError } from "../usage-error.ts";

/** Two of the longest passwords. */
const INPUT_BYTES_MAX = 4 * KiB;

/** Changes the caller's own password. */
export const passwdCommand: CommandSpec = {
  usage: "passwd",
  about: "Change your own password; your other logins end",
  example: "nexus passwd",
  flags: [
    {
      flags: "--password-stdin",
      about: "read the old password and the new one from standard input, a line each",
    },
  ],
  run: async (ctx, args) => {
    const [oldPassword, newPassword] = await readPasswords(ctx, args);
    const { auth } = ctx.client();
    await auth.changePassword({ requestId: randomUUID(), oldPassword, newPassword });
    writeLine(ctx, "Changed the password; your other logins have ended.");
    await renewLogin(ctx);
    return EXIT.ok;
  },
};

/** The change revoked the access token of this login too, but not what another is traded for. That it cannot be traded now
 * is no error: the password is changed, and a script that tries again would do so with the old one. */
async function renewLogin(ctx: CommandContext): Promise<void> {
  const token = ctx.env["NEXUS_TOKEN"] ?? "";
  if (token !== "") {
    ctx.terminal.stderr.write("NEXUS_TOKEN has ended with it: set a new one.\n");
    return;
  }
  const profile = readProfile(ctx.env);
  if (profile === undefined) return;
  const { toProfile } = await import("../connection.ts");
  const { refreshToken } = profile;
  try {
    const { tokens } = await ctx.client().auth.refreshToken({ refreshToken });
    if (tokens !== undefined) writeProfile(ctx.env, toProfile(profile, tokens));
  } catch (error) {
    const { message, reason } = NexusError.from(error);
    ctx.terminal.stderr.write(
      `The password is changed, but this login was not renewed: ${message} (${reason}). Log in again: nexus login.\n`,
    );
  }
}

async function readPasswords(
  ctx: CommandContext,
  args: CommandArguments,
): Promise<readonly [string, string]> {
  if (args.isSet("passwordStdin")) {
    const what = { what: "the passwords", maxBytes: INPUT_BYTES_MAX };
    const lines = (await readStandardInput(ctx, what)).toString().split(/\r?\n/);
    const [before = "", after = "", ...rest] = lines;
    if (before !== "" && after !== "" && rest.join("") === "") return [before, after];
    throw usageError("Standard input is two lines: the old password, then the new one.");
  }
  if (!ctx.terminal.stdin.isTTY) {
    throw usageError("There is no terminal to ask on: use --password-stdin.");
  }
  const before = await askHidden(ctx, "Old password");
  const after = await askHidden(ctx, "New password");
  if (after === (await askHidden(ctx, "New password again"))) return [before, after];
  throw usageError("The new passwords are not the same.");
}
