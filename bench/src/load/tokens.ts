/** Getting tokens for a client secret, and checking them the way every service does: locally. */
import {
  createLocalTokenVerifier,
  createRevocationSet,
  importJwks,
  type KeySource,
} from "@nexus/identity";
import type { TokenVerifier } from "@nexus/rpc";
import type { NexusClient } from "@nexus/sdk";
import { monotonicMs } from "../machine-clock.ts";
import { runSaturated, type Stretch } from "../pace.ts";
import { type Distribution, describeValues } from "../statistics.ts";

/** Checks between two looks at the clock. */
const CHECKS_A_LOOK = 500;

/** A principal and its secret. */
export interface GrantedPrincipal {
  readonly principalId: string;
  readonly clientSecret: string;
}

/** Whose secrets to trade, in turn. */
export interface GrantOptions extends Stretch {
  readonly principals: readonly GrantedPrincipal[];
  readonly inFlight: number;
}

/** What the grants brought. */
export interface Grants {
  readonly perSecond: number;
  readonly latencyMs: Distribution;
  readonly failed: number;
  readonly failure: string | undefined;
  /** All tokens, those of the warm-up too. */
  readonly tokens: readonly string[];
}

/** Trades client secrets for tokens as fast as the answers come. */
export async function grantTokens(client: NexusClient, options: GrantOptions): Promise<Grants> {
  const { principals } = options;
  const granted: string[] = [];
  const { latenciesMs, ...rest } = await runSaturated(options, async (index) => {
    const { tokens } = await client.auth.grantClientToken(
      principals[index % principals.length] ?? {},
    );
    granted.push(tokens?.accessToken ?? "");
  });
  return { ...rest, latencyMs: describeValues(latenciesMs), tokens: granted };
}

/** What to check, for how long. */
export interface CheckOptions {
  readonly tokens: readonly string[];
  readonly measureMs: number;
  readonly inFlight: number;
}

/** Token checks of one process. */
export interface TokenChecks {
  readonly rememberedPerSecond: number;
  readonly firstPerSecond: number;
  /** One at a time, so that it is the check alone. */
  readonly firstLatencyMs: Distribution;
}

/** Checks real tokens against vault's published keys, with the verifier that every service uses. */
export async function checkTokens(
  client: NexusClient,
  options: CheckOptions,
): Promise<TokenChecks> {
  const { jwksJson } = await client.auth.getJwks({});
  const keys = await importJwks(jwksJson);
  const source: KeySource = { find: async (kid) => keys.get(kid), epoch: 0 };
  const newVerifier = () =>
    createLocalTokenVerifier({ keys: source, revocations: createRevocationSet() });
  return {
    firstPerSecond: await countFirstChecks(newVerifier, options),
    firstLatencyMs: await timeFirstChecks(newVerifier(), options.tokens),
    rememberedPerSecond: await countRememberedChecks(newVerifier(), options),
  };
}

/** Every verifier sees every token once; a new verifier remembers nothing. */
async function countFirstChecks(
  newVerifier: () => TokenVerifier,
  { tokens, measureMs, inFlight }: CheckOptions,
): Promise<number> {
  const beganAtMs = monotonicMs();
  let checked = 0;
  while (monotonicMs() - beganAtMs < measureMs) {
    const verifier = newVerifier();
    let next = 0;
    const lane = async () => {
      while (next < tokens.length) await verifier.verify(tokens[next++] ?? "");
    };
    await Promise.all(Array.from({ length: inFlight }, lane));
    checked += tokens.length;
  }
  return (checked / (monotonicMs() - beganAtMs)) * 1_000;
}

async function timeFirstChecks(
  verifier: TokenVerifier,
  tokens: readonly string[],
): Promise<Distribution> {
  const times: number[] = [];
  for (const token of tokens) {
    const beganAtMs = monotonicMs();
    await verifier.verify(token);
    times.push(monotonicMs() - beganAtMs);
  }
  return describeValues(times);
}

async function countRememberedChecks(
  verifier: TokenVerifier,
  { tokens, measureMs }: CheckOptions,
): Promise<number> {
  for (const token of tokens) await verifier.verify(token);
  const beganAtMs = monotonicMs();
  let checked = 0;
  while (monotonicMs() - beganAtMs < measureMs) {
    for (let check = 0; check < CHECKS_A_LOOK; check += 1) {
      await verifier.verify(tokens[checked % tokens.length] ?? "");
      checked += 1;
    }
  }
  return (checked / (monotonicMs() - beganAtMs)) * 1_000;
}
