import { describe, expect, it } from "vitest";
import { fakeTask } from "../engine/engine.fake.ts";
import type { LiveSpec, LiveTask } from "./live-task.ts";
import { DEFAULT_RETRY } from "./task.ts";
import { isWaitingBefore, PackedBytes, TaskPacker, unpackTask } from "./waiting-task.ts";

type Traits = Omit<LiveTask, "taskId" | "key" | "jobId" | "traceparent" | "readyAtMs" | "waitMs">;

/** Tasks of one submission. */
function siblings(count: number, spec = {}) {
  return Array.from({ length: count }, () => fakeTask({ jobId: "job_s", traceparent: "tp" }, spec));
}

describe("TaskPacker", () => {
  it("gives back everything but what a ready task no longer needs", () => {
    const packer = new TaskPacker();
    const spec = {
      slotCost: 3,
      affinityKey: "chat",
      requiredLabels: { gpu: "a100" },
      labelConstraints: [{ key: "k", comparator: "EXISTS", values: [], weight: 2 } as const],
    };
    const task = fakeTask(
      {
        attempts: 2,
        charged: 1,
        crowded: 1,
        losses: 2,
        readyAtMs: 12.5,
        avoidAgentId: "x",
        waitMs: 3,
        isNew: true,
      },
      spec,
    );
    const {
      key: _key,
      dependencies: _dependencies,
      ...kept
    } = { dependencies: [], key: "", ...task.spec };
    expect(unpackTask(packer.pack(task, 7))).toEqual({ ...task, spec: kept });
  });

  it("keeps what tasks of a submission have in common once, and only what is the same", () => {
    const packer = new TaskPacker();
    const [first, second] = siblings(2).map((task) => packer.pack(task, 7));
    expect(second?.cohort).toBe(first?.cohort);
    const other = packer.pack(fakeTask({ jobId: "job_o" }), 7);
    expect(other.cohort).not.toBe(first?.cohort);
    expect(other.cohort.kind).toBe(first?.cohort.kind);
    const costly = packer.pack(fakeTask({}, { slotCost: 2 }), 7);
    expect(costly.cohort.kind).not.toBe(first?.cohort.kind);
    const chat = packer.pack(fakeTask({ jobId: "job_s" }, { affinityKey: "a" }), 7);
    expect(chat.cohort.kind).toBe(first?.cohort.kind);
    expect(unpackTask(chat).spec.affinityKey).toBe("a");
  });

  it("takes no tasks for equal that differ in anything but their affinity key", () => {
    const traits: Required<Omit<Traits, "spec">> = {
      namespace: "other",
      priority: 7,
      planning: true,
      sink: false,
      hasUpstream: true,
      isNew: true,
      attempts: 3,
      charged: 2,
      crowded: 1,
      losses: 1,
      avoidAgentId: "x",
      preferAgentId: "y",
    };
    const fields: Required<Omit<LiveSpec, "affinityKey">> = {
      capability: "other",
      versionRange: "^2.0.0",
      requiredLabels: { gpu: "a100" },
      preferredLabels: { gpu: "a100" },
      labelConstraints: [{ key: "k", comparator: "EXISTS", values: [], weight: 1 }],
      slotCost: 3,
      preferredRegion: "eu",
      priority: 9,
      retry: { ...DEFAULT_RETRY, maxLosses: 9 },
      startToCloseMs: 1,
      scheduleToStartMs: 2,
      heartbeatMs: 3,
      scheduleToCloseMs: 4,
      cancelSiblingsOnFailure: true,
      feedsMap: true,
      isMapItem: true,
    };
    const plain = () => fakeTask({ jobId: "job_s" });
    const differing = [
      ...Object.entries(traits).map(([trait, value]) => ({ ...plain(), [trait]: value })),
      ...Object.entries(fields).map(([field, value]) => fakeTask({}, { [field]: value })),
    ];
    for (const task of differing) {
      const packer = new TaskPacker();
      const { kind } = packer.pack(plain(), 7).cohort;
      const other = packer.pack(task, 7);
      expect(other.cohort.kind).not.toBe(kind);
      expect(packer.pack({ ...task, spec: { ...task.spec } }, 7).cohort.kind).toBe(
        other.cohort.kind,
      );
      expect(packer.pack(plain(), 7).cohort.kind).toBe(kind);
    }
  });

  it("knows by when a task has to go: as its spec says, as a pause has left it, or as it is told", () => {
    const packer = new TaskPacker();
    const [task, resumed] = [fakeTask({}, { scheduleToStartMs: 50 }), fakeTask({ waitMs: 20 })];
    expect(packer.pack(task, 7).cohort.startByMs).toBe(57);
    expect(packer.pack(resumed, 7).cohort.startByMs).toBe(27);
    expect(packer.pack(task, 7, 9).cohort.startByMs).toBe(9);
  });
});

describe("isWaitingBefore", () => {
  it("orders by priority, then by age, then by id", () => {
    const packer = new TaskPacker();
    const tasks = [
      fakeTask({ key: "young", readyAtMs: 2 }),
      fakeTask({ key: "younger", readyAtMs: 2 }),
      fakeTask({ key: "old", readyAtMs: 1 }),
      fakeTask({ key: "urgent", readyAtMs: 9, priority: 1 }),
    ].map((task) => packer.pack(task, 0));
    const sorted = tasks.sort((a, b) => (isWaitingBefore(a, b) ? -1 : 1));
    expect(sorted.map(({ key }) => key)).toEqual(["urgent", "old", "young", "younger"]);
  });
});

describe("PackedBytes", () => {
  it("counts shared parts once, large ones by their size, and is at zero when all are gone", () => {
    const packer = new TaskPacker();
    const bytes = new PackedBytes();
    const many = siblings(100).map((task) => packer.pack(task, 7));
    for (const task of many) bytes.add(task);
    const shared = bytes.total;
    expect(shared / many.length).toBeLessThan(230);
    const large = packer.pack(fakeTask({}, { requiredLabels: { k: "v".repeat(5_000) } }), 7);
    bytes.add(large);
    expect(bytes.total - shared).toBeGreaterThan(15_000);
    for (const task of [...many, large]) bytes.remove(task);
    expect(bytes.total).toBe(0);
  });
});
