package enclavetest

import (
	"bytes"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
)

// testPassphrase: a wrong one opens nothing and leaves the dialog open; nothing but the
// right one is logged as a success.
func testPassphrase(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	// What may not be a new one, and giving up then.
	w := o.watch()
	instead(o,
		types[prompt.NewPassphrase](prompt.ChoicePassphrase, ""),
		types[prompt.NewPassphrase](prompt.ChoicePassphrase, "too short"),
		types[prompt.NewPassphrase](prompt.ChoicePassphrase, strings.Repeat("long", passphrase.MaxBytes)),
		types[prompt.NewPassphrase](prompt.ChoicePassphrase, "a tab\tin it, and long enough"),
		types[prompt.NewPassphrase](prompt.ChoicePassphrase, "half a surrogate \xed\xa0\x80"),
		cancels[prompt.NewPassphrase])
	c.Refused(api.Cancelled, "vault.create", map[string]any{"persistence": "device", "lock": "passphrase"})
	w.expect(t, prompt.ShortPassphrase, prompt.ShortPassphrase, prompt.LongPassphrase, prompt.OddPassphrase, prompt.OddPassphrase)
	c.state("absent")
	suggestions := map[string]bool{}
	for _, s := range o.User.Seen() {
		screen := s.(prompt.NewPassphrase)
		suggestions[screen.Suggestion] = true
		if len(strings.Fields(screen.Suggestion)) != 6 || screen.For != prompt.ForVault {
			t.Errorf("screen %+v", screen)
		}
	}
	if len(suggestions) != 6 {
		t.Errorf("%d suggestions on 6 screens", len(suggestions))
	}

	s := c.create("passphrase")
	if s.State != "unlocked" || s.Lock != "passphrase" || s.IdleSeconds != api.DefaultIdle || len(s.Slots) != 1 || s.Slots[0].Kind != "passphrase" || s.Lineage.Vault == "" {
		t.Errorf("status %+v", s)
	}
	k := c.CreateKey("signing", "")
	c.Must("vault.lock", nil, nil)
	w = o.watch()
	instead(o,
		types[prompt.Unlock](prompt.ChoicePassphrase, ""),
		types[prompt.Unlock](prompt.ChoicePassphrase, o.User.Passphrase+" "),
		types[prompt.Unlock](prompt.ChoicePassphrase, strings.Repeat("x", passphrase.MaxBytes+1)),
		types[prompt.Unlock](prompt.ChoicePassphrase, strings.Repeat("x", 1<<20)),
		types[prompt.Unlock](prompt.ChoicePassphrase, "\x00"),
		cancels[prompt.Unlock])
	c.Refused(api.Cancelled, "vault.unlock", nil)
	w.expect(t, prompt.WrongPassphrase, prompt.WrongPassphrase, prompt.LongPassphrase, prompt.LongPassphrase, prompt.WrongPassphrase)
	c.state("locked")
	c.Refused(api.Locked, "jwt.sign", map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60})
	instead(o, types[prompt.Unlock](prompt.ChoicePasskey, ""), types[prompt.Unlock](prompt.ChoicePhrase, ""))
	c.Refused(api.Internal, "vault.unlock", nil) // what the screen did not offer
	c.Refused(api.Internal, "vault.unlock", nil)
	c.state("locked")

	w = o.watch()
	instead(o, types[prompt.Unlock](prompt.ChoicePassphrase, strings.ToUpper(o.User.Passphrase)))
	var status api.Status
	c.Must("vault.unlock", nil, &status)
	w.expect(t, prompt.WrongPassphrase)
	if status.State != "unlocked" || status.Lineage.Vault != s.Lineage.Vault {
		t.Errorf("status %+v", status)
	}
	c.signs(k)
	c.Must("vault.unlock", nil, nil) // it is, so nobody is asked
	w.expect(t, prompt.WrongPassphrase)
	ok := c.succeeded("vault.unlock")
	if len(ok) != 1 || ok[0].Details["kind"] != "passphrase" || ok[0].Details["slot"] != s.Slots[0].ID {
		t.Errorf("logged as unlocked: %+v", ok)
	}
}

