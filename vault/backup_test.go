//go:build !js

package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json/v2"
	"errors"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/backup"
	"github.com/kms-enclave/kms-enclave/bip39"
	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
)

// somebody makes a backup of a vault of their own that is sealed for the phrase of
// another one, whose public key they know: nobody hides it, it lies in the header. All
// they lack is what authenticates a file.
func somebody(t *testing.T, victim *header, mac []byte) []byte {
	t.Helper()
	p := newProfile(t)
	v := p.create(nil, p.device())
	p.furnish()
	mine := must.Get[bip39.Phrase](t)(bip39.New(rand.Reader))
	v = p.change(Change{Way: must.Get[*Way](t)(v.Device()), Phrase: must.Get[*Phrase](t)(OpenPhrase(mine))})
	forged := must.Get[*Saved](t)(v.Save(t.Context(), must.Get[*Way](t)(v.Device()), testApp, "alice"))
	contents := open(t, p, forged.File, mine).contents

	v.header.Recovery.Public, v.header.Recovery.Phrase, v.header.Lineage = victim.Recovery.Public, victim.Recovery.Phrase, victim.Lineage
	f := &backup.File{CreatedAt: 1, Epoch: 1000, Keys: uint32(len(contents.Keys)), Vault: [16]byte(victim.Lineage), Phrase: [16]byte(victim.Recovery.Phrase)}
	if err := v.sealFile(t.Context(), f, must.Get[*Way](t)(v.Device()), contents); err != nil {
		t.Fatal(err)
	}
	return must.Get[[]byte](t)(backup.Encode(f, mac))
}

// TestForgedBackup: whoever knows the recovery public key makes a file that the phrase
// decrypts, and that is refused. With the key that authenticates files it is taken: so
// it is that key which they lack.
func TestForgedBackup(t *testing.T) {
	p := newProfile(t)
	words := must.Get[bip39.Phrase](t)(bip39.New(rand.Reader))
	phrase := must.Get[*Phrase](t)(OpenPhrase(words))
	victim := p.create(nil, p.device())
	victim = p.change(Change{Way: must.Get[*Way](t)(victim.Device()), Phrase: phrase})
	for name, test := range map[string]struct {
		mac  []byte
		want error
	}{
		"a key of their own":     {bytes.Repeat([]byte{7}, backup.MACKeySize), backup.ErrEdited},
		"no key":                 {make([]byte, backup.MACKeySize), backup.ErrEdited},
		"of what the header has": {append(bytes.Clone(phrase.id), phrase.id...), backup.ErrEdited},
		"the vault's":            {phrase.mac, nil},
	} {
		parsed := must.Get[*backup.File](t)(backup.Parse(somebody(t, victim.header, test.mac)))
		opened, err := p.cfg.OpenBackup(t.Context(), parsed, phrase)
		if !errors.Is(err, test.want) || (opened == nil) != (test.want != nil) {
			t.Errorf("%s: %v, %v wanted", name, err, test.want)
		}
	}
	// What lies in storage has no part in it: the MAC key is sealed under the vault key.
	for _, r := range p.stored() {
		if bytes.Contains(r.Value, phrase.mac) {
			t.Errorf("the %s record holds it", r.Kind)
		}
	}
}

// TestBackupOpensWithItsPhraseOnly: another phrase is told from an edited file, and a
// file that was made for an earlier phrase stays that one's.
func TestBackupOpensWithItsPhraseOnly(t *testing.T) {
	p := newProfile(t)
	first, second := p.phrase(), p.phrase()
	v := p.create(nil, p.device())
	if _, err := v.Save(t.Context(), must.Get[*Way](t)(v.Device()), testApp, ""); !errors.Is(err, ErrNoPhrase) {
		t.Errorf("without a phrase: %v", err)
	}
	files := map[*Phrase]*backup.File{}
	for _, phrase := range []*Phrase{first, second} {
		v = p.change(Change{Way: must.Get[*Way](t)(p.vault().Device()), Phrase: phrase})
		saved := must.Get[*Saved](t)(v.Save(t.Context(), must.Get[*Way](t)(v.Device()), testApp, ""))
		files[phrase] = must.Get[*backup.File](t)(backup.Parse(saved.File))
	}
	for of, file := range files {
		for _, phrase := range []*Phrase{first, second} {
			if _, err := p.cfg.OpenBackup(t.Context(), file, phrase); (phrase == of) != (err == nil) || err != nil && !errors.Is(err, ErrOtherPhrase) {
				t.Errorf("right phrase %t: %v", phrase == of, err)
			}
		}
	}
}

