package relay

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestErasure: of what is erased nothing is left in the stream, also while messages are accepted, sent and
// failing; others keep what they have.
func TestErasure(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	push.answer = func(n int, w http.ResponseWriter, q *http.Request) bool {
		return n%3 == 0 && status(1<<30, 500)(n, w, q)
	}
	g, u, other := newRig(t, push), newUser(t), newUser(t)
	for _, one := range []*user{u, other} {
		for _, id := range []string{"a", "b"} {
			g.register(one, id, push, "/"+one.kid+id)
			g.send(one, id, "x", "Idempotency-Key", "k")
		}
	}
	var all sync.WaitGroup
	token := u.token(t, scopeSend)
	for range 4 {
		all.Go(func() {
			for range 20 {
				g.do("POST", "/v1/subscriptions/a/messages", token, "x")
			}
		})
	}
	g.want(g.do("DELETE", "/v1/subscriptions/b", u.token(t, scopeRegister), ""), 204, "")
	if left := g.of(u.kid + ".b"); len(left) > 0 {
		t.Errorf("of b there is left: %v", left)
	}
	time.Sleep(50 * time.Millisecond)
	g.want(g.do("DELETE", "/v1/user", u.token(t, scopeRegister), ""), 204, "")
	all.Wait()
	if left := g.of(u.kid); len(left) > 0 {
		t.Errorf("of the user there is left: %v", left)
	}
	time.Sleep(300 * time.Millisecond) // attempts in flight come to their end
	if left := g.of(u.kid); len(left) > 0 {
		t.Errorf("of the user there is again: %v", left)
	}
	g.want(g.do("GET", "/v1/subscriptions/a", u.token(t, scopeRegister), ""), 404, "unknown-subscription")
	if s := g.state(other, "b"); s.State != "active" {
		t.Errorf("%+v", s)
	}
	g.register(u, "a", push, "/new")
	if s := g.state(u, "a"); s.Sent != 0 || s.Failed != 0 || s.Queued != 0 {
		t.Errorf("a new beginning has a past: %+v", s)
	}
}

// of returns all subjects in the stream with a text in them.
func (g *rig) of(text string) (found []string) {
	for _, r := range g.records(g.relay.store.prefix + ".>") {
		if strings.Contains(r.subject+r.header+string(r.data), text) {
			found = append(found, r.subject)
		}
	}
	return found
}
