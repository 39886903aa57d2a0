package audit

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The head is that of another implementation, at every size.
func TestFrontierMatchesTlog(t *testing.T) {
	var f Frontier
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			hashes[i] = stored[x]
		}
		return hashes, nil
	})
	for n := range int64(600) {
		want, err := tlog.TreeHash(n, reader)
		if err != nil {
			t.Fatal(err)
		}
		if f.Size() != uint64(n) || tlog.Hash(f.Root()) != want {
			t.Fatalf("size %d: root %x, %v wanted", f.Size(), f.Root(), want)
		}
		again, err := ParseFrontier(f.AppendBinary(nil))
		if err != nil || again.Root() != f.Root() || again.Size() != f.Size() {
			t.Fatalf("size %d: round trip: %v", n, err)
		}
		leaf := LeafHash([]byte{byte(n), byte(n >> 8)})
		hashes, err := tlog.StoredHashesForRecordHash(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		f.Append(leaf)
	}
}

// The ledger appends to a copy and throws it away when a commit fails.
func TestFrontierIsAValue(t *testing.T) {
	var f Frontier
	for n := range 70 {
		f.Append(LeafHash([]byte{byte(n)}))
		before := f.Root()
		one, two := f, f
		for i := range 9 {
			one.Append(LeafHash([]byte{1, byte(i)}))
			two.Append(LeafHash([]byte{2, byte(i)}))
		}
		if f.Root() != before || one.Root() == two.Root() {
			t.Fatalf("size %d: a copy shares what it appends", n+1)
		}
	}
}

func TestFrontierRefuses(t *testing.T) {
	var f Frontier
	for range 5 {
		f.Append(LeafHash(nil))
	}
	good := f.AppendBinary(nil)
	for n := range good {
		if _, err := ParseFrontier(good[:n]); err == nil {
			t.Errorf("cut to %d bytes: accepted", n)
		}
	}
	if _, err := ParseFrontier(append(bytes.Clone(good), 0)); err == nil {
		t.Error("a byte left over: accepted")
	}
	huge := binary.BigEndian.AppendUint64(nil, MaxSize+1)
	if _, err := ParseFrontier(append(huge, make([]byte, tlog.HashSize)...)); err == nil {
		t.Error("too many leaves: accepted")
	}
}

func FuzzFrontier(f *testing.F) {
	var frontier Frontier
	for range 7 {
		f.Add(frontier.AppendBinary(nil))
		frontier.Append(LeafHash(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frontier, err := ParseFrontier(b)
		if err != nil {
			return
		}
		if !bytes.Equal(frontier.AppendBinary(nil), b) {
			t.Errorf("%x is not what it encodes as", b)
		}
		before := frontier.Size()
		if before < MaxSize {
			frontier.Append(LeafHash(b))
		}
		frontier.Root()
	})
}

// Appending costs the same whatever the size.
func BenchmarkFrontierAppend(b *testing.B) {
	for _, size := range []int{10, 1_000_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			var f Frontier
			for range size {
				f.Append(LeafHash(binary.BigEndian.AppendUint64(nil, rand.Uint64())))
			}
			leaf := LeafHash(nil)
			for b.Loop() {
				f.Append(leaf)
			}
		})
	}
}
