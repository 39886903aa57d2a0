package relay

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/kms-enclave/kms-enclave/webpush"
)

const (
	maxStash     = 16
	maxToken     = 1024            // bytes of a VAPID token
	tokenMargin  = 5 * time.Second // a token that ends so soon is not used any more
	lowStashTime = time.Hour       // a stash that ends within it is low
	lowStashLeft = 2               // and one with fewer tokens
)

// checkStash returns the tokens of a stash in the order in which they end. errStash unless every one is signed by
// the user's key, for the endpoint's push service, and good now.
func checkStash(tokens []string, public []byte, origin string, now time.Time) ([]stashed, error) {
	if len(tokens) > maxStash {
		return nil, errStash.with("%d tokens, at most %d", len(tokens), maxStash)
	}
	stash := make([]stashed, 0, len(tokens))
	for i, token := range tokens {
		if len(token) > maxToken {
			return nil, errStash.with("token %d has %d bytes, at most %d", i, len(token), maxToken)
		}
		claims, err := webpush.VerifyToken(token, public)
		if err == nil {
			err = claims.Check(origin, now)
		}
		if err != nil {
			return nil, errStash.with("token %d is not good now, under the public key, for the endpoint's origin", i)
		}
		stash = append(stash, stashed{token, claims.Expires.Unix()})
	}
	slices.SortStableFunc(stash, func(a, b stashed) int { return cmp.Compare(a.Expires, b.Expires) })
	return slices.CompactFunc(stash, func(a, b stashed) bool { return a.Token == b.Token }), nil
}

// usable returns the tokens that can be sent with now. The first of them is used until it ends.
func (s *subscription) usable(now time.Time) []stashed {
	from := now.Add(tokenMargin).Unix()
	i := slices.IndexFunc(s.Tokens, func(t stashed) bool { return t.Expires > from })
	if i < 0 {
		return nil
	}
	return s.Tokens[i:]
}

// state is what a tokens event says about a stash.
func (s *subscription) state(now time.Time) stashState {
	left := s.usable(now)
	if len(left) == 0 {
		return stashState{}
	}
	return stashState{len(left), left[len(left)-1].Expires}
}

// low reports whether the app should bring tokens.
func (s stashState) low(now time.Time) bool {
	return s.Left < lowStashLeft || s.Until <= now.Add(lowStashTime).Unix()
}

// without returns the subscription without a token that a push service refused; nil if it has it no more.
func (s *subscription) without(token string) *subscription {
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.Tokens, func(t stashed) bool { return t.Token == token })
	if i < 0 {
		return nil
	}
	s.Tokens = slices.Delete(s.Tokens, i, i+1)
	return s
}

// lowStash remembers which calls for tokens were made, so that each state of a stash is called out once.
type lowStash struct {
	mu   sync.Mutex
	said map[subscriptionKey]stashState
}

const maxSaid = 50_000

func newLowStash() *lowStash { return &lowStash{said: map[subscriptionKey]stashState{}} }

// news reports whether a state was not said before, and remembers it.
func (l *lowStash) news(k subscriptionKey, s stashState) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, ok := l.said[k]; ok && before == s {
		return false
	}
	if len(l.said) >= maxSaid {
		clear(l.said)
	}
	l.said[k] = s
	return true
}

func (l *lowStash) forget(k subscriptionKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.said, k)
}
