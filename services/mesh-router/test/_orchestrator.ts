/** An orchestrator's end of a dispatch stream. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type DispatchRequestSchema,
  type DispatchResponse,
  DispatchService,
  type RoutedUpdate,
  type SessionStatus,
} from "@nexus/proto/mesh";
import { createRpcClient, type RpcChannel } from "@nexus/rpc";
import { waitFor } from "@nexus/testkit";
import { TestPeer } from "./_peer.ts";

type OrchestratorFrame = MessageInitShape<typeof DispatchRequestSchema>;

/** An orchestrator that does nothing on its own. */
export class TestOrchestrator {
  readonly peer: TestPeer<OrchestratorFrame, DispatchResponse>;
  routerId = "";
  snapshotComplete = false;
  /** Sessions as the snapshot left them. */
  snapshot: SessionStatus[] = [];
  readonly changes: SessionStatus[] = [];
  readonly updates: RoutedUpdate[] = [];
  readonly refusals: { taskId: string; fence: bigint; reason: string }[] = [];

  constructor(channel: RpcChannel, token: string) {
    const client = createRpcClient(DispatchService, channel);
    this.peer = new TestPeer(
      (frames, signal) => client.dispatch(frames, { token, signal }),
      (frame) => {
        if (frame.routerId !== "") this.routerId = frame.routerId;
        (this.snapshotComplete ? this.changes : this.snapshot).push(...frame.sessions);
        if (frame.snapshotComplete) this.snapshotComplete = true;
        this.updates.push(...frame.updates);
        this.refusals.push(...frame.refusals);
      },
    );
  }

  send(frame: OrchestratorFrame): void {
    this.peer.send(frame);
  }

  /** Leases a task to an agent. */
  assign(agent: { agentId: string; epoch: bigint }, taskId: string, fence = 1n): void {
    const session = { namespace: "default", ...agent };
    const data = new TextEncoder().encode(taskId);
    const assignment = {
      taskId,
      fence,
      jobId: "job_1",
      input: { contentType: "text/plain", data },
    };
    this.send({ assignments: [{ session, assignment }] });
  }

  /** Says whether it wants more of an agent's slots. */
  want(agent: { agentId: string; epoch: bigint }, wanted: boolean, held = 0): void {
    this.send({ demands: [{ session: { namespace: "default", ...agent }, wanted, held }] });
  }

  /** The last state that was said about an epoch. */
  stateOf(agentId: string, epoch: bigint) {
    return this.#lastOf(agentId, epoch)?.state;
  }

  /** The last number of slots that was said about an epoch. */
  slotsOf(agentId: string, epoch: bigint): number | undefined {
    return this.#lastOf(agentId, epoch)?.slots;
  }

  async untilSlots(agentId: string, epoch: bigint, slots: number): Promise<void> {
    await waitFor(() => this.slotsOf(agentId, epoch) === slots, {
      what: `${slots} slots of ${agentId}@${epoch}`,
    });
  }

  async untilState(agentId: string, epoch: bigint, state: number): Promise<void> {
    await waitFor(() => this.stateOf(agentId, epoch) === state, {
      what: `${agentId}@${epoch} in state ${state}`,
    });
  }

  #lastOf(agentId: string, epoch: bigint): SessionStatus | undefined {
    return [...this.snapshot, ...this.changes].findLast(
      ({ session }) => session?.agentId === agentId && session.epoch === epoch,
    );
  }
}
