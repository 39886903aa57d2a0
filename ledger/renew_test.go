//go:build !js

package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

const kind = "key" // sealed, and never rides along

func named(id string) store.Name { return store.Name{Kind: kind, ID: id} }

// all returns what Tx.All says, as "id=value".
func all(tx *ledger.Tx) (found []string, err error) {
	records, damaged, err := tx.All(kind)
	if len(damaged) > 0 {
		return nil, &ledger.IntegrityError{What: damaged[0].Kind + " record " + damaged[0].ID}
	}
	for _, r := range records {
		if r.Kind != kind {
			return nil, fmt.Errorf("a record of kind %s", r.Kind)
		}
		found = append(found, r.ID+"="+string(r.Value))
	}
	return found, err
}

func allOf(t *testing.T, l *ledger.Ledger) (found []string, err error) {
	t.Helper()
	err = l.Read(t.Context(), func(tx *ledger.Tx) (err error) {
		found, err = all(tx)
		return err
	})
	return found, err
}

// TestAllIsWhole: every record of a kind, and only what was written.
func TestAllIsWhole(t *testing.T) {
	s := memstore.New()
	cfg := config(t, s)
	l := create(t, cfg)
	var want []string
	for n := range 700 { // more than are opened at once
		id := fmt.Sprintf("%03d", n)
		want = append(want, id+"="+id)
	}
	submit(t, l, ledger.Op{Apply: func(tx *ledger.Tx) error {
		for n := range 700 {
			id := fmt.Sprintf("%03d", n)
			tx.Put(named(id), []byte(id))
		}
		return nil
	}})
	for which, tab := range map[string]*ledger.Ledger{"this tab": l, "another tab": openLedger(t, cfg)} {
		if got, err := allOf(t, tab); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %d records, %d wanted (%v)", which, len(got), len(want), err)
		}
	}
}

