// Package prompttest is the scripted user of tests, and the user's authenticator.
package prompttest

import (
	"context"
	"strings"
	"sync"

	"github.com/kms-enclave/kms-enclave/prompt"
)

// Reply answers one screen.
type Reply func(prompt.Screen) (prompt.Answer, error)

// User answers dialogs with the next answer of its script, or says no when the
// script is used up. The zero value says no to everything.
//
// A yes is what a user does who knows the passphrase and the words, has the file and
// the passkey, and wants what the app wants: see Yes.
type User struct {
	// What the user knows and has. Words and File are learned on the way.
	Passphrase string
	Words      []string
	File       []byte
	Passkey    *Authenticator
	Prefers    string // prompt.ChoicePasskey to prove by it where there is a choice

	// Willing says yes to every dialog that the script says nothing of.
	Willing bool
	// On answers a screen in place of Yes, if it returns true.
	On func(prompt.Screen) (prompt.Answer, error, bool)

	mu      sync.Mutex
	answers []error // one per dialog
	seen    []prompt.Screen
	ends    []error // outcomes of dialogs
	work    []prompt.Progress
	wait    bool
	during  func() // the next dialog
}

// Say appends answers to the script, one for each dialog; nil is a yes.
func (u *User) Say(answers ...error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answers = append(u.answers, answers...)
}

// Hesitate makes every dialog stay open until its context ends.
func (u *User) Hesitate() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.wait = true
}

// Meanwhile has something happen while the next dialog is open.
func (u *User) Meanwhile(during func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.during = during
}

// Seen returns the screens that were shown so far.
func (u *User) Seen() []prompt.Screen {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]prompt.Screen(nil), u.seen...)
}

// Outcomes returns how the dialogs so far ended.
func (u *User) Outcomes() []error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]error(nil), u.ends...)
}

// Last returns the newest screen of a type that was shown.
func Last[S prompt.Screen](u *User) (last S, found bool) {
	for _, screen := range u.Seen() {
		if s, ok := screen.(S); ok {
			last, found = s, true
		}
	}
	return last, found
}

// Open implements prompt.Prompter.
func (u *User) Open(context.Context) (prompt.Dialog, error) { return &dialog{user: u}, nil }

type dialog struct {
	user  *User
	begun bool
}

// Ask implements prompt.Dialog.
func (d *dialog) Ask(ctx context.Context, screen prompt.Screen) (prompt.Answer, error) {
	wait, during, answer := d.user.next(screen, !d.begun)
	d.begun = true
	if during != nil {
		during()
	}
	if wait {
		<-ctx.Done()
		return prompt.Answer{}, context.Cause(ctx)
	}
	if answer != nil {
		return prompt.Answer{}, answer
	}
	if d.user.On != nil {
		if answer, err, own := d.user.On(screen); own {
			return answer, err
		}
	}
	return d.user.Yes(screen)
}

// Progress implements prompt.Dialog.
func (d *dialog) Progress(p prompt.Progress) {
	d.user.mu.Lock()
	defer d.user.mu.Unlock()
	d.user.work = append(d.user.work, p)
}

// Close implements prompt.Dialog.
func (d *dialog) Close(outcome error) {
	d.user.mu.Lock()
	defer d.user.mu.Unlock()
	d.user.ends = append(d.user.ends, outcome)
}

func (u *User) next(screen prompt.Screen, first bool) (wait bool, during func(), answer error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = append(u.seen, screen)
	during, u.during = u.during, nil
	switch {
	case u.wait || !first:
		return u.wait, during, nil
	case len(u.answers) > 0:
		answer, u.answers = u.answers[0], u.answers[1:]
		return false, during, answer
	case u.Willing:
		return false, during, nil
	}
	return false, during, prompt.ErrCancelled
}

// Yes is what a willing user does with a screen.
func (u *User) Yes(screen prompt.Screen) (prompt.Answer, error) {
	switch s := screen.(type) {
	case prompt.Confirm:
		answer := u.prove(s.Proof)
		answer.Word = s.Word
		return answer, nil
	case prompt.Unlock:
		return u.prove(s.Proof), nil
	case prompt.NewPassphrase:
		return prompt.Answer{Choice: prompt.ChoicePassphrase, Text: u.Passphrase}, nil
	case prompt.NewPasskey:
		return prompt.Answer{Choice: prompt.ChoicePasskey, Label: s.Label, Created: u.Passkey.Create(s)}, nil
	case prompt.ShowPhrase:
		u.Words = s.Words
		return prompt.Answer{Choice: prompt.ChoiceNext}, nil
	case prompt.AskWords:
		var words []string
		for _, at := range s.Positions {
			words = append(words, u.Words[at-1])
		}
		return prompt.Answer{Choice: prompt.ChoiceWords, Text: strings.Join(words, " ")}, nil
	case prompt.Phrase:
		return prompt.Answer{Choice: prompt.ChoicePhrase, Text: strings.Join(u.Words, " ")}, nil
	case prompt.SaveFile:
		if s.What == "backup" {
			u.File = s.File
		}
		return prompt.Answer{Choice: prompt.ChoiceSaved}, nil
	case prompt.PickFile:
		return prompt.Answer{Choice: prompt.ChoiceFile, File: u.File}, nil
	case prompt.Return:
		return prompt.Answer{Choice: prompt.ChoiceConfirm, Word: s.Word}, nil
	case prompt.Restore:
		return prompt.Answer{Choice: prompt.ChoiceConfirm, Word: s.Word}, nil
	}
	return prompt.Answer{Choice: prompt.ChoiceClose}, nil
}

func (u *User) prove(p prompt.Proof) prompt.Answer {
	switch {
	case len(p.Passkeys) > 0 && (!p.Passphrase || u.Prefers == prompt.ChoicePasskey):
		return prompt.Answer{Choice: prompt.ChoicePasskey, Passkey: u.Passkey.Get(p)}
	case p.Passphrase:
		return prompt.Answer{Choice: prompt.ChoicePassphrase, Text: u.Passphrase}
	}
	return prompt.Answer{Choice: prompt.ChoiceConfirm}
}