// exampleContents are contents that parse, of a file that was saved.
func exampleContents(t testing.TB) contents {
	var f backupFixture
	readJSON(t, fixtureFile, &f)
	words, err := bip39.Parse(f.Words)
	if err != nil {
		t.Fatal(err)
	}
	phrase, err := OpenPhrase(words)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := backup.Parse(f.File)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Engine: native.New(nil)}
	opened, err := cfg.OpenBackup(context.Background(), parsed, phrase)
	if err != nil {
		t.Fatal(err)
	}
	return opened.contents
}

// TestContentsRefuses: an authentic file whose keys are not what they say writes nothing.
func TestContentsRefuses(t *testing.T) {
	good := exampleContents(t)
	active, ended := -1, -1
	for i, k := range good.Keys {
		if k.Meta.State == Active {
			active = i
		} else {
			ended = i
		}
	}
	if active < 0 || ended < 0 {
		t.Fatal("the example has no such keys")
	}
	for name, change := range map[string]func(c *contents){
		"a key twice":                   func(c *contents) { c.Keys = append(c.Keys, c.Keys[len(c.Keys)-1]) },
		"out of order":                  func(c *contents) { c.Keys[0], c.Keys[1] = c.Keys[1], c.Keys[0] },
		"another key's name":            func(c *contents) { c.Keys[1].KID = c.Keys[2].KID },
		"another public half":           func(c *contents) { c.Keys[active].Public = bytes.Repeat([]byte{4}, len(c.Keys[active].Public)) },
		"no public half":                func(c *contents) { c.Keys[active].Public = nil },
		"another algorithm":             func(c *contents) { c.Keys[active].Alg = "none" },
		"another format":                func(c *contents) { c.Keys[active].Format = 2 },
		"an active key without private": func(c *contents) { c.Keys[active].Wrapped = nil },
		"a tombstone that lives":        func(c *contents) { c.Keys[ended].Wrapped = []byte{1} },
		"an ended key made active":      func(c *contents) { c.Keys[ended].Meta.State = Active },
		"an active key made ended":      func(c *contents) { c.Keys[active].Meta.State = Revoked },
	} {
		c := good
		c.Keys = append([]backupKey(nil), good.Keys...)
		change(&c)
		body := must.Get[[]byte](t)(json.Marshal(c))
		if _, err := parseContents(body); !errors.Is(err, ErrContents) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, body := range []string{"", "null ", "[]", `{"more":1}`, `{"keys":[{}]}`, `{"keys":[],"keys":[]}`} {
		if c, err := parseContents([]byte(body)); err == nil && len(c.Keys) > 0 || err != nil && !errors.Is(err, ErrContents) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// TestDamagedKeyInBackup: a private half that does not open makes no vault.
func TestDamagedKeyInBackup(t *testing.T) {
	var f backupFixture
	readJSON(t, fixtureFile, &f)
	p := newProfile(t)
	opened := open(t, p, f.File, must.Get[bip39.Phrase](t)(bip39.Parse(f.Words)))
	for i, k := range opened.contents.Keys {
		if k.Meta.State == Active {
			opened.contents.Keys[i].Wrapped[20] ^= 1
			break
		}
	}
	_, err := p.m.Create(t.Context(), Creation{Persistence: PersistDevice, Slots: []NewSlot{p.device()}, From: opened}, entry)
	if !errors.Is(err, ErrContents) || len(p.stored()) != 0 {
		t.Errorf("%v, %d records stored", err, len(p.stored()))
	}
}

// FuzzContents: whatever parses is encoded and parsed again as the same, and each key
// in it is named after its public half.
func FuzzContents(f *testing.F) {
	body, err := json.Marshal(exampleContents(f), json.Deterministic(true))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(strings.Replace(string(body), "active", "retired", 1)))
	f.Add([]byte(`{"keys":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseContents(b)
		if err != nil {
			if !errors.Is(err, ErrContents) {
				t.Errorf("%q: %v", b, err)
			}
			return
		}
		for _, k := range c.Keys {
			if jwk, err := NewJWK(k.Alg, k.Public); err != nil || jwk.Thumbprint() != k.KID {
				t.Errorf("key %q accepted", k.KID)
			}
		}
		again, err := json.Marshal(c, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		d, err := parseContents(again)
		if twice, _ := json.Marshal(d, json.Deterministic(true)); err != nil || !bytes.Equal(again, twice) {
			t.Errorf("%q is read again as %q (%v)", again, twice, err)
		}
	})
}
