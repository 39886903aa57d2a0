// Package prompt asks the user, and only the user.
//
// The enclave describes what it wants to know with a typed request; a
// [Prompter] shows it and returns what the user decided. In a browser the
// dialog is drawn in the measured frame, over a port that the app neither
// sees nor can forge; package prompttest holds the scripted user of tests.
//
// What a dialog proves is bounded: no in-page dialog proves intent against a
// hostile app, which can hide the frame or move focus. So nothing here returns
// consent as a reusable token: an answer covers the one call that asked.
package prompt

import (
	"context"
	"errors"
	"time"
)

// Rules of every dialog.
const (
	// Timeout bounds how long a dialog waits for the user.
	Timeout = 10 * time.Minute
	// Word is what the user types to confirm what cannot be undone.
	Word = "DELETE"
	// Wait is how long the confirming button of such a dialog is held back. It
	// runs only while the dialog can be seen, and begins anew when it was out of
	// sight, as far as the browser tells: Chromium notices a frame that is covered or transparent, the others
	// one that is out of the viewport or, in Firefox, not drawn.
	Wait = 10 * time.Second
)

// Outcomes that are not an answer.
var (
	// ErrCancelled: the user said no, or closed the dialog.
	ErrCancelled = errors.New("prompt: cancelled by the user")
	// ErrExpired: nobody answered within Timeout.
	ErrExpired = errors.New("prompt: nobody answered")
	// ErrBusy: another dialog is open.
	ErrBusy = errors.New("prompt: another dialog is open")
	// ErrBackoff: two dialogs or more in a row ended without a yes, and it is too early to ask again.
	ErrBackoff = errors.New("prompt: asked too soon after dialogs without a yes")
)

// States of a vault that does not open, beside package vault's.
const (
	Damaged    = "damaged"    // it is there, but not as it was written
	Unreadable = "unreadable" // nobody knows: storage does not answer
)

// Destroy asks whether to delete a vault and every key in it. The dialog
// makes the user type Word, and holds its confirming button back for Wait.
type Destroy struct {
	Origin  string // of the app that asks
	Account string // as the app calls it: not the enclave's word
	State   string // of the vault: "unlocked", "lost", Damaged or Unreadable
	Reason  string // why it is lost, as vault.status says; the two reasons mean opposite things for what is deleted
	Keys    int    // how many keys die; -1 if that cannot be read
}

// Prompter shows dialogs, one at a time. A nil error means that the user
// confirmed, in this dialog, for this request.
type Prompter interface {
	Destroy(ctx context.Context, request Destroy) error
}
