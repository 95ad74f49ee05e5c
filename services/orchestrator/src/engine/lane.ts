/** The waiting tasks of one namespace that need one capability, by class: what agents can take together. */
import type { RoutingNeed } from "../domain/routing.ts";
import { slotCostOf } from "../domain/task.ts";
import { isWaitingBefore, type WaitingTask } from "../domain/waiting-task.ts";
import type { SearchRest } from "./agent-search.ts";
import { Heap } from "./heap.ts";
import { WaitingLine } from "./waiting-line.ts";

/** Classes set aside that are compared with one agent that changed. Those beyond it come first the next time, and are tried
 * by and by (Retries). */
export const COMPARED_MAX = 256;

/** Offers that may be stale beside one for each class. */
const STALE_MAX = 64;

/** What the lanes of a queue share. */
export interface LaneIndex {
  /** Tasks that could go. An entry of a heap counts only while it is the one here. */
  readonly waiting: ReadonlyMap<string, WaitingTask>;
  /** Entries of heaps that do not count. */
  waste: number;
}

/** Tasks of one class can go to the same agents, so when its first one finds none, none of it does. */
export class TaskClass {
  readonly name: string;
  readonly heap = new WaitingLine();
  /** Its place among the lane's open classes; undefined while it is set aside. */
  offer: Offer | undefined;
  /** Where it is set aside. */
  shelf: Shelf | undefined;
  /** What it asks of an agent, known once it was set aside. */
  need: RoutingNeed | undefined;
  /** Where the search for an agent goes on, while it has not looked at all of them. */
  rest: SearchRest | undefined;
  /** The same of the search for one to be kept. */
  nearestFrom: number | undefined;

  constructor(name: string) {
    this.name = name;
  }
}

/** Classes that are set aside together. */
interface Shelf {
  /** The label that all of them require, if that is why. */
  readonly label: string | undefined;
  readonly classes: Set<TaskClass>;
}

/** An open class by what was its best task. Another offer of the class takes its place; then it is skipped. */
interface Offer {
  readonly group: TaskClass;
  readonly head: WaitingTask;
}

/** Owns the classes of a lane. One for which nobody was found is set aside, until an agent changes that could take it: so
 * what a free slot costs does not grow with the classes that wait for other agents. */
export class Lane {
  readonly key: string;
  readonly namespace: string;
  readonly #index: LaneIndex;
  readonly #classes = new Map<string, TaskClass>();
  readonly #offers = new Heap<Offer>((a, b) => isWaitingBefore(a.head, b.head));
  /** Those whose tasks take several slots. */
  readonly #costly = new Set<TaskClass>();
  /** Set aside, the one that was tried longest ago first. */
  readonly #aside = new Set<TaskClass>();
  /** The same: by a label that they require, those that require none, and those for which not every agent was looked at. */
  readonly #byLabel = new Map<string, Shelf>();
  readonly #anywhere = newShelf();
  readonly #unsure = newShelf();

  constructor(key: string, namespace: string, index: LaneIndex) {
    this.key = key;
    this.namespace = namespace;
    this.#index = index;
  }

  /** Classes that have tasks, or had some when they were last looked at. */
  get classes(): ReadonlyMap<string, TaskClass> {
    return this.#classes;
  }

  /** Says whether there may be a task to look at. */
  get isOpen(): boolean {
    return this.#offers.size > 0;
  }

  /** How many classes are set aside. */
  get aside(): number {
    return this.#aside.size;
  }

  /** Adds a task that is in the index. One of a class that is set aside waits with it, unless it goes before all of them: slots may
   * be kept for a task that it goes before. */
  add(className: string, waiting: WaitingTask): void {
    let group = this.#classes.get(className);
    if (group === undefined) {
      group = new TaskClass(className);
      this.#classes.set(className, group);
      if (slotCostOf(waiting.cohort.kind.traits.spec) > 1) this.#costly.add(group);
    }
    group.heap.push(waiting);
    if (group.heap.peek() !== waiting) return;
    // Slots that were kept from the others may not be from it.
    group.rest = undefined;
    this.#unshelve(group);
    this.#offer(group, waiting);
  }

  /** The best task of the open classes, with its class. */
  best(): Offer | undefined {
    for (let next = this.#offers.peek(); next !== undefined; next = this.#offers.peek()) {
      const { group, head } = next;
      const isCurrent = group.offer === next;
      const best = isCurrent ? this.headOf(group) : undefined;
      if (best !== undefined && best === head) return next;
      this.#offers.pop();
      if (!isCurrent) continue;
      if (best === undefined) this.#drop(group);
      else this.#offer(group, best);
    }
    return undefined;
  }

