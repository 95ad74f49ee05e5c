/** The version of this build of NEXUS: what services, SDK and CLI say of themselves. Equals the root package.json's. */
export const NEXUS_VERSION = "0.1.0";
