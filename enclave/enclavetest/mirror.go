package enclavetest

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave/mirrortest"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
)

// mirror is what an app keeps.
type mirror struct{ mirrortest.Mirror }

// follow takes in what the commits of these tabs wrote.
func (m *mirror) follow(clients ...*Client) {
	current := false
	for _, c := range clients {
		for more := true; more; {
			var told api.MirrorChanges
			c.Must("mirror.changes", nil, &told)
			current, more = m.Take(told), told.More
		}
	}
	if !current {
		m.read(clients[0])
	}
}

// read reads everything once, while nothing is written.
func (m *mirror) read(c *Client) {
	var page api.MirrorRecords
	for after, more := "", true; more; more = page.More {
		params := map[string]any{}
		if after != "" {
			params["after"] = after
		}
		first := after == ""
		page = api.MirrorRecords{}
		c.Must("mirror.records", params, &page)
		for _, r := range page.Records {
			if r.Name <= after {
				c.t.Errorf("%s after %s", r.Name, after)
			}
			after = r.Name
		}
		m.Page(page, first)
	}
	m.Finish(page.Commit)
}

// offer hands the mirror in.
func (m *mirror) offer(c *Client) { offer(c, &m.State) }

func offer(c *Client, s *mirrortest.State) {
	c.t.Helper()
	for p := range s.Offers() {
		c.Must("mirror.offer", p, nil)
	}
}

