//go:build !js

package simulator

import (
	"cmp"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"slices"
	"sync"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// tab is one tab of the app: an enclave of its own on the profile's storage.
type tab struct {
	name    string
	gate    *gate
	enclave *enclave.Enclave

	mu      sync.Mutex
	next    int64
	open    map[int64]*call
	answers []*call // that the schedule has not looked at
}

// call is one request of the app.
type call struct {
	number int   // in the order of the schedule
	id     int64 // in its tab
	tab    string
	method string
	about  string // the kid, or the way in
	tag    string // that its leaf carries

	answered bool
	failure  *api.Error // of the answer
	result   jsontext.Value
}

// subject names what can be done once only, whoever does it.
func (c *call) subject() string { return c.method + " " + c.about }

func (c *call) String() string { return fmt.Sprintf("%s %s %s", c.tab, c.method, c.tag) }

func (w *world) openTab() *tab {
	w.tabsMade++
	t := &tab{name: fmt.Sprintf("tab %d", w.tabsMade), open: map[int64]*call{}}
	t.gate = &gate{store: w.profile.Tab()}
	t.enclave = enclave.New(context.Background(), enclave.Config{
		Engine: w.engine, Device: t.gate, Session: memstore.New(), Prompter: w.user, Strength: passphrase.Fixed(passphrase.Floor),
		Now: w.now, Rand: w.random, Self: self, Origin: origin, Account: account, Share: w.share, Marker: true,
		Notify: func([]byte) {},
	})
	w.tabs = append(w.tabs, t)
	return t
}

// call sends a request.
func (t *tab) call(c *call, params any) {
	t.mu.Lock()
	t.next++
	c.id, c.tab = t.next, t.name
	t.open[c.id] = c
	t.mu.Unlock()
	text, err := json.Marshal(map[string]any{"v": 1, "id": c.id, "method": c.method, "params": params})
	if err != nil {
		panic(err)
	}
	t.enclave.Handle(text, func(reply []byte) { t.answer(c, reply) })
}

func (t *tab) answer(c *call, text []byte) {
	var reply struct {
		V      int            `json:"v"`
		ID     int64          `json:"id"`
		Result jsontext.Value `json:"result,omitzero"`
		Error  *api.Error     `json:"error,omitzero"`
	}
	if err := json.Unmarshal(text, &reply); err != nil {
		panic(fmt.Sprintf("the reply %s: %v", text, err))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c.id)
	c.answered, c.failure, c.result = true, reply.Error, reply.Result.Clone()
	t.answers = append(t.answers, c)
}

// heard returns the answers since it was asked last. Those that come at the same time
// come in the order of the calls.
func (t *tab) heard() []*call {
	t.mu.Lock()
	defer t.mu.Unlock()
	heard := t.answers
	t.answers = nil
	slices.SortFunc(heard, func(a, b *call) int { return cmp.Compare(a.number, b.number) })
	return heard
}

// waits returns how many calls are not answered.
func (t *tab) waits() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}
