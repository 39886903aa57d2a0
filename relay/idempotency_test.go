package relay

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestIdempotencyKey: within 24 hours a key gives its message's id again, also when that was sent, also after
// a restart; another body, TTL, Urgency or Topic is 422; afterwards the key is free.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	now, mu := time.Now(), sync.Mutex{}
	clock := WithClock(func() time.Time { mu.Lock(); defer mu.Unlock(); return now })
	g.restart(clock)
	g.register(u, "inbox", push, "/a")
	key := []string{"Idempotency-Key", "key", "TTL", "60", "Urgency", "low", "Topic", "t"}
	id := g.send(u, "inbox", "x", key...)
	for _, step := range []func(){func() {}, func() { g.outcome(u, "inbox", id) }, func() { g.restart(clock) }} {
		step()
		if again := g.send(u, "inbox", "x", key...); again != id {
			t.Errorf("%s, then %s", id, again)
		}
		for _, test := range [][]string{
			{"y", "Idempotency-Key", "key", "TTL", "60", "Urgency", "low", "Topic", "t"},
			{"x", "Idempotency-Key", "key", "TTL", "61", "Urgency", "low", "Topic", "t"},
			{"x", "Idempotency-Key", "key", "TTL", "60", "Topic", "t"},
			{"x", "Idempotency-Key", "key", "TTL", "60", "Urgency", "low", "Topic", "u"},
		} {
			g.want(g.do("POST", "/v1/subscriptions/inbox/messages", u.token(t, scopeSend), test[0], test[1:]...), http.StatusUnprocessableEntity, "idempotency-key-reused")
		}
	}
	if got := push.messages("/a"); len(got) != 1 {
		t.Errorf("%d were sent", len(got))
	}
	later := u.jws(t, u.header(), claimsAt(now.Add(24*time.Hour), scopeSend))
	mu.Lock()
	now = now.Add(24*time.Hour + time.Second)
	mu.Unlock()
	a := g.want(g.do("POST", "/v1/subscriptions/inbox/messages", later, "another", key...), 202, "")
	if a.body == `{"id":"`+id+`"}` {
		t.Error("after a day the key still stands for the message")
	}
}

// TestIdempotencyAtOnce: of a hundred posts with one key that arrive together one is queued, and all get its id.
func TestIdempotencyAtOnce(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	g.register(u, "inbox", push, "/a")
	token := u.token(t, scopeSend)
	ids := make([]string, 100)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			ids[i] = g.want(g.do("POST", "/v1/subscriptions/inbox/messages", token, "x", "Idempotency-Key", "k"), 202, "").body
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("%s and %s", ids[0], id)
		}
	}
	eventually(t, "sent", func() bool { return g.state(u, "inbox").Sent == 1 })
	if got := push.messages("/a"); len(got) != 1 {
		t.Errorf("%d were sent", len(got))
	}
	if s := g.state(u, "inbox"); s.Queued != 0 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}
