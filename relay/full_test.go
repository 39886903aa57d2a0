package relay

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestFullStorage: when the storage is full messages are answered with 507, none that was accepted is lost, stashes can still be
// changed, and there is room again once messages are sent.
func TestFullStorage(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push, func(c *Config) { c.MaxStore = minStore }), newUser(t)
	g.want(g.do("PUT", "/v1/subscriptions/inbox", u.token(t, scopeRegister), registrationBody(t, u, push.subscribe(t, "/a"))), 201, "")
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
