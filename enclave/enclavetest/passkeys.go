package enclavetest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/prompt/prompttest"
)

// byPasskey answers with an assertion that was changed.
func byPasskey(o *Origin, change func(*prompt.Assertion)) func(prompt.Unlock) (prompt.Answer, error) {
	return func(s prompt.Unlock) (prompt.Answer, error) {
		a := o.User.Passkey.Get(s.Proof)
		change(a)
		return prompt.Answer{Choice: prompt.ChoicePasskey, Passkey: a}, nil
	}
}

// forging answers with an assertion of something else, signed by the right key.
func forging(o *Origin, forge func(client, data []byte) ([]byte, []byte)) func(prompt.Unlock) (prompt.Answer, error) {
	return func(s prompt.Unlock) (prompt.Answer, error) {
		o.User.Passkey.Forge = forge
		defer func() { o.User.Passkey.Forge = nil }()
		return prompt.Answer{Choice: prompt.ChoicePasskey, Passkey: o.User.Passkey.Get(s.Proof)}, nil
	}
}

// inClient replaces text in the client data.
func inClient(old, new string) func(client, data []byte) ([]byte, []byte) {
	return func(client, data []byte) ([]byte, []byte) {
		return bytes.Replace(client, []byte(old), []byte(new), 1), data
	}
}

func inData(change func(data []byte) []byte) func(client, data []byte) ([]byte, []byte) {
	return func(client, data []byte) ([]byte, []byte) { return client, change(slices.Clone(data)) }
}

// withoutFlag clears flags of authenticator data.
func withoutFlag(flag byte) func(client, data []byte) ([]byte, []byte) {
	return inData(func(data []byte) []byte { data[32] &^= flag; return data })
}

// testAssertions: what is not the answer of this passkey to this question, on this origin,
// with the user present and verified, opens nothing, and the dialog stays open.
func testAssertions(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.create("passkey")
	foreign := &prompttest.Authenticator{Origin: Self}
	foreign.Create(prompt.NewPasskey{Challenge: []byte("x"), Salt: []byte("x")})
	var replay *prompt.Assertion
	flip := func(b []byte) { b[len(b)/2] ^= 1 }
	wrong := []struct {
		name  string
		reply func(prompt.Unlock) (prompt.Answer, error)
	}{
		{"of no passkey", says[prompt.Unlock](prompt.Answer{Choice: prompt.ChoicePasskey, Passkey: &prompt.Assertion{}})},
		{"of a passkey that is not registered", func(s prompt.Unlock) (prompt.Answer, error) {
			return prompt.Answer{Choice: prompt.ChoicePasskey, Passkey: foreign.Get(s.Proof)}, nil
		}},
		{"kept for later", byPasskey(o, func(a *prompt.Assertion) { kept := *a; replay = &kept; a.Signature = nil })},
		{"of the question before", byPasskey(o, func(a *prompt.Assertion) { *a = *replay })},
		{"of the question before, with this one's client data", byPasskey(o, func(a *prompt.Assertion) { a.Signature = replay.Signature })},
		{"with another passkey's name", byPasskey(o, func(a *prompt.Assertion) { a.ID = slices.Clone(a.ID); flip(a.ID) })},
		{"with a changed signature", byPasskey(o, func(a *prompt.Assertion) { flip(a.Signature) })},
		{"with a raw signature", byPasskey(o, func(a *prompt.Assertion) { a.Signature = make([]byte, 64) })},
		{"with a longer signature", byPasskey(o, func(a *prompt.Assertion) { a.Signature = append(a.Signature, 0) })},
		{"without a signature", byPasskey(o, func(a *prompt.Assertion) { a.Signature = nil })},
		{"with changed authenticator data", byPasskey(o, func(a *prompt.Assertion) { a.AuthenticatorData[36]++ })},
		{"with a changed secret", byPasskey(o, func(a *prompt.Assertion) { flip(a.PRF) })},
		{"with a short secret", byPasskey(o, func(a *prompt.Assertion) { a.PRF = a.PRF[1:] })},
		{"without a secret", byPasskey(o, func(a *prompt.Assertion) { a.PRF = nil })},
		{"for another origin", forging(o, inClient(Self, "https://evil.example"))},
		{"for an origin that begins alike", forging(o, inClient(Self, Self+".evil.example"))},
		{"for the app", forging(o, inClient(Self, App))},
		{"for plain HTTP", forging(o, inClient("https://", "http://"))},
		{"of a registration", forging(o, inClient("webauthn.get", "webauthn.create"))},
		{"for another challenge", forging(o, inClient(`"challenge":"`, `"challenge":"A`))},
		{"without client data", forging(o, func(_, data []byte) ([]byte, []byte) { return nil, data })},
		{"with a member twice", forging(o, inClient(`{`, `{"type":"webauthn.get",`))},
		{"for another relying party", forging(o, inData(func(data []byte) []byte { data[0]++; return data }))},
		{"without the user", forging(o, withoutFlag(0x01))},
		{"without verification of the user", forging(o, withoutFlag(0x04))},
		{"of short authenticator data", forging(o, inData(func(data []byte) []byte { return data[:36] }))},
		{"without authenticator data", forging(o, inData(func([]byte) []byte { return nil }))},
	}
	c.Must("vault.lock", nil, nil)
	w := o.watch()
	var replies []func(prompt.Unlock) (prompt.Answer, error)
	var codes []string
	for _, test := range wrong {
		replies = append(replies, func(s prompt.Unlock) (prompt.Answer, error) {
			if len(codes) > 0 && (s.Problem == nil || s.Problem.Code != prompt.WrongPasskey) {
				t.Errorf("before an assertion %s: problem %+v", test.name, s.Problem)
			}
			codes = append(codes, prompt.WrongPasskey)
			return test.reply(s)
		})
	}
	instead(o, append(replies, cancels[prompt.Unlock])...)
	if f := c.Try("vault.unlock", nil, nil); f == nil || f.Code != api.Cancelled {
		t.Fatalf("an assertion %s: %v", wrong[len(codes)-1].name, f)
	}
	w.expect(t, codes...)
	c.state("locked")
	challenges := map[string]bool{}
	for _, s := range o.User.Seen()[w.screens:] {
		challenges[string(s.(prompt.Unlock).Proof.Challenge)] = true
	}
	if len(challenges) != len(wrong)+1 {
		t.Errorf("%d challenges for %d questions", len(challenges), len(wrong)+1)
	}
	instead(o, byPasskey(o, func(*prompt.Assertion) {}))
	c.Must("vault.unlock", nil, nil)
	if ok := c.succeeded("vault.unlock"); len(ok) != 1 {
		t.Errorf("%d successes in the log, 1 wanted", len(ok))
	}
}

