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
	return g.Destroy(t.Context(), prompt.Destroy{Origin: "https://app.example"})
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
		want(t, gate.Destroy(ctx, prompt.Destroy{}), cause)
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

// broken is a screen that panics.
type broken struct{ prompt.Prompter }

// TestScreenPanics: the next dialog is not held up by one that broke.
func TestScreenPanics(t *testing.T) {
	gate := prompt.NewGate(broken{})
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Fatal("the screen did not panic")
				}
			}()
			_ = gate.Destroy(t.Context(), prompt.Destroy{})
			t.Error("no panic: the gate did not ask the screen")
		}()
	}
}
