package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/kms-enclave/kms-enclave/store"
)

func testGet(s *suite) {
	tab := s.tab()
	s.put(tab, record("key", "a", "one"), record("key", "b", "two"), store.Record{Name: name("key", "empty"), Value: []byte{}})
	values, err := tab.Get(s.Context(), vault, name("key", "b"), name("key", "c"), name("key", "a"), name("key", "empty"), name("meta", "a"))
	if err != nil {
		s.Fatal(err)
	}
	want := [][]byte{[]byte("two"), nil, []byte("one"), {}, nil}
	for i := range want {
		if !bytes.Equal(values[i], want[i]) || (values[i] == nil) != (want[i] == nil) {
			s.Errorf("value %d: %#v, %#v wanted", i, values[i], want[i])
		}
	}
	if none, err := tab.Get(s.Context(), vault); err != nil || len(none) != 0 {
		s.Errorf("no names: %v, %v", none, err)
	}
}

// Every byte value survives, and the caller may do with slices what it likes.
func testValuesAreCopies(s *suite) {
	tab := s.tab()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	original := string(every)
	s.put(tab, store.Record{Name: name("key", "a"), Value: every})
	every[0] = 99
	s.want(tab, name("key", "a"), original)
	values, err := tab.Get(s.Context(), vault, name("key", "a"))
	if err != nil {
		s.Fatal(err)
	}
	values[0][0] = 99
	s.want(tab, name("key", "a"), original)
}

func testNames(s *suite) {
	tab := s.tab()
	good := []store.Name{
		{Kind: "a", ID: "-"},
		{Kind: "a-b", ID: `"\/,[]{}`},
		{Kind: strings.Repeat("z", 32), ID: strings.Repeat("~", 128)},
		{Kind: "space", ID: " x "},
	}
	for _, n := range good {
		s.put(tab, store.Record{Name: n, Value: []byte(n.ID)})
		s.want(tab, n, n.ID)
		found, err := tab.Scan(s.Context(), vault, store.Range{Kind: n.Kind})
		if err != nil || len(found) != 1 || found[0].Name != n {
			s.Errorf("scan %v: %v, %v", n, found, err)
		}
	}
	bad := []store.Name{{}, {Kind: "a"}, {ID: "a"}, {Kind: "A", ID: "a"}, {Kind: "a", ID: "é"}, {Kind: "a", ID: "a\n"}, {Kind: "a", ID: "\x7f"}, {Kind: "a", ID: "\x00"}, {Kind: strings.Repeat("z", 33), ID: "a"}, {Kind: "a", ID: strings.Repeat("z", 129)}}
	for _, n := range bad {
		_, err := tab.Get(s.Context(), vault, n)
		s.wantError(fmt.Sprintf("get %q", n), err, store.ErrName)
		err = tab.Commit(s.Context(), store.Batch{Vault: vault, Expect: absent("none", "-"), Put: []store.Record{{Name: n}}})
		s.wantError(fmt.Sprintf("put %q", n), err, store.ErrName)
	}
}

func testPrecondition(s *suite) {
	tab := s.tab()
	s.commit(tab, store.Batch{Expect: absent("root", "-"), Put: []store.Record{record("root", "-", "1")}})
	for _, stale := range []store.Record{absent("root", "-"), record("root", "-", "0"), record("root", "-", ""), record("root", "-", "11"), record("other", "-", "1")} {
		err := tab.Commit(s.Context(), store.Batch{
			Vault: vault, Expect: stale, Clear: true,
			Put: []store.Record{record("root", "-", "2"), record("key", "a", "new")}, Delete: []store.Name{name("root", "-")},
			Handles: []store.Handle{{Name: name("device", "-"), Value: s.NewHandle(s.T)}},
		})
		s.wantError(fmt.Sprintf("expecting %q", stale.Value), err, store.ErrConflict)
	}
	s.want(tab, name("root", "-"), "1")
	s.want(tab, name("key", "a"), "")
	if h, err := tab.Handle(s.Context(), vault, name("device", "-")); h != nil || err != nil {
		s.Errorf("handle of an aborted batch: %v, %v", h, err)
	}
	s.commit(tab, store.Batch{Expect: record("root", "-", "1"), Put: []store.Record{record("root", "-", "2")}})
	s.want(tab, name("root", "-"), "2")
}

