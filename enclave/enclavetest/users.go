package enclavetest

import (
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/vault"
)

// What tests have the user do, and see of it.

// willing returns an empty profile whose user says yes to everything.
func willing(t *testing.T, p Platform) *Origin {
	o := NewOrigin(t, p)
	o.User.Willing, o.User.Passphrase = true, "correct horse battery"
	return o
}

// create makes a device vault with a lock.
func (c *Client) create(lock string) (s api.Status) {
	c.t.Helper()
	c.Must("vault.create", map[string]any{"persistence": "device", "lock": lock}, &s)
	return s
}

// instead has the user answer the next screens of a type in another way than by yes,
// one after another. It is in place of what was said about screens of that type before.
func instead[S prompt.Screen](o *Origin, replies ...func(S) (prompt.Answer, error)) {
	before := o.User.On
	var mu sync.Mutex
	o.User.On = func(screen prompt.Screen) (prompt.Answer, error, bool) {
		s, own := screen.(S)
		if !own {
			if before != nil {
				return before(screen)
			}
			return prompt.Answer{}, nil, false
		}
		mu.Lock()
		if len(replies) == 0 {
			mu.Unlock()
			return prompt.Answer{}, nil, false
		}
		reply := replies[0]
		replies = replies[1:]
		mu.Unlock()
		answer, err := reply(s)
		return answer, err, true
	}
}

// cancels is the answer of a user who wants none of it.
func cancels[S prompt.Screen](S) (prompt.Answer, error) {
	return prompt.Answer{}, prompt.ErrCancelled
}

// types returns the answer of a user who types something and means that choice.
func types[S prompt.Screen](choice, text string) func(S) (prompt.Answer, error) {
	return func(S) (prompt.Answer, error) { return prompt.Answer{Choice: choice, Text: text}, nil }
}

// chooses returns the answer of a user who only chooses.
func chooses[S prompt.Screen](choice string) func(S) (prompt.Answer, error) {
	return types[S](choice, "")
}

// says returns an answer as it is.
func says[S prompt.Screen](answer prompt.Answer) func(S) (prompt.Answer, error) {
	return func(S) (prompt.Answer, error) { return answer, nil }
}

// watch begins to look at what the user sees.
func (o *Origin) watch() *watch {
	return &watch{o, len(o.User.Seen()), len(o.User.Outcomes())}
}

type watch struct {
	o              *Origin
	screens, ended int
}

// seen returns the kinds of the screens since then.
func (w *watch) seen() (kinds []string) {
	for _, s := range w.o.User.Seen()[w.screens:] {
		kinds = append(kinds, s.Kind())
	}
	return kinds
}

// problems returns the problems that the screens since then have shown.
func (w *watch) problems() (found []prompt.Problem) {
	for _, s := range w.o.User.Seen()[w.screens:] {
		field := reflect.ValueOf(s).FieldByName("Problem")
		if field.IsValid() && !field.IsNil() {
			found = append(found, *field.Interface().(*prompt.Problem))
		}
	}
	return found
}

// expect compares the problems' codes, and makes sure that it was one dialog.
func (w *watch) expect(t *testing.T, codes ...string) {
	t.Helper()
	var got []string
	for _, p := range w.problems() {
		got = append(got, p.Code)
	}
	if !slices.Equal(got, codes) {
		t.Errorf("problems %v, %v wanted", got, codes)
	}
	if n := len(w.o.User.Outcomes()) - w.ended; n != 1 {
		t.Errorf("%d dialogs, 1 wanted", n)
	}
}

// log returns the whole audit log.
func (c *Client) log() (entries []api.Entry) {
	c.t.Helper()
	for from := uint64(0); ; {
		var page api.Entries
		c.Must("audit.entries", map[string]any{"from": from, "limit": 500}, &page)
		entries = append(entries, page.Entries...)
		if from = page.Next; from == 0 {
			return entries
		}
	}
}

// logged returns the entries of a method.
func (c *Client) logged(method string) (entries []api.Entry) {
	c.t.Helper()
	for _, e := range c.log() {
		if e.Method == method {
			entries = append(entries, e)
		}
	}
	return entries
}

// succeeded returns those of them that are not refusals.
func (c *Client) succeeded(method string) []api.Entry {
	c.t.Helper()
	return slices.DeleteFunc(c.logged(method), func(e api.Entry) bool { return e.Outcome != "ok" })
}

// Sign has a key sign something that is thrown away.
func (c *Client) Sign(kid string) {
	c.t.Helper()
	c.Must("jwt.sign", map[string]any{"kid": kid, "audience": "a", "ttlSeconds": 60}, nil)
}

// signs has a key sign, and checks it against the public half.
func (c *Client) signs(k api.Key) {
	c.t.Helper()
	var token api.Token
	c.Must("jwt.sign", map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60}, &token)
	openJWT(c.t, k, token.Token)
}

// Keys returns every key, page by page.
func (c *Client) Keys() (keys []api.Key) {
	c.t.Helper()
	params := map[string]any{"limit": api.MaxPageKeys}
	for {
		var page api.KeyList
		c.Must("keys.list", params, &page)
		keys = append(keys, page.Keys...)
		if page.Next == "" {
			return keys
		}
		params["after"] = page.Next
	}
}

// slot returns the first slot of a kind.
func (c *Client) slot(kind string) api.Slot {
	c.t.Helper()
	for _, s := range c.Status().Slots {
		if s.Kind == kind {
			return s
		}
	}
	c.t.Fatalf("no slot of kind %s", kind)
	return api.Slot{}
}

// state fails unless the vault is in this state.
func (c *Client) state(want string) api.Status {
	c.t.Helper()
	s := c.Status()
	if s.State != want {
		c.t.Errorf("the vault is %s, %s wanted", s.State, want)
	}
	return s
}

var aliceID = vault.ID(App, "alice")

// settled is a dump without what a refusal's leaf touches.
func settled(t *testing.T, s store.Store) []store.Record {
	t.Helper()
	return slices.DeleteFunc(dump(t, s, aliceID), func(r store.Record) bool {
		return r.Kind == "root" || r.Kind == "commit" || r.Kind == "log"
	})
}

func same(a, b []store.Record) bool {
	return slices.EqualFunc(a, b, func(a, b store.Record) bool {
		return a.Name == b.Name && string(a.Value) == string(b.Value)
	})
}