// TestAllSeesItsBatch: it agrees with everything else that an op reads beside it.
func TestAllSeesItsBatch(t *testing.T) {
	l := create(t, config(t, memstore.New()))
	submit(t, l, put(named("a"), "1"))
	submit(t, l, put(named("b"), "1"))
	// They come while the ledger is busy, so they are one batch.
	busy, begun := make(chan struct{}), make(chan struct{})
	go func() {
		_ = l.Read(context.Background(), func(*ledger.Tx) error {
			select {
			case <-begun:
			default:
				close(begun)
			}
			<-busy
			return nil
		})
	}()
	<-begun
	pending := []*ledger.Submission{
		l.Start(t.Context(), ledger.Op{Apply: func(tx *ledger.Tx) error {
			tx.Put(named("c"), []byte("2"))
			tx.Put(named("b"), []byte("2"))
			tx.Delete(named("a"))
			return nil
		}}),
		l.Start(t.Context(), ledger.Op{Apply: func(tx *ledger.Tx) error {
			tx.Put(named("b"), []byte("3"))
			got, err := all(tx)
			if err == nil && !slices.Equal(got, []string{"b=3", "c=2"}) {
				err = fmt.Errorf("in the same batch: %v", got)
			}
			return err
		}}),
	}
	close(busy)
	for _, s := range pending {
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// TestAllIsGuarded: a record that was put there, or put back, is noticed.
func TestAllIsGuarded(t *testing.T) {
	s := memstore.New()
	cfg := config(t, s)
	l := create(t, cfg)
	submit(t, l, put(named("a"), "old"))
	old := stored(t, s, named("a"))
	submit(t, l, put(named("a"), "new"))
	submit(t, l, put(named("b"), "b"))
	newest, other := stored(t, s, named("a")), stored(t, s, named("b"))
	for name, value := range map[string][]byte{
		"rolled back": old, "swapped": other, "empty": {}, "cut off": newest[:20],
		"changed": append(slices.Clone(newest[:len(newest)-1]), newest[len(newest)-1]^1),
	} {
		replace(t, s, named("a"), value)
		for which, tab := range map[string]*ledger.Ledger{"this tab": l, "another tab": openLedger(t, cfg)} {
			if got, err := allOf(t, tab); !isIntegrity(err) {
				t.Errorf("%s, %s: %v, %v", name, which, got, err)
			}
		}
	}
	replace(t, s, named("a"), newest)
	replace(t, s, named("c"), other)
	if got, err := allOf(t, l); !isIntegrity(err) {
		t.Errorf("one more: %v, %v", got, err)
	}
	// That one is missing only its owner can tell, who knows the number.
	replace(t, s, named("c"), nil)
	replace(t, s, named("a"), nil)
	if got, err := allOf(t, l); err != nil || !slices.Equal(got, []string{"b=b"}) {
		t.Errorf("one less: %v, %v", got, err)
	}
}

func isIntegrity(err error) bool {
	_, ok := errors.AsType[*ledger.IntegrityError](err)
	return ok
}

func stored(t *testing.T, s store.Store, name store.Name) []byte {
	t.Helper()
	values, err := s.Get(t.Context(), vaultID, name)
	if err != nil {
		t.Fatal(err)
	}
	return values[0]
}

// replace changes a record behind the ledger's back; nil removes it.
func replace(t *testing.T, s store.Store, name store.Name, value []byte) {
	t.Helper()
	b := store.Batch{Vault: vaultID, Expect: store.Record{Name: name, Value: stored(t, s, name)}}
	if value == nil {
		b.Delete = []store.Name{name}
	} else {
		b.Put = []store.Record{{Name: name, Value: value}}
	}
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

var renewedAnchor = store.Record{Name: anchor.Name, Value: []byte("another anchor")}

// split seals every kind under a key of its own but what stays under the first.
type split struct{ first, second *sealer }

func (s *split) Sealed(kind string) bool    { return s.first.Sealed(kind) }
func (s *split) Rewritten(kind string) bool { return s.first.Rewritten(kind) }

func (s *split) of(item ledger.Item) *sealer {
	if item.Name.Kind == kind {
		return s.second
	}
	return s.first
}

func (s *split) each(items []ledger.Item, do func(*sealer, []ledger.Item) ([][]byte, error)) (done [][]byte, err error) {
	for _, item := range items {
		one, err := do(s.of(item), []ledger.Item{item})
		if err != nil {
			return nil, err
		}
		done = append(done, one[0])
	}
	return done, nil
}

func (s *split) Seal(ctx context.Context, items []ledger.Item) ([][]byte, error) {
	return s.each(items, func(k *sealer, one []ledger.Item) ([][]byte, error) { return k.Seal(ctx, one) })
}

func (s *split) Open(ctx context.Context, items []ledger.Item) ([][]byte, error) {
	return s.each(items, func(k *sealer, one []ledger.Item) ([][]byte, error) { return k.Open(ctx, one) })
}

// renewal returns an op that puts every record of the kind under another key.
func renewal(t *testing.T, cfg ledger.Config) (op ledger.Op, next ledger.Config) {
	next = cfg
	next.Sealer, next.Anchor = &split{cfg.Sealer.(*sealer), newSealer(t)}, renewedAnchor
	return ledger.Op{
		Entry: audit.Entry{Method: "renew", Origin: "https://app.example", Outcome: "ok"},
		Renew: &ledger.Renewal{Sealer: next.Sealer, Anchor: next.Anchor},
		Apply: func(tx *ledger.Tx) error {
			records, _, err := tx.All(kind)
			for _, r := range records {
				tx.Put(r.Name, r.Value)
			}
			tx.Put(renewedAnchor.Name, renewedAnchor.Value)
			return err
		},
	}, next
}

// TestRenewal: afterwards everything is under the new key, the old ledger is over
// everywhere, and what waited behind it was not done.
func TestRenewal(t *testing.T) {
	for range 20 { // what waits must not slip through by chance
		testRenewal(t)
	}
}

func testRenewal(t *testing.T) {
	s := &counting{Store: memstore.New()}
	cfg := config(t, s)
	l := create(t, cfg)
	other := openLedger(t, cfg)
	for _, id := range []string{"a", "b"} {
		submit(t, l, put(named(id), id))
	}
	submit(t, l, incremented)
	old := stored(t, s, named("a"))
	op, next := renewal(t, cfg)
	before := s.commits.Load()
	pending := []*ledger.Submission{l.Start(t.Context(), incremented), l.Start(t.Context(), op), l.Start(t.Context(), incremented)}
	for i, want := range []error{nil, nil, ledger.ErrReplaced} {
		if err := pending[i].Wait(); !errors.Is(err, want) {
			t.Errorf("op %d: %v, %v wanted", i, err, want)
		}
	}
	if n := s.commits.Load() - before; n != 2 {
		t.Errorf("%d commits: it did not commit alone", n)
	}
	for which, tab := range map[string]*ledger.Ledger{"this tab": l, "another tab": other} {
		for range 2 {
			if err := tab.Submit(t.Context(), incremented); !errors.Is(err, ledger.ErrReplaced) || !ledger.IsOver(err) {
				t.Errorf("%s: %v", which, err)
			}
			if _, err := allOf(t, tab); !errors.Is(err, ledger.ErrReplaced) {
				t.Errorf("%s reads: %v", which, err)
			}
		}
	}
	if _, err := ledger.Open(t.Context(), cfg); !errors.Is(err, ledger.ErrReplaced) {
		t.Errorf("opened by the old anchor: %v", err)
	}
	again := openLedger(t, next)
	if got, err := allOf(t, again); err != nil || !slices.Equal(got, []string{"a=a", "b=b"}) {
		t.Errorf("afterwards: %v, %v", got, err)
	}
	if n, size := value(t, again); n != 2 || size != 6 {
		t.Errorf("counter %d in a log of %d; 2 and 6 wanted", n, size)
	}
	replace(t, s, named("a"), old)
	if got, err := allOf(t, openLedger(t, next)); !isIntegrity(err) {
		t.Errorf("with an old record put back: %v, %v", got, err)
	}
}

// TestRenewalCrashes: if storage fails it is as before; if storage did it and failed to
// say so, it has happened, and every tab finds out.
func TestRenewalCrashes(t *testing.T) {
	for name, landed := range map[string]bool{"before": false, "behind": true} {
		s := &crashing{Store: memstore.New()}
		cfg := config(t, s)
		l := create(t, cfg)
		submit(t, l, put(named("a"), "a"))
		op, next := renewal(t, cfg)
		s.crash, s.landed = true, landed
		if err := l.Submit(t.Context(), op); !errors.Is(err, errCrash) {
			t.Errorf("%s: %v", name, err)
		}
		s.crash = false
		want, over := cfg, next
		if landed {
			want, over = next, cfg
		}
		if _, err := ledger.Open(t.Context(), over); !errors.Is(err, ledger.ErrReplaced) {
			t.Errorf("%s: both are there (%v)", name, err)
		}
		if got, err := allOf(t, openLedger(t, want)); err != nil || !slices.Equal(got, []string{"a=a"}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if err := l.Submit(t.Context(), incremented); errors.Is(err, ledger.ErrReplaced) != landed || !landed && err != nil {
			t.Errorf("%s: afterwards the tab says %v", name, err)
		}
	}
}

var errCrash = errors.New("crash")

// crashing is a store that fails commits, before or behind what they do.
type crashing struct {
	store.Store
	crash, landed bool
}

func (c *crashing) Commit(ctx context.Context, b store.Batch) error {
	switch {
	case !c.crash:
		return c.Store.Commit(ctx, b)
	case c.landed:
		return errors.Join(c.Store.Commit(ctx, b), errCrash)
	}
	return errCrash
}
