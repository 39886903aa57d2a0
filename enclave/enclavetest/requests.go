package enclavetest

import (
	"encoding/json/v2"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave"
)

const (
	someKID   = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	someLease = "AAAAAAAAAAAAAAAAAAAAAA"
)

func b64(n int) string { return api.Bytes(make([]byte, n)).String() }

// goodParams are parameters that decode, for every method.
func goodParams() map[string]any {
	return map[string]any{
		"enclave.info":     nil,
		"enclave.selfTest": nil,
		"enclave.cancel":   map[string]any{"id": 99},
		"vault.status":     nil,
		"vault.create":     map[string]any{"persistence": "device", "lock": "none"},
		"vault.unlock":     nil,
		"vault.lock":       nil,
		"vault.destroy":    nil,
		"slots.add":        map[string]any{"kind": "passkey"},
		"slots.remove":     map[string]any{"id": "AAAA"},
		"slots.change":     map[string]any{"id": "AAAA"},
		"slots.manage":     nil,
		"recovery.enable":  nil,
		"recovery.check":   nil,
		"backup.save":      nil,
		"backup.restore":   map[string]any{"lock": "none"},
		"mirror.changes":   nil,
		"mirror.records":   nil,
		"mirror.offer":     map[string]any{"first": true, "records": []any{}},
		"mirror.restore":   nil,
		"keys.create":      map[string]any{"purpose": "signing"},
		"keys.list":        nil,
		"keys.get":         map[string]any{"kid": someKID},
		"keys.rotate":      map[string]any{"kid": someKID},
		"keys.revoke":      map[string]any{"kid": someKID},
		"jwt.sign":         map[string]any{"kid": someKID, "audience": "https://api.example", "ttlSeconds": 60},
		"challenge.sign":   map[string]any{"kid": someKID, "context": "login", "data": ""},
		"challenge.verify": map[string]any{"alg": "EdDSA", "publicKey": b64(32), "context": "login", "data": "", "signature": b64(64)},
		"key.agree":        map[string]any{"kid": someKID, "publicKey": b64(32), "context": "chat"},
		"token.vapid":      map[string]any{"kid": someKID, "endpoint": "https://push.example.net/x", "subject": "mailto:ops@example.net", "ttlSeconds": 60},
		"token.relay":      map[string]any{"lease": someLease, "scope": "send", "ttlSeconds": 60},
		"lease.grant":      map[string]any{"kid": someKID, "relay": "https://relay.example", "endpoint": "https://push.example.net/x"},
		"lease.list":       nil,
		"lease.renew":      map[string]any{"lease": someLease},
		"lease.revoke":     map[string]any{"lease": someLease},
		"audit.head":       nil,
		"audit.consistent": nil,
		"audit.entries":    nil,
		"audit.verify":     nil,
		"audit.export":     nil,
		"audit.show":       nil,
	}
}

// testEveryRow goes through the policy table: every row is a method of the
// contract and the other way round, has parameters here, takes no unknown
// member, and without a vault does exactly what its authorisation says.
func testEveryRow(t *testing.T, p Platform) {
	params := goodParams()
	if len(enclave.Policy) != len(api.Methods) || len(params) != len(api.Methods) || len(api.Methods) == 0 {
		t.Fatalf("%d policy rows, %d methods in the contract, %d with parameters", len(enclave.Policy), len(api.Methods), len(params))
	}
	asks := newFurnished(t, p, "none")
	locked := newFurnished(t, p, "passphrase")
	locked.c.Must("vault.lock", nil, nil)
	for i, row := range enclave.Policy {
		t.Run(row.Method, func(t *testing.T) {
			if api.Methods[i].Name != row.Method {
				t.Errorf("contract names %s at this place", api.Methods[i].Name)
			}
			good, ok := params[row.Method]
			if !ok {
				t.Fatal("no parameters for it")
			}
			c := NewOrigin(t, p).Connect()
			failure := c.Refused(api.InvalidRequest, row.Method, with(good, "surprise", 1))
			if failure.Details["member"] != "/params/surprise" {
				t.Errorf("unknown member: %v", failure.Details)
			}
			failure = c.Refused(api.InvalidRequest, row.Method, with(good, "x", strings.Repeat("x", row.MaxParams)))
			if failure.Details["member"] != "/params" {
				t.Errorf("over-long parameters: %v", failure)
			}
			// A key.agree with an all-zero key would be refused for the key's sake.
			switch row.Auth {
			case enclave.Session, enclave.AnyVault:
				c.Refused(api.NotFound, row.Method, good)
			case enclave.Leased:
				c.Refused(api.NotFound, row.Method, good)
				c.Refused(api.NotFound, row.Method, with(good, "lease", someLease))
				locked.c.Refused(api.NotFound, row.Method, with(good, "lease", someLease)) // of the lease
				leased := with(good, "lease", locked.lease)
				delete(leased, "kid")
				locked.c.Must(row.Method, leased, nil)
				if row.Method == "token.vapid" {
					locked.testLocked(t, row.Method)
				}
			case enclave.Open:
				failure := c.Try(row.Method, good, nil)
				allowed := row.Method == "audit.head" || row.Method == "audit.consistent" || row.Method == "challenge.verify" || strings.HasPrefix(row.Method, "mirror.") || (row.Dialog && failure != nil && failure.Code == api.Cancelled)
				if failure != nil && !allowed {
					t.Errorf("open, but %v", failure)
				}
			default:
				t.Errorf("authorisation %q is not known to this test", row.Auth)
			}
			if row.Auth == enclave.Session {
				locked.testLocked(t, row.Method)
			}
			if row.Fresh || row.Confirm {
				asks.testAsks(t, row.Method)
			}
		})
	}
}

