/** Writes the demo's story, each line with the time since its start. */
export interface Screen {
  heading(text: string): void;
  line(text: string): void;
  table(rows: readonly (readonly string[])[]): void;
}

/** Creates a screen on standard output. */
export function createScreen(startedAtMs: number): Screen {
  const write = (text: string) => process.stdout.write(`${text}\n`);
  return {
    heading: (text) => write(`\n${text}`),
    line: (text) => {
      const seconds = ((performance.now() - startedAtMs) / 1_000).toFixed(1).padStart(6);
      write(`${seconds} s  ${text}`);
    },
    table: (rows) => {
      const widths = (rows[0] ?? []).map((_, column) =>
        Math.max(...rows.map((row) => row[column]?.length ?? 0)),
      );
      for (const row of rows) {
        const cells = row.map((cell, column) => cell.padEnd(widths[column] ?? 0));
        write(`  ${cells.join("  ").trimEnd()}`);
      }
    },
  };
}
