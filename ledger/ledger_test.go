//go:build !js

package ledger_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

const vaultID = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// sealer seals every kind but "plain" under one key.
type sealer struct {
	engine *native.Engine
	key    keyengine.AEADKey
}

func newSealer(t *testing.T) *sealer {
	t.Helper()
	e := native.New(rand.Reader)
	key, err := e.GenerateDeviceKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &sealer{e, key}
}

func (s *sealer) Sealed(kind string) bool { return kind != "plain" }

func (s *sealer) Rewritten(kind string) bool { return kind == counter.Kind }

func (s *sealer) Seal(ctx context.Context, items []ledger.Item) ([][]byte, error) {
	ops := make([]keyengine.SealOp, len(items))
	for i, it := range items {
		ops[i] = keyengine.SealOp{Key: s.key, Nonce: it.Nonce, AAD: it.AAD, Plaintext: it.Data}
	}
	return s.engine.Seal(ctx, ops...)
}

func (s *sealer) Open(ctx context.Context, items []ledger.Item) ([][]byte, error) {
	ops := make([]keyengine.OpenOp, len(items))
	for i, it := range items {
		ops[i] = keyengine.OpenOp{Key: s.key, AAD: it.AAD, Sealed: it.Data}
	}
	return s.engine.Open(ctx, ops...)
}

// counting counts commits, which take a while, as those of a disk do.
type counting struct {
	store.Store
	commits atomic.Int64
}

func (c *counting) Commit(ctx context.Context, b store.Batch) error {
	c.commits.Add(1)
	time.Sleep(time.Millisecond)
	return c.Store.Commit(ctx, b)
}

var (
	anchor  = store.Record{Kind: "plain", ID: "-", Value: []byte("anchor")}
	counter = store.Name{Kind: "counter", ID: "-"}
)

func config(t *testing.T, s store.Store) ledger.Config {
	return ledger.Config{Store: s, Sealer: newSealer(t), Vault: vaultID, Rand: rand.Reader, Now: time.Now, Anchor: anchor}
}

