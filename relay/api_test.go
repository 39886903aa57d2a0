package relay

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jws"
	"github.com/kms-enclave/kms-enclave/webpush"
)

// TestStatuses: what each endpoint answers, and with which problem.
func TestStatuses(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	reg, snd := u.token(t, scopeRegister), u.token(t, scopeSend)
	g.register(u, "inbox", push, "/a")
	s := push.subscribe(t, "/b")
	endpoint := func(e string) string {
		c := s
		c.Endpoint = e
		return registrationBody(t, u, c)
	}
	keys := func(p256dh, auth string) string {
		c := s
		c.Keys.P256DH, c.Keys.Auth = p256dh, auth
		return registrationBody(t, u, c)
	}
	good := registrationBody(t, u, s, u.vapid(t, push.URL, time.Hour))
	long := strings.Repeat("x", webpush.MaxMessage)
	many := make([]string, maxStash+1)
	for i := range many {
		many[i] = u.vapid(t, push.URL, time.Hour)
	}
	for _, test := range []struct {
		name, method, path, token, body string
		status                          int
		code                            string
		header                          []string
	}{
		{"register", "PUT", "/v1/subscriptions/b", reg, good, 201, "", nil},
		{"register again", "PUT", "/v1/subscriptions/b", reg, good, 200, "", nil},
		{"id too long", "PUT", "/v1/subscriptions/" + strings.Repeat("a", 65), reg, good, 400, "malformed", nil},
		{"longest id", "PUT", "/v1/subscriptions/" + strings.Repeat("a", 64), reg, good, 201, "", nil},
		{"id with a star", "PUT", "/v1/subscriptions/%2A", reg, good, 400, "malformed", nil},
		{"id with a dot", "PUT", "/v1/subscriptions/a.b", reg, good, 400, "malformed", nil},
		{"no JSON", "PUT", "/v1/subscriptions/c", reg, "{", 400, "malformed", nil},
		{"unknown member", "PUT", "/v1/subscriptions/c", reg, strings.Replace(good, `{"subscription"`, `{"x":1,"subscription"`, 1), 400, "malformed", nil},
		{"member twice", "PUT", "/v1/subscriptions/c", reg, strings.Replace(good, `{"subscription"`, `{"tokens":[],"subscription"`, 1), 400, "malformed", nil},
		{"huge JSON", "PUT", "/v1/subscriptions/c", reg, strings.Repeat(" ", maxJSON) + good, 413, "too-large", nil},
		{"key of another length", "PUT", "/v1/subscriptions/c", reg, strings.Replace(good, jws.Encode(u.public), "BAAA", 1), 400, "malformed", nil},
		{"key off the curve", "PUT", "/v1/subscriptions/c", reg, strings.Replace(good, jws.Encode(u.public), jws.Encode(append([]byte{4}, make([]byte, 64)...)), 1), 400, "malformed", nil},
		{"p256dh off the curve", "PUT", "/v1/subscriptions/c", reg, keys(jws.Encode(append([]byte{4}, make([]byte, 64)...)), s.Keys.Auth), 400, "malformed", nil},
		{"short auth", "PUT", "/v1/subscriptions/c", reg, keys(s.Keys.P256DH, "AAAA"), 400, "malformed", nil},
		{"unknown push service", "PUT", "/v1/subscriptions/c", reg, endpoint("https://push.example/x"), 422, "endpoint-refused", nil},
		{"http", "PUT", "/v1/subscriptions/c", reg, endpoint("http://fcm.googleapis.com/x"), 422, "endpoint-refused", nil},
		{"too many tokens", "PUT", "/v1/subscriptions/c", reg, registrationBody(t, u, s, many...), 422, "stash-refused", nil},
		{"token for another service", "PUT", "/v1/subscriptions/c", reg, registrationBody(t, u, s, u.vapid(t, "https://fcm.googleapis.com", time.Hour)), 422, "stash-refused", nil},
		{"token of another key", "PUT", "/v1/subscriptions/c", reg, registrationBody(t, u, s, newUser(t).vapid(t, push.URL, time.Hour)), 422, "stash-refused", nil},
		{"expired token", "PUT", "/v1/subscriptions/c", reg, registrationBody(t, u, s, u.vapid(t, push.URL, -time.Second)), 422, "stash-refused", nil},
		{"token for more than a day", "PUT", "/v1/subscriptions/c", reg, registrationBody(t, u, s, u.vapid(t, push.URL, 25*time.Hour)), 422, "stash-refused", nil},
		{"state", "GET", "/v1/subscriptions/b", reg, "", 200, "", nil},
		{"state of none", "GET", "/v1/subscriptions/none", reg, "", 404, "unknown-subscription", nil},
		{"stash", "PUT", "/v1/subscriptions/b/tokens", reg, `{"tokens":["` + many[0] + `"]}`, 200, "", nil},
		{"stash of none", "PUT", "/v1/subscriptions/none/tokens", reg, `{"tokens":[]}`, 404, "unknown-subscription", nil},
		{"bad stash", "PUT", "/v1/subscriptions/b/tokens", reg, `{"tokens":["x"]}`, 422, "stash-refused", nil},
		{"stash without JSON", "PUT", "/v1/subscriptions/b/tokens", reg, `[]`, 400, "malformed", nil},
		{"send", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 202, "", nil},
		{"send nothing", "POST", "/v1/subscriptions/inbox/messages", snd, "", 202, "", nil},
		{"longest", "POST", "/v1/subscriptions/inbox/messages", snd, long, 202, "", nil},
		{"too long", "POST", "/v1/subscriptions/inbox/messages", snd, long + "x", 413, "too-large", nil},
		{"send to none", "POST", "/v1/subscriptions/none/messages", snd, "x", 404, "unknown-subscription", nil},
		{"longest TTL", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 202, "", []string{"TTL", "2419200"}},
		{"too long a TTL", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 400, "malformed", []string{"TTL", "2419201"}},
		{"negative TTL", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 400, "malformed", []string{"TTL", "-1"}},
		{"TTL in words", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 400, "malformed", []string{"TTL", "1h"}},
		{"urgency", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 400, "malformed", []string{"Urgency", "urgent"}},
		{"topic", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 400, "malformed", []string{"Topic", "a b"}},
		{"longest key", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 202, "", []string{"Idempotency-Key", strings.Repeat("~", 64)}},
		{"key too long", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 400, "malformed", []string{"Idempotency-Key", strings.Repeat("~", 65)}},
		{"key with a space", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 400, "malformed", []string{"Idempotency-Key", "a b"}},
		{"key not ASCII", "POST", "/v1/subscriptions/inbox/messages", snd, "x", 400, "malformed", []string{"Idempotency-Key", "ü"}},
		{"events of none", "GET", "/v1/subscriptions/none/events", reg, "", 404, "unknown-subscription", nil},
		{"Last-Event-ID", "GET", "/v1/subscriptions/inbox/events", reg, "", 400, "malformed", []string{"Last-Event-ID", "x"}},
		{"events with a send token", "GET", "/v1/subscriptions/inbox/events", snd, "", 403, "forbidden", nil},
		{"erase with a send token", "DELETE", "/v1/subscriptions/b", snd, "", 403, "forbidden", nil},
		{"erase", "DELETE", "/v1/subscriptions/b", reg, "", 204, "", nil},
		{"erase again", "DELETE", "/v1/subscriptions/b", reg, "", 404, "unknown-subscription", nil},
		{"method", "PATCH", "/v1/subscriptions/b", reg, "", 405, "method-not-allowed", nil},
		{"method of messages", "GET", "/v1/subscriptions/b/messages", reg, "", 405, "method-not-allowed", nil},
		{"nothing", "GET", "/v1/other", reg, "", 404, "not-found", nil},
		{"health", "GET", "/healthz", "", "", 200, "", nil},
		{"ready", "GET", "/readyz", "", "", 200, "", nil},
		{"metrics", "GET", "/metrics", "", "", 200, "", nil},
		{"erase the user", "DELETE", "/v1/user", reg, "", 204, "", nil},
		{"erase the user again", "DELETE", "/v1/user", reg, "", 404, "unknown-subscription", nil},
	} {
		a := g.do(test.method, test.path, test.token, test.body, test.header...)
		if a.status != test.status || test.code != "" && a.problem() != test.code {
			t.Errorf("%s: got %d %s, wanted %d %s", test.name, a.status, a.body, test.status, test.code)
		}
		if a.status >= 400 && a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s", test.name, a.header.Get("Content-Type"))
		}
	}
}

