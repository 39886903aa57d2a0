package audit

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestBatch(t *testing.T) {
	for _, size := range []int{1, 2, 255, 256, MaxBatch} {
		entries := newLog(t, size).entries
		got, err := ParseBatch(EncodeBatch(entries))
		if err != nil || !slices.EqualFunc(got, entries, bytes.Equal) {
			t.Errorf("%d entries: %d, %v", size, len(got), err)
		}
	}
}

func TestBatchRefuses(t *testing.T) {
	good := EncodeBatch([][]byte{[]byte("one"), []byte("two")})
	for n := range good {
		if _, err := ParseBatch(good[:n]); err == nil {
			t.Errorf("cut to %d bytes: accepted", n)
		}
	}
	bad := map[string][]byte{
		"left over":     append(bytes.Clone(good), 0),
		"version":       append([]byte{2}, good[1:]...),
		"none":          {1, 0, 0},
		"too many":      append([]byte{1, 0x10, 0x01}, make([]byte, 3*4097)...),
		"empty entry":   {1, 0, 1, 0, 0},
		"long entry":    append([]byte{1, 0, 1, 0x20, 0x01}, make([]byte, MaxEntry+1)...),
		"fewer counted": append([]byte{1, 0, 1}, good[3:]...),
		"more counted":  append([]byte{1, 0, 3}, good[3:]...),
	}
	for name, b := range bad {
		if _, err := ParseBatch(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBatchPanics(t *testing.T) {
	bad := map[string][][]byte{
		"none":        nil,
		"too many":    make([][]byte, MaxBatch+1),
		"empty entry": {{}},
		"long entry":  {make([]byte, MaxEntry+1)},
	}
	for name, entries := range bad {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: encoded", name)
				}
			}()
			EncodeBatch(entries)
		}()
	}
}

func TestBatchID(t *testing.T) {
	ids := []string{}
	for _, first := range []uint64{0, 1, 9, 10, 15, 16, 255, 1 << 40, MaxSize - 1} {
		id := BatchID(first)
		if got, err := ParseBatchID(id); err != nil || got != first || len(id) != 16 {
			t.Errorf("%d: %s, %d, %v", first, id, got, err)
		}
		ids = append(ids, id)
	}
	if !slices.IsSorted(ids) {
		t.Errorf("ids do not order as numbers: %v", ids)
	}
	for _, id := range []string{"", "0", strings.Repeat("0", 15), strings.Repeat("0", 17), "000000000000000A", "+000000000000001", "000000000000_001", "0x00000000000001", "ffffffffffffffff", BatchID(MaxSize)} {
		if first, err := ParseBatchID(id); err == nil {
			t.Errorf("%q: %d", id, first)
		}
	}
}

func FuzzBatch(f *testing.F) {
	f.Add(EncodeBatch([][]byte{[]byte("one")}))
	f.Add(EncodeBatch([][]byte{[]byte("one"), []byte("two")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := ParseBatch(b)
		if err == nil && !bytes.Equal(EncodeBatch(entries), b) {
			t.Errorf("%x is not what it encodes as", b)
		}
	})
}

func FuzzBatchID(f *testing.F) {
	f.Add("0000000000000000")
	f.Add("00000000000000fF")
	f.Fuzz(func(t *testing.T, id string) {
		first, err := ParseBatchID(id)
		if err == nil && BatchID(first) != id {
			t.Errorf("%q is not what it encodes as", id)
		}
	})
}
