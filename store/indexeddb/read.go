//go:build js && wasm

package indexeddb

import (
	"context"
	"fmt"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/store"
)

// Get implements [store.Store].
func (db *DB) Get(ctx context.Context, vault string, names ...store.Name) ([][]byte, error) {
	if err := store.CheckNames(vault, names); err != nil || len(names) == 0 {
		return nil, err
	}
	results, err := db.read(ctx, recordStore, func(objects js.Value) ([]js.Value, error) {
		requests := make([]js.Value, len(names))
		for i := range requests {
			var err error
			if requests[i], err = jsbridge.Invoke(idb().get, objects, db.key(vault, names[i])); err != nil {
				return nil, err
			}
		}
		return requests, nil
	})
	if err != nil {
		return nil, err
	}
	values := make([][]byte, len(results))
	for i, r := range results {
		values[i] = value(r)
	}
	return values, nil
}

// Handle implements [store.Store]. The value is a js.Value.
func (db *DB) Handle(ctx context.Context, vault string, name store.Name) (any, error) {
	if err := store.CheckNames(vault, []store.Name{name}); err != nil {
		return nil, err
	}
	key := db.key(vault, name)
	results, err := db.read(ctx, handleStore, func(objects js.Value) ([]js.Value, error) {
		found, err := jsbridge.Invoke(idb().getKey, objects, key)
		if err != nil {
			return nil, err
		}
		value, err := jsbridge.Invoke(idb().get, objects, key)
		return []js.Value{found, value}, err
	})
	switch {
	case err != nil:
		return nil, err
	case results[0].IsUndefined():
		return nil, nil
	case results[1].IsUndefined() || results[1].IsNull():
		return nil, fmt.Errorf("%w: %s/%s", store.ErrHandleLost, name.Kind, name.ID)
	}
	return results[1], nil
}

// Scan implements [store.Store].
func (db *DB) Scan(ctx context.Context, vault string, r store.Range) ([]store.Record, error) {
	r, err := r.Check()
	if err == nil {
		err = store.CheckVault(vault)
	}
	if err != nil || (r.Last != "" && r.First > r.Last) {
		return nil, err
	}
	if r.Reverse {
		return db.scanBack(ctx, vault, r)
	}
	return db.scan(ctx, vault, r)
}

func (db *DB) scan(ctx context.Context, vault string, r store.Range) ([]store.Record, error) {
	bound, err := bound(vault, r)
	if err != nil {
		return nil, err
	}
	results, err := db.read(ctx, recordStore, func(objects js.Value) ([]js.Value, error) {
		keys, err := jsbridge.Invoke(idb().getAllKeys, objects, bound, r.Limit)
		if err != nil {
			return nil, err
		}
		values, err := jsbridge.Invoke(idb().getAll, objects, bound, r.Limit)
		return []js.Value{keys, values}, err
	})
	if err != nil {
		return nil, err
	}
	ids, err := ids(vault, r.Kind, results[0])
	if err != nil {
		return nil, err
	}
	return records(r.Kind, ids, results[1].Index), nil
}

// scanBack walks a cursor, which crosses into Go for each record: not every
// engine's getAll has a direction yet. Long scans go forwards.
func (db *DB) scanBack(ctx context.Context, vault string, r store.Range) ([]store.Record, error) {
	bound, err := bound(vault, r)
	if err != nil {
		return nil, err
	}
	tx, err := db.begin(ctx, recordStore, readOnly, relaxed)
	if err != nil {
		return nil, err
	}
	t := watch(tx)
	keys := js.Global().Get("Array").New()
	var values []js.Value
	request, err := jsbridge.Call(idb().objectStore.Invoke(tx, recordStore), "openCursor", bound, "prev")
	if err != nil {
		t.abort(platformError(err))
		return nil, t.wait(ctx)
	}
	t.onSuccess = func() (enough bool, err error) {
		cursor := idb().result.Invoke(request)
		if !cursor.Truthy() {
			return true, nil
		}
		keys.Call("push", cursor.Get("primaryKey"))
		if values = append(values, cursor.Get("value")); len(values) == r.Limit {
			return true, nil
		}
		_, err = jsbridge.Call(cursor, "continue")
		return false, err
	}
	t.listen(request)
	if err := t.wait(ctx); err != nil {
		return nil, err
	}
	ids, err := ids(vault, r.Kind, keys)
	if err != nil {
		return nil, err
	}
	return records(r.Kind, ids, func(i int) js.Value { return values[i] }), nil
}

func records(kind string, ids []string, at func(int) js.Value) []store.Record {
	found := make([]store.Record, len(ids))
	for i, id := range ids {
		found[i] = store.Record{Kind: kind, ID: id, Value: value(at(i))}
	}
	return found
}

// read issues requests in one transaction and returns their results. Requests
// succeed in the order in which they were made, so the last one's success ends
// the waiting.
func (db *DB) read(ctx context.Context, objects js.Value, issue func(objects js.Value) ([]js.Value, error)) (results []js.Value, err error) {
	err = db.anew(func() (err error) {
		results, err = db.readOnce(ctx, objects, issue)
		return err
	})
	return results, err
}

func (db *DB) readOnce(ctx context.Context, objects js.Value, issue func(objects js.Value) ([]js.Value, error)) ([]js.Value, error) {
	tx, err := db.begin(ctx, objects, readOnly, relaxed)
	if err != nil {
		return nil, err
	}
	t := watch(tx)
	t.onSuccess = func() (bool, error) { return true, nil }
	requests, err := issue(idb().objectStore.Invoke(tx, objects))
	if err != nil {
		t.abort(platformError(err))
		return nil, t.wait(ctx)
	}
	t.listen(requests[len(requests)-1])
	if err := t.wait(ctx); err != nil {
		return nil, err
	}
	results := make([]js.Value, len(requests))
	for i, r := range requests {
		results[i] = idb().result.Invoke(r)
	}
	return results, nil
}