// Within a batch everything is cleared first, then deleted, then put.
func testBatchOrder(s *suite) {
	tab := s.tab()
	s.put(tab, record("key", "a", "old"), record("key", "b", "old"))
	s.commit(tab, store.Batch{
		Expect: record("key", "a", "old"), Clear: true,
		Put: []store.Record{record("key", "a", "new"), record("key", "c", "first"), record("key", "c", "second")}, Delete: []store.Name{name("key", "a")},
	})
	s.want(tab, name("key", "a"), "new")
	s.want(tab, name("key", "b"), "")
	s.want(tab, name("key", "c"), "second")
}

func testVaultsAreApart(s *suite) {
	tab := s.tab()
	other := vault[:42] + "0"
	s.put(tab, record("key", "a", "mine"))
	s.commit(tab, store.Batch{Vault: other, Expect: absent("key", "a"), Put: []store.Record{record("key", "a", "theirs"), record("key", "b", "theirs")}})
	s.want(tab, name("key", "a"), "mine")
	if found, err := tab.Scan(s.Context(), vault, store.Range{Kind: "key"}); err != nil || len(found) != 1 {
		s.Errorf("scan: %v, %v", found, err)
	}
	s.commit(tab, store.Batch{Vault: other, Expect: record("key", "a", "theirs"), Clear: true})
	s.want(tab, name("key", "a"), "mine")
	if left, err := tab.Scan(s.Context(), other, store.Range{Kind: "key"}); err != nil || len(left) != 0 {
		s.Errorf("cleared: %v, %v", left, err)
	}
}

func testClear(s *suite) {
	tab := s.tab()
	s.commit(tab, store.Batch{
		Expect: absent("root", "-"), Put: []store.Record{record("root", "-", "1"), record("key", "a", "one"), record("zz", "~", "x")},
		Handles: []store.Handle{{Name: name("device", "-"), Value: s.NewHandle(s.T)}},
	})
	s.commit(tab, store.Batch{Expect: record("root", "-", "1"), Clear: true, Put: []store.Record{record("root", "-", "2")}})
	s.want(tab, name("root", "-"), "2")
	s.want(tab, name("key", "a"), "")
	s.want(tab, name("zz", "~"), "")
	if h, err := tab.Handle(s.Context(), vault, name("device", "-")); h != nil || err != nil {
		s.Errorf("handle: %v, %v", h, err)
	}
}

func testHandles(s *suite) {
	tab := s.tab()
	if h, err := tab.Handle(s.Context(), vault, name("device", "-")); h != nil || err != nil {
		s.Fatalf("before: %v, %v", h, err)
	}
	made := s.NewHandle(s.T)
	s.commit(tab, store.Batch{Expect: absent("root", "-"), Handles: []store.Handle{{Name: name("device", "-"), Value: made}}})
	for _, tab := range []store.Store{tab, s.tab()} {
		stored, err := tab.Handle(s.Context(), vault, name("device", "-"))
		if err != nil || stored == nil {
			s.Fatalf("after: %v, %v", stored, err)
		}
		if !s.Same(s.T, stored, made) {
			s.Error("the handle is another one")
		}
	}
	s.want(tab, name("device", "-"), "") // a handle is not a record
}

