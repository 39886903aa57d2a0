//go:build !js

package enclave

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/vault"
)

// TestOutcomes: an error promises that nothing was done only if that is known. A
// commit that was under way may have landed.
func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		err   error
		code  api.Code
		known bool
	}{
		{ledger.ErrClosed, api.Interrupted, false},
		{errClosed, api.Interrupted, false},
		{context.Canceled, api.Interrupted, false},
		{errTimeout, api.Timeout, false},
		{ledger.ErrTimeout, api.Timeout, false},
		{context.DeadlineExceeded, api.Timeout, false},
		{errCancelled, api.Cancelled, false},
		{errors.New("something else"), api.Internal, false},
		{vault.ErrChanged, api.Interrupted, true},
		{prompt.ErrCancelled, api.Cancelled, true},
		{store.ErrConflict, api.Conflict, true},
		{ledger.ErrReplaced, api.Conflict, true},
		{store.ErrFull, api.StorageFull, true},
	} {
		got := toError(test.err)
		if got.Code != test.code || strings.HasSuffix(got.Message, unknown) == test.known {
			t.Errorf("%v: %v", test.err, got)
		}
		if !test.known && strings.Contains(got.Message, "nothing was") {
			t.Errorf("%v promises too much: %v", test.err, got)
		}
	}
}

// TestPanicSaysNothing: a defect says neither what it met nor that nothing happened.
func TestPanicSaysNothing(t *testing.T) {
	defer func(old *Row) { byMethod["enclave.info"] = old }(byMethod["enclave.info"])
	row := *byMethod["enclave.info"]
	row.handle = func(*call, any) (outcome, error) { panic("secret") }
	byMethod["enclave.info"] = &row
	e := &Enclave{}
	answer := string(e.serve(t.Context(), api.Request{ID: 1, Method: "enclave.info"}))
	if !strings.Contains(answer, `"internal"`) || !strings.Contains(answer, unknown) || strings.Contains(answer, "secret") {
		t.Errorf("answer %s", answer)
	}
}
