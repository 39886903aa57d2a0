package relay

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/webpush"
)

// status makes a push service answer the first n requests with a status.
func status(n, status int, header ...string) func(int, http.ResponseWriter, *http.Request) bool {
	return func(i int, w http.ResponseWriter, _ *http.Request) bool {
		if i > n {
			return false
		}
		for j := 0; j+1 < len(header); j += 2 {
			w.Header().Set(header[j], header[j+1])
		}
		w.WriteHeader(status)
		return true
	}
}

// TestAnswers: what a push service answers is what a message's receipt says, and what a subscription becomes.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status  int
		outcome string
		state   string
	}{
		{400, outcomeRefused, "active"},
		{302, outcomeRefused, "active"},
		{404, outcomeGone, "gone"},
		{410, outcomeGone, "gone"},
		{413, outcomeTooLarge, "active"},
	} {
		t.Run(strconv.Itoa(test.status), func(t *testing.T) {
			t.Parallel()
			push := newPushService(t)
			push.answer = status(1, test.status, "Location", push.URL+"/elsewhere")
			g, u := newRig(t, push), newUser(t)
			g.register(u, "inbox", push, "/a")
			r := g.outcome(u, "inbox", g.send(u, "inbox", "x"))
			if r.Outcome != test.outcome || r.Status != test.status || r.Sent != 0 {
				t.Errorf("%+v", r)
			}
			if s := g.state(u, "inbox"); s.State != test.state || s.Failed != 1 || s.Queued != 0 {
				t.Errorf("%+v", s)
			}
			if push.requests != 1 {
				t.Errorf("%d requests", push.requests)
			}
		})
	}
}

// TestGone: a subscription that a push service has ended takes no message, its queue is dropped with receipts, it stays gone when it
// is registered again, and a new push subscription is a new beginning.
func TestGone(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	push.hold = make(chan struct{})
	push.answer = status(1, 410)
	g := newRig(t, push, func(c *Config) { c.Services[len(c.Services)-1].Parallel = 1 })
	u := newUser(t)
	s := push.subscribe(t, "/a")
	body := registrationBody(t, u, s, u.vapid(t, push.URL, 2*time.Hour))
	g.want(g.do("PUT", "/v1/subscriptions/inbox", u.token(t, scopeRegister), body), 201, "")
	ids := []string{g.send(u, "inbox", "1"), g.send(u, "inbox", "2"), g.send(u, "inbox", "3")}
	close(push.hold)
	for _, id := range ids {
		if r := g.outcome(u, "inbox", id); r.Outcome != outcomeGone {
			t.Errorf("%+v", r)
		}
	}
	if push.requests != 1 {
		t.Errorf("%d requests", push.requests)
	}
	g.want(g.do("POST", "/v1/subscriptions/inbox/messages", u.token(t, scopeSend), "4"), 410, "gone")
	g.want(g.do("PUT", "/v1/subscriptions/inbox", u.token(t, scopeRegister), body), 200, "")
	if s := g.state(u, "inbox"); s.State != "gone" {
		t.Errorf("%+v", s)
	}
	body = registrationBody(t, u, push.subscribe(t, "/b"), u.vapid(t, push.URL, 2*time.Hour))
	g.want(g.do("PUT", "/v1/subscriptions/inbox", u.token(t, scopeRegister), body), 200, "")
	if r := g.outcome(u, "inbox", g.send(u, "inbox", "5")); r.Outcome != outcomeSent {
		t.Errorf("%+v", r)
	}
}

// TestSuperseded: what was encrypted for a push subscription is not sent to the one that took its place.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	push.answer = status(1, 500)
	g, u := newRig(t, push), newUser(t)
	g.register(u, "inbox", push, "/a")
	id := g.send(u, "inbox", "x")
	eventually(t, "first attempt", func() bool { push.mu.Lock(); defer push.mu.Unlock(); return push.requests == 1 })
	body := registrationBody(t, u, push.subscribe(t, "/b"), u.vapid(t, push.URL, 2*time.Hour))
	g.want(g.do("PUT", "/v1/subscriptions/inbox", u.token(t, scopeRegister), body), 200, "")
	if r := g.outcome(u, "inbox", id); r.Outcome != outcomeGone || r.Status != 0 {
		t.Errorf("%+v", r)
	}
}

// TestRetryAfter: nothing goes to a push service sooner than it asked for, of no subscription, also after a restart.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 503} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			push := newPushService(t)
			push.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
				if n > 1 {
					return false
				}
				w.Header().Set("Retry-After", "3")
				w.WriteHeader(status)
				return true
			}
			g, u := newRig(t, push), newUser(t)
			g.register(u, "a", push, "/a")
			g.register(u, "b", push, "/b")
			first := g.send(u, "a", "1")
			eventually(t, "first attempt", func() bool { return len(g.records(g.relay.store.prefix+".hold.>")) == 1 })
			g.restart()
			second := g.send(u, "b", "2")
			for id, message := range map[string]string{"a": first, "b": second} {
				if r := g.outcome(u, id, message); r.Outcome != outcomeSent {
					t.Errorf("%+v", r)
				}
			}
			push.mu.Lock()
			defer push.mu.Unlock()
			for _, at := range push.attempts[1:] {
				if at.Sub(push.attempts[0]) < 3*time.Second {
					t.Errorf("an attempt after %s", at.Sub(push.attempts[0]))
				}
			}
		})
	}
}

