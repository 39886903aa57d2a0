//go:build js && wasm

package indexeddb

import (
	"sync"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
)

// members are the members of IndexedDB's interfaces that every operation uses,
// looked up once (see jsbridge.Method).
type members struct {
	transaction, objectStore js.Value
	get, getKey, put, delete js.Value
	getAll, getAllKeys       js.Value
	commit, abort            js.Value
	result                   js.Value // the getter of IDBRequest's
	setSuccess               js.Value // the setters of the events' handlers
	setComplete, setAbort    js.Value
}

// idb must not be called before factory has found IndexedDB.
var idb = sync.OnceValue(func() *members {
	objects := func(name string) js.Value { return jsbridge.Method("IDBObjectStore", name) }
	return &members{
		transaction: jsbridge.Method("IDBDatabase", "transaction"),
		objectStore: jsbridge.Method("IDBTransaction", "objectStore"),
		commit:      jsbridge.Method("IDBTransaction", "commit"),
		abort:       jsbridge.Method("IDBTransaction", "abort"),
		get:         objects("get"), getKey: objects("getKey"), put: objects("put"), delete: objects("delete"),
		getAll: objects("getAll"), getAllKeys: objects("getAllKeys"),
		result:      jsbridge.Getter("IDBRequest", "result"),
		setSuccess:  jsbridge.Setter("IDBRequest", "onsuccess"),
		setComplete: jsbridge.Setter("IDBTransaction", "oncomplete"),
		setAbort:    jsbridge.Setter("IDBTransaction", "onabort"),
	}
})
