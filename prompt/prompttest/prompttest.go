// Package prompttest is the scripted user of tests.
package prompttest

import (
	"context"
	"sync"

	"github.com/kms-enclave/kms-enclave/prompt"
)

// User answers dialogs with the next answer of its script, or says no when the
// script is used up. The zero value says no to everything.
type User struct {
	mu      sync.Mutex
	answers []error
	seen    []prompt.Destroy
	wait    bool
	during  func() // the next dialog
}

// Say appends answers to the script; nil is a yes.
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

// Seen returns the dialogs that were shown so far.
func (u *User) Seen() []prompt.Destroy {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]prompt.Destroy(nil), u.seen...)
}

// Destroy implements prompt.Prompter.
func (u *User) Destroy(ctx context.Context, request prompt.Destroy) error {
	wait, during, answer := u.next(request)
	if during != nil {
		during()
	}
	if wait {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return answer
}

func (u *User) next(request prompt.Destroy) (wait bool, during func(), answer error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = append(u.seen, request)
	during, u.during = u.during, nil
	if u.wait || len(u.answers) == 0 {
		return u.wait, during, prompt.ErrCancelled
	}
	answer, u.answers = u.answers[0], u.answers[1:]
	return false, during, answer
}
