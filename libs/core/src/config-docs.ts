import type { Field, Fields } from "./field.ts";
import type { ConfigSchema } from "./schema.ts";

/** The part of a schema that docs need; every ConfigSchema fits. */
export type DocumentedSchema = Pick<ConfigSchema<Fields>, "service" | "fields" | "fileEnv"> & {
  readonly requiresTogether: readonly (readonly string[])[];
};

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

function defaultText(field: Field<unknown>): string {
  if (field.defaultValue !== undefined) return `\`${field.format(field.defaultValue)}\``;
  return field.optional ? "not set" : "**required**";
}

function row(field: Field<unknown>): string {
  const type = field.range === "" ? field.type : `${field.type}: ${field.range}`;
  const cells = [
    `\`${field.env}\``,
    type,
    defaultText(field),
    field.dynamic ? "yes" : "",
    field.about,
  ];
  return `| ${cells.map(cell).join(" | ")} |`;
}

function section(schema: DocumentedSchema): string {
  const groups = schema.requiresTogether.map((group) => {
    const names = group.map((key) => `\`${schema.fields[key]?.env ?? key}\``);
    return `${names.join(", ")}: all or none.`;
  });
  return [
    `## ${schema.service}`,
    `File: \`${schema.fileEnv}\`.`,
    [
      "| variable | type | default | live | about |",
      "| --- | --- | --- | --- | --- |",
      ...Object.values(schema.fields).map(row),
    ].join("\n"),
    ...groups,
  ].join("\n\n");
}

/** Renders docs/config.md from the schemas of all services; a test keeps the file equal to this text. */
export function renderConfigDocs(schemas: readonly DocumentedSchema[]): string {
  return `${[
    "# Configuration",
    "Generated from the schemas of the services; do not edit by hand.",
    "Every setting is an environment variable. A JSON file, whose path is in the variable named below, may hold the same names\nas an object; the environment wins over the file, the file over the default. An empty variable counts as not set.",
    "Durations are milliseconds, or a number with `ms`, `s`, `m`, `h` or `d`; sizes are bytes, or a number with `KiB`, `MiB` or\n`GiB`; lists are separated by commas. A secret may also be read from the file named by its variable with `_FILE` at the end.",
    "Settings marked live change in a running service when the file changes or on SIGHUP; all others need a restart. A service\nwith a wrong setting refuses to start and names every problem at once.",
    ...schemas.map(section),
  ].join("\n\n")}\n`;
}
