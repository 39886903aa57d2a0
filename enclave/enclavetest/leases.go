package enclavetest

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/lease"
	"github.com/kms-enclave/kms-enclave/prompt"
)

const (
	relayA   = "https://relay-a.example"
	relayB   = "https://relay-b.example"
	service  = "https://push.example.net"
	endpoint = service + "/send/abc"
	contact  = "mailto:ops@example.net"
)

// leasing is a vault with a passphrase and a clock that a test sets.
type leasing struct {
	t *testing.T
	o *Origin
	c *Client
	// ahead is how much the clock is ahead.
	ahead time.Duration
}

func newLeasing(t *testing.T, p Platform) *leasing {
	s := &leasing{t: t, o: willing(t, p)}
	s.o.User.Passphrase = "correct horse battery"
	s.o.Now = func() time.Time { return time.Now().Add(s.ahead) }
	s.c = s.o.Connect()
	s.c.Must("vault.create", map[string]any{"persistence": "device", "lock": "passphrase"}, nil)
	return s
}

// grant makes a key and gives a relay a lease of it.
func (s *leasing) grant(relay string, more map[string]any) (k api.Key, l api.Lease) {
	s.t.Helper()
	k = s.c.CreateKey("vapid", "")
	params := map[string]any{"kid": k.KID, "relay": relay, "endpoint": endpoint}
	maps.Copy(params, more)
	var r api.LeaseResult
	s.c.Must("lease.grant", params, &r)
	return k, r.Lease
}

func push(id string) map[string]any {
	return map[string]any{"lease": id, "endpoint": endpoint, "subject": contact, "ttlSeconds": 900}
}

func relay(id string) map[string]any {
	return map[string]any{"lease": id, "scope": "send", "subscription": "s1", "ttlSeconds": 900}
}

func (c *Client) leases() api.LeaseList {
	c.t.Helper()
	var list api.LeaseList
	c.Must("lease.list", nil, &list)
	return list
}

// none makes sure that a lease gives nothing, in no tab, and says why.
func (s *leasing) none(id, reason string, tabs ...*Client) {
	s.t.Helper()
	for _, tab := range append(tabs, s.o.Connect()) {
		for method, params := range map[string]map[string]any{"token.vapid": push(id), "token.relay": relay(id)} {
			if f := tab.Refused(api.Denied, method, params); f.Details["reason"] != reason {
				s.t.Errorf("%s: %v, wanted %s", method, f.Details, reason)
			}
		}
	}
}

// testLease: what a lease gives, also while the vault is locked, and what is said of it.
func testLease(t *testing.T, p Platform) {
	s := newLeasing(t, p)
	shown := len(s.o.User.Seen())
	k, l := s.grant(relayA, nil)
	asked, _ := s.o.User.Seen()[shown].(prompt.Confirm)
	if asked.Action != "lease.grant" || !asked.Proof.Passphrase || asked.Lease == nil || asked.Lease.Relay != relayA || asked.Lease.Service != service ||
		asked.Lease.ExpiresAt-asked.Lease.GrantedAt != lease.DefaultLife || asked.Lease.TokenSeconds != lease.DefaultToken || asked.Lease.PerHour != lease.DefaultHour {
		t.Errorf("asked %+v, %+v", asked, asked.Lease)
	}
	if l.KID != k.KID || l.State != "running" || l.ExpiresAt-l.GrantedAt != lease.DefaultLife || l.Until-l.GrantedAt != lease.MaxLife || l.Service != service || len(l.ID) != 22 {
		t.Errorf("granted %+v", l)
	}
	for _, locked := range []bool{false, true} {
		if locked {
			s.c.Must("vault.lock", nil, nil)
		}
		for _, tab := range []*Client{s.c, s.o.Connect()} {
			s.checkTokens(tab, k, l)
		}
	}
	s.c.Refused(api.Locked, "token.vapid", map[string]any{"kid": k.KID, "endpoint": endpoint, "subject": contact, "ttlSeconds": 60})
	s.c.Refused(api.Locked, "lease.list", nil)
	s.c.Must("vault.unlock", nil, nil)
	list := s.c.leases()
	if len(list.Leases) != 1 || list.Leases[0].PushTokens != 4*4 || list.Leases[0].RelayTokens != 4 || list.Leases[0].LastUsedAt == 0 || list.LastHour != 20 || list.LastDay != 20 {
		t.Errorf("listed %+v", list)
	}
	if got := get(s.c, k.KID); got.Uses != 20 {
		t.Errorf("the key was used %d times", got.Uses)
	}
	entries := s.c.logged("token.vapid")
	if len(entries) != 8 || entries[0].Lease != l.ID || entries[0].KID != k.KID || entries[0].Details["aud"] != service {
		t.Errorf("logged %+v", entries)
	}
	if n := len(strings.Fields(entries[1].Details["jti"])); n != 3 {
		t.Errorf("the second entry names %d tokens", n)
	}
	if entries := s.c.logged("lease.grant"); len(entries) != 1 || entries[0].Lease != l.ID || entries[0].Details["relay"] != relayA {
		t.Errorf("logged %+v", entries)
	}
}

