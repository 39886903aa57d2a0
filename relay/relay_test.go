package relay

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/internal/must"
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
	push.set(func(p *pushService) { p.answer = status(1<<30, 503, "Retry-After", "60") })
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
	eventually(t, "an attempt that is told", func() bool { return len(g.records(g.relay.store.prefix+".hold.>")) == 1 })
	k := subscriptionKey{u.kid, "a-subscription-of-mine"}
	sub := must.Get[*subscription](t)(g.relay.subs.read(t.Context(), k))
	relay := g.relay
	g.close()
	relay.dropToken(t.Context(), k, sub.Tokens[0].Token) // the storage is gone: that is told, too
	for _, told := range []string{"push service is left alone", "a token that was refused cannot be dropped", short(k)} {
		if !strings.Contains(g.log.String(), told) {
			t.Errorf("%q is not in the log: %s", told, g.log)
		}
	}
	for _, bad := range []string{secret, "secret-path", u.kid, "eyJ", "a-subscription-of-mine"} {
		if strings.Contains(g.log.String(), bad) {
			t.Errorf("%q in the log: %s", bad, g.log)
		}
	}
}
