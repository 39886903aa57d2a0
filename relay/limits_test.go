package relay

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/must"
)

// TestFlood: who asks too often is told to wait, by user and by address, and others are not.
func TestFlood(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g := newRig(t, push, func(c *Config) {
		c.Limits.UserRate, c.Limits.UserBurst = 0.5, 5
		c.TrustedProxies = []string{"127.0.0.1"}
		c.Limits.AddressRate, c.Limits.AddressBurst = 0.5, 20
	})
	u, other := newUser(t), newUser(t)
	g.register(u, "inbox", push, "/a")
	get := func(u *user, from string) answer {
		return g.do("GET", "/v1/subscriptions/inbox", u.token(t, scopeRegister), "", "X-Forwarded-For", from)
	}
	for range 4 {
		g.want(get(u, "192.0.2.1"), 200, "")
	}
	a := g.want(get(u, "192.0.2.2"), 429, "too-many-requests")
	if after := a.header.Get("Retry-After"); after != "1" && after != "2" {
		t.Errorf("Retry-After %q", after)
	}
	g.want(get(other, "192.0.2.1"), 404, "")
	for range 20 {
		g.do("GET", "/v1/subscriptions/inbox", "", "", "X-Forwarded-For", "2001:db8::1")
	}
	g.want(g.do("GET", "/v1/subscriptions/inbox", "", "", "X-Forwarded-For", "2001:db8::2"), 429, "too-many-requests")
	g.want(g.do("GET", "/v1/subscriptions/inbox", "", "", "X-Forwarded-For", "2001:db8:0:1::1"), 401, "")
	g.want(g.do("GET", "/v1/subscriptions/inbox", "", "", "X-Forwarded-For", "2001:db8:0:1::1, 2001:db8::3"), 429, "")
}

// TestClientAddress: X-Forwarded-For is believed as far as trusted proxies wrote it.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	c := Default()
	c.TrustedProxies = []string{"10.0.0.0/8", "192.0.2.9"}
	if err := c.checkProxies(); err != nil {
		t.Fatal(err)
	}
	r := &Relay{config: c}
	for _, test := range []struct{ remote, forwarded, want string }{
		{"198.51.100.1:1", "", "198.51.100.1"},
		{"198.51.100.1:1", "1.1.1.1", "198.51.100.1"},
		{"10.1.1.1:1", "1.1.1.1", "1.1.1.1"},
		{"10.1.1.1:1", "8.8.8.8, 1.1.1.1", "1.1.1.1"},
		{"10.1.1.1:1", "8.8.8.8, 1.1.1.1, 192.0.2.9", "1.1.1.1"},
		{"10.1.1.1:1", "8.8.8.8, rubbish", "10.1.1.1"},
		{"10.1.1.1:1", "", "10.1.1.1"},
		{"[::ffff:10.1.1.1]:1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:1", "", "fe80::/64"},
	} {
		q := &http.Request{RemoteAddr: test.remote, Header: http.Header{}}
		if test.forwarded != "" {
			q.Header.Set("X-Forwarded-For", test.forwarded)
		}
		if got := r.clientAddress(q); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// TestBucketsAreBounded: a flood of names takes no more memory than a few do.
func TestBucketsAreBounded(t *testing.T) {
	t.Parallel()
	b := newBuckets(1, 1)
	for i := range 3 * maxBuckets {
		_ = b.take(fmt.Sprint(i))
		if i%1000 == 0 {
			_ = b.take("busy") // stays known
		}
	}
	if len(b.young)+len(b.former) > 2*maxBuckets {
		t.Errorf("%d limiters", len(b.young)+len(b.former))
	}
	if b.take("busy") == nil {
		t.Error("who asks all the time was forgotten")
	}
}

// TestQueueIsBounded: one subscription cannot fill the storage with what waits.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u := newRig(t, push, func(c *Config) { c.Limits.Queued = 3 }), newUser(t)
	g.registerWith(u, "inbox", push, "/a")
	for range 3 {
		g.send(u, "inbox", "x")
	}
	a := g.want(g.do("POST", "/v1/subscriptions/inbox/messages", u.token(t, scopeSend), "x"), 429, "queue-full")
	if a.header.Get("Retry-After") != "60" {
		t.Error("no Retry-After")
	}
}

