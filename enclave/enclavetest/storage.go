package enclavetest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/faultstore"
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
	for _, method := range []string{"keys.export", "keys.import", "key.export", "keys.unwrap", "vault.export", "backup.save"} {
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
	if seen := o.User.Seen(); len(seen) != 1 || seen[0].State != "lost" || seen[0].Reason != reason || seen[0].Keys != -1 {
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
	if len(seen) != 1 || seen[0].Origin != App || seen[0].Account != "alice" || seen[0].Keys != 1 || seen[0].State != "unlocked" {
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

// dump returns every record of a vault.
func dump(t *testing.T, s store.Store, id string) (records []store.Record) {
	t.Helper()
	for _, kind := range []string{"vault", "root", "commit", "index", "log", "key", "meta", "use", "counts", "destroyed"} {
		found, err := s.Scan(ctx, id, store.Range{Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, found...)
	}
	return records
}

// testEveryRecordGuarded changes, drops and swaps each stored record in turn:
// nothing that was changed is ever believed, and start-up is never blocked.
func testEveryRecordGuarded(t *testing.T, p Platform) {
	id := vault.ID(App, "alice")
	o := NewOrigin(t, p)
	c := o.Connect()
	c.CreateVault()
	// So many that there is a record of every kind under its own name.
	k := c.CreateKey("signing", "")
	sign := func(kid string) {
		c.Must("challenge.sign", map[string]any{"kid": kid, "context": "x", "data": ""}, nil)
	}
	for range 12 {
		sign(c.CreateKey("signing", "").KID)
	}
	sign(k.KID)
	stale := dump(t, c.Device, id)
	for range 17 {
		sign(k.KID)
	}
	sign(c.CreateKey("signing", "").KID)
	c.Close()

	device := o.platform.Open(t, o.name)
	original := dump(t, device, id)
	kinds := map[string]int{}
	for _, r := range original {
		kinds[r.Kind]++
	}
	for _, kind := range []string{"vault", "root", "commit", "index", "log", "key", "meta", "use"} {
		if kinds[kind] == 0 {
			t.Fatalf("no record of kind %s among %v", kind, kinds)
		}
	}
	put := func(r store.Record, value []byte) {
		t.Helper()
		b := store.Batch{Vault: id, Expect: expectCurrent(t, device, id, r.Name)}
		if value == nil {
			b.Delete = []store.Name{r.Name}
		} else {
			b.Put = []store.Record{{Name: r.Name, Value: value}}
		}
		if err := device.Commit(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	intact, bad := everything(o, k.KID)
	if bad {
		t.Fatal("the vault is bad before anything was changed")
	}
	guarded := map[string]int{}
	taken := map[string]int{}
	for i, r := range original {
		if taken[r.Kind]++; taken[r.Kind] > 3 {
			continue // more of them would show the same, slowly
		}
		for name, value := range tampered(r, original[(i+1)%len(original)], stale) {
			put(r, value)
			seen, noticed := everything(o, k.KID)
			switch {
			case noticed:
				guarded[r.Kind]++
			case (r.Kind == "use" || r.Kind == "index") && seen == intact:
				// Superseded: a newer version of it, or of all it knows, is kept with the root.
			default:
				t.Errorf("%s %s: %s was not noticed", r.Kind, r.ID, name)
			}
			put(r, r.Value)
		}
	}
	for kind := range kinds {
		if guarded[kind] == 0 {
			t.Errorf("no change of a %s record was noticed", kind)
		}
	}
	if again, bad := everything(o, k.KID); bad || again != intact {
		t.Error("with everything put back the vault is not as it was")
	}
}

// testMissingKey: a key that is missing shows on every page of the list, also if
// something else was put in its place to make up the number.
func testMissingKey(t *testing.T, p Platform) {
	id := vault.ID(App, "alice")
	o := NewOrigin(t, p)
	c := o.Connect()
	c.CreateVault()
	var kids []string
	for range 23 {
		kids = append(kids, c.CreateKey("signing", "").KID)
	}
	slices.Sort(kids)
	meta := expectCurrent(t, c.Device, id, store.Name{Kind: "meta", ID: kids[20]})
	key := expectCurrent(t, c.Device, id, store.Name{Kind: "key", ID: kids[20]})
	expect := func(what string, integrity bool) {
		t.Helper()
		d := o.Connect()
		for _, params := range []map[string]any{{}, {"limit": 3}, {"limit": 3, "after": kids[5]}, {"limit": 3, "after": kids[18]}, {"after": kids[22]}} {
			if f := d.Try("keys.list", params, nil); (f != nil && f.Code == api.Integrity) != integrity || f != nil && !integrity {
				t.Errorf("%s: keys.list %v: %v", what, params, f)
			}
		}
		d.Must("challenge.sign", map[string]any{"kid": kids[0], "context": "x", "data": ""}, nil)
	}
	expect("before", false)
	change := func(b store.Batch) {
		t.Helper()
		b.Vault, b.Expect = id, expectCurrent(t, c.Device, id, store.Name{Kind: "vault", ID: "-"})
		if err := c.Device.Commit(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	change(store.Batch{Delete: []store.Name{meta.Name}})
	expect("a dropped meta record", true)
	change(store.Batch{Delete: []store.Name{key.Name}})
	expect("a dropped key", true)
	change(store.Batch{Put: []store.Record{{Kind: "meta", ID: someKID, Value: meta.Value}, {Kind: "key", ID: someKID, Value: key.Value}}})
	expect("another one in its place", true)
	change(store.Batch{Put: []store.Record{meta, key}, Delete: []store.Name{{Kind: "meta", ID: someKID}, {Kind: "key", ID: someKID}}})
	expect("all put back", false)
}

func expectCurrent(t *testing.T, s store.Store, id string, name store.Name) store.Record {
	t.Helper()
	values, err := s.Get(ctx, id, name)
	if err != nil {
		t.Fatal(err)
	}
	return store.Record{Name: name, Value: values[0]}
}

// tampered returns what a record may be changed into; nil drops it.
func tampered(r, other store.Record, stale []store.Record) map[string][]byte {
	flipped := slices.Clone(r.Value)
	flipped[len(flipped)/2] ^= 0x10
	last := slices.Clone(r.Value)
	last[len(last)-1] ^= 1
	version := slices.Clone(r.Value)
	version[0]++
	changes := map[string][]byte{
		"dropped": nil, "flipped in the middle": flipped, "flipped at the end": last, "another version": version,
		"truncated": r.Value[:len(r.Value)-1], "empty": {}, "lengthened": append(slices.Clone(r.Value), 0), "swapped": other.Value,
	}
	for _, s := range stale {
		if s.Name == r.Name && string(s.Value) != string(r.Value) {
			changes["rolled back"] = s.Value
		}
	}
	return changes
}

// everything opens the vault and reads all that there is. bad says that
// something was integrity, lost or not found.
func everything(o *Origin, kid string) (seen string, bad bool) {
	o.t.Helper()
	c := o.Connect()
	defer c.Close()
	for _, call := range []struct {
		method string
		params any
	}{
		{"vault.status", nil},
		{"keys.list", nil},
		{"keys.list", map[string]any{"limit": 3}}, // one page of many
		{"keys.list", map[string]any{"limit": 3, "after": kid}},
		{"keys.get", map[string]any{"kid": kid}},
		{"audit.entries", nil},
		{"audit.export", map[string]any{"cursor": "0.2"}},
		{"audit.verify", nil},
	} {
		var result map[string]any
		f := c.Try(call.method, call.params, &result)
		switch {
		case f == nil:
			seen += fmt.Sprintln(call.method, result) // fmt prints maps in order of their keys
			bad = bad || result["valid"] == false
		case f.Code == api.Integrity || f.Code == api.NotFound:
			bad = true
		default:
			o.t.Errorf("%s: %v", call.method, f)
		}
	}
	return seen, bad
}

// refusing is a store that fails its next commits with an error, before or
// after they land.
type refusing struct {
	store.Store
	mu    sync.Mutex
	err   error
	after bool
}

func (r *refusing) set(err error, after bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.after = err, after
}

func (r *refusing) Commit(ctx context.Context, b store.Batch) error {
	r.mu.Lock()
	err, after := r.err, r.after
	r.mu.Unlock()
	if err == nil {
		return r.Store.Commit(ctx, b)
	}
	if after {
		return errors.Join(r.Store.Commit(ctx, b), err)
	}
	return err
}

func testStorageRefuses(t *testing.T, p Platform) {
	for _, test := range []struct {
		err  error
		code api.Code
	}{
		{store.ErrFull, api.StorageFull},
		{store.ErrUnavailable, api.StorageUnavailable},
		{errors.New("something else"), api.Internal},
	} {
		t.Run(string(test.code), func(t *testing.T) {
			o := NewOrigin(t, p)
			var fault *refusing
			o.Wrap = func(s store.Store) store.Store { fault = &refusing{Store: s}; return fault }
			c := o.Connect()
			fault.set(test.err, false)
			c.Refused(test.code, "vault.create", goodParams()["vault.create"])
			if s := c.Status(); s.State != "absent" {
				t.Errorf("half a vault: %s", s.State)
			}
			fault.set(nil, false)
			c.CreateVault()
			k := c.CreateKey("signing", "")
			sign := map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60}
			fault.set(test.err, false)
			c.Refused(test.code, "jwt.sign", sign)
			c.Refused(test.code, "keys.create", map[string]any{"purpose": "vapid"})
			fault.set(nil, false)
			c.Must("jwt.sign", sign, nil)
			if got := get(c, k.KID); got.Uses != 1 {
				t.Errorf("%d uses, 1 wanted", got.Uses)
			}
			if s := c.Status(); s.Counts.Keys != 1 || s.Counts.Entries != 3 {
				t.Errorf("counts %+v", s.Counts)
			}
		})
	}
}

// testHandleLost: a browser that stores a handle and gives nothing back makes no
// vault. One that loses it later leaves a vault that is not taken for absent or
// made anew; it can be destroyed, and if the handle comes back, so does all.
func testHandleLost(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	lose := true
	id := vault.ID(App, "alice")
	o.Wrap = func(s store.Store) store.Store {
		f := faultstore.New(s)
		if lose {
			f.LoseHandle(id, store.Name{Kind: "device", ID: "-"})
		}
		return f
	}
	c := o.Connect()
	c.Refused(api.StorageUnavailable, "vault.create", goodParams()["vault.create"])
	if s := c.Status(); s.State != "absent" || len(dump(t, c.Device, id)) != 0 {
		t.Errorf("half a vault: %s", s.State)
	}
	lose = false
	c = o.Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	lose = true
	d := o.Connect()
	for _, method := range []string{"vault.status", "vault.create", "keys.list"} {
		d.Refused(api.StorageUnavailable, method, goodParams()[method])
	}
	d.Refused(api.Cancelled, "vault.destroy", nil)
	lose = false
	get(o.Connect(), k.KID)
	o.User.Say(nil)
	d.Must("vault.destroy", nil, nil)
	if s := o.Connect().Status(); s.State != "absent" {
		t.Errorf("after destroy: %s", s.State)
	}
}

// testCommittedButUnanswered: storage did it and then failed to say so. The
// next operation builds on what is really there.
func testCommittedButUnanswered(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	var fault *refusing
	o.Wrap = func(s store.Store) store.Store { fault = &refusing{Store: s}; return fault }
	c := o.Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	sign := map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60}
	fault.set(store.ErrUnavailable, true)
	c.Refused(api.StorageUnavailable, "jwt.sign", sign)
	fault.set(nil, false)
	c.Must("jwt.sign", sign, nil)
	if got := get(c, k.KID); got.Uses != 2 {
		t.Errorf("%d uses, 2 wanted", got.Uses)
	}
	var verdict api.AuditVerdict
	c.Must("audit.verify", nil, &verdict)
	if !verdict.Valid || verdict.Size != 4 {
		t.Errorf("verdict %+v", verdict)
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
