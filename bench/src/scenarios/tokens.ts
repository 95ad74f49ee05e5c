/** How fast identity is proven by machines: tokens granted for a secret, tokens checked. */
import { formatCount } from "../report.ts";
import { type Scenario, seconds, shortfall, stretchOf } from "./scenario.ts";

const GRANTS_IN_FLIGHT = 16;
const CHECKS_IN_FLIGHT = 32;

/** Grants through the gateway, then checks of those tokens with the verifier that every service uses. */
export const tokensScenario: Scenario = {
  name: "tokens",
  about: "tokens granted for client secrets, and token checks a second",
  partOf: "vault",
  run: async (bed) => {
    const stretch = stretchOf(bed, { warmUpMs: 1_000, measureMs: 5_000 });
    const { measureMs } = stretchOf(bed, { warmUpMs: 0, measureMs: 3_000 });
    const client = await bed.client();
    const fleet = await Promise.all(
      Array.from({ length: GRANTS_IN_FLIGHT }, () => bed.createAgentPrincipal()),
    );
    const grant = (principals: typeof fleet) =>
      client.call("grantTokens", { ...stretch, principals, inFlight: GRANTS_IN_FLIGHT });
    // All of one principal meet at its row; a fleet that starts does not.
    const grants = await grant(fleet.slice(0, 1));
    const fleetGrants = await grant(fleet);
    const { tokens } = grants;
    const inFlight = CHECKS_IN_FLIGHT;
    const checks = await client.call("checkTokens", { tokens, measureMs, inFlight });
    const granted = `${GRANTS_IN_FLIGHT} in flight, each committed, ${seconds(stretch.measureMs)}`;
    const grantedToOne = `${granted}, all of one agent${shortfall(grants)}`;
    const checked = `one process, ${formatCount(tokens.length)} tokens of vault`;
    const first = checks.firstLatencyMs.p95;
    return [
      {
        key: "token_checks_per_second",
        value: checks.rememberedPerSecond,
        load: `one at a time, ${checked}, ${seconds(measureMs)}`,
      },
      {
        key: "first_token_checks_per_second",
        value: checks.firstPerSecond,
        load: `${CHECKS_IN_FLIGHT} in flight, ${checked}, ${seconds(measureMs)}`,
      },
      { key: "first_token_check_p95_ms", value: first, load: `one at a time, ${checked}` },
      { key: "client_grants_per_second", value: grants.perSecond, load: grantedToOne },
      { key: "client_grant_p95_ms", value: grants.latencyMs.p95, load: grantedToOne },
      {
        key: "fleet_grants_per_second",
        value: fleetGrants.perSecond,
        load: granted + shortfall(fleetGrants),
      },
    ];
  },
};