// TestTooManyOfOne: what a push service says to one user's flood holds up nobody else, and it does not matter how many are held up.
func TestTooManyOfOne(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	push.answer = status(1, 429, "Retry-After", "60")
	g, u, other := newRig(t, push), newUser(t), newUser(t)
	g.register(u, "inbox", push, "/a")
	g.register(other, "inbox", push, "/b")
	g.send(u, "inbox", "1")
	eventually(t, "the first is told to wait", func() bool { return len(g.records(g.relay.store.prefix+".hold.>")) == 1 })
	g.send(u, "inbox", "2")
	if r := g.outcome(other, "inbox", g.send(other, "inbox", "3")); r.Outcome != outcomeSent {
		t.Errorf("%+v", r)
	}
	if s := g.state(u, "inbox"); s.Queued != 2 || push.requests != 2 {
		t.Errorf("%+v, %d requests", s, push.requests)
	}
	g.want(g.do("DELETE", "/v1/user", u.token(t, scopeRegister), ""), 204, "")
	if left := g.of(u.kid); len(left) > 0 {
		t.Errorf("of a user who was told to wait there is left: %v", left)
	}
	h := newHolds()
	for i := range maxHolds + 10 {
		h.extend(ofUser("https://push.example", subscriptionKey{kid: fmt.Sprint("k", i)}), time.Now().Add(time.Hour))
	}
	if len(h.until) > maxHolds || !h.extend("https://push.example", time.Now().Add(time.Hour)) {
		t.Errorf("%d holds", len(h.until))
	}
}

// TestBackOff: a push service that fails, or answers nothing, is tried again, more slowly each time.
func TestBackOff(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	push.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n == 2 {
			panic(http.ErrAbortHandler)
		}
		return status(1, 502)(n, w, nil)
	}
	g, u := newRig(t, push), newUser(t)
	g.register(u, "inbox", push, "/a")
	if r := g.outcome(u, "inbox", g.send(u, "inbox", "x")); r.Outcome != outcomeSent {
		t.Errorf("%+v", r)
	}
	if push.requests != 3 {
		t.Errorf("%d requests", push.requests)
	}
	for n := 1; n < 40; n++ {
		full := min(longWait, firstWait<<min(n-1, 16))
		if wait := backOff(n); wait < full/2 || wait > full {
			t.Errorf("after %d failures %s", n, wait)
		}
	}
	if wait := later(time.Second); wait < time.Second {
		t.Errorf("jitter makes a wait shorter: %s", wait)
	}
}

// TestNextToken: a token that is refused makes room for the next one, is not used again, and is told of. When none is left
// the message waits, and goes as soon as there are new ones.
func TestNextToken(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	bad, good := u.vapid(t, push.URL, 2*time.Hour), u.vapid(t, push.URL, 3*time.Hour)
	push.refused[bad] = true
	body := registrationBody(t, u, push.subscribe(t, "/a"), bad, good)
	g.want(g.do("PUT", "/v1/subscriptions/inbox", u.token(t, scopeRegister), body), 201, "")
	if r := g.outcome(u, "inbox", g.send(u, "inbox", "1")); r.Outcome != outcomeSent {
		t.Errorf("%+v", r)
	}
	if s := g.state(u, "inbox"); s.Tokens.Left != 1 || push.requests != 2 {
		t.Errorf("%+v after %d requests", s, push.requests)
	}
	events := g.records(g.relay.store.tokensSubject(subscriptionKey{u.kid, "inbox"}))
	if len(events) != 1 || events[0].kind != kindTokens {
		t.Errorf("%v", events)
	}
	push.set(func(p *pushService) { p.refused[good] = true })
	id := g.send(u, "inbox", "2")
	eventually(t, "no token is left", func() bool { return g.state(u, "inbox").Tokens.Left == 0 })
	if s := g.state(u, "inbox"); s.Queued != 1 || s.State != "active" {
		t.Errorf("%+v", s)
	}
	started := time.Now()
	g.want(g.do("PUT", "/v1/subscriptions/inbox/tokens", u.token(t, scopeRegister), `{"tokens":["`+u.vapid(t, push.URL, time.Hour)+`"]}`), 200, "")
	if r := g.outcome(u, "inbox", id); r.Outcome != outcomeSent {
		t.Errorf("%+v", r)
	}
	if took := time.Since(started); took > time.Second {
		t.Errorf("new tokens were used after %s", took)
	}
}