func (s *leasing) checkTokens(tab *Client, k api.Key, l api.Lease) {
	s.t.Helper()
	var one api.PushTokens
	tab.Must("token.vapid", push(l.ID), &one)
	header, payload := openJWT(s.t, k, one.Token)
	if header["typ"] != "JWT" || header["kid"] != k.KID || payload["aud"] != service || payload["sub"] != contact || payload["exp"].(float64)-payload["iat"].(float64) != 900 {
		s.t.Errorf("push token %v, %v", header, payload)
	}
	var three api.PushTokens
	tab.Must("token.vapid", with(push(l.ID), "count", 3), &three)
	seen := []string{one.JTI}
	for _, token := range append(three.More, api.Token{Token: three.Token, Exp: three.Exp, JTI: three.JTI}) {
		if _, payload := openJWT(s.t, k, token.Token); payload["jti"] != token.JTI || slices.Contains(seen, token.JTI) {
			s.t.Errorf("one of several: %v, after %v", payload, seen)
		}
		seen = append(seen, token.JTI)
	}
	if len(seen) != 4 {
		s.t.Errorf("%d tokens", len(seen))
	}
	var forRelay api.Token
	tab.Must("token.relay", relay(l.ID), &forRelay)
	header, payload = openJWT(s.t, k, forRelay.Token)
	if header["typ"] != "kms-relay+jwt" || payload["aud"] != relayA || payload["sub"] != "s1" || payload["scope"] != "send" || payload["exp"].(float64) != float64(forRelay.Exp) {
		s.t.Errorf("relay token %v, %v", header, payload)
	}
}

// testLeaseBounds: what a lease does not cover.
func testLeaseBounds(t *testing.T, p Platform) {
	s := newLeasing(t, p)
	k, l := s.grant(relayA, map[string]any{"perHour": 5, "lifeSeconds": 3600})
	for name, test := range map[string]struct {
		params map[string]any
		code   api.Code
		reason string
	}{
		"another push service": {with(push(l.ID), "endpoint", "https://other.example.net/x"), api.Denied, "another-service"},
		"too long":             {with(push(l.ID), "ttlSeconds", 901), api.Denied, "too-long"},
		"no such lease":        {with(push(l.ID), "lease", "AAAAAAAAAAAAAAAAAAAAAA"), api.NotFound, ""},
		"too many":             {with(push(l.ID), "count", 6), api.QuotaExceeded, ""},
		"another key":          {with(push(l.ID), "kid", someKID), api.InvalidRequest, ""},
		"many without lease":   {map[string]any{"kid": k.KID, "endpoint": endpoint, "subject": contact, "ttlSeconds": 60, "count": 2}, api.InvalidRequest, ""},
		"long without lease":   {map[string]any{"kid": k.KID, "endpoint": endpoint, "subject": contact, "ttlSeconds": 901}, api.InvalidRequest, ""},
		"neither":              {map[string]any{"endpoint": endpoint, "subject": contact, "ttlSeconds": 60}, api.InvalidRequest, ""},
	} {
		if f := s.c.Refused(test.code, "token.vapid", test.params); f.Details["reason"] != test.reason {
			t.Errorf("%s: %v", name, f)
		}
	}
	s.c.Refused(api.Denied, "token.relay", with(relay(l.ID), "ttlSeconds", 901))
	s.c.Refused(api.InvalidRequest, "token.relay", with(relay(l.ID), "subscription", "a/b"))
	if list := s.c.leases(); list.LastDay != 0 || get(s.c, k.KID).Uses != 0 {
		t.Errorf("what was refused counts: %+v", list)
	}
	// Tokens are counted over all leases: another lease gives no more of them.
	_, other := s.grant(relayB, map[string]any{"perHour": 5})
	s.c.Must("token.vapid", with(push(l.ID), "count", 4), nil)
	s.c.Must("token.vapid", push(other.ID), nil)
	s.c.Refused(api.QuotaExceeded, "token.vapid", push(other.ID))
	s.c.Refused(api.QuotaExceeded, "token.relay", relay(l.ID))
	s.ahead += time.Hour + 5*time.Minute
	s.c.Must("token.vapid", push(other.ID), nil)
	s.none(l.ID, "lease-expired", s.c)
}

