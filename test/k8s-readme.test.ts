/** Holds what k8s/README.md says to the files that it speaks of. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SERVICE_NAMES } from "../scripts/source/service-schemas.ts";
import { pick, ROOT, readManifests, readText } from "./_manifests.ts";

const readme = readText("k8s/README.md");

describe("k8s/README.md", () => {
  it.each(SERVICE_NAMES)("names each migration of %s that needs its older pods stopped", (name) => {
    const directory = `services/${name}/migrations`;
    const files = existsSync(join(ROOT, directory)) ? readdirSync(join(ROOT, directory)) : [];
    const breaking = files
      .filter((file) => readText(`${directory}/${file}`).startsWith("-- breaking: yes"))
      .map((file) => file.slice(0, 4));
    const named = new RegExp(`\\b${name} \\(([0-9, ]+)\\)`).exec(readme)?.[1];
    expect(named?.split(", ") ?? []).toEqual(breaking.sort());
  });

  it("names the sessions of a mesh-router, and they fit into its heap", () => {
    const manifests = readManifests("k8s/base/mesh-router.yaml");
    const { data } = pick(manifests, "ConfigMap", "mesh-router") as never as {
      data: Record<string, string>;
    };
    const sessions = Number(data["NEXUS_MESH_ROUTER_SESSIONS_MAX"]);
    const heapMib = Number(/--max-old-space-size=(\d+)/.exec(data["NODE_OPTIONS"] ?? "")?.[1]);
    expect(readme).toContain(`${sessions / 1_000} 000 in its manifest`);
    // 50 KiB each, some of it outside of the heap (docs/performance.md), and a third of the heap for all else.
    expect(sessions * 50).toBeLessThan((heapMib * 1_024 * 2) / 3);
  });
});
