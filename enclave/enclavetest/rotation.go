package enclavetest

import (
	"bytes"
	"encoding/json/v2"
	"errors"
	"slices"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
)

func (c *Client) rotate(kid string) (r api.Rotated) {
	c.t.Helper()
	c.Must("keys.rotate", map[string]any{"kid": kid}, &r)
	return r
}

func (c *Client) revoke(kid, reason string) api.Key {
	c.t.Helper()
	var r api.KeyResult
	c.Must("keys.revoke", map[string]any{"kid": kid, "reason": reason}, &r)
	return r.Key
}

// refusesAll tries everything that a signing key could do.
func (c *Client) refusesAll(kid string) {
	c.t.Helper()
	c.Refused(api.Denied, "jwt.sign", map[string]any{"kid": kid, "audience": "a", "ttlSeconds": 60})
	c.Refused(api.Denied, "challenge.sign", map[string]any{"kid": kid, "context": "x", "data": ""})
	c.Refused(api.Denied, "keys.rotate", map[string]any{"kid": kid})
}

// testRotate: the new key is of the old one's kind, names it, and is named by it; the old
// one verifies and never signs again, in no tab.
func testRotate(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	other := o.Connect()
	for _, kind := range []struct{ purpose, alg string }{{"signing", "ES256"}, {"signing", "EdDSA"}, {"identity", ""}} {
		var made api.KeyResult
		params := map[string]any{"purpose": kind.purpose, "label": "mine"}
		if kind.alg != "" {
			params["alg"] = kind.alg
		}
		c.Must("keys.create", params, &made)
		old := made.Key
		sign := map[string]any{"kid": old.KID, "context": "x", "data": "AAAA"}
		var signed api.Signature
		c.Must("challenge.sign", sign, &signed) // both tabs have its handle now
		other.Must("challenge.sign", sign, nil)
		shown := len(o.User.Seen())
		r := c.rotate(old.KID)
		ask := o.User.Seen()[shown].(prompt.Confirm)
		if ask.Word != prompt.Word || ask.Key.KID != old.KID || ask.Key.Uses != 2 || ask.Key.Label != "mine" {
			t.Errorf("asked %+v", ask)
		}
		k := r.Key
		if k.KID == old.KID || k.Alg != old.Alg || k.Purpose != old.Purpose || k.Label != old.Label || k.State != "active" || k.Predecessor != old.KID || k.Uses != 0 || k.Successor != "" {
			t.Errorf("rotated %+v into %+v", old, k)
		}
		if r.Retired.KID != old.KID || r.Retired.State != "retired" || r.Retired.Successor != k.KID || r.Retired.EndedAt == 0 || r.Retired.Uses != 2 {
			t.Errorf("retired %+v", r.Retired)
		}
		for _, tab := range []*Client{c, other, o.Connect()} {
			tab.Refused(api.Denied, "challenge.sign", sign)
			tab.Must("challenge.sign", with(sign, "kid", k.KID), nil)
			if got := get(tab, old.KID); got.State != "retired" || got.Uses != 2 {
				t.Errorf("another tab has %+v", got)
			}
		}
		c.Refused(api.Denied, "keys.rotate", map[string]any{"kid": old.KID})
		var verdict api.Verdict
		c.Must("challenge.verify", map[string]any{"alg": old.Alg, "publicKey": old.PublicKey.Raw, "context": "x", "data": "AAAA", "signature": signed.Signature}, &verdict)
		if !verdict.Valid {
			t.Error("what the retired key signed does not verify any more")
		}
	}
	if s := c.Status(); s.Counts.Keys != 6 || s.Lineage.Epoch != 4 || len(c.Keys()) != 6 {
		t.Errorf("status %+v", s)
	}
	for i, e := range c.succeeded("keys.rotate") {
		if e.KID == "" || e.Details["successor"] == "" || get(c, e.KID).Successor != e.Details["successor"] {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
	c.Refused(api.NotFound, "keys.rotate", map[string]any{"kid": someKID})
}

// testRotateChain: a chain can be followed to both ends, through a revoked link, too.
func testRotateChain(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	chain := []string{c.CreateKey("vapid", "").KID}
	for range 4 {
		chain = append(chain, c.rotate(chain[len(chain)-1]).Key.KID)
	}
	c.revoke(chain[2], "")
	for i, kid := range chain {
		k, want := get(c, kid), [2]string{}
		if i > 0 {
			want[0] = chain[i-1]
		}
		if i+1 < len(chain) {
			want[1] = chain[i+1]
		}
		if k.Predecessor != want[0] || k.Successor != want[1] || (k.State == "active") != (i == 4) {
			t.Errorf("link %d: %+v", i, k)
		}
	}
	c.revoke(chain[4], "the end")
	if s := c.Status(); s.Counts.Keys != 5 || s.Lineage.Epoch != 7 {
		t.Errorf("status %+v", s)
	}
}

// wrappedOf returns the private half of a key as it is wrapped and sealed in storage.
func wrappedOf(t *testing.T, c *Client, kid string) []byte {
	t.Helper()
	return expectCurrent(t, c.Device, aliceID, store.Name{Kind: "key", ID: kid}).Value
}

// testRevoke: what is left is a tombstone. The private half is gone from storage, the
// reason is kept, and it is never taken back.
func testRevoke(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	other := o.Connect()
	c.Must("recovery.enable", nil, nil)
	k, retired := c.CreateKey("signing", ""), c.CreateKey("signing", "")
	c.signs(k)
	_ = other.Try("vault.status", nil, nil)
	_ = other.Try("keys.list", nil, nil)
	other.signs(k)
	sealed := wrappedOf(t, c, k.KID)
	shown := len(o.User.Seen())
	tombstone := c.revoke(k.KID, "stolen on the train")
	if ask := o.User.Seen()[shown].(prompt.Confirm); ask.Word != prompt.Word || ask.Reason != "stolen on the train" || ask.Key.KID != k.KID {
		t.Errorf("asked %+v", ask)
	}
	if tombstone.State != "revoked" || tombstone.Reason != "stolen on the train" || tombstone.EndedAt == 0 || tombstone.Uses != 2 || !bytes.Equal(tombstone.PublicKey.Raw, k.PublicKey.Raw) {
		t.Errorf("tombstone %+v", tombstone)
	}
	left := wrappedOf(t, c, k.KID)
	if len(sealed)-len(left) < 60 {
		t.Errorf("the record had %d bytes, and has %d: is the private half still there?", len(sealed), len(left))
	}
	for _, r := range dump(t, c.Device, aliceID) {
		if bytes.Contains(r.Value, sealed[20:60]) {
			t.Errorf("the %s record holds the key as it was", r.Kind)
		}
	}
	for _, tab := range []*Client{c, other, o.Connect()} {
		tab.refusesAll(k.KID)
		if got := get(tab, k.KID); got.State != "revoked" {
			t.Errorf("another tab has %+v", got)
		}
	}
	c.Refused(api.Denied, "keys.revoke", map[string]any{"kid": k.KID}) // once is enough
	c.Refused(api.InvalidRequest, "keys.revoke", map[string]any{"kid": k.KID, "reason": string(bytes.Repeat([]byte("x"), api.MaxReason+1))})
	successor := c.rotate(retired.KID).Key
	if got := c.revoke(retired.KID, ""); got.State != "revoked" || got.Successor != successor.KID || got.Reason != "" {
		t.Errorf("a retired key is revoked as %+v", got)
	}
	c.signs(successor)

	// A file that was saved afterwards brings it back revoked.
	c.Must("backup.save", nil, nil)
	restored := willing(t, p)
	restored.User.File, restored.User.Words = o.User.File, o.User.Words
	d := restored.Connect()
	d.Must("backup.restore", map[string]any{"lock": "none"}, nil)
	d.refusesAll(k.KID)
	if got := get(d, k.KID); got.State != "revoked" || got.Reason != "stolen on the train" {
		t.Errorf("restored as %+v", got)
	}
	text, err := json.Marshal(d.Keys())
	if err != nil || bytes.Contains(text, []byte("wrapped")) {
		t.Errorf("%s, %v", text, err)
	}
}

// testRotateStorageFails: there is the old key or the new one, never both or none.
func testRotateStorageFails(t *testing.T, p Platform) {
	o := willing(t, p)
	var fault *refusing
	o.Wrap = func(s store.Store) store.Store { fault = &refusing{Store: s}; return fault }
	c := o.Connect()
	o.Wrap = nil
	c.CreateVault()
	for _, method := range []string{"keys.rotate", "keys.revoke"} {
		for _, landed := range []bool{false, true} {
			k := c.CreateKey("signing", "")
			before := c.Status().Counts.Keys
			fault.set(store.ErrUnavailable, landed)
			c.Refused(api.StorageUnavailable, method, map[string]any{"kid": k.KID})
			fault.set(nil, false)
			for _, tab := range []*Client{c, o.Connect()} {
				now := get(tab, k.KID)
				if (now.State == "active") == landed {
					t.Errorf("%s, landed %t: the old key is %s", method, landed, now.State)
				}
				extra := 0
				if method == "keys.rotate" && landed {
					extra = 1
					tab.signs(get(tab, now.Successor))
				}
				if n := len(tab.Keys()); n != before+extra || tab.Status().Counts.Keys != n {
					t.Errorf("%s, landed %t: %d keys, %d before", method, landed, n, before)
				}
				if !landed {
					tab.signs(k)
				} else {
					tab.refusesAll(k.KID)
				}
			}
		}
	}
}

// testRotateOnce: of two who rotate one key at once one is told that it is retired.
func testRotateOnce(t *testing.T, p Platform) {
	o := willing(t, p)
	c, other := o.Connect(), o.Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	o.User.Meanwhile(func() { other.rotate(k.KID) })
	c.Refused(api.Denied, "keys.rotate", map[string]any{"kid": k.KID})
	o.User.Meanwhile(func() { other.revoke(k.KID, "first") })
	c.Refused(api.Denied, "keys.revoke", map[string]any{"kid": k.KID, "reason": "second"})
	if got := get(c, k.KID); got.Reason != "first" || c.Status().Counts.Keys != 2 {
		t.Errorf("%+v", got)
	}
	active := slices.DeleteFunc(c.Keys(), func(k api.Key) bool { return k.State != "active" })
	if len(active) != 1 {
		t.Errorf("%d active keys", len(active))
	}
	// A no changes nothing, and neither does a wrong word.
	w := o.watch()
	instead(o,
		says[prompt.Confirm](prompt.Answer{Choice: prompt.ChoiceConfirm}),
		says[prompt.Confirm](prompt.Answer{Choice: prompt.ChoiceConfirm, Word: "delete"}),
		cancels[prompt.Confirm])
	c.Refused(api.Cancelled, "keys.rotate", map[string]any{"kid": active[0].KID})
	w.expect(t, prompt.WordWrong, prompt.WordWrong)
	if out := o.User.Outcomes(); !errors.Is(out[len(out)-1], prompt.ErrCancelled) {
		t.Errorf("the dialog ended with %v", out[len(out)-1])
	}
	c.signs(active[0])
}
