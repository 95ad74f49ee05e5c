/** Ends resources in the reverse order of their making. Node 20 has no AsyncDisposableStack. */
export interface DisposeStack extends AsyncDisposable {
  /** Runs `fn` when the stack is disposed of, before everything that was added earlier. */
  defer(name: string, fn: () => unknown): void;
}

/** Creates a stack. Disposing runs every step, also after one failed, and only once; failures are rethrown
 * together as an AggregateError whose errors name their step. */
export function createDisposeStack(): DisposeStack {
  const steps: { readonly name: string; fn(): unknown }[] = [];
  let disposal: Promise<void> | undefined;

  async function disposeAll(): Promise<void> {
    const errors: Error[] = [];
    for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
      try {
        await step.fn();
      } catch (error) {
        errors.push(new Error(`Closing ${step.name} failed.`, { cause: error }));
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, "Some resources did not close.");
  }

  return {
    defer(name, fn) {
      steps.push({ name, fn });
    },
    [Symbol.asyncDispose]() {
      disposal ??= disposeAll();
      return disposal;
    },
  };
}
