/** The layer table: who may import whom inside a service. Data only; `check-layers.ts` enforces it.
 *
 * The order of the table is the order of a service's own reading: main at the top, domain at the bottom.
 */

/** What one layer may import, beside its own folder. */
export interface LayerRule {
  /** Other layers of the same service; `all` for every one but main, which nobody imports. */
  readonly layers: readonly string[] | "all";
  /** NEXUS libraries by folder name; `all` for every declared one. */
  readonly libs: readonly string[] | "all";
  /** Third-party packages; `all` for every declared one. */
  readonly packages: readonly string[] | "all";
  /** Modules of Node itself; `all` for any. */
  readonly node: readonly string[] | "all";
}

/** Pure modules and packages: same input, same output, no clock and no I/O. */
const PURE_NODE = ["node:buffer", "node:crypto", "node:util"];
/** The interface alone: a task carries the trace of the call that submitted it. */
const TRACE_CONTEXT = "@opentelemetry/api";
const PURE_PACKAGES = ["semver", "@datadog/sketches-js"];

const HANDLERS = {
  layers: ["domain", "events"],
  libs: ["merkle", "proto", "rpc", "shared"],
  packages: ["@bufbuild/protobuf", "@bufbuild/protovalidate"],
  node: PURE_NODE,
};

const LOOPS = {
  layers: ["domain", "events"],
  libs: ["runtime", "shared"],
  packages: [],
  node: PURE_NODE,
};

/** The layers of a service. A file that belongs to none of them is a finding. */
export const SERVICE_LAYERS: Readonly<Record<string, LayerRule>> = {
  main: {
    layers: ["config", "server"],
    libs: ["runtime", "telemetry"],
    packages: [],
    node: ["node:process"],
  },
  server: {
    layers: "all",
    libs: "all",
    packages: "all",
    node: "all",
  },
  config: { layers: ["domain"], libs: ["core", "shared"], packages: [], node: [] },
  handlers: HANDLERS,
  loops: LOOPS,
  clients: {
    layers: ["domain", "events"],
    libs: ["bus", "identity", "proto", "rpc", "shared"],
    packages: ["@bufbuild/protobuf"],
    // Which replicas a name stands for is asked here.
    node: ["node:dns/promises", ...PURE_NODE],
  },
  store: {
    layers: ["domain", "events"],
    libs: ["audit", "postgres", "shared"],
    packages: [],
    node: PURE_NODE,
  },
  events: {
    layers: ["domain"],
    libs: ["shared", "telemetry"],
    packages: ["prom-client"],
    node: [],
  },
  domain: { layers: [], libs: ["merkle", "shared"], packages: PURE_PACKAGES, node: PURE_NODE },
};

/** Layers that one service needs and the others do not, with the reason beside it. */
export const EXTRA_LAYERS: Readonly<Record<string, Readonly<Record<string, LayerRule>>>> = {
  gateway: {
    // Which contract belongs to which service is all the domain a gateway has, so it may name contracts.
    domain: {
      layers: [],
      libs: ["proto", "shared"],
      packages: ["@bufbuild/protobuf"],
      node: PURE_NODE,
    },
    // Passes bytes on without decoding them: neither a handler nor a client of one service.
    relay: {
      layers: ["domain", "events"],
      libs: ["rpc", "shared"],
      packages: ["@bufbuild/protobuf"],
      node: PURE_NODE,
    },
    // The protocol faces of the HTTP port; the only place that knows Connect.
    http: {
      layers: ["domain", "events", "relay"],
      libs: ["proto", "rpc", "shared"],
      packages: ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-node"],
      node: ["node:http", "node:http2", "node:net", ...PURE_NODE],
    },
  },
  vault: {
    // Where a root key lies, which is a file like no other: its mode is checked before it is read.
    root: {
      layers: ["domain"],
      libs: ["shared"],
      packages: [],
      node: ["node:fs", "node:fs/promises", "node:path"],
    },
  },
  orchestrator: {
    // What the owner of jobs keeps in memory: choosing is memory work, and each choice is one batched write. So it
    // stands between the pure rules and the SQL, and knows transactions.
    engine: {
      layers: ["domain", "events", "store"],
      libs: ["postgres", "shared"],
      packages: [TRACE_CONTEXT],
      node: PURE_NODE,
    },
    handlers: {
      ...HANDLERS,
      layers: [...HANDLERS.layers, "engine"],
      packages: [...HANDLERS.packages, TRACE_CONTEXT],
    },
    loops: { ...LOOPS, layers: [...LOOPS.layers, "engine"] },
    // What `npm run bench` measures of this service without a stack: a program of its own, as nothing may import one.
    bench: { layers: ["domain", "engine"], libs: ["shared"], packages: [], node: ["node:process"] },
  },
};

/** Finds the layer of a file from its path below `src`: the folder, or the file at the top. */
export function layerOf(pathInSource: string): string {
  const [first = "", ...rest] = pathInSource.split("/");
  return rest.length === 0 ? first.replace(/(\.test)?\.ts$/, "") : first;
}

/** The rules of one service: the common table and its own additions. */
export function layersOf(service: string): Readonly<Record<string, LayerRule>> {
  return { ...SERVICE_LAYERS, ...EXTRA_LAYERS[service] };
}
