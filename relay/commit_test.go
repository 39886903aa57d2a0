package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// TestSplit: what is about a record that is in the batch already waits for the next one, which keeps the order; so does what would make it
// too large.
func TestSplit(t *testing.T) {
	t.Parallel()
	about := func(expect string, size int) *change {
		return &change{writes: []write{{expect: expect, body: make([]byte, size)}}}
	}
	a, b, again, free := about("a", 1), about("b", 1), about("a", 1), about("", 1)
	batch, late := split([]*change{a, b, again, free})
	if len(batch) != 3 || batch[0] != a || batch[1] != b || batch[2] != free || len(late) != 1 || late[0] != again {
		t.Errorf("%d and %d", len(batch), len(late))
	}
	batch, late = split([]*change{about("", maxBatchBytes), about("", 1), about("", 1)})
	if len(batch) != 1 || len(late) != 2 {
		t.Errorf("%d and %d", len(batch), len(late))
	}
}

// TestOneIsRefused: of changes that are written together the one that is refused takes no other along, and the tally counts
// those that were written.
func TestOneIsRefused(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	g.registerWith(u, "inbox", push, "/a")
	k := subscriptionKey{u.kid, "inbox"}
	errs := make([]error, 40)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			subject := g.relay.store.messageSubject("none", k, fmt.Sprint("m", i))
			w := write{subject: subject, expect: subject}
			if i%10 == 3 {
				w.sequence = 1 << 40 // there is none
			}
			errs[i] = g.relay.commits.commit(context.Background(), &change{key: k, writes: []write{w}, count: func(t *tally) { t.Accepted++ }})
		})
	}
	all.Wait()
	for i, err := range errs {
		if refused := errors.Is(err, errConflict); refused != (i%10 == 3) || !refused && err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if s := g.state(u, "inbox"); s.Queued != 36 {
		t.Errorf("%+v", s)
	}
}

// TestErasedInOneBatch: what stands before an erasure in the same batch does not bring the subscription back.
func TestErasedInOneBatch(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	g.registerWith(u, "inbox", push, "/a")
	k := subscriptionKey{u.kid, "inbox"}
	subject := g.relay.store.messageSubject("none", k, "m")
	accept := &change{key: k, writes: []write{{subject: subject, expect: subject}}, count: func(t *tally) { t.Accepted++ }, done: make(chan error, 1)}
	erase := &change{key: subscriptionKey{kid: u.kid}, erases: []string{
		g.relay.store.tallySubject(k), g.relay.store.eventFilter(k), g.relay.store.subSubject(k),
	}, done: make(chan error, 1)}
	c := newCommitter(g.relay.store, g.relay.metrics)
	if err := c.know(accept); err != nil { // as if it had been counted before
		t.Fatal(err)
	}
	c.write([]*change{accept, erase})
	if err := <-erase.done; err != nil {
		t.Fatal(err)
	}
	if err := <-accept.done; !errors.Is(err, errNoSubscription) {
		t.Errorf("accepted: %v", err)
	}
	for _, subject := range []string{subject, g.relay.store.tallySubject(k)} {
		if _, err := g.relay.store.last(t.Context(), subject); !errors.Is(err, jetstream.ErrMsgNotFound) {
			t.Errorf("%s is there: %v", subject, err)
		}
	}
}

// TestScopesAreApart: whoever may only send does not use up what the user needs to forget.
func TestScopesAreApart(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push, func(c *Config) { c.Limits.UserRate, c.Limits.UserBurst = 0.001, 3 }), newUser(t)
	g.register(u, "inbox", push, "/a")
	send := u.token(t, scopeSend)
	for range 5 {
		g.do("POST", "/v1/subscriptions/inbox/messages", send, "x", "TTL", "odd")
	}
	g.want(g.do("POST", "/v1/subscriptions/inbox/messages", send, "x"), 429, "too-many-requests")
	g.want(g.do("DELETE", "/v1/subscriptions/inbox", u.token(t, scopeRegister), ""), 204, "")
}
