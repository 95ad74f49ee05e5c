/** An audit log and its witness behind one port: a small real gRPC server with a real tree. */
import { randomBytes } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ed25519FromSeed,
  formatCheckpoint,
  formatNoteKey,
  hashLeaf,
  type NoteSigner,
  rawPublicKey,
  signNote,
  TileSet,
} from "@nexus/merkle";
import { AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { WitnessService } from "@nexus/proto/insight";
import { type AuditFilter, AuditLogService } from "@nexus/proto/vault";
import { createRpcServer, type ServiceImplementation } from "@nexus/rpc";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import type { TestIdentity } from "@nexus/testkit";

const STARTED_AT_MS = Date.UTC(2026, 10, 26);

/** A log that can be made to lie. */
export class StandInLog {
  readonly signer: NoteSigner;
  leaves: Uint8Array[] = [];
  /** What its witness kept. */
  witnessed: string[] = [];
  /** The filter of the last list. */
  asked: AuditFilter | undefined;

  constructor() {
    const privateKey = ed25519FromSeed(randomBytes(32));
    const publicKey = rawPublicKey(privateKey);
    this.signer = { name: "nexus/audit-log", publicKey, privateKey };
  }

  get key(): string {
    return formatNoteKey(this.signer);
  }

  /** Appends an entry of each of these resources. */
  append(...resources: string[]): void {
    for (const resource of resources) {
      const index = this.leaves.length;
      const entry = create(AuditEntrySchema, {
        index: BigInt(index),
        time: timestampFromMs(STARTED_AT_MS + index),
        entryId: `entry-${index}`,
        service: "vault",
        action: "nexus.vault.v1.KeyService/CreateKey",
        namespace: "default",
        actor: "ada",
        resource,
        result: AuditResult.ALLOWED,
      });
      this.leaves.push(toBinary(AuditEntrySchema, entry));
    }
  }

  /** The signed note of all leaves. */
  checkpoint(): string {
    const tree = new TileSet([]);
    for (const [index, leaf] of this.leaves.entries()) tree.append(index, hashLeaf(leaf));
    const size = this.leaves.length;
    const state = { origin: this.signer.name, size, root: tree.root(size) };
    return signNote(formatCheckpoint(state), this.signer);
  }

  async listen({ verifier }: TestIdentity) {
    const server = createRpcServer({
      service: "gateway",
      host: "127.0.0.1",
      port: 0,
      logger: createSilentLogger(),
      metrics: createMetrics("gateway"),
      verifier,
    });
    server.add(AuditLogService, this.#log());
    server.add(WitnessService, {
      listWitnessedCheckpoints: () => ({
        checkpoints: this.witnessed.map((note) => ({ note, treeSize: 0n })),
        witnessKey: "",
        refusal: "",
      }),
    });
    const { address } = await server.listen();
    return { address, close: () => server.close(100) };
  }

  #log(): ServiceImplementation<typeof AuditLogService> {
    const shown = () => this.leaves.map((leaf, index) => ({ index: BigInt(index), leaf }));
    const start = () => ({ key: this.key, checkpoints: [this.checkpoint()] });
    return {
      listEntries: ({ filter }) => {
        this.asked = filter;
        return { entries: shown().reverse() };
      },
      // Ends at once, as that of a server that stops does: whoever watches comes again.
      async *watchEntries({ resumeIndex }) {
        const all = shown();
        const entries = all.filter(({ index }) => index >= resumeIndex);
        yield { entries, nextIndex: BigInt(all.length) };
      },
      async *exportEntries() {
        yield { frame: { case: "start", value: start() } };
        const leaves = shown();
        const storedHashes = Buffer.concat(leaves.map(({ leaf }) => hashLeaf(leaf)));
        yield { frame: { case: "leaves", value: { leaves, storedHashes } } };
      },
      getCheckpoint: () => ({ checkpoint: this.checkpoint(), key: this.key }),
      getInclusionProof: unused,
      getConsistencyProof: unused,
    };
  }
}

function unused(): never {
  throw new NexusError({ kind: "unimplemented", reason: "UNIMPLEMENTED", message: "unused" });
}
