//go:build !js

package enclave_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/v2"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave/enclavetest"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
	"github.com/kms-enclave/kms-enclave/vault"
)

// What becomes of a vault one record of which is not what was written: every byte of
// every record flipped, every record dropped, cut short, lengthened, swapped with every
// other one, copied under another id, and put back to every version that it ever had;
// and what becomes of its handle. Whatever it is,
//
//   - the enclave starts, and says something of the vault: never that there is none;
//   - what is answered is what was answered before, to the letter, and signatures verify;
//   - what is not answered is refused with a name for it;
//   - what does not depend on the record works: other keys sign, and can be ended; the vault can be destroyed;
//   - somebody notices, unless nothing reads the record (see superseded and unread).

var wholly = flag.Bool("wholly", false, "TestEveryDamage uses the whole vault after every single change, which takes minutes")

var damagedVault = vault.ID(enclavetest.App, "alice")

// damaged is a vault to be damaged, and all that is known of it.
type damaged struct {
	engine  *native.Engine
	share   [32]byte
	db      *memstore.Store
	records []store.Record
	history map[store.Name][][]byte // earlier versions of a record, the first one first
	keys    map[string]api.Key
	intact  map[string]string // answers
	spare   string            // an active key that nothing else is about

	mu      sync.Mutex
	cases   map[string]int // by kind and damage
	noticed map[string]int
}

// remembering keeps every version of every record.
type remembering struct {
	store.Store
	versions map[store.Name][][]byte
}

func (r *remembering) Commit(ctx context.Context, b store.Batch) error {
	err := r.Store.Commit(ctx, b)
	if err == nil {
		for _, p := range b.Put {
			r.versions[p.Name] = append(r.versions[p.Name], bytes.Clone(p.Value))
		}
	}
	return err
}

func newDamaged(t *testing.T) *damaged {
	d := &damaged{
		engine: native.New(rand.Reader), db: memstore.New(), history: map[store.Name][][]byte{}, keys: map[string]api.Key{},
		cases: map[string]int{}, noticed: map[string]int{},
	}
	_, _ = rand.Read(d.share[:])
	o := d.origin(t, d.db)
	o.Marker = false
	o.Wrap = func(s store.Store) store.Store { return &remembering{s, d.history} }
	c := o.Connect()
	c.CreateVault()
	c.Must("recovery.enable", nil, nil)
	c.Must("slots.add", map[string]any{"kind": "passkey"}, nil)
	var kids []string
	for i := range 11 {
		var made api.KeyResult
		c.Must("keys.create", map[string]any{"purpose": "signing", "label": fmt.Sprint("key ", i)}, &made)
		kids = append(kids, made.Key.KID)
		sign(c, made.Key.KID, nil)
	}
	c.Must("keys.rotate", map[string]any{"kid": kids[0]}, nil)
	c.Must("keys.revoke", map[string]any{"kid": kids[1], "reason": "stolen"}, nil)
	for i := range 2 * 9 { // more keys than have their uses in the root
		sign(c, kids[2+i%9], nil)
	}
	d.spare = kids[10]
	var list api.KeyList
	c.Must("keys.list", nil, &list)
	for _, k := range list.Keys {
		d.keys[k.KID] = k
	}
	c.Close()
	for _, n := range d.db.Names(damagedVault) {
		values, err := d.db.Get(t.Context(), damagedVault, n)
		if err != nil {
			t.Fatal(err)
		}
		if values[0] != nil {
			d.records = append(d.records, store.Record{Name: n, Value: values[0]})
		}
	}
	d.intact = d.read(d.origin(t, d.db.Copy()).Connect(), nil, nil)
	return d
}

// origin is a profile on a database, in which the app remembers the vault.
func (d *damaged) origin(t *testing.T, db *memstore.Store) *enclavetest.Origin {
	o := enclavetest.NewOrigin(t, enclavetest.Platform{Engine: d.engine, Open: func(*testing.T, string) store.Store { return db.Tab() }})
	o.Share, o.Marker, o.User.Willing = d.share, true, true
	return o
}

