/** Reads the names of services and methods from the contracts, without running the generator. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { listFiles } from "./workspace.ts";

/** One method of a contract. `domain` is the folder below `proto/nexus`. */
export interface Rpc {
  readonly domain: string;
  readonly service: string;
  readonly method: string;
  readonly file: string;
}

/** Lists every method of every service in `proto/nexus`. */
export function readRpcs(root: string): Rpc[] {
  return listFiles(root, "proto/nexus", ".proto").flatMap((file) => {
    const text = withoutComments(readFileSync(join(root, file), "utf8"));
    const domain = file.split("/")[2] ?? "";
    return text
      .split(/^service\s+/m)
      .slice(1)
      .flatMap((block) => {
        const service = /^\w+/.exec(block)?.[0] ?? "";
        const methods = [...block.matchAll(/^\s*rpc\s+(\w+)\s*\(/gm)].map(
          (match) => match[1] ?? "",
        );
        return methods.map((method) => ({ domain, service, method, file }));
      });
  });
}

/** Turns `ListAgents` into `list-agents` and `GetJWKS` into `get-jwks`. */
export function toKebabCase(name: string): string {
  return name
    .replaceAll(/([A-Z]+)([A-Z][a-z])/g, "$1-$2")
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1-$2")
    .toLowerCase();
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/\/\/.*$/gm, "");
}