// TestTokenIsReused: one token serves until it ends.
func TestTokenIsReused(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	seen := map[string]bool{}
	push.answer = func(_ int, _ http.ResponseWriter, q *http.Request) bool {
		push.set(func(*pushService) { seen[q.Header.Get("Authorization")] = true })
		return false
	}
	g, u := newRig(t, push), newUser(t)
	g.register(u, "inbox", push, "/a")
	for range 5 {
		g.outcome(u, "inbox", g.send(u, "inbox", "x"))
	}
	if len(seen) != 1 {
		t.Errorf("%d tokens were used", len(seen))
	}
	s := subscription{Tokens: []stashed{{"a", 100}, {"b", 200}}}
	for at, want := range map[int64]int{0: 2, 94: 2, 95: 1, 194: 1, 195: 0} {
		if got := len(s.usable(time.Unix(at, 0))); got != want {
			t.Errorf("at %d %d tokens, wanted %d", at, got, want)
		}
	}
}

// TestExpires: a message that cannot be sent in its time is given up, with a receipt that says why; what is sent late is sent with what is
// left of its time.
func TestExpires(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	push.answer = status(1, 503, "Retry-After", "5")
	g, u := newRig(t, push), newUser(t)
	g.register(u, "inbox", push, "/a")
	first := g.send(u, "inbox", "0", "TTL", "100")
	eventually(t, "the push service is left alone", func() bool { return g.relay.holds.left(push.URL, time.Now()) > 0 })
	started := time.Now()
	g.registerWith(u, "poor", push, "/b")
	soon, long := g.send(u, "inbox", "1", "TTL", "1"), g.send(u, "inbox", "2", "TTL", "100")
	sent := time.Now()
	poor := g.send(u, "poor", "3", "TTL", "1")
	if r := g.outcome(u, "inbox", soon); r.Outcome != outcomeExpired {
		t.Errorf("%+v", r)
	}
	asked := push.attempts[0].Add(5 * time.Second) // when it may be asked again
	if now := time.Now(); now.After(asked) && asked.Sub(started) > 3*time.Second {
		t.Errorf("a message with a TTL of 1 s was given up after %s, when the push service could be asked again", now.Sub(started))
	}
	if r := g.outcome(u, "poor", poor); r.Outcome != outcomeUnauthorized {
		t.Errorf("%+v", r)
	}
	for _, id := range []string{first, long} {
		if r := g.outcome(u, "inbox", id); r.Outcome != outcomeSent {
			t.Errorf("%+v", r)
		}
	}
	for _, text := range push.ttls {
		if ttl := must.Get[int](t)(strconv.Atoi(text)); float64(ttl) > 100-asked.Sub(sent).Seconds() || ttl < 1 {
			t.Errorf("TTL of %d, at most 100 less %v wanted", ttl, asked.Sub(sent))
		}
	}
	e := envelope{Accepted: 1000, TTL: 0}
	if e.expires() != time.UnixMilli(1000).Add(briefly) || e.remaining(time.UnixMilli(2000)) != 0 {
		t.Error("TTL 0")
	}
}

// TestTooManyAttempts: no more attempts than the configuration says are made at a time at one push service.
func TestTooManyAttempts(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	push.hold = make(chan struct{})
	g := newRig(t, push, func(c *Config) {
		c.Services[len(c.Services)-1].Parallel = 3
		c.AttemptTime = Duration(20 * time.Second)
	})
	u := newUser(t)
	g.register(u, "inbox", push, "/a")
	for range 10 {
		g.send(u, "inbox", "x")
	}
	eventually(t, "three attempts", func() bool { push.mu.Lock(); defer push.mu.Unlock(); return push.requests == 3 })
	time.Sleep(100 * time.Millisecond)
	push.mu.Lock()
	if push.requests != 3 {
		t.Errorf("%d attempts at a time", push.requests)
	}
	push.mu.Unlock()
	close(push.hold)
	eventually(t, "all are sent", func() bool { return g.state(u, "inbox").Sent == 10 })
}

// TestFormerService: what is queued for a push service that is not configured any more is refused, with receipts.
func TestFormerService(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	push.answer = status(1, 503, "Retry-After", "1")
	g, u := newRig(t, push), newUser(t)
	g.register(u, "inbox", push, "/a")
	id := g.send(u, "inbox", "x")
	eventually(t, "first attempt", func() bool { return len(g.records(g.relay.store.prefix+".hold.>")) == 1 })
	g.config.Services = g.config.Services[:1]
	g.restart()
	if r := g.outcome(u, "inbox", id); r.Outcome != outcomeRefused || push.requests != 1 {
		t.Errorf("%+v", r)
	}
}

// TestStateOfStash is when an app is asked for tokens.
func TestStateOfStash(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for _, test := range []struct {
		state stashState
		low   bool
	}{{stashState{}, true}, {stashState{1, 10_000}, true}, {stashState{2, 1000 + 3600}, true}, {stashState{2, 1000 + 3601}, false}} {
		if test.state.low(now) != test.low {
			t.Errorf("%+v", test)
		}
	}
	if _, err := checkStash([]string{"x"}, make([]byte, webpush.PublicSize), "https://a.example", now); err == nil {
		t.Error("a stash of rubbish")
	}
}
