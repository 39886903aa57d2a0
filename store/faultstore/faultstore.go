// Package faultstore breaks a store on purpose. It is for tests only: whoever
// holds one can change what a vault has written, without any precondition of
// the vault's own.
package faultstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kms-enclave/kms-enclave/store"
)

// Store passes everything on to another store, apart from the faults that were
// asked for. A commit stays atomic whatever happens to it.
type Store struct {
	store.Store

	mu      sync.Mutex
	faults  map[Operation][]*fault
	delays  map[Operation]time.Duration
	lost    map[handle]bool
	commits int
	full    bool
}

// Operation is a method of [store.Store] that can fail.
type Operation string

// The operations.
const (
	Get    Operation = "get"
	Scan   Operation = "scan"
	Handle Operation = "handle"
	Commit Operation = "commit"
	Lock   Operation = "lock"
)

type fault struct {
	in     int // it strikes when this counts down to 0
	times  int // how often it strikes; below 0: for ever
	err    error
	landed bool // of a commit: report the error after having applied it
}

type handle struct {
	vault string
	name  store.Name
}

// New wraps a store.
func New(inner store.Store) *Store {
	return &Store{
		Store:  inner,
		faults: map[Operation][]*fault{},
		delays: map[Operation]time.Duration{},
		lost:   map[handle]bool{},
	}
}

// Fail makes the nth op from now (1 is the next) return err and do nothing.
func (s *Store) Fail(op Operation, nth int, err error) { s.add(op, fault{in: nth, times: 1, err: err}) }

// FailAll makes every op from now on return err, until Heal.
func (s *Store) FailAll(op Operation, err error) { s.add(op, fault{in: 1, times: -1, err: err}) }

// FailLanded makes the nth commit from now land and return err all the same, as
// when the answer of the platform is lost.
func (s *Store) FailLanded(nth int, err error) {
	s.add(Commit, fault{in: nth, times: 1, err: err, landed: true})
}

// Fill uses the quota up, but for what is kept back: from now on a commit that is not
// urgent returns store.ErrFull and does nothing; or gives room again.
func (s *Store) Fill(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// Delay makes every op from now on wait first. A wait ends early, with the
// context's cause, when the context is done.
func (s *Store) Delay(op Operation, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delays[op] = d
}

// LoseHandle makes a stored handle read back as nothing.
func (s *Store) LoseHandle(vault string, name store.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[handle{vault, name}] = true
}

// Heal takes all faults and delays back. What was changed stays changed.
func (s *Store) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
	clear(s.delays)
	clear(s.lost)
	s.full = false
}

// Commits returns how many commits have landed.
func (s *Store) Commits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, vault string, names ...store.Name) ([][]byte, error) {
	if f, err := s.strike(ctx, Get); f != nil || err != nil {
		return nil, f.orElse(err)
	}
	return s.Store.Get(ctx, vault, names...)
}

// Scan implements [store.Store].
func (s *Store) Scan(ctx context.Context, vault string, r store.Range) ([]store.Record, error) {
	if f, err := s.strike(ctx, Scan); f != nil || err != nil {
		return nil, f.orElse(err)
	}
	return s.Store.Scan(ctx, vault, r)
}

// Handle implements [store.Store].
func (s *Store) Handle(ctx context.Context, vault string, name store.Name) (any, error) {
	if f, err := s.strike(ctx, Handle); f != nil || err != nil {
		return nil, f.orElse(err)
	}
	s.mu.Lock()
	lost := s.lost[handle{vault, name}]
	s.mu.Unlock()
	value, err := s.Store.Handle(ctx, vault, name)
	if lost && err == nil && value != nil {
		return nil, fmt.Errorf("%w: %s/%s", store.ErrHandleLost, name.Kind, name.ID)
	}
	return value, err
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, b store.Batch) error {
	s.mu.Lock()
	full := s.full
	s.mu.Unlock()
	if full && !b.Urgent {
		return store.ErrFull
	}
	f, err := s.strike(ctx, Commit)
	if err != nil {
		return err
	}
	if f != nil && !f.landed {
		return f.err
	}
	if err := s.Store.Commit(ctx, b); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits++
	return f.orElse(nil)
}

// Lock implements [store.Store].
func (s *Store) Lock(ctx context.Context, vault string) (unlock func(), err error) {
	if f, err := s.strike(ctx, Lock); f != nil || err != nil {
		return nil, f.orElse(err)
	}
	return s.Store.Lock(ctx, vault)
}

func (s *Store) add(op Operation, f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[op] = append(s.faults[op], &f)
}

// strike waits as long as it was told to, and returns the fault whose turn it is.
func (s *Store) strike(ctx context.Context, op Operation) (*fault, error) {
	s.mu.Lock()
	delay := s.delays[op]
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var struck *fault
	for _, f := range s.faults[op] {
		if f.in--; f.in <= 0 && f.times != 0 && struck == nil {
			f.times--
			struck = f
		}
	}
	return struck, nil
}

func (f *fault) orElse(err error) error {
	if f == nil {
		return err
	}
	return f.err
}