func create(t *testing.T, cfg ledger.Config) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Create(t.Context(), cfg, []store.Record{cfg.Anchor}, nil, audit.Entry{Method: "create", Origin: "https://app.example", Outcome: "ok"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func openLedger(t *testing.T, cfg ledger.Config) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func increment(tx *ledger.Tx) error {
	raw, err := tx.Get(counter)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(raw))
	tx.Put(counter, []byte(strconv.Itoa(n+1)))
	return nil
}

var incremented = ledger.Op{Apply: increment, Entry: audit.Entry{Method: "increment", Origin: "https://app.example", Outcome: "ok"}}

func value(t *testing.T, l *ledger.Ledger) (n int, size uint64) {
	t.Helper()
	err := l.Read(t.Context(), func(tx *ledger.Tx) error {
		raw, err := tx.Get(counter)
		n, _ = strconv.Atoi(string(raw))
		size = tx.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, size
}

// TestGroupCommit: what waits is committed together, and every op counts.
func TestGroupCommit(t *testing.T) {
	s := &counting{Store: memstore.New()}
	l := create(t, config(t, s))
	s.commits.Store(0)
	const ops = 2000
	var wg sync.WaitGroup
	for range ops {
		wg.Go(func() {
			if err := l.Submit(t.Context(), incremented); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n, size := value(t, l); n != ops || size != ops+1 {
		t.Errorf("counter %d, log of %d", n, size)
	}
	if got := s.commits.Load(); got > ops/4 {
		t.Errorf("%d commits for %d ops: nothing was grouped", got, ops)
	}
}

// TestTabsLinearise: two ledgers on one store lose no update, even where the
// lock does not work.
func TestTabsLinearise(t *testing.T) {
	for _, locks := range []bool{true, false} {
		t.Run(fmt.Sprintf("locks=%t", locks), func(t *testing.T) {
			var s store.Store = memstore.New()
			if !locks {
				s = lockless{s}
			}
			cfg := config(t, s)
			tabs := []*ledger.Ledger{create(t, cfg), openLedger(t, cfg), openLedger(t, cfg)}
			const each = 100
			var done atomic.Int64
			var wg sync.WaitGroup
			for _, l := range tabs {
				wg.Go(func() {
					for range each {
						switch err := l.Submit(t.Context(), incremented); {
						case err == nil:
							done.Add(1)
						case locks || !errors.Is(err, store.ErrConflict):
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			for i, l := range tabs {
				if n, size := value(t, l); int64(n) != done.Load() || size != uint64(n)+1 {
					t.Errorf("tab %d: counter %d, log of %d, %d acknowledged", i, n, size, done.Load())
				}
			}
		})
	}
}

// lockless is a store whose locks do nothing.
type lockless struct{ store.Store }

func (lockless) Lock(context.Context, string) (func(), error) { return func() {}, nil }

// TestFailedOpLeavesNothing: an op that fails changes nothing and does not
// disturb the others of its batch.
func TestFailedOpLeavesNothing(t *testing.T) {
	l := create(t, config(t, memstore.New()))
	refused := errors.New("refused")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			op := incremented
			if i%2 == 0 {
				op.Apply = func(tx *ledger.Tx) error { return errors.Join(increment(tx), refused) }
			}
			if err := l.Submit(t.Context(), op); (i%2 == 0) != errors.Is(err, refused) {
				t.Errorf("op %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n, size := value(t, l); n != 100 || size != 101 {
		t.Errorf("counter %d, log of %d", n, size)
	}
}

// TestTimeNeverRunsBackwards: the log's times do not decrease, whatever the clock does.
func TestTimeNeverRunsBackwards(t *testing.T) {
	now := atomic.Int64{}
	now.Store(1000)
	cfg := config(t, memstore.New())
	cfg.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	l := create(t, cfg)
	for _, at := range []int64{2000, 500, 1999, 2001} {
		now.Store(at)
		if err := l.Submit(t.Context(), incremented); err != nil {
			t.Fatal(err)
		}
	}
	var times []int64
	err := l.Read(t.Context(), func(tx *ledger.Tx) error {
		leaves, err := tx.Log(0, 10)
		for _, leaf := range leaves {
			e, err := audit.ParseEntry(leaf)
			if err != nil {
				return err
			}
			times = append(times, e.Time)
		}
		return err
	})
	if want := []int64{1000, 2000, 2000, 2000, 2001}; err != nil || fmt.Sprint(times) != fmt.Sprint(want) {
		t.Errorf("times %v, %v wanted (%v)", times, want, err)
	}
}

// TestAllowance: the log cannot be grown without bound, the allowance refills,
// and opening the vault anew does not reset it.
func TestAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t, memstore.New())
		l := create(t, cfg)
		burn := func(n int) (done int) {
			for range n {
				op := ledger.Op{Entry: incremented.Entry, Apply: func(*ledger.Tx) error { return nil }}
				switch err := l.Submit(t.Context(), op); {
				case err == nil:
					done++
				case !errors.Is(err, ledger.ErrQuota):
					t.Fatal(err)
				}
			}
			return done
		}
		ledger.SetAllowanceForTest(l, 5)
		if done := burn(8); done != 5 {
			t.Errorf("%d ops with an allowance of 5", done)
		}
		_, before := value(t, l)
		submit(t, l, ledger.Op{Reserved: true, Entry: incremented.Entry})
		if _, after := value(t, l); after != before+1 {
			t.Errorf("a reserved op made %d entries", after-before)
		}
		if done := burn(1); done != 0 {
			t.Error("a reserved op made room for others")
		}
		l.Close()
		l = openLedger(t, cfg)
		if done := burn(3); done != 0 {
			t.Errorf("%d ops after opening anew", done)
		}
		time.Sleep(2 * time.Second)
		if done := burn(100); done != 2*ledger.RefillPerSecond {
			t.Errorf("%d ops after two seconds, %d wanted", done, 2*ledger.RefillPerSecond)
		}
		l.Close()
	})
}

// TestClockSetBack: a clock that was years ahead once leaves the log's times where they
// are, and the allowance refills all the same.
func TestClockSetBack(t *testing.T) {
	now := atomic.Int64{}
	now.Store(1000)
	cfg := config(t, memstore.New())
	cfg.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	l := create(t, cfg)
	submitAt := func(at int64) error {
		now.Store(at)
		return l.Submit(t.Context(), incremented)
	}
	if err := errors.Join(submitAt(1_000_000_000), submitAt(2000)); err != nil {
		t.Fatal(err)
	}
	ledger.SetAllowanceForTest(l, 0)
	if err := submitAt(2000); !errors.Is(err, ledger.ErrQuota) {
		t.Errorf("at once: %v", err)
	}
	if err := submitAt(2001); err != nil {
		t.Errorf("a second later: %v", err)
	}
	l.Close()
	l = openLedger(t, cfg)
	for i := range 2 * ledger.RefillPerSecond {
		if err := submitAt(2002); errors.Is(err, ledger.ErrQuota) != (i >= 2*ledger.RefillPerSecond-1) {
			t.Errorf("op %d: %v", i, err)
		}
	}
}

// TestReplaced: another vault in the place of the opened one is not written to.
func TestReplaced(t *testing.T) {
	s := memstore.New()
	old := create(t, config(t, s))
	if err := ledger.Wipe(t.Context(), s, vaultID, store.Record{Name: anchor.Name, Value: ledger.EncodePlain([]byte("another"))}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("wiping a vault that is not there: %v", err)
	}
	if n, _ := value(t, old); n != 0 {
		t.Error("the vault that is there was wiped")
	}
	if err := ledger.Wipe(t.Context(), s, vaultID, store.Record{Name: anchor.Name, Value: ledger.EncodePlain(anchor.Value)}); err != nil {
		t.Fatal(err)
	}
	if err := old.Submit(t.Context(), incremented); !errors.Is(err, ledger.ErrGone) {
		t.Errorf("after a wipe: %v", err)
	}
	cfg := config(t, s)
	cfg.Anchor.Value = []byte("another")
	fresh := create(t, cfg)
	if err := old.Submit(t.Context(), incremented); !errors.Is(err, ledger.ErrReplaced) {
		t.Errorf("after a replacement: %v", err)
	}
	if n, size := value(t, fresh); n != 0 || size != 1 {
		t.Errorf("the new vault has counter %d, log of %d", n, size)
	}
}

// TestRolledBackSession: a database that is older than what this tab has seen is
// not believed; a root that was put back alone is neither read nor kept.
func TestRolledBackSession(t *testing.T) {
	s := memstore.New()
	cfg := config(t, s)
	l := create(t, cfg)
	root, commit := store.Name{Kind: ledger.KindRoot, ID: "-"}, store.Name{Kind: ledger.KindCommit, ID: "-"}
	get := func() [][]byte {
		t.Helper()
		values, err := s.Get(t.Context(), vaultID, root, commit)
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	put := func(records ...store.Record) {
		t.Helper()
		expect := store.Record{Name: root, Value: get()[0]}
		if err := s.Commit(t.Context(), store.Batch{Vault: vaultID, Expect: expect, Put: records}); err != nil {
			t.Fatal(err)
		}
	}
	old := get()
	if err := l.Submit(t.Context(), incremented); err != nil {
		t.Fatal(err)
	}
	put(store.Record{Name: root, Value: old[0]})
	_, err := ledger.Open(t.Context(), cfg)
	if _, ok := errors.AsType[*ledger.IntegrityError](err); !ok {
		t.Errorf("opening with an older root: %v", err)
	}
	if err := l.Submit(t.Context(), incremented); err != nil {
		t.Errorf("the tab that knows better: %v", err)
	}
	if n, size := value(t, openLedger(t, cfg)); n != 2 || size != 3 {
		t.Errorf("afterwards: counter %d, log of %d", n, size)
	}
	put(store.Record{Name: root, Value: old[0]}, store.Record{Name: commit, Value: old[1]})
	err = l.Submit(t.Context(), incremented)
	if _, ok := errors.AsType[*ledger.IntegrityError](err); !ok {
		t.Errorf("after a rollback under an open tab: %v", err)
	}
}

// TestClose: who waits is told, and nobody hangs.
func TestClose(t *testing.T) {
	l := create(t, config(t, memstore.New()))
	l.Close()
	if err := l.Submit(t.Context(), incremented); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("mine"))
	l2 := create(t, config(t, memstore.New()))
	if err := l2.Submit(ctx, incremented); err == nil || err.Error() != "mine" {
		t.Errorf("with an ended context: %v", err)
	}
	if n, _ := value(t, l2); n != 0 {
		t.Error("an op whose caller had gone was run")
	}
}

// between has something happen between the first read of a page of the index and the
// read of the root before it.
type between struct {
	store.Store
	once sync.Once
	do   func()
}

func (b *between) Get(ctx context.Context, vault string, names ...store.Name) ([][]byte, error) {
	if names[0].Kind == ledger.KindIndex {
		b.once.Do(b.do)
	}
	return b.Store.Get(ctx, vault, names...)
}

// TestOpenBesideAWriter: a tab that writes while another one opens the vault makes no
// false alarm, though what is read belongs to two commits; a damaged page makes one.
func TestOpenBesideAWriter(t *testing.T) {
	s := memstore.New()
	cfg := config(t, s)
	l := create(t, cfg)
	fill := func(value string) {
		t.Helper()
		err := l.Submit(t.Context(), ledger.Op{Apply: func(tx *ledger.Tx) error {
			for i := range 100 { // every page of the index has some of them
				tx.Put(store.Name{Kind: "plain", ID: strconv.Itoa(i)}, []byte(value))
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	fill("old")
	beside := &between{Store: s.Tab(), do: func() { fill("new") }}
	cfg.Store = beside
	opened := openLedger(t, cfg)
	err := opened.Read(t.Context(), func(tx *ledger.Tx) error {
		raw, err := tx.Get(store.Name{Kind: "plain", ID: "7"})
		if string(raw) != "new" {
			t.Errorf("it reads %q", raw)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}

	beside = &between{Store: s.Tab(), do: func() {
		values, err := s.Get(t.Context(), vaultID, store.Name{Kind: ledger.KindCommit, ID: "-"})
		if err != nil {
			t.Error(err)
			return
		}
		var deleted []store.Name
		for _, name := range s.Names(vaultID) {
			if name.Kind == ledger.KindIndex {
				deleted = append(deleted, name)
			}
		}
		expect := store.Record{Kind: ledger.KindCommit, ID: "-", Value: values[0]}
		if err := s.Commit(t.Context(), store.Batch{Vault: vaultID, Expect: expect, Delete: deleted}); err != nil || len(deleted) == 0 {
			t.Errorf("%d pages deleted: %v", len(deleted), err)
		}
	}}
	cfg.Store = beside
	_, err = ledger.Open(t.Context(), cfg)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); !damaged {
		t.Errorf("with pages missing: %v", err)
	}
}

// TestCommitBesideAWriter: the same for a page that is first read when a commit is put
// together.
func TestCommitBesideAWriter(t *testing.T) {
	s := memstore.New()
	cfg := config(t, s)
	l := create(t, cfg)
	put := func(l *ledger.Ledger, first, n int) error {
		return l.Submit(t.Context(), ledger.Op{Apply: func(tx *ledger.Tx) error {
			for i := range n {
				tx.Put(store.Name{Kind: "plain", ID: strconv.Itoa(first + i)}, []byte("x"))
			}
			return nil
		}})
	}
	if err := put(l, 0, 300); err != nil {
		t.Fatal(err)
	}
	beside := &between{Store: s.Tab()}
	beside.once.Do(func() {}) // not while it opens
	cfg.Store = beside
	other := openLedger(t, cfg)
	beside.once = sync.Once{}
	beside.do = func() {
		if err := put(l, 300, 300); err != nil {
			t.Error(err)
		}
	}
	if err := put(other, 1000, 300); err != nil {
		t.Fatal(err)
	}
	err := other.Read(t.Context(), func(tx *ledger.Tx) error {
		names, err := tx.Names("plain")
		if len(names) != 901 {
			t.Errorf("%d records, 901 wanted", len(names))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
