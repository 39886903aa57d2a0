package relay

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/kms-enclave/kms-enclave/internal/must"
)

// TestFullStorage: when the storage is full messages are answered with 507, none that was accepted is lost, stashes can still be
// changed, and there is room again once messages are sent.
func TestFullStorage(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push, func(c *Config) { c.MaxStore = minStore }), newUser(t)
	g.registerWith(u, "inbox", push, "/a")
	body, accepted := strings.Repeat("x", 3900), []string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	token := u.token(t, scopeSend)
	for worker := range 32 {
		all.Go(func() {
			for i := range 60 {
				name := fmt.Sprintf("%d-%d", worker, i)
				a := g.do("POST", "/v1/subscriptions/inbox/messages", token, name+" "+body)
				if a.status != 202 {
					g.want(a, 507, "storage-full")
					if a.header.Get("Retry-After") == "" {
						t.Error("no Retry-After")
					}
					return
				}
				mu.Lock()
				accepted = append(accepted, name)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(accepted) < 100 || len(accepted) == 32*60 {
		t.Fatalf("%d were accepted", len(accepted))
	}
	if used := must.Get[uint64](t)(g.relay.store.bytes(t.Context())); used > minStore/10*9+8<<10 {
		t.Errorf("%d bytes are used: nothing is left for receipts", used)
	}
	g.restart()
	g.want(g.do("PUT", "/v1/subscriptions/inbox/tokens", u.token(t, scopeRegister), `{"tokens":["`+u.vapid(t, push.URL, 2e9*3600)+`"]}`), 200, "")
	eventually(t, "all are sent", func() bool { return g.state(u, "inbox").Queued == 0 })
	got := map[string]bool{}
	for _, m := range push.messages("/a") {
		n, _, _ := strings.Cut(m, " ")
		got[n] = true
	}
	for _, n := range accepted {
		if !got[n] {
			t.Errorf("message %s is lost", n)
		}
	}
	eventually(t, "there is room", func() bool {
		return g.do("POST", "/v1/subscriptions/inbox/messages", u.token(t, scopeSend), body).status == 202
	})
}

// TestStorageIsAway: while the storage does not answer requests are told so, and when to come again, and the relay is not ready. What
// failed once is looked at again.
func TestStorageIsAway(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	g.register(u, "inbox", push, "/a")
	g.relay.commits.failing.Store(true)
	g.want(g.do("GET", "/readyz", "", ""), 200, "")
	if g.relay.commits.failing.Load() {
		t.Error("it is still said to fail")
	}
	g.relay.store.conn.Close()
	for _, a := range []answer{
		g.do("POST", "/v1/subscriptions/inbox/messages", u.token(t, scopeSend), "x"),
		g.do("GET", "/v1/subscriptions/inbox", u.token(t, scopeRegister), ""),
		g.do("GET", "/v1/subscriptions/inbox/events", u.token(t, scopeRegister), ""),
		g.do("DELETE", "/v1/subscriptions/inbox", u.token(t, scopeRegister), ""),
		g.do("DELETE", "/v1/user", u.token(t, scopeRegister), ""),
	} {
		if g.want(a, 503, "unavailable"); a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	g.want(g.do("GET", "/readyz", "", ""), 503, "unavailable")
	k := subscriptionKey{u.kid, "inbox"}
	err := g.relay.commits.commit(t.Context(), &change{key: k, writes: []write{{subject: g.relay.store.tokensSubject(k)}}})
	if !errors.Is(err, errUnavailable) || !g.relay.commits.failing.Load() {
		t.Error("it is not noticed that nothing can be written")
	}
}