// testSlots adds, removes and changes ways in; each is asked for, logged, and followed
// by what it means for the lock.
func testSlots(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	var list api.SlotList
	expect := func(lock string, kinds ...string) {
		t.Helper()
		var got []string
		for _, s := range list.Slots {
			got = append(got, s.Kind)
		}
		if s := c.Status(); list.Lock != lock || s.Lock != lock || !slices.Equal(got, kinds) || !slices.Equal(s.Slots, list.Slots) {
			t.Errorf("slots %v, lock %s; %v and %s wanted; status %+v", got, list.Lock, kinds, lock, s)
		}
		c.signs(k)
	}
	c.Refused(api.Denied, "slots.remove", map[string]any{"id": c.slot("device").ID}) // the last one
	c.Refused(api.Exists, "slots.add", map[string]any{"kind": "device"})
	c.Refused(api.Unsupported, "slots.change", map[string]any{"id": c.slot("device").ID})
	c.Refused(api.NotFound, "slots.change", map[string]any{"id": "AAAA"})
	c.Refused(api.NotFound, "slots.remove", map[string]any{"id": "AAAA"})
	c.Refused(api.Unsupported, "vault.lock", nil)
	c.Refused(api.Unsupported, "vault.unlock", nil)
	if n := len(o.User.Seen()); n != 0 {
		t.Errorf("%d screens for what cannot be done", n)
	}

	w := o.watch()
	c.Must("slots.add", map[string]any{"kind": "passphrase", "label": "Mine"}, &list)
	if got := w.seen(); !slices.Equal(got, []string{"confirm", "new-passphrase"}) {
		t.Errorf("screens %v", got)
	}
	expect("none", "device", "passphrase")
	c.Refused(api.Exists, "slots.add", map[string]any{"kind": "passphrase"})
	c.Must("slots.add", map[string]any{"kind": "passkey"}, &list)
	expect("none", "device", "passphrase", "passkey")

	other := o.Connect() // opens by itself
	other.state("unlocked")
	c.Must("slots.remove", map[string]any{"id": c.slot("device").ID}, &list)
	expect("passphrase", "passphrase", "passkey")
	for _, tab := range []*Client{other, o.Connect()} {
		if f := tab.Try("keys.list", nil, nil); f == nil || f.Code != api.Conflict && f.Code != api.Locked {
			t.Errorf("another tab lists keys: %v", f)
		}
		tab.Refused(api.Locked, "keys.list", nil)
		tab.state("locked")
	}
	slot := c.slot("passphrase")
	o.User.Passphrase = "another passphrase"
	instead(o, func(s prompt.Confirm) (prompt.Answer, error) {
		if !s.Proof.Passphrase || len(s.Proof.Passkeys) != 1 || s.Slot.ID != slot.ID || s.Word != "" {
			t.Errorf("screen %+v", s)
		}
		return prompt.Answer{Choice: prompt.ChoicePassphrase, Text: "correct horse battery"}, nil
	})
	c.Must("slots.change", map[string]any{"id": slot.ID}, &list)
	expect("passphrase", "passkey", "passphrase")
	if now := c.slot("passphrase"); now.ID != slot.ID || now.Label != "" {
		t.Errorf("changed %+v into %+v", slot, now)
	}
	c.Must("vault.lock", nil, nil)
	w = o.watch()
	instead(o, types[prompt.Unlock](prompt.ChoicePassphrase, "correct horse battery"))
	c.Must("vault.unlock", nil, nil)
	w.expect(t, prompt.WrongPassphrase) // the old one

	c.Must("slots.remove", map[string]any{"id": slot.ID}, &list)
	expect("passkey", "passkey")
	c.Refused(api.Denied, "slots.remove", map[string]any{"id": c.slot("passkey").ID})
	c.Must("slots.add", map[string]any{"kind": "device"}, &list)
	expect("none", "passkey", "device")
	o.Connect().signs(k) // opens by itself again
	var methods []string
	for _, e := range c.log() {
		if strings.HasPrefix(e.Method, "slots.") && e.Outcome == "ok" {
			methods = append(methods, e.Method+" "+e.Details["kind"])
		}
	}
	want := []string{
		"slots.add passphrase", "slots.add passkey", "slots.remove device", "slots.change passphrase", "slots.remove passphrase", "slots.add device",
	}
	if !slices.Equal(methods, want) {
		t.Errorf("logged %q, %q wanted", methods, want)
	}
	if s := c.Status(); s.Lineage.Epoch != 4 {
		t.Errorf("epoch %d after three new vault keys", s.Lineage.Epoch)
	}
}

