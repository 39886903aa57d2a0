package storetest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/kms-enclave/kms-enclave/store"
)

func testTwoTabs(s *suite) {
	one, two := s.tab(), s.tab()
	s.put(one, record("root", "-", "1"))
	s.want(two, name("root", "-"), "1")
	s.commit(two, store.Batch{Expect: record("root", "-", "1"), Put: []store.Record{record("root", "-", "2")}})
	s.want(one, name("root", "-"), "2")
	err := one.Commit(s.Context(), store.Batch{Vault: vault, Expect: record("root", "-", "1"), Put: []store.Record{record("root", "-", "3")}})
	s.wantError("the slower tab", err, store.ErrConflict)
	one.Close()
	s.want(two, name("root", "-"), "2")
}

// Two tabs count together, without a lock. Every increment that was reported
// as landed is there in the end, and no other.
func testRacingWriters(s *suite) {
	const writers, each = 4, 15
	s.put(s.tab(), record("root", "-", "0"))
	var wg sync.WaitGroup
	for range writers {
		tab := s.tab()
		wg.Go(func() {
			for range each {
				if err := s.increment(tab); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.want(s.tab(), name("root", "-"), strconv.Itoa(writers*each))
}

func (s *suite) increment(tab store.Store) error {
	for {
		held, err := tab.Get(s.Context(), vault, name("root", "-"))
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(held[0]))
		if err != nil {
			return err
		}
		err = tab.Commit(s.Context(), store.Batch{
			Vault:  vault,
			Expect: store.Record{Name: name("root", "-"), Value: held[0]},
			Put:    []store.Record{record("root", "-", strconv.Itoa(n+1)), record("log", strconv.Itoa(n), "x")},
		})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func testLock(s *suite) {
	one, two := s.tab(), s.tab()
	var wg sync.WaitGroup
	inside, most := 0, 0
	var mu sync.Mutex
	step := func(by int) {
		mu.Lock()
		defer mu.Unlock()
		inside += by
		most = max(most, inside)
	}
	for i := range 20 {
		tab := one
		if i%2 == 1 {
			tab = two
		}
		wg.Go(func() {
			unlock, err := tab.Lock(s.Context(), vault)
			if err != nil {
				s.Error(err)
				return
			}
			step(+1)
			time.Sleep(time.Millisecond)
			step(-1)
			unlock()
			unlock() // harmless
		})
	}
	wg.Wait()
	if most != 1 {
		s.Errorf("%d at once inside the lock", most)
	}
}

func testLockHonoursContext(s *suite) {
	one, two := s.tab(), s.tab()
	unlock, err := one.Lock(s.Context(), vault)
	if err != nil {
		s.Fatal(err)
	}
	other, err := two.Lock(s.Context(), "another-vault")
	if err != nil {
		s.Fatal(err)
	}
	other()
	ctx, cancel := context.WithTimeoutCause(s.Context(), 20*time.Millisecond, errGivenUp)
	defer cancel()
	_, err = two.Lock(ctx, vault)
	s.wantError("waiting", err, errGivenUp)
	unlock()
	// The one that gave up does not hold it, now or later.
	for range 3 {
		again, err := two.Lock(s.Context(), vault)
		if err != nil {
			s.Fatal(err)
		}
		again()
	}
}

func testContextDone(s *suite) {
	tab := s.tab()
	s.put(tab, record("root", "-", "1"))
	ctx, cancel := context.WithCancelCause(s.Context())
	cancel(errGivenUp)
	_, err := tab.Get(ctx, vault, name("root", "-"))
	s.wantError("get", err, errGivenUp)
	_, err = tab.Scan(ctx, vault, store.Range{Kind: "root"})
	s.wantError("scan", err, errGivenUp)
	_, err = tab.Handle(ctx, vault, name("root", "-"))
	s.wantError("handle", err, errGivenUp)
	_, err = tab.Lock(ctx, vault)
	s.wantError("lock", err, errGivenUp)
	err = tab.Commit(ctx, store.Batch{Vault: vault, Expect: record("root", "-", "1"), Put: []store.Record{record("root", "-", "2")}})
	s.wantError("commit", err, errGivenUp)
	s.want(tab, name("root", "-"), "1")
}

func testClosed(s *suite) {
	tab := s.tab()
	s.put(tab, record("root", "-", "1"))
	tab.Close()
	tab.Close()
	s.wantUnusable(tab, store.ErrUnavailable)
	s.want(s.tab(), name("root", "-"), "1")
}

// wantUnusable checks that every operation fails, for the same reason.
func (s *suite) wantUnusable(tab store.Store, want error) {
	s.Helper()
	_, err := tab.Get(s.Context(), vault, name("root", "-"))
	s.wantError("get", err, want)
	_, err = tab.Scan(s.Context(), vault, store.Range{Kind: "root"})
	s.wantError("scan", err, want)
	_, err = tab.Handle(s.Context(), vault, name("root", "-"))
	s.wantError("handle", err, want)
	_, err = tab.Lock(s.Context(), vault)
	s.wantError("lock", err, want)
	err = tab.Commit(s.Context(), store.Batch{Vault: vault, Expect: absent("none", "-"), Put: []store.Record{record("root", "-", "no")}})
	s.wantError("commit", err, want)
}

func testReopened(s *suite) {
	tab := s.tab()
	made := s.NewHandle(s.T)
	s.commit(tab, store.Batch{
		Expect: absent("root", "-"), Put: []store.Record{record("root", "-", "1")},
		Handles: []store.Handle{{Name: name("device", "-"), Value: made}},
	})
	tab.Close()
	tab = s.tab()
	s.want(tab, name("root", "-"), "1")
	if stored, err := tab.Handle(s.Context(), vault, name("device", "-")); err != nil || !s.Same(s.T, stored, made) {
		s.Errorf("handle: %v, %v", stored, err)
	}
}

// A deleted database is not made anew behind the back of a tab that had it
// open, and deleting does not wait for that tab.
func testDestroyed(s *suite) {
	tab := s.tab()
	s.put(tab, record("root", "-", "1"))
	s.Destroy(s.T, s.database)
	s.wantUnusable(tab, store.ErrUnavailable)
	s.want(s.tab(), name("root", "-"), "")
}

// A newer release does not wait for an older one's tabs, which stop; and the
// older one neither opens nor damages what the newer one has written.
func testNewerVersion(s *suite) {
	tab := s.tab()
	s.put(tab, record("root", "-", "1"))
	s.Upgrade(s.T, s.database)
	s.wantUnusable(tab, store.ErrNewer)
	for range 2 {
		_, err := s.Open(s.Context(), s.database)
		s.wantError("open", err, store.ErrNewer)
	}
}

func testDurability(s *suite) {
	switch d := s.tab().Durability(s.Context()); d {
	case store.Persistent, store.BestEffort, store.BrowserSession, store.Memory:
	default:
		s.Errorf("durability %q", d)
	}
}
