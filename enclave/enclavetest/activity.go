package enclavetest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/prompt"
)

// testActivity: the user sees the log as it is, newest first, page by page, and saves the
// file that audit.export gives.
func testActivity(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	var made api.KeyResult
	c.Must("keys.create", map[string]any{"purpose": "signing", "label": "mine"}, &made)
	for range 118 {
		c.Must("challenge.sign", map[string]any{"kid": made.Key.KID, "context": "x", "data": ""}, nil)
	}
	var pages []prompt.Activity
	choose := func(choice string) func(prompt.Activity) (prompt.Answer, error) {
		return func(s prompt.Activity) (prompt.Answer, error) {
			pages = append(pages, s)
			return prompt.Answer{Choice: choice}, nil
		}
	}
	instead(o, choose(prompt.ChoiceOlder), choose(prompt.ChoiceOlder), choose(prompt.ChoiceOlder), choose(prompt.ChoiceNewest),
		choose(prompt.ChoiceExport), choose(prompt.ChoiceClose))
	c.Must("audit.show", nil, nil)
	if out := o.User.Outcomes(); len(out) != 1 || !errors.Is(out[0], prompt.ErrClosed) {
		t.Errorf("outcomes %v", out)
	}
	var shown []uint64
	for _, page := range pages[:3] {
		for _, e := range page.Entries {
			shown = append(shown, e.Seq)
		}
	}
	slices.Reverse(shown)
	for i, seq := range shown {
		if seq != uint64(i) {
			t.Fatalf("entries %v", shown)
		}
	}
	first, last := pages[0], pages[2]
	if len(shown) != 120 || len(first.Entries) != 50 || len(last.Entries) != 20 || !first.Newest || !first.Older || last.Older || last.Newest || first.Total != 120 || first.App.Origin != App {
		t.Errorf("%d entries; first page %t %t, last %t %t", len(shown), first.Newest, first.Older, last.Newest, last.Older)
	}
	if e := first.Entries[0]; e.Method != "challenge.sign" || e.Label != "mine" || e.Purpose != "signing" || e.Origin != App || e.Outcome != "ok" || e.Details["context"] != "x" {
		t.Errorf("newest %+v", e)
	}
	if len(pages) != 6 || !pages[4].Newest || len(pages[3].Entries) != 0 && pages[3].Newest {
		t.Errorf("%d pages", len(pages))
	}
	file, found := lastScreen[prompt.SaveFile](o)
	if !found || file.What != "audit" || !strings.HasSuffix(file.Name, ".kmsaudit") || string(file.File) != export(c) {
		t.Errorf("the file %s of %d bytes is not what audit.export gives", file.Name, len(file.File))
	}
	if report, err := audit.VerifyFile(strings.NewReader(string(file.File))); err != nil || report.Checked != 120 {
		t.Errorf("offline: %+v, %v", report, err)
	}
	for name, end := range map[string]func(prompt.Activity) (prompt.Answer, error){
		"closed": choose(prompt.ChoiceClose), "cancelled": cancels[prompt.Activity],
	} {
		instead(o, end)
		c.Must("audit.show", nil, nil)
		if out := o.User.Outcomes(); !errors.Is(out[len(out)-1], prompt.ErrClosed) {
			t.Errorf("%s: %v", name, out[len(out)-1])
		}
	}
	// Whoever does not want the file after all is back at the list.
	instead(o, choose(prompt.ChoiceExport), choose(prompt.ChoiceClose))
	instead(o, cancels[prompt.SaveFile])
	c.Must("audit.show", nil, nil)
	instead(o, choose("something else"))
	c.Refused(api.Internal, "audit.show", nil)
	if n := c.Status().Counts.Entries; n != 120 {
		t.Errorf("looking at the log made it %d long", n)
	}
}

