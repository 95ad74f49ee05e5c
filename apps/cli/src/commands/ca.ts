import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "@nexus/sdk";
import { SYSTEM_NAMESPACE } from "@nexus/shared";
import type { CommandArguments, CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { gatewayOf, tlsOf } from "../session.ts";
import { showTime } from "../show.ts";
import { usageError } from "../usage-error.ts";

const KEY_MODE = 0o600;

/** Makes the first authority. */
export const caInitCommand: CommandSpec = {
  usage: "ca init",
  about: "Make the authority that signs services' certificates, if there is none",
  example: "nexus ca init",
  run: async (ctx) => {
    const { authorities } = await ctx.client().ca.getTrustBundle({});
    const [first] = authorities;
    if (first !== undefined) {
      writeLine(ctx, `There is one already: ${first.caId}.`);
      return EXIT.ok;
    }
    return rotate(ctx);
  },
};

/** Makes the next authority. */
export const caRotateCommand: CommandSpec = {
  usage: "ca rotate",
  about: "Make the next authority; it signs once every service trusts it",
  example: "nexus ca rotate",
  run: rotate,
};

/** Shows whom to trust. */
export const caBundleCommand: CommandSpec = {
  usage: "ca bundle",
  about: "Print the CA certificates that are trusted now, PEM",
  example: "nexus ca bundle > ca.crt",
  run: async (ctx) => {
    const { trustBundlePem, authorities } = await ctx.client().ca.getTrustBundle({});
    if (ctx.format === "table") ctx.terminal.stdout.write(trustBundlePem);
    else if (ctx.format === "name") for (const { caId } of authorities) writeLine(ctx, caId);
    else writeLine(ctx, JSON.stringify({ trustBundlePem, authorities: authorities.map(show) }));
    return EXIT.ok;
  },
};

/** Gets the certificate of a service. */
export const caIssueCommand: CommandSpec = {
  usage: "ca issue <service>",
  about:
    "Get a certificate for a service, by its client secret; writes tls.crt, tls.key and ca.crt",
  example: "nexus ca issue registry --secret-file registry.secret --out /etc/nexus/tls",
  flags: [
    { flags: "--secret-file <file>", about: "the service's client secret" },
    { flags: "--out <folder>", about: "where the three files go", default: "." },
  ],
  run: issue,
};

async function rotate(ctx: CommandContext): Promise<number> {
  const { authority } = await ctx.client().ca.rotateCa({ requestId: randomUUID() });
  writeLine(ctx, `${authority?.caId} signs from ${showTime(authority?.signTime)}.`);
  return EXIT.ok;
}

async function issue(ctx: CommandContext, args: CommandArguments): Promise<number> {
  const secretFile = args.text("secretFile");
  if (secretFile === undefined) throw usageError("Name the service's secret: --secret-file.");
  const service = args.at(0);
  const { createCertificateRequest } = await import("@nexus/pki");
  const client = createClient({
    gateway: gatewayOf(ctx.flags, ctx.env),
    tls: tlsOf(ctx.flags, ctx.env),
    timeoutMs: ctx.flags.timeout * 1_000,
    credentials: {
      kind: "client-secret",
      namespace: SYSTEM_NAMESPACE,
      principalId: service,
      clientSecret: readFileSync(secretFile, "utf8").trim(),
    },
  });
  try {
    const { requestPem, keyPem } = await createCertificateRequest(service);
    const issued = await client.ca.issueCertificate({ requestPem });
    const folder = args.text("out") ?? ".";
    mkdirSync(folder, { recursive: true });
    writeWhole(join(folder, "ca.crt"), issued.trustBundlePem);
    writeWhole(join(folder, "tls.key"), keyPem, KEY_MODE);
    writeWhole(join(folder, "tls.crt"), issued.certificatePem);
    writeLine(
      ctx,
      `${folder} has a certificate of ${service} until ${showTime(issued.expireTime)}.`,
    );
    return EXIT.ok;
  } finally {
    client.close();
  }
}

/** A service that watches the folder sees whole files only. */
function writeWhole(path: string, text: string, mode = 0o644): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, text, { mode });
  renameSync(draft, path);
}

function show(authority: {
  readonly caId: string;
  readonly signTime?: Parameters<typeof showTime>[0];
  readonly retireTime?: Parameters<typeof showTime>[0];
}) {
  const { caId, signTime, retireTime } = authority;
  return { caId, signs: showTime(signTime), retires: showTime(retireTime) };
}
