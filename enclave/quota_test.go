//go:build !js

package enclave

import (
	"encoding/json/v2"
	"errors"
	"testing"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/prompt/prompttest"
)

// TestQuotaStopsNoUser: when an app has used up what the log allows it, its user can
// still end keys and remove ways in.
func TestQuotaStopsNoUser(t *testing.T) {
	e, call := start(t, &prompttest.User{Willing: true, Passphrase: "long enough for it"})
	call(`"vault.create","params":{"persistence":"session","lock":"none"}`)
	var made struct {
		Result struct {
			Key struct {
				KID string `json:"kid"`
			} `json:"key"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(call(`"keys.create","params":{"purpose":"signing"}`)), &made); err != nil {
		t.Fatal(err)
	}
	kid := made.Result.Key.KID
	call(`"slots.add","params":{"kind":"passphrase"}`)
	for _, test := range []struct {
		request string
		refused bool
	}{
		{`"jwt.sign","params":{"kid":"` + kid + `","audience":"a","ttlSeconds":60}`, true},
		{`"slots.change","params":{"id":"` + passphraseSlotOf(t, e) + `"}`, false},
		{`"keys.revoke","params":{"kid":"` + kid + `"}`, false},
	} {
		useUp(t, e) // again: it refills
		var reply struct {
			Error *struct {
				Code string `json:"code"`
			} `json:"error"`
		}
		text := call(test.request)
		if err := json.Unmarshal([]byte(text), &reply); err != nil {
			t.Fatal(err)
		}
		if got := reply.Error != nil; got != test.refused || (got && reply.Error.Code != "quota_exceeded") {
			t.Errorf("%s: %s", test.request, text)
		}
	}
}

func passphraseSlotOf(t *testing.T, e *Enclave) string {
	v, err := e.vaults.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range v.Slots() {
		if s.Kind == "passphrase" {
			return s.ID
		}
	}
	t.Fatal("no passphrase")
	return ""
}

// useUp writes what the log allows, all of it.
func useUp(t *testing.T, e *Enclave) {
	v, err := e.vaults.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entry := audit.Entry{Method: "m", Origin: "https://app.example", Outcome: "ok"}
	for range ledger.Burst {
		var all []*ledger.Submission
		for range 2000 {
			all = append(all, v.Ledger.Start(t.Context(), ledger.Op{Entry: entry}))
		}
		for _, s := range all {
			if err := s.Wait(); errors.Is(err, ledger.ErrQuota) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}