// expect compares the mirror with what is stored.
func (m *mirror) expect(t *testing.T, s store.Store) {
	t.Helper()
	stored := map[string]string{}
	for _, r := range dump(t, s, aliceID) {
		if r.Kind != "destroyed" {
			stored[r.Kind+"/"+r.ID] = string(r.Value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		if m.Records[name] != stored[name] {
			t.Errorf("%s is not what is stored", name)
		}
	}
	if len(m.Records) != len(stored) || len(stored) == 0 {
		t.Errorf("%d records, %d are stored", len(m.Records), len(stored))
	}
}

// testMirrorFollows: a mirror that is fed with changes holds exactly what is stored, whatever
// was done, in one tab or in two; and everything is read only when changes were missed.
func testMirrorFollows(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.create("passphrase")
	var m mirror
	m.follow(c)
	m.expect(t, c.Device)
	kid := c.CreateKey("signing", "").KID
	sign := func(c *Client) {
		c.Must("jwt.sign", map[string]any{"kid": kid, "audience": "https://api.example", "ttlSeconds": 60}, nil)
	}
	m.follow(c)
	for i := range 40 {
		sign(c)
		if i%7 == 0 {
			m.follow(c)
			m.expect(t, c.Device)
		}
	}
	for range 20 { // so many that the index gets pages
		c.CreateKey("identity", "")
	}
	c.Must("keys.rotate", map[string]any{"kid": c.CreateKey("signing", "").KID}, nil)
	c.Must("recovery.enable", nil, nil)
	c.Must("slots.add", map[string]any{"kind": "passkey"}, nil)
	m.follow(c)
	m.expect(t, c.Device)
	c.Must("slots.remove", map[string]any{"id": c.Status().Slots[0].ID}, nil) // everything is wrapped anew
	m.follow(c)
	m.expect(t, c.Device)
	c.Must("vault.lock", nil, nil)
	m.follow(c) // also while it is locked
	m.expect(t, c.Device)
	c.Must("vault.unlock", nil, nil)
	if m.Whole != 1 {
		t.Errorf("everything was read %d times, once wanted", m.Whole)
	}

	other := o.Connect()
	other.Must("vault.unlock", nil, nil)
	for range 5 {
		sign(c)
		sign(other)
		other.CreateKey("vapid", "")
		sign(c)
	}
	m.follow(c, other)
	m.expect(t, c.Device)
	if m.Whole != 1 {
		t.Errorf("with both tabs asked everything was read %d times, once wanted", m.Whole)
	}
	sign(other)
	other.Close() // what it wrote last is told to nobody
	m.follow(c)
	m.expect(t, c.Device)
	if m.Whole != 2 {
		t.Errorf("after a tab that told nothing everything was read %d times, twice wanted", m.Whole)
	}
}

// lost returns a profile whose storage was emptied, what was mirrored of it, and its keys.
func lost(t *testing.T, p Platform, lock string) (o *Origin, m *mirror, before *Client, keys []api.Key) {
	t.Helper()
	o = willing(t, p)
	c := o.Connect()
	c.create(lock)
	c.Must("recovery.enable", nil, nil)
	used, rotated, revoked := c.CreateKey("signing", "ES256"), c.CreateKey("signing", ""), c.CreateKey("identity", "")
	for range 25 {
		c.signs(used)
	}
	c.Must("keys.rotate", map[string]any{"kid": rotated.KID}, nil)
	c.Must("keys.revoke", map[string]any{"kid": revoked.KID, "reason": "stolen"}, nil)
	m = &mirror{}
	m.follow(c)
	return o, m, c, c.Keys()
}

// testMirrorRestores: by each way in the same vault is back: same keys, same ways in, same
// log, and one entry more.
func testMirrorRestores(t *testing.T, p Platform) {
	for name, way := range map[string]struct {
		lock   string
		unlock func(*Origin)
	}{
		"by passphrase": {"passphrase", func(*Origin) {}},
		"by passkey":    {"passkey", func(*Origin) {}},
		"by phrase":     {"passkey", func(o *Origin) { instead(o, chooses[prompt.Unlock](prompt.ChoicePhrase)) }},
		"without lock":  {"none", func(o *Origin) { instead(o, chooses[prompt.Unlock](prompt.ChoicePhrase)) }},
	} {
		t.Run(name, func(t *testing.T) {
			o, m, before, keys := lost(t, p, way.lock)
			status, kept := before.Status(), seen(before, api.Consistency{})
			empty(t, before.Device)
			before.Close()
			c := o.Connect()
			c.state("lost")
			m.offer(c)
			way.unlock(o)
			w := o.watch()
			var back api.Status
			c.Must("mirror.restore", map[string]any{"seen": status.Lineage, "since": kept.Since}, &back)
			o.User.On = nil
			shown, _ := lastScreen[prompt.Return](o)
			if shown.Older || shown.Gap || shown.Word != "" || shown.Missing != 0 || shown.Damaged != 0 || shown.Keys != len(keys) || shown.Entries != status.Counts.Entries || shown.At == 0 {
				t.Errorf("shown %+v", shown)
			}
			if got := w.seen(); !slices.Contains(got, "unlock") || got[len(got)-1] != "done" {
				t.Errorf("screens %v", got)
			}
			status.Counts.Entries++
			if !reflect.DeepEqual(back, status) {
				t.Errorf("back is %+v, %+v wanted", back, status)
			}
			s := saved{o: o, c: c, keys: keys}
			s.isThere(c)
			if last := c.logged("mirror.restore"); len(last) != 1 || last[0].Details["older"] != "" || last[0].Details["keys"] != fmt.Sprint(len(keys)) {
				t.Errorf("logged %+v", last)
			}
			if now := seen(c, kept); !now.Consistent || now.Earlier != kept.Size {
				t.Errorf("the log is not the one that it was: %+v", now)
			}
			var verdict api.AuditVerdict
			if c.Must("audit.verify", nil, &verdict); !verdict.Valid {
				t.Errorf("%+v", verdict)
			}
			c.Close()
			c = o.Connect()
			if way.lock != "none" {
				c.state("locked")
				c.Must("vault.unlock", nil, nil)
			}
			s.isThereByNow(c)
			m.follow(c)
			m.expect(t, c.Device)
			c.Must("recovery.check", nil, nil)
			c.Must("slots.add", map[string]any{"kind": map[bool]string{true: "passphrase", false: "passkey"}[way.lock == "none"]}, nil)
			c.Must("backup.save", nil, nil)
		})
	}
}

// isThereByNow is isThere for keys that have been used since.
func (s *saved) isThereByNow(c *Client) {
	c.t.Helper()
	if s.keys = c.Keys(); len(s.keys) == 0 {
		c.t.Error("no keys")
	}
	s.isThere(c)
}

// testMirrorOlder: a mirror that is older than what was seen is said to be, and is taken only
// from somebody who types that it shall be; and what is there then says so.
func testMirrorOlder(t *testing.T, p Platform) {
	o, m, c, _ := lost(t, p, "passphrase")
	old, then := m.Clone(), c.Status()
	k := c.CreateKey("signing", "")
	c.signs(k)
	c.Must("keys.rotate", map[string]any{"kid": k.KID}, nil) // the epoch grows, too
	kept, lineage := seen(c, api.Consistency{}), c.Status().Lineage
	empty(t, c.Device)
	c.Close()
	c = o.Connect()
	word := func(typed string) func(prompt.Return) (prompt.Answer, error) {
		return func(r prompt.Return) (prompt.Answer, error) {
			if !r.Older || r.Missing != kept.Size-then.Counts.Entries || r.Word != prompt.WordYes {
				t.Errorf("shown %+v", r)
			}
			return prompt.Answer{Choice: prompt.ChoiceConfirm, Word: typed}, nil
		}
	}
	known := map[string]any{"seen": lineage, "since": kept.Since}
	offer(c, old)
	instead(o, word(""), cancels[prompt.Return])
	c.Refused(api.Cancelled, "mirror.restore", known)
	c.state("lost")
	if left := dump(t, c.Device, aliceID); len(left) != 0 {
		t.Errorf("%d records after a no", len(left))
	}
	// By its epoch alone it is older, too; and a log that went another way is.
	for _, params := range []map[string]any{{"seen": lineage}, {"since": kept.Since}, {"since": forkOf(kept.Since)}} {
		offer(c, old)
		instead(o, cancels[prompt.Return])
		c.Refused(api.Cancelled, "mirror.restore", params)
		if shown, _ := lastScreen[prompt.Return](o); !shown.Older || shown.Word == "" {
			t.Errorf("%v: shown %+v", params, shown)
		}
	}
	offer(c, old)
	instead(o, word(prompt.WordYes))
	c.Must("mirror.restore", known, nil)
	entry := c.logged("mirror.restore")[0]
	if entry.Details["older"] != "yes" || entry.Details["missing"] != fmt.Sprint(kept.Size-then.Counts.Entries) {
		t.Errorf("logged %+v", entry)
	}
	c.Refused(api.NotFound, "keys.get", map[string]any{"kid": k.KID})
}

// forkOf returns a log of one entry that is another one.
func forkOf(api.Bytes) api.Bytes {
	fork := make(api.Bytes, 8+32)
	fork[7], fork[8] = 1, 0x5a
	return fork
}

// testMirrorDeleted: a vault that the user deleted comes back only with a word, and says so.
func testMirrorDeleted(t *testing.T, p Platform) {
	o, m, c, keys := lost(t, p, "passphrase")
	kept, lineage := seen(c, api.Consistency{}), c.Status().Lineage
	c.Must("vault.destroy", nil, nil)
	c.state("absent")
	c.Close()
	c = o.Connect()
	m.offer(c)
	known := map[string]any{"seen": lineage, "since": kept.Since}
	instead(o, func(r prompt.Return) (prompt.Answer, error) {
		if !r.Deleted || r.Older || r.Unknown || r.Word != prompt.WordYes {
			t.Errorf("shown %+v", r)
		}
		return prompt.Answer{}, prompt.ErrCancelled
	})
	c.Refused(api.Cancelled, "mirror.restore", known)
	c.state("absent")
	o.User.On = nil
	m.offer(c)
	c.Must("mirror.restore", known, nil)
	s := saved{o: o, c: c, keys: keys}
	s.isThere(c)
	if last := c.logged("mirror.restore"); len(last) != 1 || last[0].Details["deleted"] != "yes" {
		t.Errorf("logged %+v", last)
	}
}

// testMirrorForged: nothing that an app makes of a mirror is believed. What holds the vault
// together brings nothing back when it is changed, and the user is told of a key that is damaged.
func testMirrorForged(t *testing.T, p Platform) {
	o, m, c, keys := lost(t, p, "passphrase")
	other, _ := func() (*mirror, *Client) {
		o := willing(t, p)
		c := o.Connect()
		c.create("passphrase")
		var m mirror
		m.follow(c)
		return &m, c
	}()
	lineage := c.Status().Lineage
	empty(t, c.Device)
	c.Close()
	c = o.Connect()
	before := m.Clone()
	for _, name := range slices.Sorted(maps.Keys(m.Records)) {
		kind, _, _ := strings.Cut(name, "/")
		for what, value := range map[string]string{"flipped": flip(m.Records[name]), "dropped": ""} {
			forged := before.Clone()
			if forged.Records[name] = value; value == "" {
				delete(forged.Records, name)
			}
			offer(c, forged)
			instead(o, cancels[prompt.Return])
			w := o.watch()
			failure := c.Try("mirror.restore", map[string]any{"seen": lineage}, nil)
			shown, asked := lastOf[prompt.Return](w)
			wanted := api.Integrity
			if kind == "vault" && what == "dropped" {
				wanted = api.NotFound
			}
			switch {
			case kind == "key" || kind == "meta":
				if !asked || shown.Damaged != 1 || shown.Keys != len(keys)-1 {
					if failure == nil || failure.Code != api.Integrity {
						t.Errorf("%s %s: shown %+v, %v", name, what, shown, failure)
					}
				}
			case kind == "log":
				if !asked || !shown.Gap || shown.Word != prompt.WordYes {
					t.Errorf("%s %s: shown %+v, %v", name, what, shown, failure)
				}
			case kind == "recovery": // found when it is used
			case failure == nil || failure.Code != wanted || asked:
				t.Errorf("%s %s: %v, shown %+v", name, what, failure, shown)
			}
			c.state("lost")
		}
	}
	o.User.On = nil
	forged := before.Clone()
	forged.Records["vault/-"] = other.Records["vault/-"]
	offer(c, forged)
	if f := c.Refused(api.NotFound, "mirror.restore", nil); f.Details["reason"] != "share-missing" {
		t.Errorf("another vault's header: %v", f)
	}
	stranger := map[string]any{"vault": base64.RawURLEncoding.EncodeToString(make([]byte, 16)), "epoch": 1}
	offer(c, before)
	c.Refused(api.Integrity, "mirror.restore", map[string]any{"seen": stranger})
	// One key is damaged: the others are back, and it says so.
	kid := keys[0].KID
	forged = before.Clone()
	forged.Records["key/"+kid] = flip(forged.Records["key/"+kid])
	offer(c, forged)
	c.Must("mirror.restore", nil, nil)
	for _, k := range keys[1:] {
		if k.State == "active" && k.Purpose == "signing" {
			c.signs(k)
		}
	}
	if n := c.Status().Counts.Keys; n != len(keys) {
		t.Errorf("%d keys", n)
	}
}

func flip(value string) string {
	b := []byte(value)
	b[len(b)/2] ^= 0x10
	return string(b)
}

// lastOf returns the last screen of a kind since then.
func lastOf[S prompt.Screen](w *watch) (last S, found bool) {
	for _, screen := range w.o.User.Seen()[w.screens:] {
		if s, ok := screen.(S); ok {
			last, found = s, true
		}
	}
	return last, found
}

// testNoMirror: what nobody could open leaves the enclave for no mirror, and what ends with its tab does not.
func testNoMirror(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.Refused(api.NotFound, "mirror.changes", nil)
	c.Refused(api.NotFound, "mirror.records", nil)
	c.create("none")
	c.CreateKey("signing", "")
	var now api.MirrorChanges
	if c.Must("mirror.changes", nil, &now); now.Opens || len(now.Changes) != 0 {
		t.Errorf("a vault that only the device opens: %+v", now)
	}
	c.Refused(api.NotFound, "mirror.records", nil)
	c.Must("recovery.enable", nil, nil) // from now on the phrase does
	var m mirror
	m.follow(c)
	m.expect(t, c.Device)
	s := o.ConnectAs(App, "bob")
	s.Must("vault.create", map[string]any{"persistence": "session", "lock": "passphrase"}, nil)
	s.Refused(api.NotFound, "mirror.changes", nil)
	s.Refused(api.NotFound, "mirror.records", nil)
}

// testMirrorOffers: a mirror takes the place of no vault, is bounded, and what is handed in
// while the user is asked is not what comes back.
func testMirrorOffers(t *testing.T, p Platform) {
	o, m, c, keys := lost(t, p, "passphrase")
	m.offer(c)
	c.Refused(api.Exists, "mirror.restore", nil)
	empty(t, c.Device)
	c.Close()
	c = o.Connect()
	c.Refused(api.NotFound, "mirror.restore", nil)
	c.Refused(api.NotFound, "mirror.offer", map[string]any{"first": false, "records": []any{}})
	for _, name := range []string{"", "vault", "/", "VAULT/-", "vault/", "vault/\u00e4", "vault/" + strings.Repeat("x", 129)} {
		c.Refused(api.InvalidRequest, "mirror.offer", map[string]any{"first": true, "records": []any{map[string]any{"name": name, "value": ""}}})
	}
	c.Refused(api.InvalidRequest, "mirror.records", map[string]any{"after": "nothing"})
	for i := range 100 { // a third of a mebibyte each
		big := map[string]any{"first": i == 0, "records": []any{map[string]any{"name": fmt.Sprintf("log/%d", i), "value": b64(350_000)}}}
		failure := c.Try("mirror.offer", big, nil)
		if failure == nil {
			continue
		}
		if failure.Code != api.QuotaExceeded || i < 90 {
			t.Errorf("part %d: %v", i, failure)
		}
		break
	}
	c.Refused(api.NotFound, "mirror.restore", nil) // it was dropped

	m.offer(c)
	instead(o, func(r prompt.Return) (prompt.Answer, error) {
		c.Must("mirror.offer", map[string]any{"first": true, "records": []any{map[string]any{"name": "vault/-", "value": b64(40)}}}, nil)
		return prompt.Answer{Choice: prompt.ChoiceConfirm, Word: r.Word}, nil
	})
	// A wrong passphrase is a problem, and in the log afterwards.
	w := o.watch()
	right := o.User.Passphrase
	o.User.Passphrase = "wrong horse battery"
	on := o.User.On
	o.User.On = func(s prompt.Screen) (prompt.Answer, error, bool) {
		if u, ok := s.(prompt.Unlock); ok && u.Problem != nil {
			o.User.Passphrase = right
		}
		return on(s)
	}
	c.Must("mirror.restore", nil, nil)
	o.User.On = nil
	w.expect(t, prompt.WrongPassphrase)
	if e := c.logged("mirror.restore")[0]; e.Details["tries"] != "1" {
		t.Errorf("logged %+v", e)
	}
	s := saved{o: o, c: c, keys: keys}
	s.isThere(c)
	c.Refused(api.Exists, "mirror.restore", nil)
}
