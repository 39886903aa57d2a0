package faultstore_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/faultstore"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

const vault = "v"

var (
	a = store.Name{Kind: "key", ID: "a"}
	b = store.Name{Kind: "key", ID: "b"}

	errBroken = errors.New("broken")
)

// put commits one record whatever it holds now.
func put(s store.Store, n store.Name, value string) error {
	return s.Commit(context.Background(), store.Batch{
		Vault: vault, Expect: store.Record{Name: store.Name{Kind: "none", ID: "-"}},
		Put: []store.Record{{Name: n, Value: []byte(value)}},
	})
}

func want(t *testing.T, s store.Store, n store.Name, value string) {
	t.Helper()
	values, err := s.Get(t.Context(), vault, n)
	if err != nil || string(values[0]) != value {
		t.Errorf("%v holds %q, %v; %q wanted", n, values, err, value)
	}
}

func TestFailNthCommit(t *testing.T) {
	inner := memstore.New()
	s := faultstore.New(inner)
	s.Fail(faultstore.Commit, 2, errBroken)
	var got []error
	for _, value := range []string{"1", "2", "3"} {
		got = append(got, put(s, a, value))
		want(t, inner, a, map[string]string{"1": "1", "2": "1", "3": "3"}[value])
	}
	if !slices.Equal(got, []error{nil, errBroken, nil}) || s.Commits() != 2 {
		t.Errorf("%v, %d commits", got, s.Commits())
	}
}

func TestFailLanded(t *testing.T) {
	inner := memstore.New()
	s := faultstore.New(inner)
	s.FailLanded(1, errBroken)
	if err := put(s, a, "1"); err != errBroken {
		t.Error(err)
	}
	want(t, inner, a, "1")
	if err := put(s, a, "2"); err != nil {
		t.Error(err)
	}
}

func TestFailEveryOperation(t *testing.T) {
	s := faultstore.New(memstore.New())
	if err := put(s, a, "1"); err != nil {
		t.Fatal(err)
	}
	calls := map[faultstore.Operation]func() error{
		faultstore.Get:    func() error { _, err := s.Get(t.Context(), vault, a); return err },
		faultstore.Scan:   func() error { _, err := s.Scan(t.Context(), vault, store.Range{Kind: "key"}); return err },
		faultstore.Handle: func() error { _, err := s.Handle(t.Context(), vault, a); return err },
		faultstore.Commit: func() error { return put(s, a, "2") },
		faultstore.Lock: func() error {
			unlock, err := s.Lock(t.Context(), vault)
			if err == nil {
				unlock()
			}
			return err
		},
	}
	for op, call := range calls {
		s.FailAll(op, errBroken)
		for range 3 {
			if err := call(); err != errBroken {
				t.Errorf("%s: %v", op, err)
			}
		}
		s.Heal()
		if err := call(); err != nil {
			t.Errorf("%s, healed: %v", op, err)
		}
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faultstore.New(memstore.New())
		s.Delay(faultstore.Get, time.Minute)
		start := time.Now()
		want(t, s, a, "")
		if took := time.Since(start); took != time.Minute {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errBroken)
		defer cancel()
		if _, err := s.Get(ctx, vault, a); err != errBroken {
			t.Error(err)
		}
	})
}

func TestLoseHandle(t *testing.T) {
	s := faultstore.New(memstore.New())
	s.LoseHandle(vault, a)
	if h, err := s.Handle(t.Context(), vault, a); h != nil || err != nil {
		t.Errorf("none stored: %v, %v", h, err)
	}
	err := s.Commit(t.Context(), store.Batch{Vault: vault, Expect: store.Record{Name: a}, Handles: []store.Handle{{Name: a, Value: 1}, {Name: b, Value: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := s.Handle(t.Context(), vault, a); h != nil || !errors.Is(err, store.ErrHandleLost) {
		t.Errorf("lost: %v, %v", h, err)
	}
	if h, err := s.Handle(t.Context(), vault, b); h != 2 || err != nil {
		t.Errorf("kept: %v, %v", h, err)
	}
}

func TestTamper(t *testing.T) {
	s := memstore.New()
	if err := put(s, a, "old"); err != nil {
		t.Fatal(err)
	}
	rollBack, err := faultstore.Remember(t.Context(), s, vault, a)
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		do     func() error
		a, b   string
		called string
	}{
		{func() error { return put(s, a, "new") }, "new", "", "put"},
		{func() error { return faultstore.Duplicate(t.Context(), s, vault, a, b) }, "new", "new", "duplicate"},
		{func() error { return faultstore.Corrupt(t.Context(), s, vault, b, -1) }, "new", "nev", "corrupt"},
		{func() error { return faultstore.Corrupt(t.Context(), s, vault, b, 0) }, "new", "oev", "corrupt"},
		{func() error { return rollBack(t.Context()) }, "old", "oev", "roll back"},
		{func() error { return faultstore.Drop(t.Context(), s, vault, a) }, "", "oev", "drop"},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.called, err)
		}
		want(t, s, a, step.a)
		want(t, s, b, step.b)
	}
	if err := faultstore.Corrupt(t.Context(), s, vault, b, 3); err == nil {
		t.Error("corrupt beyond the end: done")
	}
	if err := faultstore.Corrupt(t.Context(), s, vault, a, 0); err == nil {
		t.Error("corrupt nothing: done")
	}
}
