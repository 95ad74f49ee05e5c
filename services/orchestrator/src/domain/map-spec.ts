/** What a spec says of a fan-out over a list. */

/** How a task is mapped. */
export interface MapSpec {
  /** Key of the task whose output is the list; one of the task's dependencies. */
  readonly source: string;
  /** Under which name an agent receives its element. */
  readonly itemName: string;
  readonly maxItems: number;
}

/** Which element a task has. */
export interface MapItem {
  /** Key of the mapped task. */
  readonly of: string;
  /** Counts from 0. */
  readonly index: number;
  readonly itemName: string;
}
