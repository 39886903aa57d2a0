//go:build !js

package vault

import (
	"bytes"
	"crypto/rand"
	"encoding/json/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/backup"
	"github.com/kms-enclave/kms-enclave/bip39"
	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// format1 is a vault that an earlier release made: testdata/format1.go.txt says how.
type format1 struct {
	Device, Share []byte
	Size          uint64
	Root          []byte
	Keys          []struct {
		KID    string
		Alg    keyengine.Alg
		Public []byte
		Uses   uint64
	}
	Records []struct {
		Kind  string `json:"kind"`
		ID    string `json:"id"`
		Value []byte `json:"value"`
	}
}

func readJSON(t testing.TB, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// profile puts the vault into a store, as it lay there.
func (f *format1) profile(t *testing.T) *profile {
	t.Helper()
	device := must.Get[keyengine.AEADKey](t)(native.New(bytes.NewReader(f.Device)).GenerateDeviceKey(t.Context()))
	e := native.New(rand.Reader)
	b := store.Batch{Vault: ID(testApp, "alice"), Expect: store.Record{Name: headerName}}
	b.Handles = []store.Handle{{Name: deviceName, Value: must.Get[any](t)(e.Export(device))}}
	for _, r := range f.Records {
		b.Put = append(b.Put, store.Record{Kind: r.Kind, ID: r.ID, Value: r.Value})
	}
	db := memstore.New()
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return profileOf(t, db, e, Share(f.Share))
}

// TestFormat1: a vault of the release before opens, its keys and its log are whole, and it
// can be changed; its header is of the newest format then.
func TestFormat1(t *testing.T) {
	var f format1
	readJSON(t, "testdata/format1.json", &f)
	p := f.profile(t)
	v := p.vault()
	if v.header.Format != 1 || v.Locked() || v.Lock() != LockNone || !bytes.Equal(v.header.Lineage, v.header.Instance) {
		t.Errorf("header %+v", v.header)
	}
	check := func(entries uint64) {
		t.Helper()
		v := p.vault()
		keys := keysOf(t, v)
		if len(keys) != len(f.Keys) {
			t.Fatalf("%d keys, %d wanted", len(keys), len(f.Keys))
		}
		for _, want := range f.Keys {
			at := slices.IndexFunc(keys, func(k *Key) bool { return k.KID == want.KID })
			if at < 0 || !bytes.Equal(keys[at].Public, want.Public) || keys[at].Uses != want.Uses || keys[at].Label != "made by format 1" {
				t.Fatalf("no key like %+v", want)
			}
			works(t, v, keys[at])
		}
		report := must.Get[Report](t)(p.m.Report(t.Context()))
		if report.Keys != len(f.Keys) || report.Entries != entries || report.Lineage != encodeID(v.header.Instance) {
			t.Errorf("report %+v", report)
		}
	}
	err := v.Ledger.Read(t.Context(), func(tx *ledger.Tx) error {
		if root := tx.Head(); tx.Size() != f.Size || !bytes.Equal(root[:], f.Root) {
			t.Errorf("a log of %d with root %x", tx.Size(), root)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	check(f.Size)

	slot := p.passphrase("one more way in")
	p.change(Change{Way: must.Get[*Way](t)(v.Device()), Add: &slot})
	if h := p.reload().header; h.Format != 2 || len(h.Slots) != 2 || !bytes.Equal(h.Lineage, h.Instance) {
		t.Errorf("header %+v", h)
	}
	check(f.Size + 1)
	p.change(Change{Way: must.Get[*Way](t)(p.vault().Device()), Remove: v.header.byKind(KindDevice).ID})
	if !p.reload().Locked() {
		t.Fatal("it is open")
	}
	p.unlock(must.Get[*Way](t)(p.vault().Passphrase(t.Context(), "one more way in")))
	check(f.Size + 3)
	if epoch := must.Get[Report](t)(p.m.Report(t.Context())).Epoch; epoch != 1 {
		t.Errorf("epoch %d", epoch)
	}
}

// backupFixture is a backup file of version 1 and what is in it.
type backupFixture struct {
	Words string
	File  []byte
	Facts Facts
	Keys  []*Key // Wrapped is left out: it is another one in each vault
}

const fixtureFile = "testdata/backup1.json"

// TestWriteBackupFixture makes the fixture. It is not to be made anew: what it holds
// must open for ever.
func TestWriteBackupFixture(t *testing.T) {
	if os.Getenv("KMS_WRITE_BACKUP_FIXTURE") == "" {
		var f backupFixture
		readJSON(t, fixtureFile, &f)
		if len(f.File) == 0 || len(f.Keys) != 7 {
			t.Error("the fixture is empty")
		}
		return
	}
	p := newProfile(t)
	v := p.create(nil, p.device())
	words := must.Get[bip39.Phrase](t)(bip39.New(rand.Reader))
	v = p.change(Change{Way: must.Get[*Way](t)(v.Device()), Phrase: must.Get[*Phrase](t)(OpenPhrase(words))})
	p.furnish()
	saved := must.Get[*Saved](t)(v.Save(t.Context(), must.Get[*Way](t)(v.Device()), testApp, "alice"))
	f := backupFixture{Words: strings.Join(words.Words(), " "), File: saved.File, Facts: open(t, p, saved.File, words).Facts()}
	for _, k := range keysOf(t, v) {
		k.Wrapped = nil
		f.Keys = append(f.Keys, k)
	}
	text := must.Get[[]byte](t)(json.Marshal(f, json.Deterministic(true)))
	if err := os.WriteFile(fixtureFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, p *profile, file []byte, words bip39.Phrase) *Backup {
	t.Helper()
	parsed := must.Get[*backup.File](t)(backup.Parse(file))
	phrase := must.Get[*Phrase](t)(OpenPhrase(words))
	return must.Get[*Backup](t)(p.cfg.OpenBackup(t.Context(), parsed, phrase))
}

// TestBackupFixture: a file of version 1 opens for ever, and the keys in it sign.
func TestBackupFixture(t *testing.T) {
	var f backupFixture
	readJSON(t, fixtureFile, &f)
	words := must.Get[bip39.Phrase](t)(bip39.Parse(f.Words))
	p := newProfile(t)
	opened := open(t, p, f.File, words)
	if got := opened.Facts(); !reflect.DeepEqual(got, f.Facts) || got.Keys != 7 || got.Epoch != 2 || got.Origin != testApp || got.Account != "alice" {
		t.Errorf("facts %+v, %+v wanted", got, f.Facts)
	}
	v := p.create(opened, p.device())
	if encodeID(v.header.Lineage) != f.Facts.Lineage || bytes.Equal(v.header.Lineage, v.header.Instance) {
		t.Errorf("lineage %x of instance %x", v.header.Lineage, v.header.Instance)
	}
	states := map[State]int{}
	for i, k := range keysOf(t, p.reload()) {
		states[k.State]++
		if k.State == Active {
			works(t, p.vault(), k)
		}
		k.Wrapped = nil
		if !reflect.DeepEqual(k, f.Keys[i]) {
			t.Errorf("key %+v, %+v wanted", k, f.Keys[i])
		}
	}
	if states[Active] != 5 || states[Retired] != 1 || states[Revoked] != 1 {
		t.Errorf("states %v", states)
	}
	// It is a vault like any other: the phrase opens it, and it can be saved again.
	way := must.Get[*Way](t)(p.vault().Phrase(t.Context(), must.Get[*Phrase](t)(OpenPhrase(words))))
	again := must.Get[*Saved](t)(p.vault().Save(t.Context(), way, testApp, "alice"))
	if got := open(t, p, again.File, words).Facts(); got.Lineage != f.Facts.Lineage || got.Epoch != 2 || got.Keys != 7 {
		t.Errorf("saved again: %+v", got)
	}
}