// testManySlots: there are ten at most, and the eleventh is refused before anybody is asked.
func testManySlots(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	for range 9 {
		c.Must("slots.add", map[string]any{"kind": "passkey"}, nil)
	}
	w := o.watch()
	for _, kind := range []string{"passkey", "passphrase"} {
		c.Refused(api.QuotaExceeded, "slots.add", map[string]any{"kind": kind})
	}
	if seen := w.seen(); len(seen) != 0 {
		t.Errorf("screens %v", seen)
	}
	c.Must("slots.remove", map[string]any{"id": c.Status().Slots[5].ID}, nil)
	c.Must("slots.add", map[string]any{"kind": "passkey"}, nil)
	if n := len(c.Status().Slots); n != 10 {
		t.Errorf("%d slots", n)
	}
}

// testSecondTab: a tab opens for itself. When the ways in change in one, the other's
// next call is refused, and none is answered from what it had.
func testSecondTab(t *testing.T, p Platform) {
	o := willing(t, p)
	a := o.Connect()
	a.create("passkey")
	k := a.CreateKey("signing", "")
	sign := map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60}
	b := o.Connect()
	expectEvent(t, b, `{"event":"locked","data":{"state":"locked","reason":"start"}}`)
	for _, method := range []string{"keys.list", "audit.entries", "audit.export", "audit.verify"} {
		b.Refused(api.Locked, method, nil)
	}
	b.Refused(api.Locked, "jwt.sign", sign)
	b.Must("vault.unlock", nil, nil)
	b.signs(k)
	for _, change := range []func(){
		func() { a.Must("slots.add", map[string]any{"kind": "passkey"}, nil) },
		func() { a.Must("slots.remove", map[string]any{"id": a.Status().Slots[1].ID}, nil) },
	} {
		change()
		b.Refused(api.Conflict, "jwt.sign", sign)
		b.Refused(api.Locked, "jwt.sign", sign)
		b.state("locked")
		b.Must("vault.unlock", nil, nil)
		b.signs(k)
	}
	// Locked in one tab it is open in the other.
	a.Must("vault.lock", nil, nil)
	a.Refused(api.Locked, "jwt.sign", sign)
	b.signs(k)
}

// testOldBlobsPutBack: somebody kept a copy of everything, and the secret of a way in that
// is no more. Put into today's storage, it opens nothing.
func testOldBlobsPutBack(t *testing.T, p Platform) {
	const old = "correct horse battery"
	for name, test := range map[string]struct {
		change func(o *Origin, c *Client)
		enter  func(o *Origin, c *Client, words []string) // with what it took before
	}{
		"passkey removed": {
			func(_ *Origin, c *Client) {
				c.Must("slots.remove", map[string]any{"id": c.slot("passkey").ID}, nil)
			},
			func(o *Origin, c *Client, _ []string) {
				instead(o, byPasskey(o, func(*prompt.Assertion) {}), cancels[prompt.Unlock])
			},
		},
		"passphrase changed": {
			func(o *Origin, c *Client) {
				o.User.Passphrase = "another passphrase"
				instead(o, types[prompt.Confirm](prompt.ChoicePassphrase, old))
				c.Must("slots.change", map[string]any{"id": c.slot("passphrase").ID}, nil)
			},
			func(o *Origin, _ *Client, _ []string) {
				instead(o, types[prompt.Unlock](prompt.ChoicePassphrase, old), cancels[prompt.Unlock])
			},
		},
		"phrase renewed": {
			func(_ *Origin, c *Client) { c.Must("recovery.enable", nil, nil) },
			func(o *Origin, _ *Client, words []string) {
				instead(o, chooses[prompt.Unlock](prompt.ChoicePhrase), cancels[prompt.Unlock])
				instead(o, types[prompt.Phrase](prompt.ChoicePhrase, strings.Join(words, " ")), cancels[prompt.Phrase])
				instead(o, chooses[prompt.NewPassphrase](prompt.ChoiceLater))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := willing(t, p)
			o.t = t
			c := o.Connect()
			c.create("passphrase")
			c.Must("slots.add", map[string]any{"kind": "passkey"}, nil)
			c.Must("recovery.enable", nil, nil)
			words := o.User.Words
			k := c.CreateKey("signing", "")
			copied := dump(t, c.Device, aliceID)
			test.change(o, c)
			changed := dump(t, c.Device, aliceID)
			c.Close()

			for what, put := range map[string][]store.Record{
				"its own blob":                          {spliced(t, copied, changed)},
				"the whole old header":                  picked(copied, "vault"),
				"the old header, with all but the keys": picked(copied, "vault", "root", "commit", "index", "log"),
				"the old header, with all but the root": picked(copied, "vault", "key", "meta", "counts", "recovery"),
			} {
				device := o.platform.Open(t, o.name)
				overwrite(t, device, put)
				intruder := o.Connect()
				test.enter(o, intruder, words)
				if f := intruder.Try("vault.unlock", nil, nil); f == nil || f.Code != api.Integrity && f.Code != api.Cancelled {
					t.Errorf("%s: vault.unlock is answered %v", what, f)
				}
				// Where header, root and commit are all old, the old vault key is out by now: no
				// record of today's opens with it.
				for method, params := range map[string]any{
					"keys.list": nil, "keys.get": map[string]any{"kid": k.KID}, "jwt.sign": map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60},
				} {
					if f := intruder.Try(method, params, nil); f == nil || f.Code != api.Integrity && f.Code != api.Locked {
						t.Errorf("%s: %s is answered %v", what, method, f)
					}
				}
				intruder.Close()
				overwrite(t, device, changed)
			}
			o.User.On = nil
			d := o.Connect()
			d.Must("vault.unlock", nil, nil)
			d.signs(k)
		})
	}
}