// TestCORS: apps of every origin may read every answer, also a problem.
func TestCORS(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil)
	a := g.do("OPTIONS", "/v1/subscriptions/a/messages", "", "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,idempotency-key,ttl")
	if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Methods") != "POST, OPTIONS" {
		t.Errorf("%d %v", a.status, a.header)
	}
	for _, name := range []string{"Authorization", "TTL", "Urgency", "Topic", "Idempotency-Key", "Last-Event-ID", "Content-Type"} {
		if !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("%s is not allowed", name)
		}
	}
	if a := g.do("GET", "/v1/subscriptions/a", "", ""); a.status != 401 || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// TestUsersAreApart: two users may have the same id, and neither reaches what the other has.
func TestUsersAreApart(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u, other := newRig(t, push), newUser(t), newUser(t)
	g.register(u, "inbox", push, "/u")
	g.register(other, "inbox", push, "/other")
	g.outcome(u, "inbox", g.send(u, "inbox", "for u", "Idempotency-Key", "1"))
	g.outcome(other, "inbox", g.send(other, "inbox", "for other", "Idempotency-Key", "1"))
	if got := push.messages("/u"); len(got) != 1 || got[0] != "for u" {
		t.Errorf("%q", got)
	}
	g.want(g.do("DELETE", "/v1/subscriptions/inbox", other.token(t, scopeRegister), ""), 204, "")
	if s := g.state(u, "inbox"); s.Sent != 1 {
		t.Errorf("%+v", s)
	}
}
