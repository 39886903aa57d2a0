//go:build !js

package simulator

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
	"github.com/kms-enclave/kms-enclave/vault"
)

// lie ends a schedule: storage is changed behind the vault's back.
func (w *world) lie() error {
	if w.locks {
		if err := w.askTabs(pick(w.rng, []string{"mirror.changes", "audit.consistent", "vault.status"})); err != nil {
			return err
		}
	}
	for _, t := range slices.Clone(w.tabs) {
		w.kill(t)
	}
	if w.locks && w.rng.IntN(2) == 0 {
		return w.evict() // and back from the mirror
	}
	switch w.rng.IntN(8) {
	case 0:
		return w.evict()
	case 1:
		return w.rollBackAll()
	case 2:
		return w.tear()
	}
	return w.damageOne()
}

// records returns what is stored.
func records(s *memstore.Store) (records []store.Record) {
	ctx := context.Background()
	for _, name := range s.Names(vaultID) {
		if values, err := s.Get(ctx, vaultID, name); err == nil && values[0] != nil {
			records = append(records, store.Record{Name: name, Value: values[0]})
		}
	}
	return records
}

// write changes storage behind everybody's back.
func (w *world) write(b store.Batch) error {
	ctx := context.Background()
	b.Vault, b.Expect.Name = vaultID, commitName
	values, err := w.profile.Get(ctx, vaultID, commitName)
	if err != nil {
		return err
	}
	b.Expect.Value = values[0]
	return w.profile.Commit(ctx, b)
}

// damage is one record that is not what was written.
type damage struct {
	how string
	is  store.Record // as it was
	now []byte       // nil: there is none
}

// draw chooses a record, of one kind as often as of another, and what becomes of it.
func (w *world) draw() (d damage, some bool) {
	stored, old := byKind(records(w.profile)), map[store.Name][]byte{}
	for _, r := range records(w.past) {
		old[r.Name] = r.Value
	}
	// Marks of ways in: unlocking makes a damaged one anew, and only a mirror that comes back reads
	// them (package vault, TestMarkHeals, TestForgedMirror).
	delete(stored, "recovery")
	how := w.rng.IntN(4)
	if w.locks && w.rng.IntN(2) == 0 {
		how = 3
	}
	if how == 3 {
		for kind, all := range stored {
			stored[kind] = slices.DeleteFunc(all, func(r store.Record) bool {
				return old[r.Name] == nil || bytes.Equal(old[r.Name], r.Value)
			})
			if len(stored[kind]) == 0 {
				delete(stored, kind)
			}
		}
	}
	if len(stored) == 0 {
		return d, false
	}
	kind := pick(w.rng, slices.Sorted(maps.Keys(stored)))
	if how == 3 && w.locks && stored["vault"] != nil {
		kind = "vault" // its old ways in
	}
	d.is = pick(w.rng, stored[kind])
	switch how {
	case 0:
		d.how, d.now = "flipped", bytes.Clone(d.is.Value)
		d.now[w.rng.IntN(len(d.now))] ^= 1 << w.rng.IntN(8)
	case 1:
		d.how = "dropped"
	case 2:
		d.how = "swapped"
		for _, other := range stored[kind] {
			if other.ID != d.is.ID {
				d.now = other.Value
			}
		}
		return d, d.now != nil && !bytes.Equal(d.now, d.is.Value)
	case 3:
		d.how, d.now = "rolled back", old[d.is.Name]
	}
	return d, true
}

func byKind(records []store.Record) map[string][]store.Record {
	kinds := map[string][]store.Record{}
	for _, r := range records {
		kinds[r.Kind] = append(kinds[r.Kind], r)
	}
	return kinds
}

