//go:build !js

package simulator

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/vault"
)

// Bounds of a schedule.
const (
	minSteps, maxSteps = 4, 12
	maxTabs            = 4
	firstWays          = 1                // into a vault with a lock, as it is made
	patience           = 15 * time.Minute // until every call must be answered, of the simulated clock
)

// run is one schedule, in a bubble of testing/synctest.
func run(number uint64, begin beginning, trace func(string, ...any)) (tally map[string]int, err error) {
	w := newWorld(number, begin, trace)
	defer w.end()
	return w.tally, w.run()
}

func (w *world) run() error {
	if err := w.look(); err != nil {
		return fmt.Errorf("at the start: %w", err)
	}
	w.visit()
	if w.locks {
		w.visit() // where tabs are opened on the way, few come to have anything to say to each other
	}
	steps := minSteps + w.rng.IntN(maxSteps-minSteps+1)
	if w.locks {
		steps *= 2 // to change the ways in takes many
	}
	remember := w.rng.IntN(steps)
	for i := range steps {
		if i == remember {
			w.past = w.profile.Copy()
		}
		if err := w.act(); err != nil {
			return err
		}
		if err := w.step(); err != nil {
			return err
		}
		if w.locks && w.rng.IntN(6) == 0 {
			if err := w.settle(); err != nil {
				return err
			}
		}
	}
	if err := w.drain(); err != nil {
		return err
	}
	switch n := w.rng.IntN(4); {
	case n == 0 || n == 2 && w.locks:
		return w.lie()
	case n == 1 || w.locks: // of a vault with a lock only the log was compared after each step
		if err := w.useAnew(); err != nil {
			return fmt.Errorf("in a new tab, at the end: %w", err)
		}
	}
	return nil
}

// visit opens a tab of somebody who mostly unlocks the vault at once.
func (w *world) visit() {
	t := w.openTab()
	if w.locks && w.rng.IntN(4) > 0 {
		w.send(t, w.newCall("vault.unlock"), api.None{})
	}
}

// end gives back what the bubble holds.
func (w *world) end() {
	for _, t := range w.tabs {
		t.gate.kill()
		t.enclave.Close()
	}
	w.witness.Close()
	synctest.Wait()
}

