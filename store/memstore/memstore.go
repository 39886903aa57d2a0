// Package memstore keeps records in memory: for session vaults, which end with
// their worker, and for tests. Nothing of it is ever written anywhere.
package memstore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/kms-enclave/kms-enclave/store"
)

// Store is one tab's connection to a database in memory.
type Store struct {
	db *database

	mu     sync.Mutex
	closed error // why; nil while open
}

// New makes an empty database and opens it.
func New() *Store {
	return &Store{db: &database{vaults: map[string]*vault{}, locks: map[string]chan struct{}{}}}
}

// Tab opens the same database once more, as a second tab does. Closing one
// connection leaves the others open.
func (s *Store) Tab() *Store { return &Store{db: s.db} }

// Copy makes another database that holds what this one holds now, and opens it. The
// handles are the same ones.
func (s *Store) Copy() *Store {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	c := New()
	for id, v := range s.db.vaults {
		c.db.vaults[id] = v.copy()
	}
	return c
}

// database is what the tabs share.
type database struct {
	mu     sync.Mutex
	vaults map[string]*vault

	locksMu sync.Mutex
	locks   map[string]chan struct{} // of capacity 1; full while held
}

type vault struct {
	records map[string]*kind
	handles map[store.Name]any
}

// kind holds the records of one kind, and their ids in order. Log records are
// appended at the end, so that keeping the order is cheap where there are many.
type kind struct {
	ids    []string
	values map[string][]byte
}

func (v *vault) copy() *vault {
	c := &vault{records: make(map[string]*kind, len(v.records)), handles: maps.Clone(v.handles)}
	for name, k := range v.records {
		c.records[name] = &kind{ids: slices.Clone(k.ids), values: maps.Clone(k.values)} // values are never changed in place
	}
	return c
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, vault string, names ...store.Name) ([][]byte, error) {
	if err := s.check(ctx, store.CheckNames(vault, names)); err != nil {
		return nil, err
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	values := make([][]byte, len(names))
	for i, n := range names {
		values[i] = bytes.Clone(s.db.vaults[vault].get(n))
	}
	return values, nil
}

// Scan implements [store.Store].
func (s *Store) Scan(ctx context.Context, vault string, r store.Range) ([]store.Record, error) {
	r, err := r.Check()
	if err == nil {
		err = store.CheckVault(vault)
	}
	if err := s.check(ctx, err); err != nil {
		return nil, err
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	k := s.db.vaults[vault].kind(r.Kind)
	if k == nil {
		return nil, nil
	}
	var found []store.Record
	for _, id := range k.pick(r) {
		found = append(found, store.Record{Kind: r.Kind, ID: id, Value: bytes.Clone(k.values[id])})
	}
	return found, nil
}

// Handle implements [store.Store]. The value is the one that was stored, not a copy.
func (s *Store) Handle(ctx context.Context, vault string, name store.Name) (any, error) {
	if err := s.check(ctx, store.CheckNames(vault, []store.Name{name})); err != nil {
		return nil, err
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	v := s.db.vaults[vault]
	if v == nil {
		return nil, nil
	}
	value, found := v.handles[name]
	if found && value == nil {
		return nil, fmt.Errorf("%w: %s/%s", store.ErrHandleLost, name.Kind, name.ID)
	}
	return value, nil
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, b store.Batch) error {
	if err := s.check(ctx, b.Check()); err != nil {
		return err
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	held := s.db.vaults[b.Vault].get(b.Expect.Name)
	if (held == nil) != (b.Expect.Value == nil) || !bytes.Equal(held, b.Expect.Value) {
		return store.ErrConflict
	}
	s.db.apply(&b)
	return nil
}

func (d *database) apply(b *store.Batch) {
	if b.Clear {
		delete(d.vaults, b.Vault)
	}
	v := d.vaults[b.Vault]
	if v == nil {
		v = &vault{records: map[string]*kind{}, handles: map[store.Name]any{}}
		d.vaults[b.Vault] = v
	}
	for _, n := range b.Delete {
		v.remove(n)
	}
	for _, r := range b.Put {
		v.put(r)
	}
	for _, h := range b.Handles {
		v.handles[h.Name] = h.Value
	}
}

// Lock implements [store.Store], across the tabs of this database.
func (s *Store) Lock(ctx context.Context, vault string) (unlock func(), err error) {
	if err := s.check(ctx, store.CheckVault(vault)); err != nil {
		return nil, err
	}
	lock := s.db.lock(vault)
	select {
	case lock <- struct{}{}:
		return sync.OnceFunc(func() { <-lock }), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (d *database) lock(vault string) chan struct{} {
	d.locksMu.Lock()
	defer d.locksMu.Unlock()
	lock := d.locks[vault]
	if lock == nil {
		lock = make(chan struct{}, 1)
		d.locks[vault] = lock
	}
	return lock
}

// Durability implements [store.Store].
func (s *Store) Durability(context.Context) store.Durability { return store.Memory }

// Close implements [store.Store].
func (s *Store) Close() { s.Disconnect(fmt.Errorf("%w: closed", store.ErrUnavailable)) }

// Disconnect closes this connection; later calls return cause. The first cause
// stays.
func (s *Store) Disconnect(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil {
		s.closed = cause
	}
}

// Names lists what a vault holds: records in order, then handles in no order.
func (s *Store) Names(vault string) []store.Name {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	v := s.db.vaults[vault]
	if v == nil {
		return nil
	}
	var names []store.Name
	for _, k := range slices.Sorted(maps.Keys(v.records)) {
		for _, id := range v.records[k].ids {
			names = append(names, store.Name{Kind: k, ID: id})
		}
	}
	return slices.AppendSeq(names, maps.Keys(v.handles))
}

func (s *Store) check(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return s.closed
	}
	return err
}

func (v *vault) kind(name string) *kind {
	if v == nil {
		return nil
	}
	return v.records[name]
}

func (v *vault) get(n store.Name) []byte {
	if k := v.kind(n.Kind); k != nil {
		return k.values[n.ID]
	}
	return nil
}

func (v *vault) put(r store.Record) {
	k := v.records[r.Kind]
	if k == nil {
		k = &kind{values: map[string][]byte{}}
		v.records[r.Kind] = k
	}
	if at, found := slices.BinarySearch(k.ids, r.ID); !found {
		k.ids = slices.Insert(k.ids, at, r.ID)
	}
	k.values[r.ID] = append([]byte{}, r.Value...)
}

func (v *vault) remove(n store.Name) {
	delete(v.handles, n)
	k := v.records[n.Kind]
	if k == nil {
		return
	}
	if at, found := slices.BinarySearch(k.ids, n.ID); found {
		k.ids = slices.Delete(k.ids, at, at+1)
		delete(k.values, n.ID)
	}
}

// pick returns the ids in r, in the order asked for.
func (k *kind) pick(r store.Range) []string {
	first, _ := slices.BinarySearch(k.ids, r.First)
	end := len(k.ids)
	if r.Last != "" {
		at, found := slices.BinarySearch(k.ids, r.Last)
		if end = at; found {
			end++
		}
	}
	if first >= end {
		return nil
	}
	ids := k.ids[first:end]
	if !r.Reverse {
		return ids[:min(len(ids), r.Limit)]
	}
	ids = slices.Clone(ids[max(0, len(ids)-r.Limit):])
	slices.Reverse(ids)
	return ids
}