// sign signs with a key; the signature is good if the key's public half says so.
func sign(c *enclavetest.Client, kid string, public []byte) *api.Error {
	var signed api.Token
	if failure := c.Try("jwt.sign", map[string]any{"kid": kid, "audience": "a", "ttlSeconds": 60}, &signed); failure != nil {
		return failure
	}
	at := strings.LastIndexByte(signed.Token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(signed.Token[at+1:])
	if public != nil && (err != nil || !ed25519.Verify(public, []byte(signed.Token[:at]), signature)) {
		return &api.Error{Code: "forged"}
	}
	return nil
}

// read asks for all that there is to read, or, briefly, for what reads these kinds.
func (d *damaged) read(c *enclavetest.Client, kinds []string, fail func(what string, failure *api.Error)) map[string]string {
	answers := map[string]string{}
	ask := func(method, params string) {
		answer := c.Raw(`{"v":1,"id":9999,"method":"` + method + `","params":` + params + `}`)
		if !strings.Contains(answer, `"error":{`) {
			answers[method+params] = answer
			return
		}
		var reply api.Reply
		if err := json.Unmarshal([]byte(answer), &reply); err != nil || reply.Error == nil {
			reply.Error = &api.Error{Code: "unreadable", Message: answer}
		}
		fail(method, reply.Error)
	}
	about := func(some ...string) bool {
		return kinds == nil || slices.ContainsFunc(kinds, func(kind string) bool { return slices.Contains(some, kind) })
	}
	ask("vault.status", "{}")
	if about("key", "meta", "use", "counts", "index") {
		ask("keys.list", "{}")
	}
	if about("log") {
		ask("audit.verify", "{}")
	}
	if kinds == nil {
		for _, kid := range slices.Sorted(maps.Keys(d.keys)) {
			ask("keys.get", `{"kid":"`+kid+`"}`)
		}
		ask("audit.entries", `{"limit":500}`)
	}
	return answers
}

// change is what is done to a vault.
type change struct {
	how     string
	of      []store.Name // the records that are not what was written
	put     []store.Record
	handles []store.Handle
	drop    []store.Name
	unread  bool // no code looks for a record of that name
	brief   bool // only read: what else there is to see, its neighbours show
}

// try does it to a copy, and looks at what becomes of the vault.
func (d *damaged) try(t *testing.T, c change) {
	t.Helper()
	db := d.db.Copy()
	commit, err := db.Get(t.Context(), damagedVault, store.Name{Kind: "commit", ID: "-"})
	if err == nil {
		err = db.Commit(t.Context(), store.Batch{
			Vault: damagedVault, Expect: store.Record{Kind: "commit", ID: "-", Value: commit[0]}, Put: c.put, Handles: c.handles, Delete: c.drop,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	what := fmt.Sprintf("%s of %v", c.how, c.of)
	client := d.origin(t, db).Connect()
	defer client.Close()
	noticed := false
	fail := func(method string, failure *api.Error) {
		noticed = true
		if !named(failure) {
			t.Errorf("%s: %s: %v (%v)", what, method, failure, failure.Details)
		}
	}
	if failure := client.Try("enclave.info", nil, nil); failure != nil {
		t.Errorf("%s: enclave.info: %v", what, failure)
	}
	var kinds []string
	for _, n := range c.of {
		if c.brief {
			kinds = append(kinds, n.Kind)
		}
	}
	for method, answer := range d.read(client, kinds, fail) {
		switch {
		case answer == d.intact[method]:
		case strings.HasPrefix(method, "vault.status") && strings.Contains(answer, `"lost"`),
			strings.HasPrefix(method, "audit.verify") && strings.Contains(answer, `"valid":false`):
			noticed = true
		default:
			t.Errorf("%s: %s: %s\nit was %s", what, method, answer, d.intact[method])
		}
	}
	for kid, k := range d.keys {
		if c.brief {
			break
		}
		failure := sign(client, kid, k.PublicKey.Raw)
		switch {
		case k.State == "active" && failure == nil, k.State != "active" && failure != nil && failure.Code == api.Denied:
		case failure == nil:
			t.Errorf("%s: a key that is %s signs", what, k.State)
		case d.depends(kid, c.of):
			fail("jwt.sign", failure)
		default:
			t.Errorf("%s: a key that has nothing to do with it: %v", what, failure)
		}
	}
	if slices.ContainsFunc(c.of, func(n store.Name) bool { return n.Kind == "recovery" }) {
		if failure := client.Try("backup.save", nil, nil); failure != nil {
			fail("backup.save", failure)
		}
	}
	if c.brief {
		// Nothing is written.
	} else if failure := client.Try("keys.revoke", map[string]any{"kid": d.spare}, nil); failure != nil {
		if fail("keys.revoke", failure); !d.depends(d.spare, append(slices.Clone(c.of), d.ending(c.of)...)) {
			t.Errorf("%s: a key that has nothing to do with it cannot be ended: %v", what, failure)
		}
	}
	if !c.brief {
		// A vault of a newer release is not ours to touch.
		if failure := client.Try("vault.destroy", nil, nil); failure != nil && failure.Code != api.Unsupported {
			t.Errorf("%s: it cannot be destroyed: %v", what, failure)
		}
	}
	if !noticed && !c.unread && !slices.ContainsFunc(c.of, d.superseded) {
		t.Errorf("%s: nobody notices", what)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range c.of {
		d.cases[n.Kind+" "+c.how]++
		if noticed {
			d.noticed[n.Kind+" "+c.how]++
		}
	}
}

// named reports whether an error is one of those that damage has.
func named(failure *api.Error) bool {
	switch failure.Code {
	case api.Integrity, api.Unsupported:
		return true
	case api.NotFound:
		return failure.Details["state"] == vault.Lost
	case api.StorageUnavailable:
		return strings.Contains(failure.Message, "key handles")
	}
	return false
}

// everything are the kinds without which nothing of a vault opens. The pages of the
// index are among them as far as they lead to the header.
var everything = []string{"vault", "root", "commit", "device"}

// depends reports whether a key cannot be used without one of these records.
func (d *damaged) depends(kid string, names []store.Name) bool {
	return slices.ContainsFunc(names, func(n store.Name) bool {
		switch {
		case slices.Contains(everything, n.Kind):
			return true
		case n.Kind == "index":
			for _, kind := range []string{"key", "meta", "use"} {
				if strings.HasPrefix(indexed(store.Name{Kind: kind, ID: kid}), n.ID) {
					return true
				}
			}
			return strings.HasPrefix(indexed(store.Name{Kind: "vault", ID: "-"}), n.ID)
		}
		return n.ID == kid
	})
}

// ending returns those of the records without which no key can be ended.
func (d *damaged) ending(names []store.Name) (some []store.Name) {
	for _, n := range names {
		if n.Kind == "counts" || n.Kind == "index" && strings.HasPrefix(indexed(store.Name{Kind: "counts", ID: "-"}), n.ID) {
			some = append(some, store.Name{Kind: "root"})
		}
	}
	return some
}

// indexed returns where the index has a record: the hex digits of its hash.
func indexed(n store.Name) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(n.Kind+"\x00"+n.ID)))
}

// superseded reports whether nothing reads a record until it is written again: a count
// of uses a newer version of which is in the root, or a page of the index that leads
// to such counts only; or the mark of the phrase, which recovery.check makes anew, and
// without which no mirror comes back by it (package vault, TestForgedMirror, TestMarkHeals).
func (d *damaged) superseded(n store.Name) bool {
	if n.Kind == "use" || n.Kind == "recovery" && n.ID != "-" {
		return true
	}
	return n.Kind == "index" && !slices.ContainsFunc(d.records, func(r store.Record) bool {
		return slices.Contains([]string{"vault", "key", "meta", "counts"}, r.Kind) && strings.HasPrefix(indexed(r.Name), n.ID)
	})
}

func flipped(b []byte, at, bit int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1 << bit
	return b
}

// changes are all that is done, by the record that it is done to.
func (d *damaged) changes(r store.Record) (all []change) {
	one := func(how string, value []byte) {
		all = append(all, change{how: how, of: []store.Name{r.Name}, put: []store.Record{{Name: r.Name, Value: value}}})
	}
	for at := range r.Value {
		if len(r.Value) > 50 {
			one("flipped", flipped(r.Value, at, at%8))
			continue
		}
		for bit := range 8 {
			one("flipped", flipped(r.Value, at, bit))
		}
	}
	all = append(all, change{how: "dropped", of: []store.Name{r.Name}, drop: []store.Name{r.Name}})
	one("cut short", r.Value[:len(r.Value)-1])
	one("cut short", nil)
	one("lengthened", append(bytes.Clone(r.Value), 0))
	for _, old := range d.history[r.Name] {
		if !bytes.Equal(old, r.Value) {
			one("rolled back", old)
		}
	}
	for _, other := range d.records {
		if compare := strings.Compare(r.Kind+"/"+r.ID, other.Kind+"/"+other.ID); compare < 0 {
			all = append(all, change{how: "swapped", of: []store.Name{r.Name, other.Name}, put: []store.Record{{Name: r.Name, Value: other.Value}, {Name: other.Name, Value: r.Value}}})
		}
	}
	for _, copied := range d.copies(r.Name) {
		all = append(all, change{
			how: "copied", of: []store.Name{r.Name}, put: []store.Record{{Name: copied, Value: r.Value}},
			unread: copied.Kind != "meta" && copied.Kind != "log",
		})
	}
	for i := range all {
		all[i].brief = !*wholly && (all[i].how == "flipped" && i%256 != 0 || all[i].how == "swapped" && i%16 != 0)
	}
	return all
}

// copies are names under which a copy of a record might be believed. Keys are listed by
// their meta records, and batches of the log looked for by their numbers; records of
// other kinds are found by names that are known before.
func (d *damaged) copies(n store.Name) []store.Name {
	switch n.Kind {
	case "log":
		return []store.Name{{Kind: "log", ID: "0000000000000005"}}
	case "key", "meta", "use":
		return []store.Name{{Kind: n.Kind, ID: strings.Repeat("A", 43)}}
	case "index":
		return []store.Name{{Kind: "index", ID: n.ID + "0"}, {Kind: "index", ID: "ffff"}}
	}
	return []store.Name{{Kind: n.Kind, ID: "again"}}
}

// TestEveryDamage does all of it.
func TestEveryDamage(t *testing.T) {
	d := newDamaged(t)
	bytesOf := map[string]int{}
	t.Run("records", func(t *testing.T) {
		for _, r := range d.records {
			bytesOf[r.Kind] += len(r.Value)
			t.Run(r.Kind+" "+r.ID, func(t *testing.T) {
				t.Parallel()
				for chunk := range slices.Chunk(d.changes(r), 100) {
					t.Run("", func(t *testing.T) {
						for _, c := range chunk {
							d.try(t, c)
						}
					})
				}
			})
		}
	})
	t.Run("handle", d.tryHandles)
	t.Logf("bytes: %v", bytesOf)
	for _, what := range slices.Sorted(maps.Keys(d.cases)) {
		t.Logf("%-20s %6d cases, %6d noticed", what, d.cases[what], d.noticed[what])
	}
	for kind := range bytesOf {
		for _, how := range []string{"flipped", "dropped", "cut short", "lengthened", "swapped", "copied", "rolled back"} {
			once := how == "rolled back" && (kind == "log" || kind == "recovery") // is how often it is written
			if d.cases[kind+" "+how] == 0 != once {
				t.Errorf("%d cases of a %s record that is %s", d.cases[kind+" "+how], kind, how)
			}
			if how != "copied" && !once && d.noticed[kind+" "+how] == 0 {
				t.Errorf("of a %s record that is %s, nobody notices anything", kind, how)
			}
		}
	}
	for _, kind := range []string{"vault", "root", "commit", "index", "log", "key", "meta", "use", "counts", "recovery"} {
		if bytesOf[kind] == 0 {
			t.Errorf("no record of kind %s", kind)
		}
	}
}

// tryHandles damages what is kept beside the records.
func (d *damaged) tryHandles(t *testing.T) {
	name := store.Name{Kind: "device", ID: "-"}
	another, err := d.engine.GenerateDeviceKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other, err := d.engine.Export(another)
	if err != nil {
		t.Fatal(err)
	}
	d.try(t, change{how: "dropped", of: []store.Name{name}, drop: []store.Name{name}})
	for _, value := range []any{other, nil, "text", 7, []byte{1}} {
		d.try(t, change{how: "replaced", of: []store.Name{name}, handles: []store.Handle{{Name: name, Value: value}}})
	}
	d.try(t, change{how: "copied", of: []store.Name{name}, handles: []store.Handle{{Kind: "device", ID: "again", Value: other}}, unread: true})
	if d.cases["device dropped"] != 1 || d.noticed["device replaced"] != 5 {
		t.Errorf("cases %v", d.cases)
	}
}