  /** The best task of a class that still waits. */
  headOf({ heap }: TaskClass): WaitingTask | undefined {
    for (let task = heap.peek(); task !== undefined; task = heap.peek()) {
      if (this.#index.waiting.get(task.taskId) === task) return task;
      heap.pop();
      this.#index.waste -= 1;
    }
    return undefined;
  }

  /** Says whether any task waits, of whatever class. */
  hasWaiting(): boolean {
    for (const group of this.#classes.values()) {
      if (this.headOf(group) !== undefined) return true;
      this.#drop(group);
    }
    return false;
  }

  /** Nobody was found for a class. `sure`: every agent that could take anything was looked at. */
  setAside(group: TaskClass, need: RoutingNeed, sure: boolean): void {
    group.offer = undefined;
    group.rest = undefined;
    group.need = need;
    group.shelf = sure ? this.#shelfFor(need.requiredLabels) : this.#unsure;
    group.shelf.classes.add(group);
    this.#aside.add(group);
  }

  /** An agent with these labels changed: opens what it can take now, by the words of `fits`, and one of those for which not
   * every agent was looked at. False when there were more classes than it was compared with.   Cost: about COMPARED_MAX comparisons at most, shared by the shelves that the agent's labels lead to: a
   * full one leaves the others their part. */
  reopenFor(
    labels: Readonly<Record<string, string>>,
    fits: (need: RoutingNeed) => boolean,
  ): boolean {
    const shelves = this.#anywhere.classes.size > 0 ? [this.#anywhere] : [];
    for (const label in labels) {
      const shelf = this.#byLabel.get(labelName(label, labels[label]));
      if (shelf !== undefined) shelves.push(shelf);
    }
    const most = Math.ceil(COMPARED_MAX / Math.max(1, shelves.length));
    const isWhole = shelves.every(({ classes }) => classes.size <= most);
    for (const shelf of shelves) this.#compare(shelf, fits, most);
    const [unsure] = this.#unsure.classes;
    if (unsure !== undefined) this.#reopen(unsure);
    return isWhole;
  }

  /** What classes that are set aside ask of an agent, so many at most, those that were tried longest ago first. */
  needsAside(limit: number): RoutingNeed[] {
    const needs: RoutingNeed[] = [];
    for (const { need } of this.#aside) {
      if (needs.length >= limit) break;
      if (need !== undefined) needs.push(need);
    }
    return needs;
  }

  /** Opens the classes that were tried longest ago, so many at most: time may have passed that they waited for. */
  reopenSome(most: number): void {
    let left = Math.min(this.#aside.size, most);
    for (const group of this.#aside) {
      if (left === 0) break;
      left -= 1;
      this.#reopen(group);
    }
  }

  /** Classes whose tasks take several slots and wait, so many at most; the others come the next time. */
  nextCostly(limit: number): TaskClass[] {
    const next: TaskClass[] = [];
    let left = Math.min(this.#costly.size, limit);
    for (const group of this.#costly) {
      if (left === 0) break;
      left -= 1;
      this.#costly.delete(group);
      if (this.headOf(group) === undefined) {
        // The next task of the class makes it anew, and it is among these again.
        this.#drop(group);
        continue;
      }
      this.#costly.add(group);
      next.push(group);
    }
    return next;
  }

  /** Forgets what no longer counts. */
  sweep(): void {
    const { waiting } = this.#index;
    for (const group of this.#classes.values()) {
      group.heap.filter((task) => waiting.get(task.taskId) === task);
      if (group.heap.size === 0) this.#drop(group);
    }
  }

  /** Opens what fits among so many classes of a shelf at most. */
  #compare({ classes }: Shelf, fits: (need: RoutingNeed) => boolean, most: number): void {
    let left = Math.min(classes.size, most);
    for (const group of classes) {
      if (left === 0) break;
      left -= 1;
      if (group.need === undefined || fits(group.need)) this.#reopen(group);
      else if (classes.size > most) {
        // To the end, so that the others come first the next time.
        classes.delete(group);
        classes.add(group);
      }
    }
  }

  #reopen(group: TaskClass): void {
    this.#unshelve(group);
    const head = this.headOf(group);
    if (head === undefined) this.#drop(group);
    else this.#offer(group, head);
  }

  #unshelve(group: TaskClass): void {
    const { shelf } = group;
    if (shelf === undefined) return;
    group.shelf = undefined;
    this.#aside.delete(group);
    shelf.classes.delete(group);
    if (shelf.label !== undefined && shelf.classes.size === 0) this.#byLabel.delete(shelf.label);
  }

  #drop(group: TaskClass): void {
    this.#unshelve(group);
    group.offer = undefined;
    this.#costly.delete(group);
    this.#classes.delete(group.name);
  }

  #offer(group: TaskClass, head: WaitingTask): void {
    group.offer = { group, head };
    this.#offers.push(group.offer);
    if (this.#offers.size <= 2 * this.#classes.size + STALE_MAX) return;
    this.#offers.filter((offer) => offer.group.offer === offer);
  }

  /** Of the labels that a class requires, the one that the fewest others are kept by: most likely one that few agents have. */
  #shelfFor(requiredLabels: Readonly<Record<string, string>>): Shelf {
    let best: Shelf | undefined;
    for (const label in requiredLabels) {
      const name = labelName(label, requiredLabels[label]);
      const shelf = this.#byLabel.get(name) ?? newShelf(name);
      if (best === undefined || shelf.classes.size < best.classes.size) best = shelf;
    }
    if (best?.label === undefined) return this.#anywhere;
    this.#byLabel.set(best.label, best);
    return best;
  }
}

function newShelf(label?: string): Shelf {
  return { label, classes: new Set() };
}

/** Two labels of one name would only be compared more often than they need to be. */
function labelName(label: string, value = ""): string {
  return `${label}=${value}`;
}