// testRegistrations: a passkey that cannot encrypt, or whose answer is not one to this
// question, is no way in, and nothing of it is kept.
func testRegistrations(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	made := func(change func(*prompt.Registration)) func(prompt.NewPasskey) (prompt.Answer, error) {
		return func(s prompt.NewPasskey) (prompt.Answer, error) {
			r := o.User.Passkey.Create(s)
			change(r)
			return prompt.Answer{Choice: prompt.ChoicePasskey, Label: "Key", Created: r}, nil
		}
	}
	forged := func(forge func(client, data []byte) ([]byte, []byte)) func(prompt.NewPasskey) (prompt.Answer, error) {
		return func(s prompt.NewPasskey) (prompt.Answer, error) {
			o.User.Passkey.Forge = forge
			defer func() { o.User.Passkey.Forge = nil }()
			return made(func(*prompt.Registration) {})(s)
		}
	}
	var earlier prompt.Registration
	wrong := []struct {
		code  string
		reply func(prompt.NewPasskey) (prompt.Answer, error)
	}{
		{prompt.PasskeyWithout, made(func(r *prompt.Registration) { earlier = *r; r.PRF = nil })},
		{prompt.PasskeyWithout, made(func(r *prompt.Registration) { r.PRF = r.PRF[:16] })},
		{prompt.WrongPasskey, made(func(r *prompt.Registration) { *r = earlier })}, // of the question before
		{prompt.WrongPasskey, made(func(r *prompt.Registration) { r.ID = append([]byte{1}, r.ID...) })},
		{prompt.WrongPasskey, made(func(r *prompt.Registration) { r.ID = nil })},
		{prompt.WrongPasskey, made(func(r *prompt.Registration) { r.Algorithm = -257 })}, // RS256
		{prompt.WrongPasskey, made(func(r *prompt.Registration) { r.Algorithm = -8 })},   // not this key's
		{prompt.WrongPasskey, made(func(r *prompt.Registration) { r.PublicKey = r.PublicKey[1:] })},
		{prompt.WrongPasskey, made(func(r *prompt.Registration) { r.PublicKey = nil })},
		{prompt.WrongPasskey, forged(inClient(Self, "https://evil.example"))},
		{prompt.WrongPasskey, forged(inClient("webauthn.create", "webauthn.get"))},
		{prompt.WrongPasskey, forged(inData(func(data []byte) []byte { data[31]++; return data }))},
		{prompt.WrongPasskey, forged(withoutFlag(0x01))},
		{prompt.WrongPasskey, forged(withoutFlag(0x04))},
		{prompt.WrongPasskey, forged(withoutFlag(0x40))},
		{prompt.WrongPasskey, forged(inData(func(data []byte) []byte { return data[:40] }))},
		{prompt.WrongPasskey, forged(inData(func(data []byte) []byte { data[53] = 0xff; return data }))},
	}
	var replies []func(prompt.NewPasskey) (prompt.Answer, error)
	var codes []string
	for _, test := range wrong {
		replies, codes = append(replies, test.reply), append(codes, test.code)
	}
	params := map[string]any{"persistence": "device", "lock": "passkey"}
	w := o.watch()
	instead(o, append(replies, cancels[prompt.NewPasskey])...)
	c.Refused(api.Cancelled, "vault.create", params)
	w.expect(t, codes...)
	c.state("absent")
	if left := dump(t, c.Device, aliceID); len(left) != 0 {
		t.Errorf("%d records left", len(left))
	}

	// In a vault that is there, a passkey without PRF leaves everything as it was.
	c.CreateVault()
	before := settled(t, c.Device)
	o.User.Passkey.NoPRF = true
	instead(o, made(func(*prompt.Registration) {}), cancels[prompt.NewPasskey])
	c.Refused(api.Cancelled, "slots.add", map[string]any{"kind": "passkey"})
	if !same(before, settled(t, c.Device)) {
		t.Error("something was kept of a passkey that cannot encrypt")
	}
	o.User.Passkey.NoPRF = false
	// Of the two kinds of keys that there are, both open the vault.
	c.Must("slots.add", map[string]any{"kind": "passkey"}, nil)
	o.User.Passkey.EdDSA = true
	c.Must("slots.add", map[string]any{"kind": "passkey", "label": "EdDSA"}, nil)
	c.Must("slots.remove", map[string]any{"id": c.slot("device").ID}, nil)
	for _, s := range c.Status().Slots {
		c.Must("vault.lock", nil, nil)
		o.unlockWith(c, s)
	}
}