// testLeaseGrants: who can get a lease for what, and what a no leaves.
func testLeaseGrants(t *testing.T, p Platform) {
	s := newLeasing(t, p)
	k, _ := s.grant(relayA, nil)
	other, signing := s.c.CreateKey("vapid", ""), s.c.CreateKey("signing", "")
	params := map[string]any{"kid": other.KID, "relay": relayB, "endpoint": endpoint}
	for name, test := range map[string]struct {
		params map[string]any
		code   api.Code
	}{
		"another purpose":               {with(params, "kid", signing.KID), api.Denied},
		"no such key":                   {with(params, "kid", someKID), api.NotFound},
		"the same again":                {map[string]any{"kid": k.KID, "relay": relayA, "endpoint": endpoint}, api.Exists},
		"the key of another relay":      {with(params, "kid", k.KID), api.Denied},
		"the relay with another key":    {with(params, "relay", relayA), api.Denied},
		"a path":                        {with(params, "relay", relayB+"/x"), api.InvalidRequest},
		"a slash":                       {with(params, "relay", relayB+"/"), api.InvalidRequest},
		"upper case":                    {with(params, "relay", "https://Relay.example"), api.InvalidRequest},
		"its own port":                  {with(params, "relay", "https://relay.example:443"), api.InvalidRequest},
		"http":                          {with(params, "relay", "http://relay.example"), api.InvalidRequest},
		"http on a name like localhost": {with(params, "relay", "http://localhost.example"), api.InvalidRequest},
		"user information":              {with(params, "relay", "https://u@relay.example"), api.InvalidRequest},
		"the push service as relay":     {with(params, "relay", service), api.InvalidRequest},
		"an endpoint without TLS":       {with(params, "endpoint", "http://push.example.net/x"), api.InvalidRequest},
		"too long a life":               {with(params, "lifeSeconds", lease.MaxLife+1), api.InvalidRequest},
	} {
		shown := len(s.o.User.Seen())
		if f := s.c.Refused(test.code, "lease.grant", test.params); len(s.o.User.Seen()) != shown {
			t.Errorf("%s: the user was asked, and then %v", name, f)
		}
	}
	s.o.User.Willing = false
	s.c.Refused(api.Cancelled, "lease.grant", params)
	s.o.User.Willing = true
	if list := s.c.leases(); len(list.Leases) != 1 {
		t.Errorf("%+v", list)
	}
	s.c.Must("lease.grant", with(params, "relay", "http://127.0.0.1:8443"), nil)

	session := willing(t, p).Connect()
	session.Must("vault.create", map[string]any{"persistence": "session", "lock": "none"}, nil)
	session.Refused(api.Unsupported, "lease.grant", with(params, "kid", session.CreateKey("vapid", "").KID))
}

// testLeaseEnds: a lease ends with its key, in the same commit, by whatever way, and leaves the other alone.
func testLeaseEnds(t *testing.T, p Platform) {
	for name, end := range map[string]struct {
		how    func(c *Client, k api.Key, l api.Lease)
		why    string
		method string
	}{
		"its key is rotated": {func(c *Client, k api.Key, _ api.Lease) { c.rotate(k.KID) }, "key-retired", "keys.rotate"},
		"its key is revoked": {func(c *Client, k api.Key, _ api.Lease) { c.revoke(k.KID, "stolen") }, "key-revoked", "keys.revoke"},
		"it is revoked":      {func(c *Client, _ api.Key, l api.Lease) { c.Must("lease.revoke", map[string]any{"lease": l.ID}, nil) }, "revoked", "lease.revoke"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLeasing(t, p)
			k, l := s.grant(relayA, nil)
			_, other := s.grant(relayB, nil)
			tab := s.o.Connect() // locked, and has the handle
			for _, c := range []*Client{s.c, tab} {
				c.Must("token.vapid", push(l.ID), nil)
			}
			end.how(s.c, k, l)
			s.none(l.ID, "lease-ended", s.c, tab)
			got := s.c.leases().Leases
			if got[0].State != "ended" || got[0].Reason != end.why || got[0].EndedAt == 0 || got[0].PushTokens != 2 || got[1].State != "running" {
				t.Errorf("%+v", got)
			}
			if key := get(s.c, k.KID); key.State == "active" {
				t.Errorf("its key is %s", key.State)
			}
			tab.Must("token.vapid", push(other.ID), nil)
			s.c.Refused(api.Denied, "lease.renew", map[string]any{"lease": l.ID})
			s.c.Refused(api.Denied, "lease.grant", map[string]any{"kid": k.KID, "relay": relayA, "endpoint": endpoint})
			if end.method != "keys.rotate" {
				s.c.Refused(api.Denied, "lease.revoke", map[string]any{"lease": l.ID})
			}
			s.c.Refused(api.NotFound, "lease.revoke", map[string]any{"lease": "AAAAAAAAAAAAAAAAAAAAAA"})
		})
	}
}

