package vault

import (
	"encoding/binary"
	"strconv"
	"testing"

	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// batch is a commit that puts one record of a size.
func batch(from, to uint64, id string, size int) store.Batch {
	number := func(n uint64) []byte {
		if n == 0 {
			return nil
		}
		return binary.BigEndian.AppendUint64(make([]byte, 33), n)
	}
	commit := store.Name{Kind: ledger.KindCommit, ID: "-"}
	return store.Batch{
		Expect: store.Record{Name: commit, Value: number(from)},
		Put:    []store.Record{{Kind: "key", ID: id, Value: make([]byte, size)}, {Name: commit, Value: number(to)}},
		Delete: []store.Name{{Kind: "index", ID: id}},
	}
}

// TestRecorder: commits that follow each other are one change, others are apart; what is removed
// and put again is there; and nothing is left of what was taken.
func TestRecorder(t *testing.T) {
	var r recorder
	for n := range uint64(5) {
		r.committed(batch(n, n+1, strconv.Itoa(int(n%2)), 10))
	}
	r.committed(batch(7, 8, "x", 10)) // 5 to 7 was another tab
	changes, more := r.take(1 << 20)
	if len(changes) != 2 || more || r.size != 0 || len(r.changes) != 0 {
		t.Fatalf("%d changes, more: %v; %d bytes left", len(changes), more, r.size)
	}
	c := changes[0]
	if c.From != 0 || c.To != 5 || len(c.Put) != 3 || len(c.Removed) != 2 || changes[1].From != 7 || changes[1].To != 8 {
		t.Errorf("%+v", changes)
	}
	r.committed(batch(8, 9, "x", 10))
	again := batch(9, 10, "y", 10)
	again.Put = append(again.Put, store.Record{Kind: "index", ID: "x", Value: []byte{1}})
	r.committed(again)
	if changes, _ = r.take(1 << 20); len(changes) != 1 || len(changes[0].Removed) != 1 || len(changes[0].Put) != 4 {
		t.Errorf("%+v", changes)
	}
}

// TestRecorderBounds: a change that fits no reply, and what nobody asks for, are forgotten: then there is a gap,
// which whoever follows sees.
func TestRecorderBounds(t *testing.T) {
	var r recorder
	r.committed(batch(0, 1, "large", 5000))
	r.committed(batch(3, 4, "small", 10))
	changes, more := r.take(4000)
	if len(changes) != 1 || changes[0].From != 3 || more || r.size != 0 {
		t.Errorf("%+v, %d bytes left", changes, r.size)
	}
	for n := range uint64(40) {
		r.committed(batch(2*n, 2*n+1, strconv.Itoa(int(n)), 200<<10))
		if r.size > mostRecorded {
			t.Fatalf("%d bytes are kept", r.size)
		}
	}
	if changes, _ = r.take(100 << 20); len(changes) == 0 || len(changes) > mostRecorded/(200<<10) || changes[0].From == 0 || changes[len(changes)-1].To != 79 {
		t.Errorf("%d changes", len(changes))
	}
	portions := 0
	for n := range uint64(10) {
		r.committed(batch(2*n, 2*n+1, strconv.Itoa(int(n)), 1000))
	}
	for more := true; more; portions++ {
		_, more = r.take(3000)
	}
	if portions < 3 {
		t.Errorf("%d portions", portions)
	}
}