// unlockWith unlocks with one of several passkeys.
func (o *Origin) unlockWith(c *Client, slot api.Slot) {
	o.t.Helper()
	instead(o, func(s prompt.Unlock) (prompt.Answer, error) {
		s.Proof.Passkeys = slices.DeleteFunc(slices.Clone(s.Proof.Passkeys), func(k prompt.Credential) bool { return k.Slot != slot.ID })
		return prompt.Answer{Choice: prompt.ChoicePasskey, Passkey: o.User.Passkey.Get(s.Proof)}, nil
	})
	c.Must("vault.unlock", nil, nil)
	entries := c.succeeded("vault.unlock")
	if e := entries[len(entries)-1]; e.Details["slot"] != slot.ID || e.Details["label"] != slot.Label || e.Details["kind"] != "passkey" {
		o.t.Errorf("unlocked with %+v, logged as %+v", slot, e)
	}
}

// testSeveralPasskeys: each has the user's own name, each opens, and a removed one does not.
func testSeveralPasskeys(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.create("passkey")
	for _, name := range []string{"Phone", "  Key ring  ", strings.Repeat("ü", api.MaxLabel)} {
		instead(o, func(s prompt.NewPasskey) (prompt.Answer, error) {
			if s.Label != "suggested" || len(s.Challenge) != 32 || len(s.Salt) != 32 || len(s.User) != 32 {
				t.Errorf("screen %+v", s)
			}
			return prompt.Answer{Choice: prompt.ChoicePasskey, Label: name, Created: o.User.Passkey.Create(s)}, nil
		})
		c.Must("slots.add", map[string]any{"kind": "passkey", "label": "suggested"}, nil)
	}
	slots := c.Status().Slots
	var names []string
	for _, s := range slots {
		names = append(names, s.Label)
	}
	if want := []string{"", "Phone", "Key ring", strings.Repeat("ü", api.MaxLabel)}; !slices.Equal(names, want) {
		t.Errorf("names %q, %q wanted", names, want)
	}
	for _, s := range slots {
		c.Must("vault.lock", nil, nil)
		o.unlockWith(c, s)
	}
	// The authenticator is told which it has already; one that registers it again all
	// the same adds nothing.
	var again *prompt.Registration
	instead(o, func(s prompt.NewPasskey) (prompt.Answer, error) {
		if len(s.Known) != len(slots) {
			t.Errorf("%d known, %d wanted", len(s.Known), len(slots))
		}
		again = o.User.Passkey.Create(s)
		again.AuthenticatorData = bytes.Replace(again.AuthenticatorData, again.ID, s.Known[1], 1)
		again.ID = s.Known[1]
		return prompt.Answer{Choice: prompt.ChoicePasskey, Created: again}, nil
	})
	c.Refused(api.Exists, "slots.add", map[string]any{"kind": "passkey"})
	c.Must("slots.remove", map[string]any{"id": slots[1].ID}, nil)
	c.Must("vault.lock", nil, nil)
	instead(o, func(s prompt.Unlock) (prompt.Answer, error) {
		for _, k := range s.Proof.Passkeys {
			if k.Slot == slots[1].ID {
				t.Error("a removed passkey is asked for")
			}
		}
		s.Proof.Passkeys = []prompt.Credential{{ID: again.ID}}
		return prompt.Answer{Choice: prompt.ChoicePasskey, Passkey: o.User.Passkey.Get(s.Proof)}, nil
	}, cancels[prompt.Unlock])
	w := o.watch()
	c.Refused(api.Cancelled, "vault.unlock", nil)
	w.expect(t, prompt.WrongPasskey)
	o.unlockWith(c, slots[3])
}