// furnished is a vault with a key, a passphrase and a recovery phrase, and parameters
// with which every method could do something to it. It is shared: nothing that is
// tried on it may change it.
type furnished struct {
	o      *Origin
	c      *Client
	params map[string]any
	lease  string
}

func newFurnished(t *testing.T, p Platform, lock string) furnished {
	t.Helper()
	o := NewOrigin(t, p)
	o.User.Passphrase = "correct horse battery"
	o.User.Willing = true
	c := o.Connect()
	c.Must("vault.create", map[string]any{"persistence": "device", "lock": lock}, nil)
	if lock == "none" {
		c.Must("slots.add", map[string]any{"kind": "passphrase"}, nil)
	}
	c.Must("recovery.enable", nil, nil)
	params := goodParams()
	kid := c.CreateKey("signing", "").KID
	for _, method := range []string{"keys.get", "keys.rotate", "keys.revoke", "jwt.sign", "challenge.sign"} {
		params[method] = with(params[method], "kid", kid)
	}
	for _, slot := range c.Status().Slots {
		if slot.Kind == "passphrase" {
			params["slots.remove"], params["slots.change"] = map[string]any{"id": slot.ID}, map[string]any{"id": slot.ID}
		}
	}
	var granted api.LeaseResult
	c.Must("lease.grant", with(params["lease.grant"], "kid", c.CreateKey("vapid", "").KID), &granted)
	params["lease.grant"] = map[string]any{"kid": c.CreateKey("vapid", "").KID, "relay": "https://other.example", "endpoint": "https://push.example.net/x"}
	for _, method := range []string{"lease.renew", "lease.revoke"} {
		params[method] = map[string]any{"lease": granted.Lease.ID}
	}
	o.User.Willing = false
	return furnished{o, c, params, granted.Lease.ID}
}

// testAsks makes sure that a row with a dialog does nothing when the user says no.
func (f furnished) testAsks(t *testing.T, method string) {
	before, shown := f.c.snapshot(), len(f.o.User.Seen())
	f.c.Refused(api.Cancelled, method, f.params[method])
	if got := len(f.o.User.Seen()) - shown; got != 1 {
		t.Errorf("%d screens, 1 wanted", got)
	}
	if after := f.c.snapshot(); after != before {
		t.Errorf("a no has changed something: %s, before %s", after, before)
	}
}

// testLocked makes sure that a row that takes an unlocked vault does nothing, and
// asks nobody, while it is locked.
func (f furnished) testLocked(t *testing.T, method string) {
	shown := len(f.o.User.Seen())
	f.c.Refused(api.Locked, method, f.params[method])
	if got := len(f.o.User.Seen()) - shown; got != 0 {
		t.Errorf("%d screens of a locked vault", got)
	}
}

// snapshot is what an app can see of a vault, but for the length of its log.
func (c *Client) snapshot() string {
	status := c.Status()
	status.Counts.Entries = 0
	var keys api.KeyList
	c.Must("keys.list", nil, &keys)
	return fmt.Sprintf("%+v %+v %+v", status, keys, c.leases())
}

// with returns a copy of params with one member changed.
func with(params any, name string, value any) map[string]any {
	m := map[string]any{}
	if given, ok := params.(map[string]any); ok {
		maps.Copy(m, given)
	}
	m[name] = value
	return m
}