func testDelete(s *suite) {
	tab := s.tab()
	device := name("device", "-")
	s.commit(tab, store.Batch{
		Expect: absent("key", "a"), Put: []store.Record{record("key", "a", "one"), record("key", "b", "two"), record("device", "-", "beside")},
		Handles: []store.Handle{{Name: device, Value: s.NewHandle(s.T)}},
	})
	s.commit(tab, store.Batch{Expect: record("key", "a", "one"), Delete: []store.Name{name("key", "a"), device, name("key", "never")}})
	s.want(tab, name("key", "a"), "")
	s.want(tab, name("key", "b"), "two")
	s.want(tab, device, "")
	if h, err := tab.Handle(s.Context(), vault, device); h != nil || err != nil {
		s.Errorf("handle: %v, %v", h, err)
	}
}

func testRange(s *suite) {
	tab := s.tab()
	// Bytewise: punctuation, digits, capitals, more punctuation, small letters.
	ids := []string{"!", "-", "0", "00", "1", "9", "A", "Z", "_", "a", "aa", "b", "~", "~~"}
	for _, id := range slices.Backward(ids) {
		s.put(tab, record("log", id, "v"+id))
	}
	s.put(tab, record("lof", "a", "x"), record("logs", "a", "x"), record("lo", "~", "x"))
	tests := []struct {
		r    store.Range
		want []string
	}{
		{store.Range{}, ids},
		{store.Range{Reverse: true}, reversed(ids)},
		{store.Range{Limit: 3}, ids[:3]},
		{store.Range{Limit: 3, Reverse: true}, reversed(ids[len(ids)-3:])},
		{store.Range{First: "1"}, ids[4:]},
		{store.Range{First: "1", Limit: 2}, ids[4:6]},
		{store.Range{Last: "1"}, ids[:5]},
		{store.Range{Last: "1", Reverse: true, Limit: 1}, ids[4:5]},
		{store.Range{Last: "10", Reverse: true, Limit: 1}, ids[4:5]},
		{store.Range{First: "1", Last: "1"}, ids[4:5]},
		{store.Range{First: "2", Last: "8"}, nil},
		{store.Range{First: "b", Last: "a"}, nil},
		{store.Range{First: "A", Last: "a", Reverse: true}, reversed(ids[6:10])},
		{store.Range{First: "~~~"}, nil},
		{store.Range{Last: " "}, nil},
	}
	for _, test := range tests {
		test.r.Kind = "log"
		s.wantScan(tab, test.r, test.want)
	}
	s.wantScan(tab, store.Range{Kind: "nothing"}, nil)
	s.wantScan(tab, store.Range{Kind: "nothing", Reverse: true}, nil)
	_, err := tab.Scan(s.Context(), vault, store.Range{Kind: ""})
	s.wantError("no kind", err, store.ErrName)
}

func (s *suite) wantScan(in store.Store, r store.Range, want []string) {
	s.Helper()
	found, err := in.Scan(s.Context(), vault, r)
	if err != nil {
		s.Errorf("scan %+v: %v", r, err)
		return
	}
	var got []string
	for _, f := range found {
		if f.Kind != r.Kind || string(f.Value) != "v"+f.ID {
			s.Errorf("scan %+v: record %v holds %q", r, f.Name, f.Value)
		}
		got = append(got, f.ID)
	}
	if !slices.Equal(got, want) {
		s.Errorf("scan %+v: %q, %q wanted", r, got, want)
	}
}

func reversed(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Reverse(ids)
	return ids
}

func testManyRecords(s *suite) {
	tab := s.tab()
	const count = 1200
	var batch []store.Record
	var ids []string
	for i := range count {
		id := fmt.Sprintf("%016x", i*7)
		ids = append(ids, id)
		batch = append(batch, record("log", id, "v"+id))
	}
	s.put(tab, batch...)
	s.wantScan(tab, store.Range{Kind: "log"}, ids[:store.MaxRecords])
	s.wantScan(tab, store.Range{Kind: "log", Reverse: true, Limit: 20}, reversed(ids[count-20:]))
	s.wantScan(tab, store.Range{Kind: "log", First: ids[1000], Limit: 500}, ids[1000:])
	s.wantScan(tab, store.Range{Kind: "log", Limit: count}, ids)
}
