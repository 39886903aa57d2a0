package enclavetest

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/backup"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
)

// saved is a profile with a vault of every kind of key, and a backup of it.
type saved struct {
	o    *Origin
	c    *Client
	keys []api.Key // as they were when it was saved
	made api.Saved
	head api.Head // of the log before that
}

func save(t *testing.T, p Platform) *saved {
	t.Helper()
	s := &saved{o: willing(t, p)}
	s.c = s.o.Connect()
	s.c.CreateVault()
	s.c.Must("recovery.enable", nil, nil)
	for _, purpose := range []string{"vapid", "identity", "agreement", "signing"} {
		s.c.CreateKey(purpose, "")
	}
	used, rotated, revoked := s.c.CreateKey("signing", "ES256"), s.c.CreateKey("signing", ""), s.c.CreateKey("identity", "")
	s.c.signs(used)
	s.c.signs(used)
	s.c.Must("keys.rotate", map[string]any{"kid": rotated.KID}, nil)
	s.c.Must("keys.revoke", map[string]any{"kid": revoked.KID, "reason": "stolen"}, nil)
	s.keys = s.c.Keys()
	s.save()
	return s
}

func (s *saved) save() {
	s.c.t.Helper()
	s.c.Must("audit.head", nil, &s.head)
	s.c.Must("backup.save", nil, &s.made)
}

// elsewhere returns another profile, with another share and an empty store, whose user
// has the file and the words.
func (s *saved) elsewhere(t *testing.T) *Origin {
	o := willing(t, s.o.platform)
	o.User.File, o.User.Words = s.o.User.File, s.o.User.Words
	return o
}

// isThere compares a restored vault's keys with those that were saved, and uses them.
func (s *saved) isThere(c *Client) {
	c.t.Helper()
	keys := c.Keys()
	if !reflect.DeepEqual(keys, s.keys) {
		c.t.Errorf("keys %+v, %+v wanted", keys, s.keys)
	}
	for _, k := range keys {
		switch {
		case k.State != "active":
			c.Refused(api.Denied, "challenge.sign", map[string]any{"kid": k.KID, "context": "x", "data": ""})
		case k.Purpose == "signing":
			c.signs(k)
		case k.Purpose == "identity":
			c.Must("challenge.sign", map[string]any{"kid": k.KID, "context": "x", "data": ""}, nil)
		case k.Purpose == "vapid":
			c.Must("token.vapid", with(goodParams()["token.vapid"], "kid", k.KID), nil)
		default:
			c.Must("key.agree", map[string]any{"kid": k.KID, "publicKey": k.PublicKey.Raw, "context": "chat"}, nil)
		}
	}
}

// testRestore: a vault comes back on another device, under another share, with any lock:
// every key, what is known of it, and what has ended with it.
func testRestore(t *testing.T, p Platform) {
	s := save(t, p)
	if s.made.Keys != 8 || s.made.Epoch != 3 || s.made.Bytes != len(s.o.User.File) || s.made.CreatedAt == 0 {
		t.Errorf("saved %+v", s.made)
	}
	lineage := s.c.Status().Lineage
	for _, lock := range []string{"none", "passphrase", "passkey"} {
		o := s.elsewhere(t)
		c := o.Connect()
		w := o.watch()
		var status api.Status
		c.Must("backup.restore", map[string]any{"lock": lock, "seen": lineage}, &status)
		shown, _ := lastScreen[prompt.Restore](o)
		if shown.Epoch != 3 || shown.Keys != 8 || shown.From.Origin != App || shown.From.Account != "alice" || (shown.Word != "") != (lock == "none") || shown.CreatedAt != s.made.CreatedAt {
			t.Errorf("%s: shown %+v", lock, shown)
		}
		if got := w.seen(); !slices.Equal(got[:3], []string{"pick-file", "phrase", "restore"}) || got[len(got)-1] != "done" {
			t.Errorf("%s: screens %v", lock, got)
		}
		if status.Lock != lock || status.Lineage != lineage || !status.Recovery.Enabled || status.Counts.Keys != 8 || status.Counts.Entries != 1 {
			t.Errorf("%s: status %+v, lineage %+v wanted", lock, status, lineage)
		}
		first := c.log()[0]
		if first.Method != "backup.restore" || first.Details["logRoot"] != s.head.Root.String() || first.Details["logSize"] != fmt.Sprint(s.head.Size) || first.Details["from"] != App {
			t.Errorf("%s: the log begins with %+v; the old head is %d, %s", lock, first, s.head.Size, s.head.Root)
		}
		s.isThere(c)
		c.Close()
		c = o.Connect()
		if lock != "none" {
			c.Must("vault.unlock", nil, nil)
		}
		if n := len(c.Keys()); n != 8 {
			t.Errorf("%s: %d keys after a reload", lock, n)
		}
		// It is a vault like any other: it is saved again, by the phrase it came with.
		c.Must("recovery.check", nil, nil)
		c.Must("backup.save", nil, nil)
	}
	s.c.Refused(api.Exists, "backup.restore", map[string]any{"lock": "none"})
}