// testLeaseTime: it expires by itself, is renewed up to its end and never after, and a clock that is set back gives
// nothing back.
func testLeaseTime(t *testing.T, p Platform) {
	s := newLeasing(t, p)
	_, l := s.grant(relayA, map[string]any{"lifeSeconds": 3600})
	renew := func(seconds int64) (r api.LeaseResult) {
		t.Helper()
		s.c.Must("lease.renew", map[string]any{"lease": l.ID, "lifeSeconds": seconds}, &r)
		return r
	}
	s.ahead = 30 * time.Minute
	s.c.Must("vault.unlock", nil, nil) // it was idle
	if r := renew(lease.MaxLife); r.Lease.ExpiresAt != l.Until {
		t.Errorf("renewed until %d, at most %d", r.Lease.ExpiresAt, l.Until)
	}
	if r := renew(300); r.Lease.ExpiresAt != l.Until {
		t.Error("renewed to be shorter")
	}
	s.ahead = lease.MaxLife*time.Second - 10*time.Minute
	s.c.Must("vault.unlock", nil, nil) // it was idle
	s.c.Refused(api.Denied, "token.vapid", push(l.ID))
	s.c.Must("token.vapid", with(push(l.ID), "ttlSeconds", 60), nil)
	s.ahead = lease.MaxLife*time.Second + time.Second
	s.none(l.ID, "lease-expired", s.c)
	s.c.Refused(api.Denied, "lease.renew", map[string]any{"lease": l.ID})
	s.c.leases()
	s.ahead = 0
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		f := s.c.Try("token.vapid", push(l.ID), nil)
		if f == nil {
			t.Fatal("a clock that was set back has revived it")
		}
		if f.Details["reason"] == "lease-expired" || time.Now().After(deadline) {
			break
		}
	}
	if state := s.c.leases().Leases[0].State; state != "expired" {
		t.Errorf("it is %s", state)
	}
	s.c.Must("lease.revoke", map[string]any{"lease": l.ID}, nil) // its key has not ended yet
}

// testLeaseRefusals: what was asked for in vain is said where the lease is, and in the log.
func testLeaseRefusals(t *testing.T, p Platform) {
	s := newLeasing(t, p)
	_, l := s.grant(relayA, nil)
	s.c.Refused(api.Denied, "token.vapid", with(push(l.ID), "ttlSeconds", 5000))
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if got := s.c.leases().Leases[0].Refused; got == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the refusal is not counted")
		}
	}
	entries := s.c.logged("token.vapid")
	if len(entries) != 1 || entries[0].Lease != l.ID || entries[0].Outcome != "denied" {
		t.Errorf("logged %+v", entries)
	}
}

// testLeaseMoved: a vault that comes back from a mirror has no lease that runs: what opened them is gone.
func testLeaseMoved(t *testing.T, p Platform) {
	s := newLeasing(t, p)
	s.grant(relayA, nil)
	m := &mirror{}
	m.follow(s.c)
	empty(t, s.c.Device)
	s.c.Close()
	c := s.o.Connect()
	m.offer(c)
	c.Must("mirror.restore", nil, nil)
	list := c.leases()
	if len(list.Leases) != 1 || list.Leases[0].State != "ended" || list.Leases[0].Reason != "moved" {
		t.Fatalf("%+v", list)
	}
	if f := c.Refused(api.Denied, "token.vapid", push(list.Leases[0].ID)); f.Details["reason"] != "lease-ended" {
		t.Errorf("%v", f)
	}
}
