//go:build !js

package ledger_test

import (
	"context"
	"flag"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/ledger/ledgertest"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// How large the log of TestLogBounds grows.
var entries = flag.Uint64("entries", 1_000_000, "entries of the log in TestLogBounds")

// traffic counts what goes to the store and comes from it.
type traffic struct {
	store.Store
	mu            sync.Mutex
	reads, writes int // records
	bytes         int // of both
	stored        int // bytes of log records, none of which is written twice
}

func (s *traffic) Get(ctx context.Context, vault string, names ...store.Name) ([][]byte, error) {
	values, err := s.Store.Get(ctx, vault, names...)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range values {
		s.reads, s.bytes = s.reads+1, s.bytes+len(v)
	}
	return values, err
}

func (s *traffic) Scan(ctx context.Context, vault string, r store.Range) ([]store.Record, error) {
	records, err := s.Store.Scan(ctx, vault, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.reads, s.bytes = s.reads+1, s.bytes+len(r.Value)
	}
	return records, err
}

func (s *traffic) Commit(ctx context.Context, b store.Batch) error {
	s.mu.Lock()
	for _, r := range b.Put {
		s.writes, s.bytes = s.writes+1, s.bytes+len(r.Value)
		if r.Kind == ledger.KindLog {
			s.stored += len(r.Value)
		}
	}
	s.mu.Unlock()
	return s.Store.Commit(ctx, b)
}

// of returns what an operation moved.
func (s *traffic) of(do func()) (reads, writes, bytes int) {
	s.reads, s.writes, s.bytes = 0, 0, 0
	do()
	return s.reads, s.writes, s.bytes
}

// TestLogBounds: appending, opening, and reading a page of the log move the same however long it is, and
// the memory of a ledger does not grow with it.
func TestLogBounds(t *testing.T) {
	s := &traffic{Store: memstore.New()}
	cfg := config(t, s)
	l := create(t, cfg)
	op := incremented
	op.Reserved = true // a log so long takes years otherwise
	append400 := func() {
		for range 400 { // one by one: so many that the page below lies in batches of one size
			submit(t, l, op)
		}
	}
	open := func() { openLedger(t, cfg).Close() }
	page := func() { // near the end, so that all of the log lies before it
		err := l.Read(t.Context(), func(tx *ledger.Tx) error {
			leaves, err := tx.Log(tx.Size()-300, 100)
			if err == nil && len(leaves) != 100 {
				t.Errorf("%d leaves", len(leaves))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ledgertest.Grow(t, l, op, 1000)
	type sample struct{ reads, writes, bytes int }
	measure := func() (all [3]sample) {
		for i, do := range []func(){append400, open, page} {
			all[i].reads, all[i].writes, all[i].bytes = s.of(do)
		}
		return all
	}
	small, smallHeap := measure(), heap()
	start := time.Now()
	_, size := value(t, l)
	ledgertest.Grow(t, l, op, *entries-size)
	t.Logf("%d entries in %v", *entries, time.Since(start).Round(time.Millisecond))
	large, largeHeap := measure(), heap()
	stored := 0
	for name, a := range map[string][2]sample{"400 appends": {small[0], large[0]}, "open": {small[1], large[1]}, "a page of the log": {small[2], large[2]}} {
		t.Logf("%s: %+v with 1,000 entries, %+v with %d", name, a[0], a[1], *entries)
		// The frontier has a hash for each bit of the size, and the index a level more.
		if a[1].reads > a[0].reads+4 || a[1].writes > a[0].writes+6 || a[1].bytes > a[0].bytes*3/2 {
			t.Errorf("%s: %+v with 1,000 entries, %+v with %d", name, a[0], a[1], *entries)
		}
		stored += a[1].reads
	}
	if stored == 0 {
		t.Error("nothing was counted")
	}
	// memstore holds all of the log; what is beyond it is the ledger's.
	per, held := (largeHeap-smallHeap)/int64(*entries), int64(s.stored)/int64(*entries)
	t.Logf("%d bytes of memory for each entry, of which the store holds %d", per, held)
	if per > held*5/4 {
		t.Errorf("%d bytes of memory for each entry, and the store holds %d", per, held)
	}
	var root [32]byte
	if err := l.Read(t.Context(), func(tx *ledger.Tx) error { size, root = tx.Size(), tx.Head(); return nil }); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	if err := audit.Verify(l.Leaves(t.Context(), 0, size), size, root); err != nil || size < *entries {
		t.Errorf("a log of %d entries: %v", size, err)
	}
	t.Logf("verified in %v", time.Since(start).Round(time.Millisecond))
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