// testManage: the user changes the ways in from the enclave's own list; each change takes
// the proof that the app's call would take, and whoever gives one up is back at the list.
func testManage(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	method := func(choice, text string) func(prompt.Methods) (prompt.Answer, error) {
		return func(s prompt.Methods) (prompt.Answer, error) {
			answer := prompt.Answer{Choice: choice, Text: text}
			for _, slot := range s.Slots {
				if slot.Kind == text {
					answer.Slot = slot.ID
				}
			}
			return answer, nil
		}
	}
	outcome := func() error {
		out := o.User.Outcomes()
		return out[len(out)-1]
	}
	ends := method(prompt.ChoiceClose, "")
	w := o.watch()
	instead(o, ends)
	c.Must("slots.manage", nil, nil)
	if got := w.seen(); !slices.Equal(got, []string{"methods"}) || !errors.Is(outcome(), prompt.ErrClosed) {
		t.Errorf("screens %v, outcome %v", got, outcome())
	}
	if s, _ := lastScreen[prompt.Methods](o); len(s.Slots) != 1 || !s.Slots[0].Last || s.Lock != "none" || s.Recovery {
		t.Errorf("shown %+v", s)
	}

	// Given up at each step.
	before := settled(t, c.Device)
	w = o.watch()
	instead(o, method(prompt.ChoiceAdd, "passphrase"), method(prompt.ChoiceAdd, "passphrase"), method(prompt.ChoiceRecovery, ""), ends)
	instead(o, cancels[prompt.Confirm])
	instead(o, cancels[prompt.NewPassphrase])
	instead(o, cancels[prompt.ShowPhrase])
	c.Must("slots.manage", nil, nil)
	if got, want := w.seen(), []string{"methods", "confirm", "methods", "confirm", "new-passphrase", "methods", "confirm", "show-phrase", "methods"}; !slices.Equal(got, want) || !errors.Is(outcome(), prompt.ErrClosed) {
		t.Errorf("screens %v, %v wanted; outcome %v", got, want, outcome())
	}
	if !same(before, settled(t, c.Device)) {
		t.Error("something has changed")
	}

	o.User.On = nil
	instead(o,
		method(prompt.ChoiceAdd, "passphrase"), method(prompt.ChoiceAdd, "passkey"), method(prompt.ChoiceRecovery, ""),
		method(prompt.ChoiceRemove, "device"), method(prompt.ChoiceChange, "passphrase"), method(prompt.ChoiceRemove, "passkey"), ends)
	var status api.Status
	w = o.watch()
	c.Must("slots.manage", nil, &status)
	if len(status.Slots) != 1 || status.Slots[0].Kind != "passphrase" || status.Lock != "passphrase" || !status.Recovery.Enabled || outcome() != nil {
		t.Errorf("status %+v, outcome %v", status, outcome())
	}
	var done []string
	for _, e := range c.log()[1:] {
		done = append(done, e.Method)
	}
	if want := []string{"slots.add", "slots.add", "recovery.enable", "slots.remove", "slots.change", "slots.remove"}; !slices.Equal(done, want) {
		t.Errorf("logged %v, %v wanted", done, want)
	}
	confirmed := 0
	for _, kind := range w.seen() {
		if kind == "confirm" {
			confirmed++
		}
	}
	if confirmed != 6 {
		t.Errorf("%d proofs for 6 changes", confirmed)
	}
	// What the list did not offer changes nothing.
	for _, wrong := range []func(prompt.Methods) (prompt.Answer, error){
		method(prompt.ChoiceAdd, "recovery"), method(prompt.ChoiceAdd, ""), method("something else", ""), method(prompt.ChoiceRemove, "passphrase"), method(prompt.ChoiceRemove, "none"),
	} {
		instead(o, wrong)
		c.Try("slots.manage", nil, nil)
	}
	if again := c.Status(); !slices.Equal(again.Slots, status.Slots) {
		t.Errorf("slots %+v, before %+v", again.Slots, status.Slots)
	}
}
