package relay

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/kms-enclave/kms-enclave/internal/must"
)

// TestAddresses is which addresses a push service may have.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for text, public := range map[string]bool{
		"142.250.74.110": true, "17.57.144.1": true, "1.1.1.1": true, "2a00:1450:4005::200a": true, "2620:149:a44::1": true, "::ffff:1.1.1.1": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "100.64.0.1": false, "100.127.255.255": false, "127.0.0.1": false, "127.9.9.9": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.0.0.8": false, "192.0.2.1": false, "192.88.99.1": false,
		"192.168.1.1": false, "198.18.0.1": false, "198.19.255.255": false, "198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false,
		"239.255.255.250": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:10.0.0.1": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false, "::ffff:169.254.169.254": false,
		"64:ff9b::10.0.0.1": false, "64:ff9b::1.1.1.1": false, "64:ff9b:1::1": false, "100::1": false, "2001::1": false, "2001:db8::1": false,
		"2002:a00:1::1": false, "3fff::1": false, "5f00::1": false, "fc00::1": false, "fd12::1": false, "fe80::1": false, "fe80::1%eth0": false,
		"fec0::1": false, "ff02::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(text)); got != public {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// nameServer answers every question with one address.
func nameServer(t *testing.T, addr netip.Addr) *net.Resolver {
	c := must.Get[net.PacketConn](t)(net.ListenPacket("udp", "127.0.0.1:0"))
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if answer, err := dnsAnswer(b[:n], addr); err == nil {
				_, _ = c.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

func dnsAnswer(question []byte, addr netip.Addr) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response = true
	m.Additionals = nil
	q := m.Questions[0]
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
	switch {
	case q.Type == dnsmessage.TypeA && addr.Is4():
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}}}
	case q.Type == dnsmessage.TypeAAAA && addr.Is6():
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}}
	}
	return m.Pack()
}

// TestNameOfPrivateAddress: a name of a push service that resolves to an address of this house leads nowhere, and
// the message is refused with a receipt. The address listens, so that only the guard can be what stops it.
func TestNameOfPrivateAddress(t *testing.T) {
	t.Parallel()
	l := must.Get[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, addr := range []string{"127.0.0.1", "::ffff:127.0.0.1"} {
		resolver := nameServer(t, netip.MustParseAddr(addr).Unmap())
		if _, err := dialer(false, resolver).DialContext(t.Context(), "tcp", "push.example:"+port); !errors.Is(err, errForbiddenAddress) {
			t.Errorf("%s: %v", addr, err)
		}
		c, err := dialer(true, resolver).DialContext(t.Context(), "tcp", "push.example:"+port)
		if err != nil {
			t.Errorf("private service: %v", err)
			continue
		}
		c.Close()
	}
	push := newPushService(t)
	g := newRig(t, push, func(c *Config) { c.Services[len(c.Services)-1].Private = false })
	u := newUser(t)
	g.register(u, "inbox", push, "/a")
	if r := g.outcome(u, "inbox", g.send(u, "inbox", "x")); r.Outcome != outcomeRefused || r.Status != 0 || push.requests != 0 {
		t.Errorf("%+v after %d requests", r, push.requests)
	}
}

// TestEndpoints is which endpoints are ones of a push service.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	c := testConfig(t, nil)
	c.Services = append(c.Services, Service{Host: "push.house:8443", Private: true})
	r := &Relay{services: must.Get[[]*service](t)(newServices(c))}
	for endpoint, pattern := range map[string]string{
		"https://fcm.googleapis.com/fcm/send/x":                          "fcm.googleapis.com",
		"https://FCM.googleapis.com:443/x":                               "fcm.googleapis.com",
		"https://updates.push.services.mozilla.com/x":                    "updates.push.services.mozilla.com",
		"https://web.push.apple.com/x":                                   "*.push.apple.com",
		"https://a.b.push.apple.com/x":                                   "*.push.apple.com",
		"https://wns2-am3p.notify.windows.com/w/?token=":                 "*.notify.windows.com",
		"https://push.house:8443/x":                                      "push.house:8443",
		"https://push.house/x":                                           "",
		"https://push.apple.com/x":                                       "",
		"https://.push.apple.com/x":                                      "",
		"https://evilpush.apple.com/x":                                   "",
		"https://web.push.apple.com.evil.example/x":                      "",
		"https://web.push.apple.com:8443/x":                              "",
		"https://web.push.apple.com./x":                                  "",
		"http://fcm.googleapis.com/x":                                    "",
		"https://user@fcm.googleapis.com/x":                              "",
		"https://fcm.googleapis.com@evil.example/x":                      "",
		"https://evil.example\\@fcm.googleapis.com/x":                    "",
		"https://fcm.googleapis.com/x#fragment":                          "",
		"https://127.0.0.1/x":                                            "",
		"https://[::1]/x":                                                "",
		"https://0x7f.1/x":                                               "",
		"ftp://fcm.googleapis.com/x":                                     "",
		"//fcm.googleapis.com/x":                                         "",
		"":                                                               "",
		"https://fcm.googleapis.com/" + strings.Repeat("x", maxEndpoint): "",
	} {
		s, _, err := r.serviceOf(endpoint)
		if got := ""; err == nil {
			if got = s.pattern; got != pattern {
				t.Errorf("%.60s: %q", endpoint, got)
			}
		} else if pattern != "" || !errors.Is(err, errEndpoint) {
			t.Errorf("%.60s: %v", endpoint, err)
		}
	}
	for host, ok := range map[string]bool{"a.example": true, "*.a.example": true, "localhost:1": true, "*.com": false, "*": false, "": false, "A.example": false, "a.example:443": false, "a.example/x": false, "https://a.example": false} {
		if isPattern(host) != ok {
			t.Errorf("pattern %q", host)
		}
	}
}

// TestNoProxyFromTheEnvironment: who sets a variable does not see where messages go.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("https_proxy", "http://127.0.0.1:1")
	if newTransport(false, nil).Proxy != nil {
		t.Error("a proxy is used")
	}
	push := newPushService(t)
	g, u := newRig(t, push), newUser(t)
	g.register(u, "inbox", push, "/a")
	if r := g.outcome(u, "inbox", g.send(u, "inbox", "x")); r.Status != http.StatusCreated {
		t.Errorf("%+v", r)
	}
}