// serving runs the relay's own server on a listener, as the command does.
func serving(t *testing.T, g *rig) (addr string, stop context.CancelFunc, ended chan error) {
	l := must.Get[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	ctx, cancel := context.WithCancel(context.Background())
	ended = make(chan error, 1)
	relay := g.relay
	g.relay = nil // Serve closes it
	go func() { ended <- relay.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); g.server.Close() })
	return l.Addr().String(), cancel, ended
}

// TestSlowAndHugeRequests: who sends a head slowly is cut off and keeps nobody waiting; a huge one is 431.
func TestSlowAndHugeRequests(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil, func(c *Config) { c.Limits.Connections = 300 })
	addr, _, _ := serving(t, g)
	var slow []net.Conn
	for range 200 {
		c := must.Get[net.Conn](t)(net.Dial("tcp", addr))
		defer c.Close()
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		slow = append(slow, c)
	}
	response := must.Get[*http.Response](t)(http.Get("http://" + addr + "/healthz"))
	response.Body.Close()
	c := must.Get[net.Conn](t)(net.Dial("tcp", addr))
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Huge: "+strings.Repeat("x", 1<<20))
	}()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	head := make([]byte, 12)
	if _, err := io.ReadFull(c, head); err != nil || string(head) != "HTTP/1.1 431" {
		t.Errorf("huge head: %q %v", head, err)
	}
	for _, c := range slow {
		_ = c.SetReadDeadline(time.Now().Add(headTime + 3*time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatalf("a slow client is still there: %v", err)
		}
	}
}

// TestTLS: the relay speaks TLS, and HTTP/2 in it, on every listener; without a certificate neither does.
func TestTLS(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	key := must.Get[[]byte](t)(x509.MarshalPKCS8PrivateKey(push.TLS.Certificates[0].PrivateKey))
	file := t.TempDir() + "/key.pem"
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, secure := range []bool{true, false} {
		g := newRig(t, push, func(c *Config) {
			if secure {
				c.TLSCertificate, c.TLSKey = c.CA, file
			}
		})
		one, two := must.Get[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0")), must.Get[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
		ctx, stop := context.WithCancel(context.Background())
		ended, relay := make(chan error, 1), g.relay
		g.relay = nil
		go func() { ended <- relay.Serve(ctx, one, two) }()
		for _, l := range []net.Listener{one, two} {
			url, protocol := "http://", "HTTP/1.1"
			if secure {
				url, protocol = "https://", "HTTP/2.0"
			}
			response := must.Get[*http.Response](t)(push.Client().Get(url + l.Addr().String() + "/readyz"))
			response.Body.Close()
			if response.Proto != protocol || response.StatusCode != http.StatusOK {
				t.Errorf("%s %d", response.Proto, response.StatusCode)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		g.server.Close()
	}
}

// TestDrain: a relay that is told to stop lets attempts in flight end, with their receipts, and repeats none of them.
func TestDrain(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	push.hold = make(chan struct{})
	g, u := newRig(t, push, func(c *Config) { c.DrainTime = Duration(10 * time.Second) }), newUser(t)
	g.register(u, "inbox", push, "/a")
	id := g.send(u, "inbox", "x")
	eventually(t, "the attempt", func() bool { push.mu.Lock(); defer push.mu.Unlock(); return push.requests == 1 })
	addr, stop, ended := serving(t, g)
	stop()
	eventually(t, "nothing listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-ended:
		t.Fatalf("it ended before the attempt: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(push.hold)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	g.open()
	if r, ok := g.receipts(u, "inbox")[id]; !ok || r.Outcome != outcomeSent || push.requests != 1 {
		t.Errorf("%+v after %d requests", r, push.requests)
	}
}

// TestDrainIsBounded: a push service that never answers does not keep a relay from ending; the message is still there.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	push.hold = make(chan struct{})
	defer close(push.hold)
	g, u := newRig(t, push, func(c *Config) { c.DrainTime, c.AttemptTime = Duration(200*time.Millisecond), Duration(time.Minute) }), newUser(t)
	g.register(u, "inbox", push, "/a")
	g.send(u, "inbox", "x")
	eventually(t, "the attempt", func() bool { push.mu.Lock(); defer push.mu.Unlock(); return push.requests == 1 })
	_, stop, ended := serving(t, g)
	started := time.Now()
	stop()
	if err := <-ended; err == nil {
		t.Error("it did not say that an attempt was cut off")
	}
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	g.open()
	if s := g.state(u, "inbox"); s.Queued != 1 {
		t.Errorf("%+v", s)
	}
}