func (w *world) damageOne() error {
	d, some := w.draw()
	if !some {
		return nil
	}
	what := fmt.Sprintf("%s of %s was %s", d.is.Kind, d.is.ID, d.how)
	w.trace("lie   %s record was %s", d.is.Kind, d.how)
	w.count(d.is.Kind + ": " + d.how)
	var b store.Batch
	if d.now == nil {
		b.Delete = []store.Name{d.is.Name}
	} else {
		b.Put = []store.Record{{Name: d.is.Name, Value: d.now}}
	}
	if err := w.write(b); err != nil {
		return err
	}
	w.blind = true
	noticed, err := w.inspect(d.is.Name)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !noticed {
		return fmt.Errorf("%s, and nobody notices", what)
	}
	for _, t := range slices.Clone(w.tabs) {
		w.kill(t)
	}
	values, err := w.profile.Get(context.Background(), vaultID, d.is.Name)
	if err != nil || !bytes.Equal(values[0], d.now) {
		return fmt.Errorf("%s, and what was found was changed (%v)", what, err)
	}
	if err := w.write(store.Batch{Put: []store.Record{d.is}}); err != nil {
		return err
	}
	w.trace("heal")
	w.blind = false
	w.lookAnew()
	if err := w.step(); err != nil {
		return fmt.Errorf("%s, and put back: %w", what, err)
	}
	if err := w.useAnew(); err != nil {
		return fmt.Errorf("%s, and put back: %w", what, err)
	}
	return nil
}

// inspect uses a vault one record of which is not what was written. It reports whether
// anything complained. What must not happen is an error of its own.
func (w *world) inspect(damaged store.Name) (noticed bool, err error) {
	t := w.openTab()
	try := func(method string, params any) (*call, error) {
		c, err := w.ask(t, method, params)
		noticed = noticed || c.failure != nil && c.failure.Code != api.Denied // which is said of keys that have ended, damaged or not
		return c, err
	}
	c, err := try("vault.status", api.None{})
	if err != nil {
		return noticed, err
	}
	if c.failure == nil && strings.Contains(string(c.result), `"absent"`) {
		return noticed, errors.New("the vault is said to be absent")
	}
	if c.failure == nil && strings.Contains(string(c.result), `"lost"`) {
		return true, nil
	}
	if w.locks {
		if _, err := try("vault.unlock", api.None{}); err != nil {
			return noticed, err
		}
	}
	if c, err = try("keys.list", api.ListKeysParams{Limit: 100}); err != nil {
		return noticed, err
	}
	if c.failure == nil {
		if err := w.compareList(c); err != nil {
			return noticed, err
		}
	}
	if c, err = try("audit.verify", api.None{}); err != nil {
		return noticed, err
	}
	noticed = noticed || strings.Contains(string(c.result), `"valid":false`)
	opens := !slices.Contains([]string{"vault", "device", ledger.KindRoot, ledger.KindCommit, ledger.KindIndex}, damaged.Kind)
	for _, kid := range w.model.kids() {
		state := w.model.keys[kid].state
		c, err := try("jwt.sign", api.SignJWTParams{KID: kid, TTLSeconds: 60})
		switch {
		case err != nil:
			return noticed, err
		case c.failure == nil && state != vault.Active:
			return noticed, fmt.Errorf("a key that is %s signs", state)
		case c.failure != nil && state == vault.Active && opens && damaged.ID != kid:
			return noticed, fmt.Errorf("a key that has nothing to do with it does not sign: %w", c.failure)
		}
	}
	return noticed, nil
}

func (w *world) compareList(c *call) error {
	var list api.KeyList
	if err := json.Unmarshal(c.result, &list); err != nil {
		return err
	}
	if len(list.Keys) != len(w.model.keys) {
		return fmt.Errorf("%d keys are listed, there are %d", len(list.Keys), len(w.model.keys))
	}
	for _, f := range list.Keys {
		k := w.model.keys[f.KID]
		if k == nil || *k != (key{vault.State(f.State), uint64(f.Uses), f.Predecessor, f.Successor}) {
			return fmt.Errorf("a key is shown as %+v, and is %+v", f, k)
		}
	}
	return nil
}

