package relay

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestSend: what is accepted arrives, decrypted as a user agent does it, over HTTP/2, and is counted.
func TestSend(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	g.register(u, "inbox", push, "/a")
	id := g.send(u, "inbox", "hello", "TTL", "60", "Urgency", "high", "Topic", "news")
	if r := g.outcome(u, "inbox", id); r.Outcome != outcomeSent || r.Status != http.StatusCreated || r.Sent != 1 {
		t.Errorf("%+v", r)
	}
	if got := push.messages("/a"); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("%q", got)
	}
	if push.protocols["HTTP/2.0"] != 1 {
		t.Errorf("%v", push.protocols)
	}
	if s := g.state(u, "inbox"); s.Sent != 1 || s.Failed != 0 || s.Queued != 0 || s.State != "active" || s.Tokens.Left != 2 || s.ID != "inbox" {
		t.Errorf("%+v", s)
	}
}

// TestNoPlaintext: neither the storage nor the log ever has a message, and the log has no token, endpoint or whole kid.
func TestNoPlaintext(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	push.set(func(p *pushService) {
		p.answer = func(_ int, w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true }
	})
	const secret = "the-quick-brown-plaintext"
	g.register(u, "a-subscription-of-mine", push, "/secret-path")
	g.send(u, "a-subscription-of-mine", secret, "Idempotency-Key", "key-1")
	for _, r := range g.records(g.relay.store.prefix + ".>") {
		if strings.Contains(string(r.data)+r.header+r.subject, secret) {
			t.Errorf("plaintext in %s", r.subject)
		}
		if strings.Contains(string(r.data)+r.header+r.subject, "key-1") {
			t.Errorf("Idempotency-Key in %s", r.subject)
		}
	}
	g.close()
	for _, bad := range []string{secret, "secret-path", u.kid, "eyJ", "a-subscription-of-mine"} {
		if strings.Contains(g.log.String(), bad) {
			t.Errorf("%q in the log: %s", bad, g.log)
		}
	}
}
