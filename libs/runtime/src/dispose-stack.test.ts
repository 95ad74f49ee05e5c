import { describe, expect, it } from "vitest";
import { createDisposeStack } from "./dispose-stack.ts";

describe("createDisposeStack", () => {
  it("closes in reverse order, one after the other", async () => {
    const log: string[] = [];
    const stack = createDisposeStack();
    for (const name of ["a", "b", "c"]) {
      stack.defer(name, async () => {
        log.push(`${name} begins`);
        await Promise.resolve();
        log.push(`${name} ends`);
      });
    }
    await stack[Symbol.asyncDispose]();
    expect(log).toEqual(["c begins", "c ends", "b begins", "b ends", "a begins", "a ends"]);
  });

  it("closes the rest after a failure, and rethrows all failures with their names", async () => {
    const closed: string[] = [];
    const stack = createDisposeStack();
    stack.defer("a", () => closed.push("a"));
    stack.defer("b", () => Promise.reject(new Error("broken b")));
    stack.defer("c", () => {
      throw new Error("broken c");
    });
    const error: unknown = await Promise.resolve(stack[Symbol.asyncDispose]()).catch(
      (thrown: unknown) => thrown,
    );
    expect(closed).toEqual(["a"]);
    expect(error).toBeInstanceOf(AggregateError);
    const errors = (error as AggregateError).errors as Error[];
    expect(errors.map((e) => `${e.message} ${String(e.cause)}`)).toEqual([
      "Closing c failed. Error: broken c",
      "Closing b failed. Error: broken b",
    ]);
  });

  it("closes once, however often it is asked", async () => {
    let closed = 0;
    const stack = createDisposeStack();
    stack.defer("a", () => closed++);
    await Promise.all([stack[Symbol.asyncDispose](), stack[Symbol.asyncDispose]()]);
    expect(closed).toBe(1);
  });

  it("closes what is added while it closes", async () => {
    const closed: string[] = [];
    const stack = createDisposeStack();
    stack.defer("a", () => {
      closed.push("a");
      stack.defer("late", () => closed.push("late"));
    });
    await stack[Symbol.asyncDispose]();
    expect(closed).toEqual(["a", "late"]);
  });
});
