package enclavetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/vault"
)

// Tests of what the enclave says when storage is not what it wrote.

// dump returns every record of a vault.
func dump(t *testing.T, s store.Store, id string) (records []store.Record) {
	t.Helper()
	for _, kind := range []string{"vault", "root", "commit", "index", "log", "key", "meta", "use", "counts", "recovery", "destroyed"} {
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