// picked returns the records of some kinds.
func picked(records []store.Record, kinds ...string) (some []store.Record) {
	for _, r := range records {
		if slices.Contains(kinds, r.Kind) {
			some = append(some, r)
		}
	}
	return some
}

// overwrite puts records behind the enclave's back.
func overwrite(t *testing.T, s store.Store, records []store.Record) {
	t.Helper()
	err := s.Commit(ctx, store.Batch{Vault: aliceID, Expect: expectCurrent(t, s, aliceID, store.Name{Kind: "commit", ID: "-"}), Put: records})
	if err != nil {
		t.Fatal(err)
	}
}

// editHeader changes the stored header's JSON.
func editHeader(t *testing.T, r store.Record, edit func(header map[string]any)) store.Record {
	t.Helper()
	var header map[string]any
	before, vouch, _ := bytes.Cut(r.Value[1:], []byte("\n"))
	if err := json.Unmarshal(before, &header); err != nil {
		t.Fatal(err)
	}
	edit(header)
	text, err := json.Marshal(header, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	r.Value = slices.Concat([]byte{1}, text, []byte("\n"), vouch)
	return r
}

// spliced returns the new header with every way in of the old one.
func spliced(t *testing.T, old, now []store.Record) (r store.Record) {
	t.Helper()
	editHeader(t, picked(old, "vault")[0], func(before map[string]any) {
		r = editHeader(t, picked(now, "vault")[0], func(header map[string]any) {
			header["slots"], header["recovery"] = before["slots"], before["recovery"]
		})
	})
	return r
}

// testStrengthIsRaised: a passphrase that costs less than it ought to costs more from the
// next unlocking on, in the same slot and under the same vault key.
func testStrengthIsRaised(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.create("passphrase")
	k := c.CreateKey("signing", "")
	slot, epoch := c.slot("passphrase"), c.Status().Lineage.Epoch
	before := picked(dump(t, c.Device, aliceID), "vault")[0]
	sealed := picked(dump(t, c.Device, aliceID), "key", "meta", "counts")
	c.Close()

	o.Strength = passphrase.Params{MemoryKiB: passphrase.Floor.MemoryKiB + 1024, Passes: passphrase.Floor.Passes}
	for range 2 { // the second time it is strong enough
		c = o.Connect()
		c.Must("vault.unlock", nil, nil)
		c.signs(k)
		raised := c.logged("slots.raise")
		if len(raised) != 1 || raised[0].Outcome != "ok" {
			t.Errorf("logged %+v", raised)
		}
		c.Close()
	}
	c = o.Connect()
	after := picked(dump(t, c.Device, aliceID), "vault")[0]
	old, now := secretsOf(t, before), string(after.Value)
	for _, secret := range old {
		if strings.Contains(now, secret) {
			t.Errorf("the header still holds %.20s… of the slot as it was", secret)
		}
	}
	if !strings.Contains(now, fmt.Sprint(`"memoryKiB":`, o.Strength.MemoryKiB)) || len(old) != 4 {
		t.Errorf("header %.300s", now)
	}
	if !same(sealed, picked(dump(t, c.Device, aliceID), "key", "meta", "counts")) {
		t.Error("records were sealed anew")
	}
	c.Must("vault.unlock", nil, nil)
	if s := c.slot("passphrase"); s.ID != slot.ID || s.Label != slot.Label || c.Status().Lineage.Epoch != epoch {
		t.Errorf("slot %+v, before %+v", s, slot)
	}
}

// secretsOf returns what the first slot of a header holds, in base64.
func secretsOf(t *testing.T, r store.Record) (secrets []string) {
	t.Helper()
	editHeader(t, r, func(header map[string]any) {
		slot := header["slots"].([]any)[0].(map[string]any)
		sealed := slot["sealed"].(map[string]any)
		for _, v := range []any{slot["vaultKey"], slot["salt"], sealed["public"], sealed["enc"]} {
			if b, err := base64.StdEncoding.DecodeString(v.(string)); err == nil && len(b) >= 16 {
				secrets = append(secrets, v.(string))
			}
		}
	})
	return secrets
}

// testHeaderIsGuarded: whatever somebody writes into the header, the cost of a passphrase
// above all, is noticed before anybody is asked and before anything is computed.
func testHeaderIsGuarded(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.create("passphrase")
	c.Must("recovery.enable", nil, nil)
	original := picked(dump(t, c.Device, aliceID), "vault")[0]
	slotOf := func(h map[string]any) map[string]any { return h["slots"].([]any)[0].(map[string]any) }
	argon := func(memory, passes uint32) func(map[string]any) {
		return func(h map[string]any) { slotOf(h)["argon"] = map[string]any{"memoryKiB": memory, "passes": passes} }
	}
	for name, edit := range map[string]func(map[string]any){
		"an hour of passes":         argon(19<<10, 1<<30),
		"more memory than there is": argon(1<<31, 2),
		"no cost":                   argon(0, 0),
		"below the floor":           argon(19<<10, 1),
		"another cost":              argon(19<<10, 3),
		"no cost at all":            func(h map[string]any) { delete(slotOf(h), "argon") },
		"another salt":              func(h map[string]any) { slotOf(h)["salt"] = "AAAAAAAAAAAAAAAAAAAAAA==" },
		"a short salt":              func(h map[string]any) { slotOf(h)["salt"] = "AAAA" },
		"another public key":        func(h map[string]any) { slotOf(h)["sealed"] = h["recovery"] },
		"no slot":                   func(h map[string]any) { h["slots"] = []any{} },
		"an open lock":              func(h map[string]any) { h["lock"] = "none" },
		"a device slot":             func(h map[string]any) { slotOf(h)["kind"] = "device" },
		"no recovery":               func(h map[string]any) { delete(h, "recovery") },
		"a long idle time":          func(h map[string]any) { h["idle"] = 1 << 40 },
		"another lineage":           func(h map[string]any) { h["lineage"] = "AAAAAAAAAAAAAAAAAAAAAA==" },
	} {
		overwrite(t, c.Device, []store.Record{editHeader(t, original, edit)})
		w := o.watch()
		d := o.Connect()
		for _, method := range []string{"vault.status", "vault.unlock", "keys.list", "audit.head"} {
			if f := d.Try(method, nil, nil); f == nil || f.Code != api.Integrity {
				t.Errorf("%s: %s is answered %v", name, method, f)
			}
		}
		if seen := w.seen(); len(seen) != 0 {
			t.Errorf("%s: screens %v", name, seen)
		}
		d.Close()
	}
	overwrite(t, c.Device, []store.Record{original})
	o.Connect().Must("vault.unlock", nil, nil)
}

// testChangedMeanwhile: a passphrase that another tab has changed while this one asks for
// it is not a wrong one: the user is told to try again, and nobody is said to have guessed.
func testChangedMeanwhile(t *testing.T, p Platform) {
	o := willing(t, p)
	a := o.Connect()
	slot := a.create("passphrase").Slots[0].ID
	b := o.Connect()
	instead(o, func(prompt.NewPassphrase) (prompt.Answer, error) {
		return prompt.Answer{Choice: prompt.ChoicePassphrase, Text: "another one, as good"}, nil
	})
	o.User.Meanwhile(func() {
		a.Must("slots.change", map[string]any{"id": slot}, nil)
		o.User.Passphrase = "another one, as good"
	})
	b.Refused(api.Conflict, "vault.unlock", nil)
	b.Must("vault.unlock", nil, nil)
	var page api.Entries
	b.Must("audit.entries", nil, &page)
	for _, e := range page.Entries {
		if e.Details["tries"] != "" {
			t.Errorf("a guess is in the log: %+v", e)
		}
	}
}
