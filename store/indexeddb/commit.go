//go:build js && wasm

package indexeddb

import (
	"bytes"
	"context"
	"fmt"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/store"
)

// Commit implements [store.Store].
//
// The read that the precondition needs and all writes are requested at once.
// Requests of a transaction run in order, and it cannot complete before the
// read's success event has been handled; there the value is compared, and the
// transaction committed, or aborted if it is not the expected one. So the
// comparison costs no round trip of its own.
func (db *DB) Commit(ctx context.Context, b store.Batch) error {
	if err := b.Check(); err != nil {
		return err
	}
	if db.reserve != nil {
		return db.commitWithin(ctx, &b)
	}
	return db.commit(ctx, &b)
}

func (db *DB) commit(ctx context.Context, b *store.Batch) error {
	return db.anew(func() error { return db.commitOnce(ctx, b) })
}

func (db *DB) commitOnce(ctx context.Context, b *store.Batch) error {
	w, err := db.prepare(b)
	if err != nil {
		return err
	}
	tx, err := db.begin(ctx, w.objects(), readWrite, strict)
	if err != nil {
		return err
	}
	t := watch(tx)
	objects := idb().objectStore.Invoke(tx, recordStore)
	request, err := jsbridge.Invoke(idb().get, objects, db.key(b.Vault, b.Expect.Name))
	if err == nil {
		t.onSuccess = func() (enough bool, err error) {
			if !holds(idb().result.Invoke(request), b.Expect.Value) {
				return false, store.ErrConflict
			}
			// Everything has been asked for: the writes' own events need not be waited for.
			_, err = jsbridge.Invoke(idb().commit, tx)
			return false, err
		}
		t.listen(request)
		err = w.issue(tx, objects)
	}
	if err != nil {
		t.abort(platformError(err))
	}
	return t.wait(ctx)
}

// holds reports whether a stored value is the expected one.
func holds(stored js.Value, expected []byte) bool {
	if expected == nil {
		return stored.IsUndefined()
	}
	held := value(stored)
	return held != nil && bytes.Equal(held, expected)
}

// writes are the requests of a batch, with their JavaScript values made.
type writes struct {
	clear   js.Value // an IDBKeyRange, or undefined
	deletes []js.Value
	puts    []write
	handles []write
}

type write struct{ value, key js.Value }

func (db *DB) prepare(b *store.Batch) (*writes, error) {
	w := &writes{}
	for _, n := range b.Delete {
		w.deletes = append(w.deletes, db.key(b.Vault, n))
	}
	for i := range b.Put {
		w.puts = append(w.puts, write{jsbridge.Bytes(b.Put[i].Value), db.key(b.Vault, b.Put[i].Name)})
	}
	for i := range b.Handles {
		value, ok := b.Handles[i].Value.(js.Value)
		if !ok {
			return nil, fmt.Errorf("handle %s: %T, a JavaScript value wanted", b.Handles[i].Kind, b.Handles[i].Value)
		}
		w.handles = append(w.handles, write{value, db.key(b.Vault, b.Handles[i].Name)})
	}
	if b.Clear {
		w.clear = wholeVault(b.Vault)
	}
	return w, nil
}

// objects says which object stores the transaction needs: the handles only when
// they are touched, because that costs a little.
func (w *writes) objects() js.Value {
	if w.touchesHandles() {
		return bothStores
	}
	return recordStore
}

func (w *writes) touchesHandles() bool {
	return len(w.handles)+len(w.deletes) > 0 || !w.clear.IsUndefined()
}

// issue makes the requests. If one of them fails the transaction aborts.
func (w *writes) issue(tx, records js.Value) error {
	handles := js.Undefined()
	if w.touchesHandles() {
		handles = idb().objectStore.Invoke(tx, handleStore)
	}
	if !w.clear.IsUndefined() {
		if err := remove(w.clear, records, handles); err != nil {
			return err
		}
	}
	for _, key := range w.deletes {
		if err := remove(key, records, handles); err != nil {
			return err
		}
	}
	if err := put(records, w.puts); err != nil {
		return err
	}
	return put(handles, w.handles)
}

func remove(what, records, handles js.Value) error {
	if _, err := jsbridge.Invoke(idb().delete, records, what); err != nil {
		return err
	}
	_, err := jsbridge.Invoke(idb().delete, handles, what)
	return err
}

func put(objects js.Value, writes []write) error {
	for _, w := range writes {
		if _, err := jsbridge.Invoke(idb().put, objects, w.value, w.key); err != nil {
			return err
		}
	}
	return nil
}
