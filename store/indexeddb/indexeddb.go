//go:build js && wasm

// Package indexeddb keeps records in a browser's IndexedDB.
//
// The database has two object stores, "records" and "handles", without indexes
// and with out-of-line keys: the array [vault, kind, id]. A record is a
// Uint8Array, a handle is what the structured clone algorithm makes of it.
//
// Every transaction is issued whole, from one turn of the event loop, and is
// never held open across an await: the precondition of a commit is compared in
// the success event of its read, where the writes are issued too. A commit asks
// for strict durability (Indexed Database API 3.0, IDBTransactionDurability).
package indexeddb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/store"
)

// Names that every transaction needs, made once: a string that is passed from Go
// costs a crossing, a reference and a finalizer each time.
var (
	recordStore = js.ValueOf("records")
	handleStore = js.ValueOf("handles")
	bothStores  = js.ValueOf([]any{recordStore, handleStore})

	readOnly  = js.ValueOf("readonly")
	readWrite = js.ValueOf("readwrite")

	strict  = js.ValueOf(map[string]any{"durability": "strict"})
	relaxed = js.ValueOf(map[string]any{})
)

// DB is one connection to a database. It implements [store.Store].
type DB struct {
	name string

	mu         sync.Mutex
	connection js.Value // undefined while there is none
	events     js.Func  // of the connection: close and versionchange
	refused    error    // why there is no connection any more, for good
	keys       map[singular]js.Value

	reserve    *reserve // nil: nothing is kept back
	durability func() store.Durability
}

// Open opens a database, and makes it if there is none.
func Open(ctx context.Context, name string) (*DB, error) {
	db := &DB{name: name}
	db.durability = sync.OnceValue(askDurability)
	if _, err := db.connect(ctx); err != nil {
		return nil, err
	}
	return db, nil
}

// Close implements [store.Store].
func (db *DB) Close() { db.refuse(fmt.Errorf("%w: closed", store.ErrUnavailable)) }

// refuse closes the connection for good. The first reason stays.
func (db *DB) refuse(reason error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.refused == nil {
		db.refused = reason
	}
	db.drop()
}

// drop forgets the connection, so that the next operation opens a new one.
func (db *DB) drop() {
	if db.connection.IsUndefined() {
		return
	}
	for _, event := range []string{"onclose", "onversionchange"} {
		db.connection.Set(event, js.Null())
	}
	db.connection.Call("close")
	db.connection = js.Undefined()
	db.events.Release()
}

// connect returns the connection, opening it if there is none.
func (db *DB) connect(ctx context.Context) (js.Value, error) {
	if ctx.Err() != nil {
		return js.Undefined(), context.Cause(ctx)
	}
	if connection, err := db.current(); err != nil || !connection.IsUndefined() {
		return connection, err
	}
	opened, err := open(ctx, db.name)
	if err != nil {
		return js.Undefined(), err
	}
	return db.adopt(opened)
}

func (db *DB) current() (js.Value, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.connection, db.refused
}

// adopt makes an opened connection the current one, unless somebody was faster.
func (db *DB) adopt(opened js.Value) (js.Value, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.refused != nil || !db.connection.IsUndefined() {
		opened.Call("close")
		return db.connection, db.refused
	}
	db.connection = opened
	db.events = js.FuncOf(func(_ js.Value, args []js.Value) any {
		// Not in the callback itself: it must not wait for db.mu.
		go db.changed(opened, args[0].Get("type").String(), args[0].Get("newVersion"))
		return nil
	})
	opened.Set("onclose", db.events)
	opened.Set("onversionchange", db.events)
	return opened, nil
}

// changed handles the events of a connection. "close" means that the browser
// closed it (the user cleared the site's data, storage failed): the next
// operation opens it again. "versionchange" means that another page waits for
// it to be closed.
func (db *DB) changed(connection js.Value, event string, newVersion js.Value) {
	if event == "versionchange" {
		if newVersion.Type() == js.TypeNumber {
			db.refuse(fmt.Errorf("%w: it is being migrated to version %d", store.ErrNewer, newVersion.Int()))
			return
		}
		db.refuse(fmt.Errorf("%w: the database is being deleted", store.ErrUnavailable))
		return
	}
	db.forget(connection)
}

// forget drops a connection that turned out to be closed.
func (db *DB) forget(connection js.Value) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.connection.Equal(connection) {
		db.drop()
	}
}

// begin starts a transaction on one object store or several. A connection that the browser has closed without
// having said so yet is opened anew, once.
func (db *DB) begin(ctx context.Context, objects, mode, options js.Value) (js.Value, error) {
	for first := true; ; first = false {
		connection, err := db.connect(ctx)
		if err != nil {
			return js.Undefined(), err
		}
		tx, err := jsbridge.Invoke(idb().transaction, connection, objects, mode, options)
		if err == nil {
			return tx, nil
		}
		if !first || jsbridge.ErrorName(err) != "InvalidStateError" {
			return js.Undefined(), platformError(err)
		}
		db.forget(connection)
	}
}

// anew repeats, on another connection and once, what failed because the browser has
// given the connection up: Firefox does so with every one of a database that is full,
// and says it to whoever comes next. The transaction has been aborted then.
func (db *DB) anew(try func() error) error {
	err := try()
	if jsbridge.ErrorName(err) == "InvalidStateError" {
		db.reset()
		err = try()
	}
	return err
}

// reset closes the connection; the next operation opens another.
func (db *DB) reset() {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.drop()
}

// platformError classifies an exception by its name, and keeps the browser's
// own words.
func platformError(err error) error {
	sentinel := store.ErrUnavailable
	switch jsbridge.ErrorName(err) {
	case "QuotaExceededError":
		sentinel = store.ErrFull
	case "VersionError":
		sentinel = store.ErrNewer
	case "DataCloneError":
		sentinel = store.ErrHandleLost
	}
	return fmt.Errorf("%w (%w)", sentinel, err)
}

// transactionError says why a transaction was aborted.
func transactionError(tx js.Value) error {
	reason := tx.Get("error")
	if !reason.Truthy() {
		// Nobody called abort() and no request failed: the connection went away.
		return fmt.Errorf("%w: the browser aborted the transaction", store.ErrUnavailable)
	}
	return platformError(jsbridge.ToError(reason))
}

var errNoIndexedDB = errors.New("this browser offers no IndexedDB here")

// factory returns self.indexedDB. Where storage is blocked its getter may throw,
// so it is read through Reflect.get, whose exceptions are caught.
func factory() (js.Value, error) {
	f, err := jsbridge.Call(js.Global().Get("Reflect"), "get", js.Global(), "indexedDB")
	if err != nil {
		return f, platformError(err)
	}
	if !f.Truthy() {
		return f, fmt.Errorf("%w: %w", store.ErrUnavailable, errNoIndexedDB)
	}
	return f, nil
}
