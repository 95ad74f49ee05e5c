/** The one form of a login name: what people type with capitals, spaces around it or another Unicode form is the same
 * name, for the lookup and for the count of failures alike. Principal ids are stored in this form, so nobody gets a
 * second count by writing a name differently. */
export function canonicalLoginName(principalId: string): string {
  return principalId.normalize("NFKC").trim().toLowerCase();
}
