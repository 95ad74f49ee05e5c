/** An audit log that can be made to lie: a small real gRPC server with a real tree. */
import { randomBytes } from "node:crypto";
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
import { AuditLogService } from "@nexus/proto/vault";
import { createRpcServer, type ServiceImplementation } from "@nexus/rpc";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import type { TestIdentity } from "@nexus/testkit";

export function newSigner(name = "nexus/audit-log"): NoteSigner {
  const privateKey = ed25519FromSeed(randomBytes(32));
  return { name, publicKey: rawPublicKey(privateKey), privateKey };
}

/** Vault, as far as a witness sees it. */
export class FakeAuditLog {
  signer = newSigner();
  leaves: string[] = [];
  #address = "";
  #close: () => Promise<void> = async () => undefined;

  get address(): string {
    return this.#address;
  }

  async listen({ verifier }: TestIdentity): Promise<void> {
    const server = createRpcServer({
      service: "vault",
      host: "127.0.0.1",
      port: 0,
      logger: createSilentLogger(),
      metrics: createMetrics("vault"),
      verifier,
    });
    server.add(AuditLogService, this.#handlers());
    this.#address = (await server.listen()).address;
    this.#close = () => server.close(100);
  }

  close(): Promise<void> {
    return this.#close();
  }

  #tree(): TileSet {
    const tree = new TileSet([]);
    for (const [index, leaf] of this.leaves.entries()) {
      tree.append(index, hashLeaf(Buffer.from(leaf)));
    }
    return tree;
  }

  #handlers(): ServiceImplementation<typeof AuditLogService> {
    const unused = () => {
      throw new NexusError({ kind: "unimplemented", reason: "UNIMPLEMENTED", message: "unused" });
    };
    return {
      listEntries: unused,
      watchEntries: unused,
      exportEntries: unused,
      getInclusionProof: unused,
      getCheckpoint: () => {
        const size = this.leaves.length;
        if (size === 0) {
          throw new NexusError({ kind: "precondition", reason: "AUDIT_EMPTY", message: "empty" });
        }
        const state = { origin: this.signer.name, size, root: this.#tree().root(size) };
        const checkpoint = signNote(formatCheckpoint(state), this.signer);
        return { checkpoint, key: formatNoteKey(this.signer) };
      },
      getConsistencyProof: ({ firstSize, secondSize }) => ({
        secondSize,
        proof: this.#tree().consistencyProof(Number(firstSize), Number(secondSize)),
      }),
    };
  }
}
