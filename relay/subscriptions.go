package relay

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// subscriptions reads and writes what was registered. Reads are remembered for a moment: each message needs two of them.
type subscriptions struct {
	store   *store
	commits *committer

	mu     sync.Mutex
	recent map[subscriptionKey]remembered
}

type remembered struct {
	sub *subscription
	at  time.Time
}

const (
	maxRecent = 4096
	// recently is how old a remembered subscription may be: another relay of the cluster may have changed it. It does not
	// matter for safety, because what is written names the record that it relies on.
	recently = time.Second
)

func newSubscriptions(s *store, c *committer) *subscriptions {
	return &subscriptions{store: s, commits: c, recent: map[subscriptionKey]remembered{}}
}

// get returns a subscription, which the caller must not change; errUnknown if there is none.
func (s *subscriptions) get(ctx context.Context, k subscriptionKey) (*subscription, error) {
	s.mu.Lock()
	r, ok := s.recent[k]
	s.mu.Unlock()
	if ok && time.Since(r.at) < recently {
		return r.sub, nil
	}
	return s.read(ctx, k)
}

// read returns a subscription as the storage has it now.
func (s *subscriptions) read(ctx context.Context, k subscriptionKey) (*subscription, error) {
	started := time.Now()
	record, err := s.store.last(ctx, s.store.subSubject(k))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		s.forget(k)
		return nil, errUnknown
	}
	if err != nil {
		return nil, errUnavailable.with("the storage does not answer")
	}
	sub, err := parseSubscription(record)
	if err != nil {
		return nil, err
	}
	s.remember(k, sub, started)
	return sub, nil
}

func (s *subscriptions) remember(k subscriptionKey, sub *subscription, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recent) >= maxRecent {
		clear(s.recent)
	}
	s.recent[k] = remembered{sub, at}
}

func (s *subscriptions) forget(k subscriptionKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.recent, k)
}

// forgetUser forgets all of a user.
func (s *subscriptions) forgetUser(kid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.recent {
		if k.kid == kid {
			delete(s.recent, k)
		}
	}
}

// publicKey returns a user's key, which any subscription of the user has; errUnknown if there is none.
func (s *subscriptions) publicKey(ctx context.Context, k subscriptionKey) ([]byte, error) {
	sub, err := s.get(ctx, k)
	if err == nil {
		return sub.PublicKey, nil
	}
	if !errors.Is(err, errUnknown) {
		return nil, err
	}
	record, err := s.store.last(ctx, s.store.subSubject(subscriptionKey{k.kid, "*"}))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, errUnknown
	}
	if err != nil {
		return nil, errUnavailable.with("the storage does not answer")
	}
	if sub, err = parseSubscription(record); err != nil {
		return nil, err
	}
	return sub.PublicKey, nil
}

// update reads a subscription, lets edit change a copy of it, and writes that if the record is still the one that was
// read; otherwise it begins again. edit gets nil if there is none. It reports whether the subscription is new.
func (s *subscriptions) update(ctx context.Context, k subscriptionKey, edit func(*subscription) (*subscription, error)) (created bool, err error) {
	for range 10 {
		old, err := s.read(ctx, k)
		if err != nil && !errors.Is(err, errUnknown) {
			return false, err
		}
		edited, err := edit(old.copy())
		if err != nil || edited == nil {
			return false, err
		}
		err = s.put(ctx, k, old, edited)
		if !errors.Is(err, errConflict) {
			return old == nil, err
		}
	}
	return false, errUnavailable.with("others write the same record all the time")
}

func (s *subscriptions) put(ctx context.Context, k subscriptionKey, old, edited *subscription) error {
	w := write{subject: s.store.subSubject(k), body: mustJSON(edited), expect: s.store.subSubject(k)}
	if old != nil {
		w.sequence = old.revision
	}
	err := s.commits.commit(ctx, &change{key: k, writes: []write{w}, creates: old == nil})
	s.forget(k)
	if errors.Is(err, errNoSubscription) {
		return errConflict // it was erased meanwhile
	}
	return err
}

func (s *subscription) copy() *subscription {
	if s == nil {
		return nil
	}
	c := *s
	c.Tokens = append([]stashed(nil), s.Tokens...)
	return &c
}

// tally returns the counts of a subscription.
func (s *subscriptions) tally(ctx context.Context, k subscriptionKey) (t tally, err error) {
	record, err := s.store.last(ctx, s.store.tallySubject(k))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return t, errUnknown
	}
	if err != nil {
		return t, errUnavailable.with("the storage does not answer")
	}
	return t, decodeStrict(record.Data, &t)
}

// erase deletes everything of one subscription. The tally goes first: nothing can be written without it. The subscription
// goes last: until all the rest is gone its user can ask for it once more.
func (s *subscriptions) erase(ctx context.Context, k subscriptionKey) error {
	return s.commits.erase(ctx, k.kid, s.store.tallySubject(k), s.store.eventFilter(k), s.store.subSubject(k))
}

// eraseUser deletes everything of a user.
func (s *subscriptions) eraseUser(ctx context.Context, kid string) error {
	all := subscriptionKey{kid, "*"}
	return s.commits.erase(ctx, kid, s.store.tallySubject(all), s.store.eventFilter(all), s.store.subSubject(all))
}
