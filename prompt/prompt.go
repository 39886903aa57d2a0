// Package prompt asks the user, and only the user.
//
// The enclave describes what it wants to know with a typed [Screen]; a
// [Prompter] draws it and returns what the user answered. In a browser it is
// drawn in the measured frame, over a port that the app neither sees nor can
// forge; package prompttest holds the scripted user of tests.
//
// One task is one [Dialog]: it is opened once, shows one screen after another,
// and is closed. What a dialog proves is bounded: no in-page dialog proves intent
// against a hostile app, which can hide the frame or move focus. So nothing here
// returns consent as a reusable token: an answer covers the one call that asked.
//
// See screens.go for the screens and their answers. This package must not decide
// anything, and must not keep what the user typed.
package prompt

import (
	"context"
	"errors"
	"time"
)

// Rules of every dialog.
const (
	// Timeout bounds how long a dialog waits for the user, all screens together.
	Timeout = 10 * time.Minute
	// Word is what the user types to confirm what cannot be undone.
	Word = "DELETE"
	// WordYes is what the user types where nothing else shows that somebody is there.
	WordYes = "CONFIRM"
	// Wait is how long the confirming button of vault.destroy is held back. It
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
	// ErrClosed is the outcome of a dialog that only showed something. It is neither
	// a yes nor a no, unless the user closed it at once.
	ErrClosed = errors.New("prompt: closed")
	// ErrAnswer: the answer is not one that the screen can give.
	ErrAnswer = errors.New("prompt: not an answer to this screen")
)

// Prompter opens dialogs.
type Prompter interface {
	// Open begins a dialog. Nothing is seen before its first Ask or Progress.
	Open(ctx context.Context) (Dialog, error)
}

// Dialog is one conversation with the user. Its methods are called one at a time.
type Dialog interface {
	// Ask shows a screen in place of the one before, and waits for the answer.
	// ErrCancelled if the user wants none of it; ctx's cause if ctx is done first.
	Ask(ctx context.Context, screen Screen) (Answer, error)
	// Progress shows that something is being done, in place of the screen before.
	Progress(p Progress)
	// Close ends the dialog. outcome is what came of the task: nil is a yes.
	Close(outcome error)
}