func testNoVault(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	if s := c.Status(); s.State != "absent" || s.Persistence != "" || len(s.Slots) != 0 {
		t.Errorf("status without a vault: %+v", s)
	}
	c.Refused(api.NotFound, "audit.head", nil)
	c.Refused(api.UnknownMethod, "keys.destroyEverything", nil)
	c.Refused(api.InvalidRequest, "", nil)
}

// testBadRequests sends envelopes that are not what the protocol says.
func testBadRequests(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	for _, test := range []struct{ name, request, id, member string }{
		{"empty", ``, "0", ""},
		{"not JSON", `hello`, "0", ""},
		{"truncated", `{"v":1,"id":7,"method":"enclave.info"`, "7", ""},
		{"array", `[1,2]`, "0", ""},
		{"trailing data", `{"v":1,"id":7,"method":"enclave.info"} {}`, "7", ""},
		{"no version", `{"id":7,"method":"enclave.info"}`, "7", "/v"},
		{"other version", `{"v":2,"id":7,"method":"enclave.info"}`, "7", "/v"},
		{"no id", `{"v":1,"method":"enclave.info"}`, "0", "/id"},
		{"id zero", `{"v":1,"id":0,"method":"enclave.info"}`, "0", "/id"},
		{"negative id", `{"v":1,"id":-1,"method":"enclave.info"}`, "0", "/id"},
		{"huge id", `{"v":1,"id":9007199254740992,"method":"enclave.info"}`, "0", "/id"},
		{"text id", `{"v":1,"id":"7","method":"enclave.info"}`, "0", "/id"},
		{"fraction id", `{"v":1,"id":7.5,"method":"enclave.info"}`, "0", "/id"},
		{"no method", `{"v":1,"id":7}`, "7", "/method"},
		{"unknown member", `{"v":1,"id":7,"method":"enclave.info","extra":true}`, "7", "/extra"},
		{"other case", `{"v":1,"id":7,"Method":"enclave.info"}`, "7", "/Method"},
		{"duplicate member", `{"v":1,"id":7,"method":"enclave.info","method":"vault.destroy"}`, "7", "/method"},
		{"duplicate parameter", `{"v":1,"id":7,"method":"keys.get","params":{"kid":"a","kid":"b"}}`, "7", "/params/kid"},
		{"null parameters", `{"v":1,"id":7,"method":"enclave.info","params":null}`, "7", "/params"},
		{"null member", `{"v":1,"id":7,"method":"keys.list","params":{"after":null}}`, "7", "/params/after"},
		{"parameters not an object", `{"v":1,"id":7,"method":"enclave.info","params":[]}`, "7", "/params"},
		{"invalid UTF-8", "{\"v\":1,\"id\":7,\"method\":\"enclave.info\xff\"}", "7", ""},
		{"lone surrogate", `{"v":1,"id":7,"method":"keys.create","params":{"purpose":"signing","label":"\ud800"}}`, "7", ""},
		{"too deep", `{"v":1,"id":7,"method":"jwt.sign","params":{"claims":` + deep + `}}`, "7", ""},
		{"over-long", `{"v":1,"id":7,"method":"enclave.info","params":{"x":"` + strings.Repeat("x", api.MaxMessage) + `"}}`, "0", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var reply struct {
				ID    int64      `json:"id"`
				Error *api.Error `json:"error"`
			}
			answer := c.Raw(test.request)
			if err := json.Unmarshal([]byte(answer), &reply); err != nil || reply.Error == nil {
				t.Fatalf("reply %s (%v)", answer, err)
			}
			if reply.Error.Code != api.InvalidRequest || fmt.Sprint(reply.ID) != test.id {
				t.Errorf("id %d, %v; id %s and invalid_request wanted", reply.ID, reply.Error, test.id)
			}
			if test.member != "" && reply.Error.Details["member"] != test.member {
				t.Errorf("member %q, %q wanted (%v)", reply.Error.Details["member"], test.member, reply.Error)
			}
			if len(answer) > 1000 {
				t.Errorf("a reply of %d bytes to a bad request", len(answer))
			}
		})
	}
	if s := c.Status(); s.State != "unlocked" {
		t.Errorf("afterwards the vault is %s", s.State)
	}
}

