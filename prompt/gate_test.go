package prompt_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/prompt/prompttest"
)

func destroy(t *testing.T, g *prompt.Gate) error {
	t.Helper()
	return ask(t.Context(), g)
}

// ask opens a dialog, asks one question, and closes it with what came of that.
func ask(ctx context.Context, g *prompt.Gate) error {
	d, err := g.Open(ctx)
	if err != nil {
		return err
	}
	outcome := errors.New("the screen is broken")
	defer func() { d.Close(outcome) }()
	_, outcome = d.Ask(ctx, prompt.Confirm{Action: "vault.destroy"})
	return outcome
}

func want(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got %v, wanted %v", got, want)
	}
}

func TestOneDialogAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user := new(prompttest.User)
		user.Hesitate()
		gate := prompt.NewGate(user)
		first := make(chan error)
		go func() { first <- destroy(t, gate) }()
		synctest.Wait()
		want(t, destroy(t, gate), prompt.ErrBusy)
		started := time.Now()
		want(t, <-first, prompt.ErrExpired)
		if got := time.Since(started); got != prompt.Timeout {
			t.Errorf("expired after %v, wanted %v", got, prompt.Timeout)
		}
	})
}

func TestCallOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user := new(prompttest.User)
		user.Hesitate()
		gate := prompt.NewGate(user)
		cause := errors.New("called off")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		want(t, ask(ctx, gate), cause)
	})
}

func TestBackoffGrowsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := prompt.NewGate(new(prompttest.User)) // says no to everything
		want(t, destroy(t, gate), prompt.ErrCancelled)
		want(t, destroy(t, gate), prompt.ErrCancelled)
		for _, quiet := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
			time.Sleep(quiet - time.Nanosecond)
			want(t, destroy(t, gate), prompt.ErrBackoff)
			time.Sleep(time.Nanosecond)
			want(t, destroy(t, gate), prompt.ErrCancelled)
		}
	})
}

// A dialog that the app calls off has been shown as well, and one whose screen
// breaks does not keep the gate shut.
func TestEveryDialogWithoutAYesCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user := new(prompttest.User)
		user.Hesitate()
		gate := prompt.NewGate(user)
		off := errors.New("called off")
		started := time.Now()
		for range 100 {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(150*time.Millisecond, func() { cancel(off) })
			if err := ask(ctx, gate); !errors.Is(err, off) && !errors.Is(err, prompt.ErrBackoff) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		// Two at once, then after 30 s and after another minute.
		if n := len(user.Seen()); n > 4 {
			t.Errorf("%d dialogs in %v", n, time.Since(started))
		}
	})
}

type brokenScreen struct{}

func (brokenScreen) Open(context.Context) (prompt.Dialog, error) { return brokenScreen{}, nil }

func (brokenScreen) Ask(context.Context, prompt.Screen) (prompt.Answer, error) { panic("broken") }
func (brokenScreen) Progress(prompt.Progress)                                  {}
func (brokenScreen) Close(error)                                               {}

func TestBrokenScreen(t *testing.T) {
	gate := prompt.NewGate(brokenScreen{})
	try := func() (broke any) {
		defer func() { broke = recover() }()
		want(t, destroy(t, gate), prompt.ErrBackoff)
		return nil
	}
	for i, broke := range []any{try(), try(), try()} {
		if (broke == nil) != (i == 2) {
			t.Errorf("dialog %d: %v", i, broke)
		}
	}
}

func TestConfirmationStartsTheCountAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user := new(prompttest.User)
		user.Say(prompt.ErrCancelled, nil, prompt.ErrCancelled)
		gate := prompt.NewGate(user)
		want(t, destroy(t, gate), prompt.ErrCancelled)
		want(t, destroy(t, gate), nil)
		want(t, destroy(t, gate), prompt.ErrCancelled)
		want(t, destroy(t, gate), prompt.ErrCancelled)
		want(t, destroy(t, gate), prompt.ErrBackoff)
	})
}

// A dialog that only shows something is neither a yes nor a no, unless the user
// closes it at once.
func TestClosedDialogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := prompt.NewGate(&prompttest.User{Willing: true})
		show := func(reads time.Duration) error {
			d, err := gate.Open(t.Context())
			if err != nil {
				return err
			}
			_, _ = d.Ask(t.Context(), prompt.Activity{})
			time.Sleep(reads)
			d.Close(prompt.ErrClosed)
			return nil
		}
		for range 5 {
			want(t, show(time.Minute), nil)
		}
		want(t, show(time.Second), nil)
		want(t, show(10*time.Second), nil)
		want(t, show(time.Second), nil)
		want(t, show(time.Second), prompt.ErrBackoff)
	})
}

// Nor are there many of them within a short time, however long the user looked.
func TestManyClosedDialogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := prompt.NewGate(&prompttest.User{Willing: true})
		shown := 0
		for range 60 { // ten minutes of it
			if d, err := gate.Open(t.Context()); err == nil {
				_, _ = d.Ask(t.Context(), prompt.Activity{})
				time.Sleep(5 * time.Second)
				d.Close(prompt.ErrClosed)
				shown++
			}
			time.Sleep(5 * time.Second)
		}
		if shown > 40 {
			t.Errorf("%d dialogs in ten minutes", shown)
		}
	})
}

// All screens of a dialog together have the time of one.
func TestOneTimeForAllScreens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user := &prompttest.User{Willing: true}
		gate := prompt.NewGate(user)
		d, err := gate.Open(t.Context())
		want(t, err, nil)
		_, err = d.Ask(t.Context(), prompt.Unlock{})
		want(t, err, nil)
		time.Sleep(prompt.Timeout - time.Second)
		user.Hesitate()
		began := time.Now()
		_, err = d.Ask(t.Context(), prompt.Unlock{})
		want(t, err, prompt.ErrExpired)
		if got := time.Since(began); got != time.Second {
			t.Errorf("expired after %v", got)
		}
		d.Close(err)
	})
}
