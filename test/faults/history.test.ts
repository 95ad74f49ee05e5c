import { describe, expect, it } from "vitest";
import { belowMinimum } from "./_campaign.ts";
import { type Appended, findViolations, type Told, type ToldEvent } from "./_history.ts";
import { createRandom } from "./_random.ts";

const appended: Appended = { element: "e1", tasks: ["a", "b"], acknowledged: ["job_1"] };

function events(...keys: string[]): ToldEvent[] {
  return keys.map((taskKey, index) => ({ sequence: BigInt(index + 1), taskKey, final: true }));
}

const whole: Told = { element: "e1", jobId: "job_1", ended: true, events: events("a", "b", "") };

function check(one: Appended, told: readonly Told[], problem: string): void {
  const found = findViolations([one], told);
  expect(found).toHaveLength(1);
  expect(found[0]).toContain(problem);
}

describe("findViolations", () => {
  it("finds nothing wrong with what is whole, nor with an unacknowledged element there or not", () => {
    expect(findViolations([appended], [whole])).toEqual([]);
    const unknown = { ...appended, acknowledged: [] };
    expect(findViolations([unknown], [whole])).toEqual([]);
    expect(findViolations([unknown], [])).toEqual([]);
    expect(findViolations([{ ...appended, acknowledged: ["job_1", "job_1"] }], [whole])).toEqual(
      [],
    );
  });

  it("finds what is lost, doubled, or appended by nobody", () => {
    check(appended, [], "job_1 was acknowledged and is not there");
    check({ ...appended, acknowledged: [] }, [whole, { ...whole, jobId: "job_2" }], "2 times");
    check(appended, [whole, { ...whole, element: "e9" }], "nobody appended it");
    const twice = { ...appended, acknowledged: ["job_1", "job_2"] };
    expect(findViolations([twice], [whole])).toEqual([
      "e1: one request was given 2 jobs",
      "e1: job_2 was acknowledged and is not there",
    ]);
  });

  it("finds what is stuck, ended twice, never ended, out of order, or not of the job", () => {
    check(appended, [{ ...whole, ended: false }], "has not ended");
    check(appended, [{ ...whole, events: events("a", "b", "a", "") }], "a ended 2 times");
    check(appended, [{ ...whole, events: events("a", "b", "", "") }], "the job ended 2 times");
    check(appended, [{ ...whole, events: events("a", "") }], "b ended 0 times");
    check(appended, [{ ...whole, events: events("a", "b", "c", "") }], "c is no task of it");
    const disordered = [...whole.events].reverse();
    expect(findViolations([appended], [{ ...whole, events: disordered }])).toHaveLength(2);
  });
});

describe("belowMinimum", () => {
  it("names every count that is too small to prove anything", () => {
    expect(belowMinimum({ faults: 3, acknowledged: 10 }, { faults: 3, acknowledged: 11 })).toEqual([
      "only 10 acknowledged; at least 11 are needed",
    ]);
    expect(belowMinimum({}, { faults: 1 })).toHaveLength(1);
  });
});

describe("createRandom", () => {
  it("gives the same numbers for the same seed, within their bounds", () => {
    const draw = (seed: number) => {
      const random = createRandom(seed);
      return Array.from({ length: 200 }, () => random.between(1, 6));
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
    expect(new Set(draw(7))).toEqual(new Set([1, 2, 3, 4, 5, 6]));
  });
});