// testBadParams breaks one member at a time.
func testBadParams(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	before := c.Status().Counts
	long := strings.Repeat("x", 4000)
	for _, test := range []struct {
		method, member string
		value          any
	}{
		{"enclave.cancel", "id", -1},
		{"enclave.cancel", "id", "1"},
		{"vault.create", "persistence", "cloud"},
		{"vault.create", "persistence", ""},
		{"vault.create", "lock", 1},
		{"keys.create", "purpose", "everything"},
		{"keys.create", "alg", "RS256"},
		{"keys.create", "alg", "X25519"}, // not for signing
		{"keys.create", "label", strings.Repeat("x", 65)},
		{"keys.create", "label", []string{"x"}},
		{"keys.list", "limit", 501},
		{"keys.list", "limit", -1},
		{"keys.list", "after", "short"},
		{"keys.get", "kid", "../../etc/passwd"},
		{"keys.get", "kid", strings.Repeat("=", 43)},
		{"jwt.sign", "audience", ""},
		{"jwt.sign", "audience", long},
		{"jwt.sign", "audience", "a\nb"},
		{"jwt.sign", "subject", long},
		{"jwt.sign", "ttlSeconds", 0},
		{"jwt.sign", "ttlSeconds", -5},
		{"jwt.sign", "ttlSeconds", api.MaxJWTTTL + 1},
		{"jwt.sign", "ttlSeconds", 1.5},
		{"jwt.sign", "ttlSeconds", "60"},
		{"jwt.sign", "claims", []int{1}},
		{"jwt.sign", "claims", map[string]any{"x": strings.Repeat("x", api.MaxClaims)}},
		{"challenge.sign", "context", ""},
		{"challenge.sign", "context", strings.Repeat("x", api.MaxContext+1)},
		{"challenge.sign", "data", "not base64!"},
		{"challenge.sign", "data", "AA=="},
		{"challenge.sign", "data", "AB"}, // non-zero bits after the last byte
		{"challenge.sign", "data", "AA\nAA"},
		{"challenge.sign", "data", b64(api.MaxData + 1)},
		{"challenge.verify", "alg", "none"},
		{"challenge.verify", "publicKey", b64(31)},
		{"challenge.verify", "publicKey", b64(65)}, // of the other algorithm
		{"challenge.verify", "signature", b64(129)},
		{"key.agree", "publicKey", b64(33)},
		{"token.vapid", "ttlSeconds", api.MaxVAPIDTTL + 1},
		{"token.vapid", "ttlSeconds", api.MaxLeaseTTL + 1},
		{"token.vapid", "count", 2},
		{"token.vapid", "count", api.MaxTokens + 1},
		{"token.vapid", "lease", strings.Repeat("x", 23)},
		{"token.relay", "scope", "everything"},
		{"token.relay", "subscription", "a b"},
		{"token.relay", "ttlSeconds", api.MaxLeaseTTL + 1},
		{"lease.grant", "relay", "https://relay.example/"},
		{"lease.grant", "endpoint", "http://push.example.net/"},
		{"lease.grant", "lifeSeconds", 299},
		{"lease.grant", "lifeSeconds", 30*24*3600 + 1},
		{"lease.grant", "tokenSeconds", 86401},
		{"lease.grant", "perHour", 241},
		{"lease.grant", "perDay", 2001},
		{"lease.renew", "lifeSeconds", 1},
		{"lease.revoke", "lease", ""},
		{"audit.entries", "from", -1},
		{"audit.entries", "limit", 501},
		{"audit.export", "cursor", "5"},
		{"audit.export", "cursor", "9.1"},
		{"audit.export", "cursor", "0.999999"},
	} {
		t.Run(test.method+"/"+test.member+"="+printed(test.value), func(t *testing.T) {
			failure := c.Refused(api.InvalidRequest, test.method, with(goodParams()[test.method], test.member, test.value))
			if !strings.HasPrefix(failure.Details["member"], "/params/"+test.member) {
				t.Errorf("member %q named, /params/%s wanted", failure.Details["member"], test.member)
			}
		})
	}
	if after := c.Status().Counts; after != before {
		t.Errorf("bad requests left something: %+v, before %+v", after, before)
	}
}

func printed(v any) string {
	s := fmt.Sprint(v)
	return s[:min(len(s), 20)]
}

func testUnicodeLimits(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	label := strings.Repeat("🔑", api.MaxLabel) // characters, not bytes
	var created api.KeyResult
	c.Must("keys.create", map[string]any{"purpose": "signing", "label": label}, &created)
	if created.Key.Label != label {
		t.Errorf("label %q came back as %q", label, created.Key.Label)
	}
	c.Refused(api.InvalidRequest, "keys.create", map[string]any{"purpose": "signing", "label": label + "x"})
	// A context is counted in bytes, because bytes are what is signed.
	c.Refused(api.InvalidRequest, "challenge.sign", map[string]any{"kid": created.Key.KID, "context": strings.Repeat("é", 65), "data": ""})
}
