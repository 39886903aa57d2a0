//go:build !js

package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/faultstore"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

func put(name store.Name, value string) ledger.Op {
	return ledger.Op{
		Apply: func(tx *ledger.Tx) error { tx.Put(name, []byte(value)); return nil },
		Entry: audit.Entry{Method: "put", Origin: "https://app.example", Outcome: "ok", Details: map[string]string{"id": name.ID}},
	}
}

func submit(t *testing.T, l *ledger.Ledger, op ledger.Op) {
	t.Helper()
	if err := l.Submit(t.Context(), op); err != nil {
		t.Fatal(err)
	}
}

// contents returns what a ledger says it holds of two kinds, and its log.
func contents(t *testing.T, l *ledger.Ledger) (records map[string]string, log []string) {
	t.Helper()
	records = map[string]string{}
	err := l.Read(t.Context(), func(tx *ledger.Tx) error {
		names, err := tx.Names("key")
		if err != nil || !slices.IsSorted(names) {
			return fmt.Errorf("names %v (%v)", names, err)
		}
		for n := range 23 {
			id := fmt.Sprint("n", n)
			for _, kind := range []string{"key", counter.Kind} {
				value, err := tx.Get(store.Name{Kind: kind, ID: id})
				if err != nil {
					return err
				}
				if value != nil {
					records[kind+"/"+id] = string(value)
				}
				if kind == "key" && slices.Contains(names, id) != (value != nil) {
					return fmt.Errorf("%s holds %q, but the names are %v", id, value, names)
				}
			}
		}
		leaves, err := tx.Log(0, int(tx.Size()))
		for _, leaf := range leaves {
			e, parseErr := audit.ParseEntry(leaf)
			if parseErr != nil || e.Seq != uint64(len(log)) {
				return fmt.Errorf("leaf %d: %+v, %v", len(log), e, parseErr)
			}
			log = append(log, e.Method+" "+e.Details["id"])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, log
}

// TestRiders writes, rewrites and deletes more small records than ride along,
// and compares with a map, in this tab and in one that opens the vault anew.
func TestRiders(t *testing.T) {
	s := memstore.New()
	cfg := config(t, s)
	l := create(t, cfg)
	want := map[string]string{}
	wantLog := []string{"create "}
	for step := range 400 {
		kind := []string{"key", counter.Kind, counter.Kind}[step%3]
		name := store.Name{Kind: kind, ID: fmt.Sprint("n", (step*7)%23)}
		switch {
		case step%11 == 10:
			delete(want, name.Kind+"/"+name.ID)
			submit(t, l, ledger.Op{Apply: func(tx *ledger.Tx) error { tx.Delete(name); return nil }})
			continue
		default:
			value := fmt.Sprint("value ", step)
			want[name.Kind+"/"+name.ID] = value
			wantLog = append(wantLog, "put "+name.ID)
			submit(t, l, put(name, value))
		}
		if step%37 != 0 {
			continue
		}
		for which, tab := range map[string]*ledger.Ledger{"this tab": l, "another tab": openLedger(t, cfg)} {
			got, gotLog := contents(t, tab)
			if fmt.Sprint(got) != fmt.Sprint(want) || !slices.Equal(gotLog, wantLog) {
				t.Fatalf("step %d: %s has %v and a log of %d\nwanted %v and %d", step, which, got, len(gotLog), want, len(wantLog))
			}
		}
	}
}

// TestUsingAKeyWritesTwoRecords: the root, and the number of the commit. What
// moves out of the root does so once in a while.
func TestUsingAKeyWritesTwoRecords(t *testing.T) {
	s := &writes{Store: memstore.New()}
	l := create(t, config(t, s))
	submit(t, l, incremented)
	s.puts = nil
	const ops = 64
	for range ops {
		submit(t, l, incremented)
	}
	total, logs := 0, 0
	for _, put := range s.puts {
		total += len(put)
		for _, r := range put {
			if r.Kind == ledger.KindLog {
				logs++
			}
		}
	}
	if len(s.puts) != ops || logs == 0 || logs > ops/8 || total != 2*ops+logs {
		t.Errorf("%d commits wrote %d records, %d of them of the log", len(s.puts), total, logs)
	}
}

type writes struct {
	store.Store
	puts [][]store.Record
}

func (w *writes) Commit(ctx context.Context, b store.Batch) error {
	w.puts = append(w.puts, b.Put)
	return w.Store.Commit(ctx, b)
}

// TestReadsSeeTheirBatch: what is read in the same batch as something is
// written sees it whole: the number of leaves and the leaves, the records and
// what is said of them.
func TestReadsSeeTheirBatch(t *testing.T) {
	s := &counting{Store: memstore.New()}
	l := create(t, config(t, s))
	var wg sync.WaitGroup
	for n := range 200 {
		wg.Go(func() {
			if err := l.Submit(t.Context(), ledger.Op{Entry: incremented.Entry, Apply: func(tx *ledger.Tx) error {
				tx.Put(store.Name{Kind: "key", ID: fmt.Sprintf("%03d", n)}, []byte("x"))
				return increment(tx)
			}}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			err := l.Read(t.Context(), func(tx *ledger.Tx) error {
				leaves, err := tx.Log(0, 1000)
				if err != nil || uint64(len(leaves)) != tx.Size() {
					return fmt.Errorf("%d leaves of %d (%v)", len(leaves), tx.Size(), err)
				}
				keys, err := tx.Names("key")
				if err != nil {
					return err
				}
				raw, err := tx.Get(counter)
				if err != nil || fmt.Sprint(len(keys)) != string(raw) && len(keys) > 0 {
					return fmt.Errorf("%d keys, counted %q (%v)", len(keys), raw, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestReady: an op whose work fails leaves nothing; the others of its batch land,
// none of them twice.
func TestReady(t *testing.T) {
	s := &counting{Store: memstore.New()}
	l := create(t, config(t, s))
	failed := errors.New("no signature")
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			op := incremented
			op.Ready = func(context.Context) error {
				if n%3 == 0 {
					return failed
				}
				return nil
			}
			pending := l.Start(t.Context(), op)
			ready := pending.AwaitReady()
			if err := pending.Wait(); (n%3 == 0) != errors.Is(err, failed) || ready != (n%3 != 0) {
				t.Errorf("op %d: ready %t, %v", n, ready, err)
			}
		})
	}
	wg.Wait()
	if n, size := value(t, l); n != 66 || size != 67 {
		t.Errorf("counter %d, log of %d; 66 and 67 wanted", n, size)
	}
}

// TestReadyHangs: work that never ends fails alone, and in time, wherever in its
// batch it is; what was done long before is written, though it looks at its
// context, too.
func TestReadyHangs(t *testing.T) {
	const ops = 100
	for hanging := range map[int]bool{0: true, 1: true, 50: true, ops - 1: true} {
		synctest.Test(t, func(t *testing.T) {
			s := &counting{Store: memstore.New()}
			l := create(t, config(t, s))
			commits := s.commits.Load()
			start := time.Now()
			finished := make(chan struct{})
			close(finished)
			// They come while the ledger is busy, so they are one batch.
			busy := make(chan struct{})
			go func() {
				_ = l.Read(context.Background(), func(*ledger.Tx) error { <-busy; return nil })
			}()
			synctest.Wait()
			pending := make([]*ledger.Submission, ops)
			for n := range pending {
				op := incremented
				done := finished
				if n == hanging {
					done = nil
				}
				op.Ready = func(ctx context.Context) error {
					select {
					case <-done:
						return nil
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}
				pending[n] = l.Start(t.Context(), op)
			}
			close(busy)
			for n, s := range pending {
				if err := s.Wait(); (n == hanging) != errors.Is(err, ledger.ErrTimeout) || n != hanging && err != nil {
					t.Errorf("op %d, while %d hangs: %v", n, hanging, err)
				}
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if n, _ := value(t, l); n != ops-1 {
				t.Errorf("counter %d, %d wanted", n, ops-1)
			}
			if n := s.commits.Load() - commits; n != 1 {
				t.Errorf("%d commits, 1 wanted: the ops were not one batch", n)
			}
			l.Close()
		})
	}
}

// TestAllHang: when nothing ends, everybody is told in time.
func TestAllHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := create(t, config(t, memstore.New()))
		start := time.Now()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				op := incremented
				op.Ready = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
				if err := l.Submit(t.Context(), op); !errors.Is(err, ledger.ErrTimeout) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it took %v", took)
		}
		l.Close()
	})
}

// TestDoneIsTold: an op that has ended says how, even if its caller has left.
func TestDoneIsTold(t *testing.T) {
	l := create(t, config(t, memstore.New()))
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		s := l.Start(ctx, incremented)
		submit(t, l, incremented) // ends after it
		cancel()
		if err := s.Wait(); err != nil {
			t.Fatalf("an op that has landed: %v", err)
		}
	}
}

// TestUrgent: what is urgent lands where the rest of its batch does not, without it.
func TestUrgent(t *testing.T) {
	s := faultstore.New(memstore.New())
	l := create(t, config(t, s))
	s.Fill(true)
	hold := make(chan struct{})
	first := l.Start(t.Context(), ledger.Op{Apply: func(*ledger.Tx) error { <-hold; return nil }}) // so that the others wait, and come together
	time.Sleep(10 * time.Millisecond)
	ordinary, urgent := put(named("ordinary"), "1"), put(named("urgent"), "1")
	urgent.Urgent = true
	var waiting []*ledger.Submission
	for _, op := range []ledger.Op{ordinary, urgent, ordinary, urgent} {
		waiting = append(waiting, l.Start(t.Context(), op))
	}
	close(hold)
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, s := range waiting {
		if err := s.Wait(); (i%2 == 0) != errors.Is(err, store.ErrFull) || i%2 == 1 && err != nil {
			t.Errorf("op %d: %v", i, err)
		}
	}
	err := l.Read(t.Context(), func(tx *ledger.Tx) error {
		none, err := tx.Get(named("ordinary"))
		some, err2 := tx.Get(named("urgent"))
		if none != nil || string(some) != "1" || tx.Size() != 3 {
			t.Errorf("%q, %q, a log of %d", none, some, tx.Size())
		}
		return errors.Join(err, err2)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestReadOnFullStore: what only reads is answered, without what did not find room beside it.
func TestReadOnFullStore(t *testing.T) {
	s := faultstore.New(memstore.New())
	l := create(t, config(t, s))
	s.Fill(true)
	hold := make(chan struct{})
	first := l.Start(t.Context(), ledger.Op{Apply: func(*ledger.Tx) error { <-hold; return nil }}) // so that the others come together
	time.Sleep(10 * time.Millisecond)
	ordinary := l.Start(t.Context(), put(named("ordinary"), "1"))
	read := make(chan error)
	go func() {
		read <- l.Read(t.Context(), func(tx *ledger.Tx) error {
			value, err := tx.Get(named("ordinary"))
			if tx.Size() == 1 && value != nil {
				err = errors.Join(err, errors.New("it sees what is not in the log"))
			}
			return err
		})
	}()
	time.Sleep(10 * time.Millisecond)
	close(hold)
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := ordinary.Wait(); !errors.Is(err, store.ErrFull) {
		t.Errorf("the write: %v", err)
	}
	if err := <-read; err != nil {
		t.Errorf("the read: %v", err)
	}
}

// TestEvictionBesideDamage: a page of the index that is damaged stops nobody who has
// nothing to do with it. Records that ride along, and whose place it would say, go on riding.
func TestEvictionBesideDamage(t *testing.T) {
	whole := memstore.New()
	cfg := config(t, whole)
	l := create(t, cfg)
	use := func(l *ledger.Ledger, n int) error {
		return l.Submit(t.Context(), put(store.Name{Kind: counter.Kind, ID: fmt.Sprint("n", n)}, "1"))
	}
	for n := range 40 {
		submit(t, l, put(store.Name{Kind: "key", ID: fmt.Sprint("n", n)}, "1"))
		if err := use(l, n); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	pages, err := whole.Scan(t.Context(), vaultID, store.Range{Kind: ledger.KindIndex})
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, page := range pages {
		db := whole.Copy()
		replace(t, db, page.Name, append(page.Value, 0))
		damaged := cfg
		damaged.Store = db
		l, err := ledger.Open(t.Context(), damaged)
		if err != nil {
			continue // the anchor lies behind it
		}
		tried++
		for n := range 40 {
			if err := use(l, n); err != nil {
				t.Errorf("page %s is damaged, and counter %d cannot be written: %v", page.ID, n, err)
			}
		}
		l.Close()
		openLedger(t, damaged) // as before
	}
	if tried < 3 {
		t.Errorf("%d pages", tried)
	}
}
