package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kms-enclave/kms-enclave/internal/jws"
	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/webpush"
)

// FuzzToken: what is taken apart is spelled in one way, and nothing that the fuzzer makes is verified.
func FuzzToken(f *testing.F) {
	u := newUser(f)
	f.Add(u.token(f, scopeSend))
	f.Add(u.jws(f, u.header(), map[string]any{"exp": 1}))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := parseToken(token)
		if err != nil {
			return
		}
		if back := c.Input + "." + jws.Encode(c.Signature); back != token {
			t.Errorf("%q is also spelled %q", token, back)
		}
		if !isKid(c.kid) {
			t.Errorf("kid %q", c.kid)
		}
		if _, err := c.verify(newUser(t).public, testOrigin, time.Now()); err == nil {
			t.Error("verified under a key that was made just now")
		}
	})
}

// FuzzRegistration: what passes has a known push service, keys on the curve, and a record that comes back as it was.
func FuzzRegistration(f *testing.F) {
	u := newUser(f)
	r := &Relay{services: must.Get[[]*service](f)(newServices(Default())), now: time.Now}
	receiver := must.Get[*webpush.Receiver](f)(webpush.GenerateReceiver())
	s := pushSubscription{Endpoint: "https://fcm.googleapis.com/fcm/send/x"}
	s.Keys.P256DH, s.Keys.Auth = jws.Encode(receiver.Keys().Public()), jws.Encode(receiver.Keys().Auth())
	f.Add(registrationBody(f, u, s, u.vapid(f, "https://fcm.googleapis.com", time.Hour)))
	f.Add(registrationBody(f, u, s))
	f.Fuzz(func(t *testing.T, body string) {
		var b registration
		if decodeStrict([]byte(body), &b) != nil {
			return
		}
		public, err := b.key()
		if err != nil {
			return
		}
		if _, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public); err != nil {
			t.Error(err)
		}
		sub, err := r.wanted(&b, public)
		if err != nil {
			return
		}
		if e, err := url.Parse(sub.Push.Endpoint); err != nil || e.Scheme != "https" || !strings.Contains("fcm.googleapis.com updates.push.services.mozilla.com", strings.ToLower(e.Hostname())) && !strings.HasSuffix(strings.ToLower(e.Hostname()), ".com") {
			t.Errorf("endpoint %q", sub.Push.Endpoint)
		}
		back := new(subscription)
		if err := decodeStrict(mustJSON(sub), back); err != nil || back.generation() != sub.generation() {
			t.Errorf("the record does not come back: %v", err)
		}
	})
}

// FuzzEndpoint: what is taken for a push service's is one for net/http as well.
func FuzzEndpoint(f *testing.F) {
	r := &Relay{services: must.Get[[]*service](f)(newServices(Default()))}
	for _, seed := range []string{"https://fcm.googleapis.com/x", "https://a.push.apple.com:443/x?y", "https://fcm.googleapis.com@x/", "https://x\\@fcm.googleapis.com/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		s, _, err := r.serviceOf(endpoint)
		if err != nil {
			return
		}
		q, err := http.NewRequest("POST", endpoint, nil)
		if err != nil {
			t.Fatalf("%q: %v", endpoint, err)
		}
		if !s.matches(strings.ToLower(q.URL.Hostname())) || q.URL.Port() != "" && q.URL.Port() != "443" || q.URL.User != nil {
			t.Errorf("%q leads to %s", endpoint, q.URL.Host)
		}
	})
}

// FuzzPost: headers that pass are ones that webpush sends.
func FuzzPost(f *testing.F) {
	f.Add("60", "high", "topic", "key")
	f.Add("2419201", "", "", " ")
	f.Fuzz(func(t *testing.T, ttl, urgency, topic, key string) {
		p, err := parsePost(http.Header{"Ttl": {ttl}, "Urgency": {urgency}, "Topic": {topic}, "Idempotency-Key": {key}})
		if err != nil {
			return
		}
		request := webpush.Request{TTL: time.Duration(p.ttl) * time.Second, Urgency: p.urgency, Topic: p.topic}
		if err := request.Check(); err != nil || request.TTL > maxTTL {
			t.Errorf("%+v: %v", p, err)
		}
		if k := messageKey(p.key, "id"); !jws.IsBase64url(k) || len(k) > 64 {
			t.Errorf("key %q", k)
		}
	})
}

// FuzzRecord: records are what JSON says, or are refused.
func FuzzRecord(f *testing.F) {
	f.Add(kindQueued, string(mustJSON(envelope{ID: "a", TTL: 1})))
	f.Add(kindReceipt, `{"id":"a","accepted":1,"ttl":0,"generation":""}`)
	f.Fuzz(func(t *testing.T, kind, header string) {
		m, err := parseMessage(nats.Header{kindHeader: {kind}, envelopeHeader: {header}}, nil, 1)
		if err != nil {
			return
		}
		back, err := parseMessage(nats.Header{kindHeader: {m.kind}, envelopeHeader: {string(mustJSON(m.envelope))}}, nil, 1)
		if err != nil || back.envelope != m.envelope {
			t.Errorf("%+v comes back as %+v: %v", m.envelope, back, err)
		}
		_ = m.remaining(time.Now())
	})
}

// FuzzConfig: what passes Check comes back from its JSON, and still passes.
func FuzzConfig(f *testing.F) {
	c := Default()
	c.Origin, c.Data = testOrigin, "data"
	f.Add(string(must.Get[[]byte](f)(c.JSON())))
	f.Add(`{"services":[{"host":"*.a.example","private":true}],"trustedProxies":["10.0.0.0/8"]}`)
	f.Fuzz(func(t *testing.T, text string) {
		c := Default()
		c.Origin, c.Data = testOrigin, "data"
		if c.Merge([]byte(text)) != nil || c.CA != "" || c.Check() != nil {
			return
		}
		again := Default()
		if err := again.Merge(must.Get[[]byte](t)(c.JSON())); err != nil || again.Check() != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}

// FuzzAddress: no spelling of an address gets around the guard.
func FuzzAddress(f *testing.F) {
	f.Add("127.0.0.1:443")
	f.Add("[::ffff:10.0.0.1]:443")
	f.Add("[64:ff9b::1]:443")
	f.Fuzz(func(t *testing.T, address string) {
		if publicOnly("tcp4", address, nil) != nil {
			return
		}
		a := must.Get[netip.AddrPort](t)(netip.ParseAddrPort(address)).Addr().Unmap()
		if a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a.IsInterfaceLocalMulticast() {
			t.Errorf("%s", address)
		}
	})
}

// FuzzSettings: no value of a flag makes a setting panic, and sizes come back.
func FuzzSettings(f *testing.F) {
	f.Add("8G")
	f.Add("private:push.house:8443,*.a.example")
	f.Fuzz(func(t *testing.T, value string) {
		for _, s := range Settings {
			c := Default()
			if s.Set(&c, value) == nil {
				_, _ = json.Marshal(&c)
			}
		}
		if n, err := parseSize(value); err == nil && n < 0 {
			t.Errorf("%q is %d", value, n)
		}
	})
}