// act is one step.
func (w *world) act() error {
	waiting := w.waiting()
	switch n := w.rng.IntN(100); {
	case n < 55 && len(waiting) > 0:
		w.decide(pick(w.rng, waiting))
	case n < 82 || len(w.tabs) == 0:
		w.request()
	case n < 86 && len(w.tabs) < maxTabs:
		w.trace("open")
		w.count("open")
		w.visit()
	case n < 89:
		w.kill(pick(w.rng, w.tabs))
	case n < 91:
		return w.closeTab(pick(w.rng, w.tabs))
	case n < 94:
		w.callOff()
	case n < 97:
		d := pick(w.rng, []time.Duration{time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 6 * time.Second, 12 * time.Second, 40 * time.Second})
		w.trace("wait  %s", d)
		w.count("wait")
		time.Sleep(d)
	default:
		d := pick(w.rng, []time.Duration{-24 * time.Hour, -time.Hour, time.Second, time.Hour, 400 * 24 * time.Hour})
		w.trace("clock %s", d)
		w.count("clock")
		w.offset += d
	}
	return nil
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// settle has some tabs sign, and lets what was begun happen, so that much is done in few steps.
func (w *world) settle() error {
	w.trace("settle")
	for _, t := range w.tabs {
		if w.rng.IntN(2) == 0 {
			c := w.newCall("jwt.sign")
			c.about = pick(w.rng, w.model.kids())
			w.send(t, c, api.SignJWTParams{KID: c.about, Audience: c.tag, TTLSeconds: 60})
		}
	}
	for lulls := 0; lulls < 4; {
		if err := w.step(); err != nil {
			return err
		}
		if waiting := w.waiting(); len(waiting) > 0 {
			w.let(pick(w.rng, waiting), verdict{})
			continue
		}
		lulls++
		time.Sleep(20 * time.Millisecond)
	}
	return w.step()
}

// waits is a request of a tab to the store.
type waits struct {
	*request
	tab *tab
}

func (w *world) waiting() (all []waits) {
	for _, t := range w.tabs {
		for _, r := range t.gate.requests() {
			all = append(all, waits{r, t})
		}
	}
	return all
}

// decide lets a request happen, or not.
func (w *world) decide(r waits) {
	v := verdict{}
	if w.rng.IntN(12) == 0 {
		v = w.fault(r.what)
	}
	w.let(r, v)
}

func (w *world) let(r waits, v verdict) {
	what := ""
	if v.err != nil {
		what = ": " + v.err.Error()
	} else if v.silent {
		what = ": no answer"
	}
	w.trace("let   %s %s%s", r.tab.name, r.what, what)
	if what != "" {
		op, _, _ := strings.Cut(r.what, " ")
		w.count(op + what)
	}
	r.tab.gate.decide(r.request, v)
}

// fault is what a browser's storage may do.
func (w *world) fault(what string) verdict {
	if w.rng.IntN(3) == 0 {
		return verdict{silent: true}
	}
	if what != "commit" {
		return verdict{err: store.ErrUnavailable}
	}
	return verdict{err: pick(w.rng, []error{store.ErrUnavailable, store.ErrFull, store.ErrConflict})}
}

// request has a tab of the app call something.
func (w *world) request() {
	if len(w.tabs) == 0 {
		w.visit()
	}
	c := w.newCall("")
	params := w.choose(c)
	w.send(pick(w.rng, w.tabs), c, params)
}

// newCall is a call that nobody has sent yet.
func (w *world) newCall(method string) *call {
	w.calls++
	return &call{number: w.calls, tag: fmt.Sprintf("c%d", w.calls), method: method}
}

func (w *world) send(t *tab, c *call, params any) {
	w.trace("call  %s %s %s", t.name, c.method, c.tag)
	w.open = append(w.open, c)
	t.call(c, params)
}

func (w *world) choose(c *call) any {
	c.about = pick(w.rng, w.model.kids())
	if w.locks && w.rng.IntN(3) > 0 {
		return w.chooseOfLocks(c)
	}
	switch n := w.rng.IntN(20); {
	case n < 3:
		c.method = "keys.create"
		return api.CreateKeyParams{Purpose: "signing"}
	case n < 6:
		c.method = "keys.rotate"
		return api.KeyParams{KID: c.about}
	case n < 8:
		c.method = "keys.revoke"
		return api.RevokeParams{KID: c.about, Reason: c.tag}
	case n < 9:
		c.method = "audit.head"
	case n < 10:
		c.method = "audit.consistent"
		return api.ConsistentParams{Since: w.since}
	case n < 11:
		c.method = "vault.status"
	case n < 12:
		c.method = "keys.list"
		return api.ListKeysParams{Limit: 100}
	default:
		c.method = "jwt.sign"
		return api.SignJWTParams{KID: c.about, Audience: c.tag, TTLSeconds: 60}
	}
	return api.None{}
}

// chooseOfLocks chooses among what only a vault with a lock has.
func (w *world) chooseOfLocks(c *call) any {
	switch n := w.rng.IntN(16); {
	case n >= 15 && w.mirror.Commit < w.newest:
		c.method = "mirror.records"
		return api.MirrorRecordsParams{}
	case n >= 12:
		c.method = "mirror.changes"
	case n < 3:
		c.method = "vault.unlock"
	case n < 4:
		c.method = "vault.lock"
	case n < 8 && w.model.ways < 3:
		c.method = "slots.add"
		return api.AddSlotParams{Kind: "passkey", Label: c.tag}
	case n >= 8 && len(w.slots) > 1:
		c.method = "slots.remove"
		c.about = pick(w.rng, w.slots)
		return api.SlotParams{ID: c.about}
	default:
		c.method = "vault.status"
	}
	return api.None{}
}

// done checks an answer that says so.
func (w *world) done(c *call) error {
	switch c.method {
	case "keys.create":
		var made api.KeyResult
		if err := json.Unmarshal(c.result, &made); err != nil {
			return err
		}
		if !w.model.claim(made.Key.KID) {
			return errors.New("its key is not in the log")
		}
		return nil
	case "keys.rotate":
		var rotated api.Rotated
		if err := json.Unmarshal(c.result, &rotated); err != nil {
			return err
		}
		if k := w.model.keys[c.about]; k == nil || k.successor != rotated.Key.KID || k.state == vault.Active {
			return errors.New("it is not in the log")
		}
		w.answered[c.subject()] = true
		return nil
	case "slots.remove":
		if !w.model.once[c.subject()] {
			return errors.New("it is not in the log")
		}
		w.answered[c.subject()] = true
		return nil
	case "audit.consistent":
		var now api.Consistency
		if err := json.Unmarshal(c.result, &now); err != nil {
			return err
		}
		if !now.Consistent {
			return fmt.Errorf("the log is said to be %s", now.Reason)
		}
		w.since = now.Since
		return nil
	case "slots.add":
		if w.added++; w.added > w.model.added {
			return errors.New("it is not in the log")
		}
		return nil
	case "keys.revoke", "jwt.sign":
		if w.model.byTag[c.tag] != 1 {
			return fmt.Errorf("it is in the log %d times", w.model.byTag[c.tag])
		}
		return nil
	case "audit.head":
		var head api.Head
		if err := json.Unmarshal(c.result, &head); err != nil {
			return err
		}
		if head.Size >= uint64(len(w.model.heads)) || w.model.heads[head.Size] != [32]byte(head.Root) {
			return fmt.Errorf("the log never had this head, of %d entries", head.Size)
		}
		return nil
	case "mirror.changes":
		return w.follow(c)
	case "mirror.records":
		return w.readAll(c)
	case "vault.status", "vault.lock", "vault.unlock":
		var status api.Status
		if err := json.Unmarshal(c.result, &status); err != nil {
			return err
		}
		if status.State != vault.Unlocked && !(w.locks && status.State == vault.Locked) {
			return fmt.Errorf("the vault is %s", status.State)
		}
		w.slots = nil
		for _, s := range status.Slots {
			w.slots = append(w.slots, s.ID)
		}
		return nil
	}
	return nil // keys.list: another call may have changed them meanwhile; see compareList
}

func (w *world) kill(t *tab) {
	w.trace("kill  %s", t.name)
	w.count("kill")
	w.forget(t)
	t.gate.kill()
	t.enclave.Close()
}

func (w *world) closeTab(t *tab) error {
	w.trace("close %s", t.name)
	w.count("close")
	w.forget(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.enclave.Close()
	}()
	for range 200 { // what it is at is finished first
		synctest.Wait()
		select {
		case <-done:
			return nil
		default:
		}
		for _, r := range t.gate.requests() {
			t.gate.decide(r, verdict{})
			synctest.Wait()
			if err := w.look(); err != nil {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	<-done
	return nil
}

// forget takes a tab away. What it was asked for and has not answered may have happened.
func (w *world) forget(t *tab) {
	w.tabs = slices.DeleteFunc(w.tabs, func(other *tab) bool { return other == t })
}

// callOff cancels a call that is not answered.
func (w *world) callOff() {
	for _, t := range w.tabs {
		t.mu.Lock()
		last := t.next
		_, pending := t.open[last]
		t.mu.Unlock()
		if !pending {
			continue
		}
		w.trace("off   %s %d", t.name, last)
		w.count("off")
		t.call(w.newCall("enclave.cancel"), api.CancelParams{ID: last})
		return
	}
}

// drain lets everything happen, or be refused now and then, until every call is answered.
func (w *world) drain() error {
	w.trace("drain")
	for until := time.Now().Add(patience); ; {
		if err := w.step(); err != nil {
			return err
		}
		if waiting := w.waiting(); len(waiting) > 0 {
			v := verdict{}
			if w.rng.IntN(20) == 0 {
				v.err = store.ErrUnavailable
			}
			w.let(waiting[0], v)
			continue
		}
		open := 0
		for _, t := range w.tabs {
			open += t.waits()
		}
		if open == 0 {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("%d calls are never answered", open)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// ask calls one method of a tab, while everything that it asks for happens.
func (w *world) ask(t *tab, method string, params any) (*call, error) {
	c := w.newCall(method)
	if p, ok := params.(api.SignJWTParams); ok {
		p.Audience, c.about = c.tag, p.KID
		params = p
	}
	w.send(t, c, params)
	for until := time.Now().Add(patience); !c.answered; {
		if err := w.step(); err != nil {
			return c, err
		}
		if requests := t.gate.requests(); len(requests) > 0 {
			t.gate.decide(requests[0], verdict{})
			continue
		}
		if !c.answered {
			if time.Now().After(until) {
				return c, fmt.Errorf("%s is never answered", c)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	if w.blind && c.failure != nil {
		t.mu.Lock()
		t.answers = slices.DeleteFunc(t.answers, func(other *call) bool { return other == c })
		t.mu.Unlock()
	}
	return c, nil
}

// useAnew does what a user does after a restart: the vault opens, and each key does
// what its state says.
func (w *world) useAnew() error {
	for len(w.tabs) > 0 {
		w.kill(w.tabs[0])
	}
	t := w.openTab()
	if w.locks {
		if c, err := w.ask(t, "vault.unlock", api.None{}); err != nil || c.failure != nil {
			return errors.Join(err, c.error())
		}
		if len(w.slots) != firstWays+w.model.ways {
			return fmt.Errorf("%d ways in, the log says %d", len(w.slots), firstWays+w.model.ways)
		}
	}
	c, err := w.ask(t, "keys.list", api.ListKeysParams{Limit: 100})
	if err != nil || c.failure != nil {
		return errors.Join(err, c.error())
	}
	if err := w.compareList(c); err != nil {
		return err
	}
	kid := pick(w.rng, w.model.kids())
	active := w.model.keys[kid].state == vault.Active
	if c, err = w.ask(t, "jwt.sign", api.SignJWTParams{KID: kid, TTLSeconds: 60}); err != nil {
		return err
	}
	if ok := c.failure == nil; ok != active {
		return fmt.Errorf("a key that is %s: %s", w.model.keys[kid].state, outcome(c))
	}
	return nil
}

func (c *call) error() error {
	if c.failure == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", c, c.failure)
}
