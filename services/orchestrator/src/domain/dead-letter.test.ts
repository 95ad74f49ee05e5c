import { describe, expect, it } from "vitest";
import { REDRIVE_LABEL, redriveLabels } from "./dead-letter.ts";

describe("redriveLabels", () => {
  it("keeps the labels of the old job and names the dead letter", () => {
    expect(redriveLabels({ team: "blue" }, "task_1")).toEqual({
      team: "blue",
      [REDRIVE_LABEL]: "task_1",
    });
  });

  it("names the latest dead letter when a redriven task fails again", () => {
    expect(redriveLabels({ [REDRIVE_LABEL]: "task_1" }, "task_2")).toEqual({
      [REDRIVE_LABEL]: "task_2",
    });
  });

  it("stays within the number of labels that a job may have", () => {
    const full = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`l${i}`, "x"]));
    const labels = redriveLabels(full, "task_1");
    expect(Object.keys(labels)).toHaveLength(64);
    expect(labels[REDRIVE_LABEL]).toBe("task_1");
  });
});
