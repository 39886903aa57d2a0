package enclavetest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/vault"
)

var ctx = context.Background()

func testSmallOrder(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	k := c.CreateKey("agreement", "")
	for _, point := range smallOrder {
		raw, err := hex.DecodeString(point)
		if err != nil {
			t.Fatal(err)
		}
		c.Refused(api.InvalidRequest, "key.agree", map[string]any{"kid": k.KID, "publicKey": api.Bytes(raw), "context": "chat"})
	}
	if uses := get(c, k.KID).Uses; uses != 0 {
		t.Errorf("refused agreements count as %d uses", uses)
	}
}

func testListPages(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	c := o.Connect()
	c.CreateVault()
	other := o.Connect()
	var want []string
	for n := range 23 { // more than a leaf of the ledger's index holds
		want = append(want, c.CreateKey("signing", "").KID)
		for _, tab := range []*Client{c, other} { // what was listed before is out of date
			var list api.KeyList
			tab.Must("keys.list", nil, &list)
			if len(list.Keys) != n+1 {
				t.Fatalf("%d keys listed, %d made", len(list.Keys), n+1)
			}
		}
	}
	slices.Sort(want)
	var got []string
	after := ""
	for {
		params := map[string]any{"limit": 10}
		if after != "" {
			params["after"] = after
		}
		var list api.KeyList
		c.Must("keys.list", params, &list)
		for _, k := range list.Keys {
			got = append(got, k.KID)
		}
		if after = list.Next; after == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages give %d keys %v, %d wanted", len(got), got, len(want))
	}
}

func testThumbprint(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	for _, k := range []api.Key{c.CreateKey("vapid", ""), c.CreateKey("identity", ""), c.CreateKey("agreement", "")} {
		text, err := json.Marshal(k.PublicKey.JWK, json.Deterministic(true)) // members are in RFC 7638's order
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		if want := base64.RawURLEncoding.EncodeToString(sum[:]); k.KID != want {
			t.Errorf("kid %s, thumbprint %s of %s", k.KID, want, text)
		}
		x, err := base64.RawURLEncoding.DecodeString(k.PublicKey.JWK.X)
		if err != nil || !strings.Contains(string(k.PublicKey.Raw), string(x)) {
			t.Errorf("jwk %s and raw %x differ", text, k.PublicKey.Raw)
		}
	}
}

// testNoExport: no method returns or takes private key bytes. The JWK has
// public members only, and no reply to anything contains a "d".
func testNoExport(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "ES256")
	for _, method := range []string{"keys.export", "keys.import", "key.export", "keys.unwrap", "vault.export", "backup.export"} {
		c.Refused(api.UnknownMethod, method, map[string]any{"kid": k.KID})
	}
	c.Refused(api.InvalidRequest, "keys.create", map[string]any{"purpose": "signing", "privateKey": b64(32)})
	reply := c.Raw(`{"v":1,"id":1000,"method":"keys.get","params":{"kid":"` + k.KID + `"}}`)
	if strings.Contains(reply, `"d"`) || !strings.Contains(reply, `"x"`) {
		t.Errorf("reply %s", reply)
	}
}

func testReload(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	first := o.Connect()
	first.CreateVault()
	k := first.CreateKey("signing", "")
	first.Must("challenge.sign", map[string]any{"kid": k.KID, "context": "x", "data": ""}, nil)
	first.Close()

	o.Marker = true
	second := o.Connect()
	if s := second.Status(); s.State != "unlocked" || s.Counts.Keys != 1 || s.Counts.Entries != 3 {
		t.Fatalf("after a reload: %+v", s)
	}
	got := get(second, k.KID)
	if got.Uses != 1 || got.PublicKey.Raw.String() != k.PublicKey.Raw.String() {
		t.Errorf("after a reload: %+v", got)
	}
	var signed api.Token
	second.Must("jwt.sign", map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60}, &signed)
	openJWT(t, k, signed.Token)
	expectEvent(t, second, `{"event":"unlocked"}`)
	second.Refused(api.Exists, "vault.create", goodParams()["vault.create"])
}

// testLost: a marker without a vault, and a vault without its share, are lost,
// never absent; nothing is set up in silence; destroying is the way out.
func testLost(t *testing.T, p Platform) {
	t.Run("storage cleared", func(t *testing.T) {
		o := NewOrigin(t, p)
		o.Marker = true
		expectLost(t, o, vault.LostStorage)
	})
	t.Run("share missing", func(t *testing.T) {
		o := NewOrigin(t, p)
		c := o.Connect()
		c.CreateVault()
		c.Close()
		o.Share[0] ^= 1
		expectLost(t, o, vault.LostShare)
	})
}

// expectEvent waits for an event: events are not ordered with replies.
func expectEvent(t *testing.T, c *Client, part string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if slices.ContainsFunc(c.Events(), func(e string) bool { return strings.Contains(e, part) }) {
			return
		}
	}
	t.Errorf("events %v, %s wanted", c.Events(), part)
}

