package audit

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func TestVerify(t *testing.T) {
	for _, size := range []int{1, 2, 3, 64, 100} {
		l := newLog(t, size)
		if err := Verify(all(l.entries), uint64(size), l.frontier.Root()); err != nil {
			t.Errorf("%d entries: %v", size, err)
		}
	}
}

// Each way to break a log, and the entry that is named.
func TestVerifyNamesFirstBad(t *testing.T) {
	const size = 100
	edited := func(l *testLog, seq int, edit func(*Entry)) {
		e, err := ParseEntry(l.entries[seq])
		if err != nil {
			t.Fatal(err)
		}
		edit(&e)
		if l.entries[seq], err = e.Encode(); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		spoil func(*testLog)
		seq   uint64
		want  error
	}{
		"deleted first":        {func(l *testLog) { l.entries = l.entries[1:] }, 0, ErrSequence},
		"deleted in between":   {func(l *testLog) { l.entries = slices.Delete(l.entries, 40, 41) }, 40, ErrSequence},
		"deleted at the end":   {func(l *testLog) { l.entries = l.entries[:size-1] }, size - 1, ErrMissing},
		"deleted many":         {func(l *testLog) { l.entries = l.entries[:7] }, 7, ErrMissing},
		"all deleted":          {func(l *testLog) { l.entries = nil }, 0, ErrMissing},
		"swapped":              {func(l *testLog) { l.entries[3], l.entries[4] = l.entries[4], l.entries[3] }, 3, ErrSequence},
		"duplicated":           {func(l *testLog) { l.entries = slices.Insert(l.entries, 51, l.entries[50]) }, 51, ErrSequence},
		"duplicated last":      {func(l *testLog) { l.entries = append(l.entries, l.entries[size-1]) }, size, ErrExtra},
		"appended":             {func(l *testLog) { l.append(t, Entry{Method: "m", Outcome: "ok", Time: maxTime}) }, size, ErrExtra},
		"not canonical":        {func(l *testLog) { l.entries[9] = append(bytes.Clone(l.entries[9]), ' ') }, 9, ErrNotCanonical},
		"emptied":              {func(l *testLog) { l.entries[9] = nil }, 9, ErrNotCanonical},
		"renumbered":           {func(l *testLog) { edited(l, 9, func(e *Entry) { e.Seq = 90 }) }, 9, ErrSequence},
		"earlier":              {func(l *testLog) { edited(l, 9, func(e *Entry) { e.Time -= 10 }) }, 9, ErrTime},
		"later than the next":  {func(l *testLog) { edited(l, 9, func(e *Entry) { e.Time += 10 }) }, 10, ErrTime},
		"garbage at the end":   {func(l *testLog) { l.entries = append(l.entries, []byte("x")) }, size, ErrNotCanonical},
		"first deleted, moved": {func(l *testLog) { l.entries = append(l.entries[1:], l.entries[0]) }, 0, ErrSequence},
	}
	for name, test := range tests {
		l := newLog(t, size)
		root := l.frontier.Root()
		test.spoil(l)
		err := Verify(all(l.entries), size, root)
		bad, ok := errors.AsType[*EntryError](err)
		if !ok || !errors.Is(err, test.want) || bad.Seq != test.seq {
			t.Errorf("%s: %v; entry %d: %v wanted", name, err, test.seq, test.want)
		}
	}
}

func TestVerifyRoot(t *testing.T) {
	l := newLog(t, 10)
	root := l.frontier.Root()
	l.entries[4] = bytes.Replace(l.entries[4], []byte("jwt.sign"), []byte("key.sign"), 1)
	if err := Verify(all(l.entries), 10, root); !errors.Is(err, ErrRoot) {
		t.Errorf("edited: %v", err)
	}
	l = newLog(t, 10)
	if err := Verify(all(l.entries), 10, [32]byte{}); !errors.Is(err, ErrRoot) {
		t.Errorf("another head: %v", err)
	}
}

// A comparison of nothing fails.
func TestVerifyEmpty(t *testing.T) {
	var empty Frontier
	if err := Verify(all(nil), 0, empty.Root()); !errors.Is(err, ErrEmpty) {
		t.Error(err)
	}
}

func TestVerifyPassesErrorsOn(t *testing.T) {
	gone := errors.New("gone")
	err := Verify(func(yield func([]byte, error) bool) { yield(nil, gone) }, 1, [32]byte{})
	if err != gone {
		t.Error(err)
	}
}

func BenchmarkVerify(b *testing.B) {
	l := newLog(b, 1000)
	for b.Loop() {
		if err := Verify(all(l.entries), 1000, l.frontier.Root()); err != nil {
			b.Fatal(err)
		}
	}
}