func lastScreen[S prompt.Screen](o *Origin) (last S, found bool) {
	for _, screen := range o.User.Seen() {
		if s, ok := screen.(S); ok {
			last, found = s, true
		}
	}
	return last, found
}

// testRestoreElsewhere: another app gets the keys only of a user who types that it shall,
// and an account of the same app without.
func testRestoreElsewhere(t *testing.T, p Platform) {
	s := save(t, p)
	o := s.elsewhere(t)
	evil := o.ConnectAs("https://evil.example", "alice")
	w := o.watch()
	word := func(typed string) func(prompt.Restore) (prompt.Answer, error) {
		return func(r prompt.Restore) (prompt.Answer, error) {
			if r.Word != prompt.WordYes || r.From.Origin != App || r.App.Origin != "https://evil.example" {
				t.Errorf("shown %+v", r)
			}
			return prompt.Answer{Choice: prompt.ChoiceConfirm, Word: typed}, nil
		}
	}
	instead(o, word(""), word("confirm"), cancels[prompt.Restore])
	evil.Refused(api.Cancelled, "backup.restore", map[string]any{"lock": "none"})
	w.expect(t, prompt.WordWrong, prompt.WordWrong)
	evil.state("absent")
	instead(o, word(prompt.WordYes))
	evil.Must("backup.restore", map[string]any{"lock": "none"}, nil)
	bob := o.ConnectAs(App, "bob")
	o.User.On = nil
	bob.Must("backup.restore", map[string]any{"lock": "passkey"}, nil)
	if shown, _ := lastScreen[prompt.Restore](o); shown.Word != "" || shown.From.Account != "alice" || shown.App.Account != "bob" {
		t.Errorf("shown %+v", shown)
	}
	s.isThere(bob)
}

// testRestoreLost: a vault whose storage was emptied comes back, one whose share is missing
// is not written over, and giving up on the way leaves nothing.
func testRestoreLost(t *testing.T, p Platform) {
	s := save(t, p)
	lineage := s.c.Status().Lineage
	empty(t, s.c.Device)
	s.c.Close()
	c := s.o.Connect()
	c.state("lost")
	for name, give := range map[string]func(){
		"file":    func() { instead(s.o, cancels[prompt.PickFile]) },
		"phrase":  func() { instead(s.o, cancels[prompt.Phrase]) },
		"facts":   func() { instead(s.o, cancels[prompt.Restore]) },
		"passkey": func() { instead(s.o, cancels[prompt.NewPasskey]) },
	} {
		s.o.User.On = nil
		give()
		c.Refused(api.Cancelled, "backup.restore", map[string]any{"lock": "passkey"})
		if left := dump(t, c.Device, aliceID); len(left) != 0 {
			t.Errorf("given up at the %s: %d records", name, len(left))
		}
		c.state("lost")
	}
	s.o.User.On = nil
	c.Must("backup.restore", map[string]any{"lock": "none", "seen": lineage}, nil)
	s.isThere(c)
	s.o.Share[0] ^= 1
	before := dump(t, c.Device, aliceID)
	other := s.o.Connect()
	if f := other.Refused(api.NotFound, "backup.restore", map[string]any{"lock": "none"}); f.Details["state"] != "lost" {
		t.Errorf("over a vault of another share: %v", f)
	}
	if !same(before, dump(t, c.Device, aliceID)) {
		t.Error("it was touched")
	}
}

