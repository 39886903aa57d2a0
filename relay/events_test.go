package relay

import (
	"bufio"
	"encoding/json/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/must"
)

// event is one that a client got.
type event struct{ id, name, data string }

// listener is a client of an event stream.
type listener struct {
	t        testing.TB
	response *http.Response
	lines    chan string
}

func (g *rig) listen(u *user, id, last string) *listener {
	g.t.Helper()
	return g.listenWith(u.token(g.t, scopeRegister), id, last)
}

func (g *rig) listenWith(token, id, last string) *listener {
	g.t.Helper()
	q := must.Get[*http.Request](g.t)(http.NewRequestWithContext(g.t.Context(), "GET", g.server.URL+"/v1/subscriptions/"+id+"/events", nil))
	q.Header.Set("Authorization", "Bearer "+token)
	if last != "" {
		q.Header.Set("Last-Event-ID", last)
	}
	response := must.Get[*http.Response](g.t)(http.DefaultClient.Do(q))
	l := &listener{g.t, response, make(chan string, 1000)}
	if response.StatusCode == http.StatusOK {
		go func() {
			defer close(l.lines)
			for s := bufio.NewScanner(response.Body); s.Scan(); {
				l.lines <- s.Text()
			}
		}()
	}
	g.t.Cleanup(func() { response.Body.Close() })
	return l
}

// next waits for an event; ok is false at the end of the stream.
func (l *listener) next() (e event, ok bool) {
	l.t.Helper()
	for {
		select {
		case line, open := <-l.lines:
			name, value, _ := strings.Cut(line, ": ")
			switch {
			case !open:
				return event{}, false
			case name == "id":
				e.id = value
			case name == "event":
				e.name = value
			case name == "data":
				e.data = value
			case line == "" && e.name != "":
				return e, true
			}
		case <-time.After(10 * time.Second):
			l.t.Fatal("no event in 10 s")
		}
	}
}

func (l *listener) receipt() (receipt, string) {
	l.t.Helper()
	for {
		e, ok := l.next()
		if !ok {
			l.t.Fatal("the stream has ended")
		}
		if e.name != kindReceipt {
			continue
		}
		var r receipt
		if err := json.Unmarshal([]byte(e.data), &r, json.RejectUnknownMembers(true)); err != nil {
			l.t.Fatal(err)
		}
		return r, e.id
	}
}

// TestEvents: receipts come as they happen, with how many were sent in all, and who was away gets what was missed and nothing twice, also
// after a restart.
func TestEvents(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	g.register(u, "inbox", push, "/a")
	g.register(u, "other", push, "/b")
	g.outcome(u, "inbox", g.send(u, "inbox", "before"))
	l := g.listen(u, "inbox", "")
	if kind := l.response.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("%s", kind)
	}
	g.send(u, "other", "of another subscription")
	first := g.send(u, "inbox", "1")
	r, at := l.receipt()
	if r.Message != first || r.Outcome != outcomeSent || r.Sent != 2 || r.Status != 201 || time.Since(time.Unix(r.At, 0)) > time.Minute {
		t.Errorf("%+v", r)
	}
	l.response.Body.Close()
	second, third := g.send(u, "inbox", "2"), ""
	g.outcome(u, "inbox", second)
	g.restart()
	l = g.listen(u, "inbox", at)
	if r, _ := l.receipt(); r.Message != second || r.Sent != 3 {
		t.Errorf("%+v", r)
	}
	third = g.send(u, "inbox", "3")
	if r, _ := l.receipt(); r.Message != third || r.Sent != 4 {
		t.Errorf("%+v", r)
	}
	l = g.listen(u, "inbox", "0")
	for range 4 {
		l.receipt()
	}
}

// TestTokensEvent: the app is told that a stash is low, once for each state of it.
func TestTokensEvent(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	until := time.Now().Add(2 * time.Hour)
	body := registrationBody(t, u, push.subscribe(t, "/a"), u.vapid(t, push.URL, 2*time.Hour))
	g.want(g.do("PUT", "/v1/subscriptions/inbox", u.token(t, scopeRegister), body), 201, "")
	l := g.listen(u, "inbox", "0")
	e, _ := l.next()
	var s stashState
	if err := json.Unmarshal([]byte(e.data), &s); err != nil || e.name != kindTokens || s.Left != 1 || s.Until-until.Unix() > 5 || until.Unix()-s.Until > 5 {
		t.Errorf("%+v: %v", e, err)
	}
	g.send(u, "inbox", "x")
	if e, _ = l.next(); e.name != kindReceipt {
		t.Errorf("%+v", e)
	}
	g.want(g.do("PUT", "/v1/subscriptions/inbox/tokens", u.token(t, scopeRegister), `{"tokens":[]}`), 200, "")
	g.send(u, "inbox", "y")
	if e, _ = l.next(); e.name != kindTokens || e.data != `{"left":0,"until":0}` {
		t.Errorf("%+v", e)
	}
}

// TestEventsEnd: a stream ends with its token, its subscription and its relay, and says in between that it is alive.
func TestEventsEnd(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	g.relay.heartbeat = 50 * time.Millisecond
	for _, id := range []string{"token", "erased", "drained"} {
		g.register(u, id, push, "/"+id)
	}
	claims := claimsAt(time.Now(), scopeRegister)
	claims["exp"] = time.Now().Unix() + 2
	short := g.listenWith(u.jws(t, u.header(), claims), "token", "")
	erased, drained := g.listen(u, "erased", ""), g.listen(u, "drained", "")
	beats := 0
	for line := range short.lines {
		if line == ": " {
			beats++
		}
	}
	if beats < 5 {
		t.Errorf("%d heartbeats", beats)
	}
	g.want(g.do("DELETE", "/v1/subscriptions/erased", u.token(t, scopeRegister), ""), 204, "")
	for _, ok := erased.next(); ok; _, ok = erased.next() {
	}
	g.relay.Drain()
	for _, ok := drained.next(); ok; _, ok = drained.next() {
	}
	g.want(g.do("GET", "/readyz", "", ""), 503, "unavailable")
	a := g.want(g.do("GET", "/v1/subscriptions/drained", u.token(t, scopeRegister), ""), 503, "unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// TestStreamsOfOneUser are bounded.
func TestStreamsOfOneUser(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push, func(c *Config) { c.Limits.UserStreams, c.Limits.Streams = 2, 3 }), newUser(t)
	other, third := newUser(t), newUser(t)
	for _, one := range []*user{u, other, third} {
		g.register(one, "inbox", push, "/"+one.kid)
	}
	open := []*listener{g.listen(u, "inbox", ""), g.listen(u, "inbox", "")}
	if l := g.listen(u, "inbox", ""); l.response.StatusCode != 429 || l.response.Header.Get("Retry-After") == "" {
		t.Errorf("%d", l.response.StatusCode)
	}
	if l := g.listen(other, "inbox", ""); l.response.StatusCode != 200 {
		t.Errorf("%d", l.response.StatusCode)
	}
	if l := g.listen(third, "inbox", ""); l.response.StatusCode != 503 {
		t.Errorf("%d", l.response.StatusCode)
	}
	open[0].response.Body.Close()
	eventually(t, "the place is free again", func() bool { return g.relay.streamCount() == 2 })
}