func expectLost(t *testing.T, o *Origin, reason string) {
	t.Helper()
	c := o.Connect()
	if s := c.Status(); s.State != "lost" || s.Reason != reason {
		t.Fatalf("status %+v, lost for %s wanted", s, reason)
	}
	for _, method := range []string{"vault.create", "keys.create", "keys.list", "audit.head"} {
		failure := c.Refused(api.NotFound, method, goodParams()[method])
		if failure.Details["state"] != "lost" || failure.Details["reason"] != reason {
			t.Errorf("%s: %v", method, failure.Details)
		}
	}
	expectEvent(t, c, `"event":"alert"`)
	o.User.Say(nil)
	c.Must("vault.destroy", nil, nil)
	if seen := o.User.Seen(); len(seen) != 1 || *seen[0].(prompt.Confirm).Vault != (prompt.VaultFact{State: "lost", Reason: reason, Keys: -1}) {
		t.Errorf("dialogs %+v", seen)
	}
	if s := c.Status(); s.State != "absent" {
		t.Errorf("after destroy: %s", s.State)
	}
	c.CreateVault()
}

func testSessionVault(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	c := o.Connect()
	var s api.Status
	c.Must("vault.create", map[string]any{"persistence": "session", "lock": "none"}, &s)
	if s.State != "unlocked" || s.Persistence != "session" || s.Durability != "memory" {
		t.Errorf("status %+v", s)
	}
	k := c.CreateKey("signing", "")
	var signed api.Token
	c.Must("jwt.sign", map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60}, &signed)
	openJWT(t, k, signed.Token)
	if records := dump(t, c.Device, vault.ID(App, "alice")); len(records) != 0 {
		t.Errorf("a session vault left %d records behind", len(records))
	}
	c.Refused(api.Exists, "vault.create", goodParams()["vault.create"])
	c.Close()
	if s := o.Connect().Status(); s.State != "absent" {
		t.Errorf("after its worker: %s", s.State)
	}
}

func testDestroyAsks(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	c := o.Connect()
	c.Refused(api.NotFound, "vault.destroy", nil)
	if len(o.User.Seen()) != 0 {
		t.Error("asked about a vault that is not there")
	}
	c.CreateVault()
	k := c.CreateKey("signing", "")
	c.Refused(api.Cancelled, "vault.destroy", nil)
	get(c, k.KID)
	seen := o.User.Seen()
	if len(seen) != 1 || seen[0].(prompt.Confirm).App != (prompt.App{Origin: App, Account: "alice"}) ||
		*seen[0].(prompt.Confirm).Vault != (prompt.VaultFact{State: "unlocked", Keys: 1}) {
		t.Errorf("dialogs %+v", seen)
	}
	o.User.Say(nil)
	c.Must("vault.destroy", nil, nil)
	// What is left says that a vault was destroyed, and nothing else.
	left := dump(t, c.Device, vault.ID(App, "alice"))
	if len(left) != 1 || left[0].Kind != "destroyed" || len(left[0].Value) != 33 {
		t.Errorf("%d records left: %v", len(left), left)
	}
	if handle, err := c.Device.Handle(ctx, vault.ID(App, "alice"), store.Name{Kind: "device", ID: "-"}); handle != nil || err != nil {
		t.Errorf("handle left: %v, %v", handle, err)
	}
	c.Refused(api.NotFound, "keys.list", nil)
	c.CreateVault()
	if left := dump(t, c.Device, vault.ID(App, "alice")); slices.ContainsFunc(left, func(r store.Record) bool { return r.Kind == "destroyed" }) {
		t.Error("the tombstone is still there beside a new vault")
	}
}

// testNamespaces: other apps, and other accounts, see vaults of their own.
func testNamespaces(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	c := o.Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	for _, other := range []struct{ origin, account string }{
		{"https://evil.example", "alice"}, {App, "bob"}, {App, ""}, {"https://app.example:444", "alice"}, {App + "a", "lice"},
	} {
		d := o.ConnectAs(other.origin, other.account)
		if s := d.Status(); s.State != "absent" {
			t.Errorf("%v sees a vault that is %s", other, s.State)
		}
		d.Refused(api.NotFound, "keys.get", map[string]any{"kid": k.KID})
		d.CreateVault()
		d.Refused(api.NotFound, "jwt.sign", map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60})
	}
	get(c, k.KID)
}

