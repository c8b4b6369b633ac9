// What `--filter` selects.

/** Those whose name contains one of the filter's parts between commas; all where it is empty. */
export function selectNamed<T extends { readonly name: string }>(all: readonly T[], filter: string): readonly T[] {
  const parts = filter
    .toLowerCase()
    .split(",")
    .map((part) => part.trim());
  return all.filter(({ name }) => parts.some((part) => name.toLowerCase().includes(part)));
}
