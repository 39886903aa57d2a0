//go:build !js

package simulator

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"strconv"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/store/memstore"
	"github.com/kms-enclave/kms-enclave/vault"
)

// state is a vault with a lock as it was at one commit.
type state struct {
	store *memstore.Store
	size  uint64 // of the log
}

// note keeps what is stored at this commit. The app has a mirror of the first.
func (w *world) note(commit, size uint64) {
	if !w.locks {
		return
	}
	if w.states == nil {
		w.states = map[int64]state{}
		w.mirror.Commit, w.mirror.Records = int64(commit), map[string]string{}
		for _, r := range records(w.profile) {
			w.mirror.Records[r.Kind+"/"+r.ID] = string(r.Value)
		}
	}
	w.newest = int64(commit)
	w.states[w.newest] = state{w.profile.Copy(), size}
}

// follow has the app's mirror take in what a tab told.
func (w *world) follow(c *call) error {
	var told api.MirrorChanges
	if err := json.Unmarshal(c.result, &told); err != nil {
		return err
	}
	if !told.Opens || told.More {
		return fmt.Errorf("a mirror opens: %v, there is more: %v", told.Opens, told.More)
	}
	if w.mirror.Vault == "" {
		w.mirror.Vault = told.Vault
	}
	w.mirror.Take(told)
	if w.readBy != 0 && w.readBy < c.number { // asked for after the records had come
		w.mirror.Finish(told.Commit)
		w.readBy = 0
	}
	return w.compareMirror()
}

// askTabs has every tab tell what the app does not know yet of mirror or log.
func (w *world) askTabs(method string) error {
	for _, t := range w.tabs {
		var params any = api.None{}
		if method == "audit.consistent" {
			params = api.ConsistentParams{Since: w.since}
		}
		if _, err := w.ask(t, method, params); err != nil {
			return err
		}
	}
	return nil
}

// readAll has it take in all records.
func (w *world) readAll(c *call) error {
	var page api.MirrorRecords
	if err := json.Unmarshal(c.result, &page); err != nil {
		return err
	}
	if page.More {
		return errors.New("there is another page")
	}
	w.mirror.Page(page, true)
	w.readBy = w.calls
	return nil
}

// compareMirror checks that the mirror is what was stored at its commit.
func (w *world) compareMirror() error {
	w.count("mirror: " + map[bool]string{true: "newest", false: "older"}[w.mirror.Commit == w.newest])
	then, seen := w.states[w.mirror.Commit]
	if !seen {
		return fmt.Errorf("the mirror is at commit %d, which there never was", w.mirror.Commit)
	}
	stored := records(then.store)
	for _, r := range stored {
		if w.mirror.Records[r.Kind+"/"+r.ID] != string(r.Value) {
			return fmt.Errorf("the mirror has another %s than what was stored at commit %d", r.Kind, w.mirror.Commit)
		}
	}
	if len(stored) != len(w.mirror.Records) {
		return fmt.Errorf("the mirror has %d records, %d were stored at commit %d", len(w.mirror.Records), len(stored), w.mirror.Commit)
	}
	return nil
}

// comeBack brings the vault back that was evicted, from what the app kept of it. The tab that is at it
// may die at any step: then it is there, or still lost. What is back is the vault as it was at
// the mirror's commit, and says what is missing.
func (w *world) comeBack() error {
	for len(w.tabs) > 0 {
		w.kill(w.tabs[0])
	}
	size := w.states[w.mirror.Commit].size
	then, err := w.model.upTo(size)
	if err != nil {
		return err
	}
	since, err := audit.ParseFrontier(w.since)
	if len(w.since) > 0 && err != nil {
		return err
	}
	if w.rng.IntN(2) == 0 {
		if err := w.diesComingBack(); err != nil {
			return err
		}
	}
	t := w.openTab()
	back, err := w.isBack(t)
	if err != nil {
		return err
	}
	if !back {
		if err := w.offer(t); err != nil {
			return err
		}
		c, err := w.ask(t, "mirror.restore", api.MirrorRestoreParams{Since: w.since})
		if err != nil || c.failure != nil {
			return errors.Join(err, c.error())
		}
	}
	w.kill(t)
	w.begin(then)
	if err := w.step(); err != nil {
		return fmt.Errorf("back from the mirror: %w", err)
	}
	last := w.model.leaves[len(w.model.leaves)-1]
	if got, wanted := w.model.size(), size+1; got != wanted || last.Method != "mirror.restore" {
		return fmt.Errorf("back from the mirror: the log has %d entries, wanted %d; the last one is of %s", got, wanted, last.Method)
	}
	older, missing := "", ""
	if since.Size() > size {
		older, missing = "yes", strconv.FormatUint(since.Size()-size, 10)
	}
	if last.Details["missing"] != missing || last.Details["older"] != older || last.Details["gap"] != "" {
		return fmt.Errorf("back from a mirror that lacks %q entries of what was seen: the log says %v", missing, last.Details)
	}
	w.count("back: " + map[bool]string{true: "older", false: "newest"}[older != ""])
	return w.useAnew()
}

func (w *world) offer(t *tab) error {
	for portion := range w.mirror.Offers() {
		if c, err := w.ask(t, "mirror.offer", portion); err != nil || c.failure != nil {
			return errors.Join(err, c.error())
		}
	}
	return nil
}

// isBack asks whether the vault is there. It is whole, or lost.
func (w *world) isBack(t *tab) (bool, error) {
	c, err := w.ask(t, "vault.status", api.None{})
	if err != nil || c.failure != nil {
		return false, errors.Join(err, c.error())
	}
	var status api.Status
	if err := json.Unmarshal(c.result, &status); err != nil {
		return false, err
	}
	if status.State != vault.Lost && status.State != vault.Locked {
		return false, fmt.Errorf("the vault is %s, and was %s or brought back", status.State, vault.Lost)
	}
	return status.State != vault.Lost, nil
}

// diesComingBack has a tab bring the vault back, whose requests are refused or not answered now and
// then, and kills it at some step.
func (w *world) diesComingBack() error {
	t := w.openTab()
	if err := w.offer(t); err != nil {
		return err
	}
	c := w.newCall("mirror.restore")
	w.send(t, c, api.MirrorRestoreParams{Since: w.since})
	for range w.rng.IntN(30) {
		if err := w.step(); err != nil {
			return err
		}
		if requests := t.gate.requests(); len(requests) > 0 {
			w.decide(waits{requests[0], t})
		}
	}
	w.kill(t)
	w.count("dies coming back")
	return nil
}

// begin takes what there is for a new beginning.
func (w *world) begin(m *model) {
	w.model, w.blind, w.open, w.added = m, false, nil, 0
	clear(w.answered)
	w.lookAnew()
}

// upTo returns the model of a log's first leaves.
func (m *model) upTo(size uint64) (*model, error) {
	then := newModel()
	for _, leaf := range m.raw[:size] {
		if _, err := then.add(leaf); err != nil {
			return nil, err
		}
	}
	then.made, then.added = nil, 0
	clear(then.once)
	return then, nil
}