// testTwoTabs works on one vault from two tabs at once: nothing is lost, and
// each sees what the other did.
func testTwoTabs(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	a := o.Connect()
	a.CreateVault()
	b := o.Connect()
	k := a.CreateKey("signing", "")
	if got := get(b, k.KID); got.KID != k.KID {
		t.Errorf("the other tab sees %+v", got)
	}
	const each = 20
	var wg sync.WaitGroup
	for i := range each {
		for _, tab := range []*Client{a, b} {
			wg.Go(func() {
				if f := tab.Try("challenge.sign", map[string]any{"kid": k.KID, "context": fmt.Sprint(i), "data": ""}, nil); f != nil {
					t.Error(f)
				}
			})
		}
	}
	wg.Wait()
	for _, tab := range []*Client{a, b} {
		if got := get(tab, k.KID); got.Uses != 2*each {
			t.Errorf("%d uses counted, %d happened", got.Uses, 2*each)
		}
		var verdict api.AuditVerdict
		tab.Must("audit.verify", nil, &verdict)
		if !verdict.Valid || verdict.Size != 2+2*each {
			t.Errorf("verdict %+v", verdict)
		}
	}
}

func testTwoTabsDestroy(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	a := o.Connect()
	a.CreateVault()
	k := a.CreateKey("signing", "")
	b := o.Connect()
	sign := map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60}
	b.Must("jwt.sign", sign, nil)
	o.User.Say(nil)
	a.Must("vault.destroy", nil, nil)
	b.Refused(api.NotFound, "jwt.sign", sign)
	if s := b.Status(); s.State != "absent" {
		t.Errorf("the other tab says %s", s.State)
	}
	if s := o.Connect().Status(); s.State != "absent" {
		t.Errorf("a new tab says %s", s.State)
	}
	// Another vault in the old one's place does not take the old one's keys. The
	// tab that did not destroy the old one can make it.
	b.CreateVault()
	a.Must("vault.status", nil, nil)
	b.Refused(api.NotFound, "jwt.sign", sign)
	fresh := b.CreateKey("signing", "")
	get(a, fresh.KID)

	// Replaced while the other tab was not looking.
	b.Must("jwt.sign", with(sign, "kid", fresh.KID), nil)
	o.User.Say(nil)
	a.Must("vault.destroy", nil, nil)
	a.CreateVault()
	if f := b.Try("jwt.sign", with(sign, "kid", fresh.KID), nil); f == nil || (f.Code != api.Conflict && f.Code != api.NotFound) {
		t.Errorf("signing with a key of a vault that was replaced: %v", f)
	}
	b.Refused(api.NotFound, "jwt.sign", with(sign, "kid", fresh.KID))
}

func testCreateOnce(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 4 {
		c := o.Connect()
		wg.Go(func() {
			f := c.Try("vault.create", goodParams()["vault.create"], nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case f == nil:
				made++
			case f.Code != api.Exists:
				t.Error(f)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d vaults made, 1 wanted", made)
	}
}

func testCancel(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	c := o.Connect()
	c.CreateVault()
	o.User.Hesitate()
	reply := make(chan string, 1)
	c.Enclave.Handle([]byte(`{"v":1,"id":5000,"method":"vault.destroy"}`), func(b []byte) { reply <- string(b) })
	for len(o.User.Seen()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if r := c.Raw(`{"v":1,"id":5000,"method":"enclave.info"}`); !strings.Contains(r, `"invalid_request"`) {
		t.Errorf("an id that is pending was taken again: %s", r)
	}
	var result api.CancelResult
	c.Must("enclave.cancel", map[string]any{"id": 4999}, &result)
	if result.Cancelled {
		t.Error("cancelled what was not pending")
	}
	c.Must("enclave.cancel", map[string]any{"id": 5000}, &result)
	if r := <-reply; !strings.Contains(r, `"cancelled"`) || !result.Cancelled {
		t.Errorf("reply %s, %+v", r, result)
	}
	if s := c.Status(); s.State != "unlocked" {
		t.Errorf("after a cancelled destroy: %s", s.State)
	}
}

// testNothingSecretInMessages: error messages never repeat what was sent.
func testNothingSecretInMessages(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	const secret = "hunter2hunter2"
	for _, request := range []string{
		`{"v":1,"id":1,"method":"` + secret + `"}`,
		`{"v":1,"id":1,"method":"keys.get","params":{"kid":"` + secret + `"}}`,
		`{"v":1,"id":1,"method":"keys.get","params":{"kid":` + secret + `}}`,
		`{"v":1,"id":1,"method":"vault.create","params":{"persistence":"` + secret + `","lock":"none"}}`,
		`{"v":1,"id":1,"method":"jwt.sign","params":{"kid":"` + someKID + `","audience":"` + secret + `","ttlSeconds":60}}`,
		`{"v":1,"id":1,"method":"token.vapid","params":{"kid":"` + someKID + `","endpoint":"http://` + secret + `","subject":"` + secret + `","ttlSeconds":60}}`,
		`{"v":1,"id":1,"method":"challenge.sign","params":{"kid":"` + someKID + `","context":"x","data":"` + secret + `!"}}`,
		`{"v":1,"id":"` + secret + `","method":"enclave.info"}`,
	} {
		if reply := c.Raw(request); strings.Contains(reply, secret) || !strings.Contains(reply, `"error"`) {
			t.Errorf("%s was answered %s", request, reply)
		}
	}
}