// rollBackAll puts all of storage back to what it was before. A tab that has seen
// more says so; a new one cannot know, but it cannot prove that its log continues the
// one that was seen.
func (w *world) rollBackAll() error {
	seen := w.openTab()
	c, err := w.ask(seen, "audit.consistent", api.ConsistentParams{Since: w.since})
	if err != nil || c.failure != nil {
		return errors.Join(err, c.error())
	}
	var known api.Consistency
	if err := json.Unmarshal(c.result, &known); err != nil {
		return err
	}
	w.blind = true
	past, err := w.past.Get(context.Background(), vaultID, commitName)
	if err != nil || bytes.Equal(past[0], w.commit) {
		return err
	}
	w.trace("lie   everything was rolled back")
	w.count("rolled back")
	if err := w.write(store.Batch{Clear: true, Put: records(w.past), Handles: w.handles()}); err != nil {
		return err
	}
	for _, method := range []string{"audit.head", "vault.status"} {
		c, err := w.ask(seen, method, api.None{})
		if err != nil {
			return err
		}
		if w.locks && c.failure != nil && c.failure.Code == api.Conflict {
			return nil // the ways in were changed since, so it is opened anew
		}
		if c.failure == nil || c.failure.Code != api.Integrity {
			return fmt.Errorf("all was rolled back under a tab, and %s is answered with %s", method, outcome(c))
		}
	}
	w.offset += 10 * 365 * 24 * time.Hour // what is done anew is not what was done then, to the letter
	t := w.openTab()
	if w.locks {
		if c, err := w.ask(t, "vault.unlock", api.None{}); err != nil || c.failure != nil {
			return errors.Join(err, c.error())
		}
	}
	if c, err = w.ask(t, "audit.consistent", api.ConsistentParams{Since: known.Since}); err != nil || c.failure != nil {
		return errors.Join(err, c.error())
	}
	var now api.Consistency
	if err := json.Unmarshal(c.result, &now); err != nil {
		return err
	}
	if now.Consistent {
		return fmt.Errorf("all was rolled back, from %d entries to %d, and the log is said to be what it was", known.Size, now.Size)
	}
	return nil
}

func (w *world) handles() (handles []store.Handle) {
	for _, name := range w.profile.Names(vaultID) {
		if value, err := w.profile.Handle(context.Background(), vaultID, name); err == nil && value != nil {
			handles = append(handles, store.Handle{Name: name, Value: value})
		}
	}
	return handles
}

// evict empties storage, as a browser does that wants the space.
func (w *world) evict() error {
	seen := w.openTab()
	if _, err := w.ask(seen, "audit.head", api.None{}); err != nil {
		return err
	}
	w.trace("lie   evicted")
	w.count("evicted")
	w.blind = true
	if err := w.write(store.Batch{Clear: true}); err != nil {
		return err
	}
	for _, t := range []*tab{seen, w.openTab()} {
		c, err := w.ask(t, "audit.head", api.None{})
		if err != nil {
			return err
		}
		if c.failure == nil {
			return fmt.Errorf("storage was emptied, and audit.head in %s is answered", t.name)
		}
		c, err = w.ask(t, "keys.create", api.CreateKeyParams{Purpose: "signing"})
		if err != nil {
			return err
		}
		if c.failure == nil || c.failure.Code != api.NotFound {
			return fmt.Errorf("storage was emptied, and keys.create in %s is answered with %s", t.name, outcome(c))
		}
		c, err = w.ask(t, "vault.status", api.None{})
		if err != nil {
			return err
		}
		if c.failure != nil || !strings.Contains(string(c.result), `"`+vault.LostStorage+`"`) {
			return fmt.Errorf("storage was emptied, and vault.status in %s is answered with %s %s", t.name, outcome(c), c.result)
		}
	}
	if w.locks {
		return w.comeBack()
	}
	return nil
}

// tear has a browser store a part of a batch, which none should do.
func (w *world) tear() error {
	t := w.openTab()
	w.blind = true
	c := w.newCall("")
	w.send(t, c, w.choose(c))
	for range 40 {
		if err := w.step(); err != nil {
			return err
		}
		for _, r := range t.gate.requests() {
			torn := r.what == "commit"
			w.trace("let   %s %s, torn: %v", t.name, r.what, torn)
			t.gate.decide(r, verdict{torn: torn})
			if torn {
				w.count("torn")
				if err := w.step(); err != nil {
					return err
				}
				w.kill(t)
				_, err := w.inspect(store.Name{Kind: ledger.KindRoot})
				return err
			}
		}
	}
	return nil
}
