//go:build !js

package simulator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// errDead ends what a tab was at when it was killed. Nobody hears of it.
var errDead = errors.New("simulator: the tab is dead")

// gate is a tab's way to the store. Whatever is asked of it waits until the schedule
// says what becomes of it, so that between two steps of a schedule everything stands
// still, and a tab can be killed at each of them.
type gate struct {
	store *memstore.Store

	mu      sync.Mutex
	waiting []*request
	held    []func() // locks to give back when the tab dies
	dead    bool
}

// request is one thing asked of the store.
type request struct {
	what    string
	batch   *store.Batch // of a commit
	verdict chan verdict
}

// verdict is what becomes of a request.
type verdict struct {
	err    error // nothing is done, and this is the answer
	silent bool  // there is no answer; a commit lands before
	torn   bool  // of a commit: a part of it lands, and there is no answer
}

// pass waits for the verdict.
func (g *gate) pass(ctx context.Context, what string, batch *store.Batch) (verdict, error) {
	r := &request{what: what, batch: batch, verdict: make(chan verdict, 1)}
	g.mu.Lock()
	if g.dead {
		g.mu.Unlock()
		return verdict{}, errDead
	}
	g.waiting = append(g.waiting, r)
	g.mu.Unlock()
	select {
	case v := <-r.verdict:
		return v, v.err
	case <-ctx.Done():
		g.mu.Lock()
		g.waiting = slices.DeleteFunc(g.waiting, func(other *request) bool { return other == r })
		g.mu.Unlock()
		select {
		case v := <-r.verdict: // both at once
			return v, v.err
		default:
		}
		return verdict{}, context.Cause(ctx)
	}
}

// decide gives the verdict on a request that waits.
func (g *gate) decide(r *request, v verdict) {
	g.mu.Lock()
	g.waiting = slices.DeleteFunc(g.waiting, func(other *request) bool { return other == r })
	g.mu.Unlock()
	r.verdict <- v
}

// requests returns what waits.
func (g *gate) requests() []*request {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.waiting)
}

// kill is the end of a tab between two steps: what waits never happens, and the
// browser gives its locks to others.
func (g *gate) kill() {
	g.mu.Lock()
	g.dead = true
	waiting, held := g.waiting, g.held
	g.waiting, g.held = nil, nil
	g.mu.Unlock()
	for _, r := range waiting {
		r.verdict <- verdict{err: errDead}
	}
	for _, unlock := range held {
		unlock()
	}
}

// Get implements [store.Store].
func (g *gate) Get(ctx context.Context, vault string, names ...store.Name) ([][]byte, error) {
	v, err := g.pass(ctx, fmt.Sprintf("get %s", kindsOf(names)), nil)
	if err = v.wait(ctx, err); err != nil {
		return nil, err
	}
	return g.store.Get(ctx, vault, names...)
}

// Scan implements [store.Store].
func (g *gate) Scan(ctx context.Context, vault string, r store.Range) ([]store.Record, error) {
	v, err := g.pass(ctx, "scan "+r.Kind, nil)
	if err = v.wait(ctx, err); err != nil {
		return nil, err
	}
	return g.store.Scan(ctx, vault, r)
}

// Handle implements [store.Store].
func (g *gate) Handle(ctx context.Context, vault string, name store.Name) (any, error) {
	v, err := g.pass(ctx, "handle "+name.Kind, nil)
	if err = v.wait(ctx, err); err != nil {
		return nil, err
	}
	return g.store.Handle(ctx, vault, name)
}

// Commit implements [store.Store].
func (g *gate) Commit(ctx context.Context, b store.Batch) error {
	v, err := g.pass(ctx, "commit", &b)
	if err != nil {
		return err
	}
	if v.torn {
		b.Put = b.Put[:len(b.Put)/2]
	}
	if err := g.store.Commit(ctx, b); err != nil {
		return err
	}
	return v.wait(ctx, nil)
}

// wait is for an answer that does not come.
func (v verdict) wait(ctx context.Context, err error) error {
	if err == nil && (v.silent || v.torn) {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return err
}

// Lock implements [store.Store].
func (g *gate) Lock(ctx context.Context, vault string) (unlock func(), err error) {
	v, err := g.pass(ctx, "lock", nil)
	if err = v.wait(ctx, err); err != nil {
		return nil, err
	}
	if unlock, err = g.store.Lock(ctx, vault); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		unlock()
		return nil, errDead
	}
	g.held = append(g.held, unlock)
	return unlock, nil
}

// Durability implements [store.Store].
func (g *gate) Durability(context.Context) store.Durability { return store.Persistent }

// Close implements [store.Store].
func (g *gate) Close() {}

// kindsOf names records without their ids, which are other ones in another run.
func kindsOf(names []store.Name) (kinds []string) {
	for _, n := range names {
		kinds = append(kinds, n.Kind)
	}
	return kinds
}
