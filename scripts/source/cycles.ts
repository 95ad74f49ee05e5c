/** Finds groups of nodes that reach each other, by Tarjan's algorithm (SIAM J. Comput. 1(2), 1972). */

interface Visit {
  readonly index: number;
  low: number;
  onStack: boolean;
}

/** Returns every strongly connected group of two or more nodes, and every node that points to itself. */
export function findCycles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const search = new CycleSearch(edges);
  for (const node of edges.keys()) search.visit(node);
  return search.cycles;
}

class CycleSearch {
  readonly cycles: string[][] = [];
  readonly #edges: ReadonlyMap<string, readonly string[]>;
  readonly #visits = new Map<string, Visit>();
  readonly #stack: string[] = [];

  constructor(edges: ReadonlyMap<string, readonly string[]>) {
    this.#edges = edges;
  }

  visit(node: string): Visit {
    const known = this.#visits.get(node);
    if (known !== undefined) return known;
    const visit: Visit = { index: this.#visits.size, low: this.#visits.size, onStack: true };
    this.#visits.set(node, visit);
    this.#stack.push(node);
    const targets = (this.#edges.get(node) ?? []).filter((target) => this.#edges.has(target));
    for (const target of targets) {
      const next = this.visit(target);
      if (next.onStack) visit.low = Math.min(visit.low, next.low);
    }
    if (visit.low === visit.index) this.#close(node, targets.includes(node));
    return visit;
  }

  #close(node: string, pointsToItself: boolean): void {
    const group = this.#stack.splice(this.#stack.indexOf(node));
    for (const member of group) {
      const visit = this.#visits.get(member);
      if (visit !== undefined) visit.onStack = false;
    }
    if (group.length > 1 || pointsToItself) this.cycles.push(group);
  }
}