// testBadBackups: each kind of bad file is told from the others before anything is written.
func testBadBackups(t *testing.T, p Platform) {
	s := save(t, p)
	older := s.o.User.File
	s.c.Must("keys.rotate", map[string]any{"kid": s.c.CreateKey("signing", "").KID}, nil)
	s.save()
	lineage, good := s.c.Status().Lineage, s.o.User.File
	foreign := save(t, p)
	flipped := func(at int) []byte {
		b := slices.Clone(good)
		b[at] ^= 1
		return b
	}
	parsed, err := backup.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	encoded := func(change func(f *backup.File)) []byte {
		f := *parsed
		change(&f)
		b, err := backup.Encode(&f, make([]byte, backup.MACKeySize)) // whoever changes it has no key
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	old, err := backup.Parse(older)
	if err != nil {
		t.Fatal(err)
	}
	type bad struct {
		name string
		file []byte
		code string
	}
	files := []bad{
		{"empty", nil, prompt.FileEmpty},
		{"a photograph", []byte("\xff\xd8\xff\xe0 not a backup at all"), prompt.FileForeign},
		{"a newer version", append(slices.Clone(good[:19]), 2), prompt.FileNewer},
		{"too large", append(slices.Clone(good[:20]), make([]byte, backup.MaxSize)...), prompt.FileTooLarge},
		{"another vault's", foreign.o.User.File, prompt.FileOtherVault},
		{"an older one", older, prompt.FileOlder},
		{"more behind it", append(slices.Clone(good), 0), prompt.FileEdited},
		{"no key behind it", encoded(func(*backup.File) {}), prompt.FileEdited},
		{"a later epoch", encoded(func(f *backup.File) { f.Epoch++ }), prompt.FileEdited},
		{"a later date", encoded(func(f *backup.File) { f.CreatedAt++ }), prompt.FileEdited},
		{"the body of an older one", encoded(func(f *backup.File) { f.Body = old.Body }), prompt.FileEdited},
		{"all of an older one but its epoch", encoded(func(f *backup.File) { f.Enc, f.Wrapped, f.Body = old.Enc, old.Wrapped, old.Body }), prompt.FileEdited},
	}
	for _, n := range []int{1, 10, 19, 20, 60, 100, len(good) / 2, len(good) - 1} {
		files = append(files, bad{fmt.Sprintf("cut off behind %d bytes", n), good[:n], prompt.FileTruncated})
	}
	for at := 78; at < len(good); at += len(good)/20 + 1 {
		code := prompt.FileEdited
		files = append(files, bad{fmt.Sprintf("byte %d changed", at), flipped(at), code})
	}
	o := s.elsewhere(t)
	c := o.Connect()
	var replies []func(prompt.PickFile) (prompt.Answer, error)
	var codes []string
	for _, f := range files {
		replies = append(replies, says[prompt.PickFile](prompt.Answer{Choice: prompt.ChoiceFile, File: f.file}))
		codes = append(codes, f.code)
	}
	w := o.watch()
	instead(o, append(replies, cancels[prompt.PickFile])...)
	c.Refused(api.Cancelled, "backup.restore", map[string]any{"lock": "none", "seen": lineage})
	for i, got := range w.problems() {
		if i >= len(files) || got.Code != files[i].code {
			t.Errorf("%s: %+v", files[min(i, len(files)-1)].name, got)
		}
	}
	w.expect(t, codes...)
	if left := dump(t, c.Device, aliceID); len(left) != 0 {
		t.Errorf("%d records left", len(left))
	}
	c.state("absent")

	// The right file with other words: the user may type again.
	o.User.On = nil
	problems := o.typesWrong(o.User.Words, prompt.FileOtherPhrase)
	w = o.watch()
	c.Must("backup.restore", map[string]any{"lock": "none", "seen": lineage}, nil)
	if got := w.problems(); fmt.Sprint(got) != fmt.Sprint(problems) {
		t.Errorf("problems %+v, %+v wanted", got, problems)
	}
	for _, seen := range []map[string]any{{"vault": "AAAA", "epoch": 0}, {"epoch": 3}, {"vault": "!!!!", "epoch": 1}} {
		s.elsewhere(t).Connect().Refused(api.InvalidRequest, "backup.restore", map[string]any{"lock": "none", "seen": seen})
	}
}

// testRestoreStorageFails: whole or not at all, wherever storage fails, also if it did what
// it says it did not.
func testRestoreStorageFails(t *testing.T, p Platform) {
	s := save(t, p)
	for _, after := range []bool{false, true} {
		o := s.elsewhere(t)
		var fault *refusing
		o.Wrap = func(inner store.Store) store.Store { fault = &refusing{Store: inner}; return fault }
		c := o.Connect()
		fault.set(store.ErrFull, after)
		c.Refused(api.StorageFull, "backup.restore", map[string]any{"lock": "none"})
		fault.set(nil, false)
		c.state("absent")
		c.Must("backup.restore", map[string]any{"lock": "none"}, nil)
		s.isThere(c)
	}
}

// testSaveBesideWrites: what is saved is one state of the vault, whatever happens meanwhile.
func testSaveBesideWrites(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	c.Must("recovery.enable", nil, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					c.CreateKey("signing", "")
				}
			}
		})
	}
	last := 0
	for range 10 {
		var made api.Saved
		c.Must("backup.save", nil, &made)
		if made.Keys < last {
			t.Errorf("%d keys after %d", made.Keys, last)
		}
		last = made.Keys
	}
	close(stop)
	wg.Wait()
}

// testBackupLeaks: a file holds no word of the phrase, and no key in the clear; the app gets
// none of it.
func testBackupLeaks(t *testing.T, p Platform) {
	s := save(t, p)
	reply := s.c.Raw(`{"v":1,"id":777,"method":"backup.save"}`)
	if len(reply) > 200 {
		t.Errorf("a reply of %d bytes: %s", len(reply), reply)
	}
	for _, k := range s.keys {
		if bytes.Contains(s.o.User.File, []byte(k.KID)) || bytes.Contains(s.o.User.File, k.PublicKey.Raw) {
			t.Errorf("key %s can be read in the file", k.KID)
		}
	}
	if file, _ := lastScreen[prompt.SaveFile](s.o); file.What != "backup" || file.Keys != 8 || len(file.File) == 0 {
		t.Errorf("shown %+v", file)
	}
	instead(s.o, cancels[prompt.SaveFile])
	s.c.Refused(api.Cancelled, "backup.save", nil)
}
