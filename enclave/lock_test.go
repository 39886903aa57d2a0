//go:build !js

package enclave_test

import (
	"crypto/rand"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave/enclavetest"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// clocked runs a test in a profile whose user has a passkey, with a clock that only
// moves when everything waits.
func clocked(t *testing.T, test func(t *testing.T, o *enclavetest.Origin)) {
	synctest.Test(t, func(t *testing.T) {
		database := memstore.New()
		o := enclavetest.NewOrigin(t, enclavetest.Platform{
			Engine: native.New(rand.Reader), Open: func(*testing.T, string) store.Store { return database.Tab() },
		})
		o.User.Willing = true
		test(t, o)
	})
}

func create(t *testing.T, o *enclavetest.Origin, idle int) *enclavetest.Client {
	t.Helper()
	c := o.Connect()
	params := map[string]any{"persistence": "device", "lock": "passkey"}
	if idle > 0 {
		params["idleSeconds"] = idle
	}
	c.Must("vault.create", params, nil)
	return c
}

const lockedByItself = `{"event":"locked","data":{"state":"locked","reason":"idle"}}`

func state(t *testing.T, c *enclavetest.Client, want string) {
	t.Helper()
	if got := c.Status().State; got != want {
		t.Errorf("the vault is %s, %s wanted", got, want)
	}
	if told := slices.Contains(c.Events(), lockedByItself); told != (want == "locked") {
		t.Errorf("events %q of a vault that is %s", c.Events(), want)
	}
}

// TestIdleLock: after fifteen minutes, or as many seconds as were asked for, a vault that
// nobody uses is locked, and looking at its status is no use.
func TestIdleLock(t *testing.T) {
	for asked, after := range map[int]time.Duration{0: 15 * time.Minute, 60: time.Minute, 86400: 24 * time.Hour} {
		clocked(t, func(t *testing.T, o *enclavetest.Origin) {
			c := create(t, o, asked)
			if got := c.Status().IdleSeconds; got != int64(after/time.Second) {
				t.Errorf("%d seconds asked for, %d set", asked, got)
			}
			time.Sleep(after - time.Second)
			state(t, c, "unlocked")
			time.Sleep(time.Second + time.Millisecond)
			state(t, c, "locked")
			c.Refused(api.Locked, "keys.list", nil)
			c.Must("vault.unlock", nil, nil)
			var page api.Entries
			c.Must("audit.entries", nil, &page)
			if e := page.Entries[1]; e.Method != "vault.lock" || e.Details["why"] != "idle" {
				t.Errorf("logged %+v", e)
			}
			// It is watched again.
			time.Sleep(after + time.Second)
			c.Refused(api.Locked, "keys.list", nil)
		})
	}
}

// TestIdleBounds: less than a minute or more than a day is refused.
func TestIdleBounds(t *testing.T) {
	clocked(t, func(_ *testing.T, o *enclavetest.Origin) {
		c := o.Connect()
		for _, seconds := range []int{-1, 1, 59, 86401} {
			c.Refused(api.InvalidRequest, "vault.create", map[string]any{"persistence": "device", "lock": "passkey", "idleSeconds": seconds})
		}
	})
}

// TestUsePostpones: whoever uses the vault is not interrupted.
func TestUsePostpones(t *testing.T) {
	clocked(t, func(t *testing.T, o *enclavetest.Origin) {
		c := create(t, o, 60)
		for range 10 {
			time.Sleep(59 * time.Second)
			c.Must("keys.list", nil, nil)
		}
		time.Sleep(59 * time.Second)
		state(t, c, "unlocked")
		time.Sleep(2 * time.Second)
		state(t, c, "locked")
	})
}

// TestLockWhileAsked: a dialog that is open when the vault locks does nothing to it
// afterwards.
func TestLockWhileAsked(t *testing.T) {
	clocked(t, func(t *testing.T, o *enclavetest.Origin) {
		c := create(t, o, 60)
		var key api.KeyResult
		c.Must("keys.create", map[string]any{"purpose": "signing"}, &key)
		o.User.Meanwhile(func() { c.Must("vault.lock", nil, nil) })
		f := c.Try("keys.revoke", map[string]any{"kid": key.Key.KID}, nil)
		if f == nil || f.Code != api.Interrupted && f.Code != api.Locked {
			t.Errorf("revoked under a locked vault: %v", f)
		}
		if s := c.Status(); s.State != "locked" {
			t.Errorf("the vault is %s", s.State)
		}
		c.Must("vault.unlock", nil, nil)
		c.Must("keys.get", map[string]any{"kid": key.Key.KID}, &key)
		if key.Key.State != "active" {
			t.Errorf("the key is %s", key.Key.State)
		}
	})
}

// TestNoIdleLock: a vault with lock none has nothing to lock, and one that has got a device slot
// neither. One that loses it is watched.
func TestNoIdleLock(t *testing.T) {
	clocked(t, func(t *testing.T, o *enclavetest.Origin) {
		c := o.Connect()
		c.CreateVault()
		if got := c.Status().IdleSeconds; got != 0 {
			t.Errorf("idle after %d seconds", got)
		}
		c.Must("slots.add", map[string]any{"kind": "passkey"}, nil)
		time.Sleep(24 * time.Hour)
		state(t, c, "unlocked")
		c.Must("slots.remove", map[string]any{"id": c.Status().Slots[0].ID}, nil)
		time.Sleep(14 * time.Minute)
		c.Must("slots.add", map[string]any{"kind": "device"}, nil)
		time.Sleep(24 * time.Hour)
		state(t, c, "unlocked")
		c.Must("slots.remove", map[string]any{"id": c.Status().Slots[1].ID}, nil)
		time.Sleep(15*time.Minute + time.Second)
		state(t, c, "locked")
	})
}

// TestSleptMachine: whoever opens the lid finds the vault locked, though no timer has rung.
func TestSleptMachine(t *testing.T) {
	clocked(t, func(t *testing.T, o *enclavetest.Origin) {
		var slept atomic.Int64
		o.Now = func() time.Time { return time.Now().Round(0).Add(time.Duration(slept.Load())) }
		for _, method := range []string{"keys.list", "vault.unlock"} {
			c := create(t, o, 0)
			slept.Add(int64(14 * time.Minute))
			c.Must("keys.list", nil, nil)
			slept.Add(int64(15 * time.Minute))
			asked := len(o.User.Seen())
			if method == "keys.list" {
				c.Refused(api.Locked, method, nil)
			} else {
				c.Must(method, nil, nil) // and asks
				if len(o.User.Seen()) != asked+1 {
					t.Error("an over-due vault was taken for an open one")
				}
			}
			c.Must("vault.destroy", nil, nil)
			c.Close()
		}
	})
}

// TestDialogKeepsOpen: the time a dialog takes counts from its last answer.
func TestDialogKeepsOpen(t *testing.T) {
	clocked(t, func(t *testing.T, o *enclavetest.Origin) {
		c := create(t, o, 60)
		n := 0
		o.User.On = func(s prompt.Screen) (prompt.Answer, error, bool) {
			if _, ok := s.(prompt.Activity); ok {
				time.Sleep(50 * time.Second)
				if n++; n < 4 {
					return prompt.Answer{Choice: prompt.ChoiceNewest}, nil, true
				}
			}
			return prompt.Answer{}, nil, false
		}
		c.Must("audit.show", nil, nil)
		state(t, c, "unlocked")
	})
}
