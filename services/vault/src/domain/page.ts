/** Which page of a list. */
export interface PageOf {
  readonly size: number;
  /** Of the page before; empty for the first one. */
  readonly token: string;
}

/** A page of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}
