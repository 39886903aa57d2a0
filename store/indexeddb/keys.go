//go:build js && wasm

package indexeddb

import (
	"fmt"
	"strconv"
	"strings"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/store"
)

var (
	json     = js.Global().Get("JSON")
	keyRange = js.Global().Get("IDBKeyRange")
)

// key makes the key of one name. Names are printable ASCII, for which Go's
// quoting is JSON's. Keys of singular records, which have the id "-", are kept:
// every commit asks for them.
func (db *DB) key(vault string, n store.Name) js.Value {
	if n.ID != "-" {
		return makeKey(vault, n)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	full := singular{vault, n.Kind}
	k, ok := db.keys[full]
	if !ok {
		if db.keys == nil || len(db.keys) == maxKeys {
			db.keys = map[singular]js.Value{}
		}
		k = makeKey(vault, n)
		db.keys[full] = k
	}
	return k
}

type singular struct{ vault, kind string }

const maxKeys = 64

func makeKey(vault string, n store.Name) js.Value {
	return json.Call("parse", string(appendKey(nil, vault, n)))
}

func appendKey(b []byte, vault string, n store.Name) []byte {
	b = strconv.AppendQuote(append(b, '['), vault)
	b = strconv.AppendQuote(append(b, ','), n.Kind)
	b = strconv.AppendQuote(append(b, ','), n.ID)
	return append(b, ']')
}

// bound makes the IDBKeyRange of r. Keys compare element by element, and ASCII
// strings bytewise (Indexed Database API 3.0, section 2.4).
func bound(vault string, r store.Range) (js.Value, error) {
	text := appendKey([]byte{'['}, vault, store.Name{Kind: r.Kind, ID: r.First})
	if text = append(text, ','); r.Last == "" {
		text = appendEnd(text, vault, r.Kind)
	} else {
		text = appendKey(text, vault, store.Name{Kind: r.Kind, ID: r.Last})
	}
	ends := json.Call("parse", string(append(text, ']')))
	return jsbridge.Call(keyRange, "bound", ends.Index(0), ends.Index(1))
}

// appendEnd appends what is greater than every key that begins with these
// elements: an array is greater than any string.
func appendEnd(b []byte, elements ...string) []byte {
	b = append(b, '[')
	for _, e := range elements {
		b = append(strconv.AppendQuote(b, e), ',')
	}
	return append(b, "[]]"...)
}

// wholeVault makes the IDBKeyRange of everything in a vault. An array is less
// than a longer one that begins with it.
func wholeVault(vault string) js.Value {
	first := json.Call("parse", "["+strconv.Quote(vault)+"]")
	return keyRange.Call("bound", first, json.Call("parse", string(appendEnd(nil, vault))))
}

// ids takes the ids out of keys, in one crossing: Array.prototype.join writes
// nested arrays with commas, and neither a vault nor a kind contains a newline.
func ids(vault, kind string, keys js.Value) ([]string, error) {
	if keys.Length() == 0 {
		return nil, nil
	}
	lines := strings.Split(keys.Call("join", "\n").String(), "\n")
	prefix := vault + "," + kind + ","
	for i, line := range lines {
		id, found := strings.CutPrefix(line, prefix)
		if !found {
			return nil, fmt.Errorf("%w: a key that is not of this schema", store.ErrUnavailable)
		}
		lines[i] = id
	}
	return lines, nil
}

// value copies a stored record; nil if there is none. What is not a Uint8Array
// was not written by this package, and reads as an empty record, which the
// reader's own checks refuse by name.
func value(v js.Value) []byte {
	switch {
	case v.IsUndefined():
		return nil
	case !jsbridge.IsBytes(v):
		return []byte{}
	}
	return jsbridge.GoBytes(v)
}
