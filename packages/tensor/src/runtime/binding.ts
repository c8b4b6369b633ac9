// The native binding, loaded on first use.

import { loadBinding, type NativeBinding } from "@figment/native";

let loaded: NativeBinding | undefined;

/** The native binding; loading it is the first thing that can fail, so it happens on first use. */
export function native(): NativeBinding {
  loaded ??= loadBinding();
  return loaded;
}
