// Reads the "name" custom section of a WebAssembly module (WebAssembly core specification, appendix
// "Custom Sections"): the names of its functions by index, imports included.

const NAME_SECTION = 0; // custom sections have id 0
const FUNCTION_NAMES = 1; // subsection id

/**
 * @param {Uint8Array} bytes of a module
 * @returns {string[]} sparse, by function index; empty if the module is stripped
 */
export function functionNames(bytes) {
  let at = 8; // magic and version
  const leb = () => {
    let value = 0, shift = 0, byte;
    do {
      byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      shift += 7;
    } while (byte & 128);
    return value;
  };
  const text = () => {
    const length = leb();
    at += length;
    return new TextDecoder().decode(bytes.subarray(at - length, at));
  };
  const names = [];
  while (at < bytes.length) {
    const id = bytes[at++];
    const size = leb();
    const end = at + size;
    if (id === NAME_SECTION && text() === "name") {
      while (at < end) {
        const kind = bytes[at++];
        const length = leb();
        const next = at + length;
        if (kind === FUNCTION_NAMES) for (let n = leb(); n > 0; n--) names[leb()] = text();
        at = next;
      }
    }
    at = end;
  }
  return names;
}
