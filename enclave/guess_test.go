//go:build !js

package enclave

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/prompt/prompttest"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// start returns an enclave, and how to call it.
func start(t *testing.T, p prompt.Prompter) (e *Enclave, call func(request string) string) {
	e = New(context.Background(), Config{
		Engine: native.New(rand.Reader), Device: memstore.New(), Session: memstore.New(), Prompter: p,
		Strength: passphrase.Fixed(passphrase.Floor), Now: time.Now, Rand: rand.Reader,
		Self: "https://enclave.example", Origin: "https://app.example", Notify: func([]byte) {},
	})
	t.Cleanup(e.Close)
	return e, func(request string) string {
		done := make(chan string, 1)
		e.Handle([]byte(`{"v":1,"id":1,"method":`+request+`}`), func(b []byte) { done <- string(b) })
		return <-done
	}
}

// TestWrongSecrets: whoever tries many is slowed down, and the vault's owner finds it in the log.
func TestWrongSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user := &prompttest.User{Willing: true, Passphrase: "long enough for it"}
		e, call := start(t, user)
		defer e.Close()
		call(`"vault.create","params":{"persistence":"device","lock":"passphrase"}`)
		call(`"vault.lock"`)
		guesses := 0
		user.On = func(prompt.Screen) (prompt.Answer, error, bool) {
			guesses++
			return prompt.Answer{Choice: prompt.ChoicePassphrase, Text: "a wrong guess"}, nil, guesses <= 17
		}
		began := time.Now()
		if reply := call(`"vault.unlock"`); !strings.Contains(reply, `"state":"unlocked"`) {
			t.Fatal(reply)
		}
		if slowed := time.Since(began); slowed < 2*time.Minute || slowed > 4*time.Minute {
			t.Errorf("17 guesses took %v", slowed)
		}
		log := call(`"audit.entries"`)
		if n := strings.Count(log, `"outcome":"denied"`); n != 4 || strings.Count(log, `"tries":"5"`) != 3 || !strings.Contains(log, `"tries":"2"`) {
			t.Errorf("%d entries about 17 wrong guesses: %s", n, log)
		}
	})
}

// panicking is a screen with a defect.
type panicking struct{ closed *int }

func (p panicking) Open(context.Context) (prompt.Dialog, error)             { return p, nil }
func (panicking) Ask(context.Context, prompt.Screen) (prompt.Answer, error) { panic("a defect") }
func (panicking) Progress(prompt.Progress)                                  {}
func (p panicking) Close(error)                                             { *p.closed++ }

// TestDefectClosesDialog: a defect behind a dialog does not leave it open.
func TestDefectClosesDialog(t *testing.T) {
	closed := 0
	_, call := start(t, panicking{&closed})
	for range 2 {
		if reply := call(`"vault.create","params":{"persistence":"device","lock":"passphrase"}`); !strings.Contains(reply, `"internal"`) {
			t.Error(reply)
		}
	}
	if closed != 2 {
		t.Errorf("%d of 2 dialogs closed", closed)
	}
}

// TestWrongSecretsInTheList: whoever goes back to the list of ways in between guesses is
// slowed down and logged all the same.
func TestWrongSecretsInTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user := &prompttest.User{Willing: true, Passphrase: "long enough for it"}
		e, call := start(t, user)
		defer e.Close()
		call(`"vault.create","params":{"persistence":"device","lock":"passphrase"}`)
		guesses, lists := 0, 0
		user.On = func(screen prompt.Screen) (prompt.Answer, error, bool) {
			switch s := screen.(type) {
			case prompt.Methods:
				if lists++; lists > 4 {
					return prompt.Answer{Choice: prompt.ChoiceClose}, nil, true
				}
				return prompt.Answer{Choice: prompt.ChoiceChange, Slot: s.Slots[0].ID}, nil, true
			case prompt.Confirm:
				if guesses++; guesses%4 == 0 {
					return prompt.Answer{}, prompt.ErrCancelled, true
				}
				return prompt.Answer{Choice: prompt.ChoicePassphrase, Text: "a wrong guess", Word: s.Word}, nil, true
			}
			return prompt.Answer{}, nil, false
		}
		began := time.Now()
		if reply := call(`"slots.manage"`); !strings.Contains(reply, `"state":"unlocked"`) {
			t.Fatal(reply)
		}
		if slowed := time.Since(began); guesses != 16 || slowed < 3*time.Second {
			t.Errorf("%d guesses took %v", guesses-4, slowed)
		}
		log := call(`"audit.entries"`)
		if strings.Count(log, `"tries":"5"`) != 2 || strings.Count(log, `"tries":"2"`) != 1 {
			t.Errorf("12 wrong guesses in the log: %s", log)
		}
	})
}
