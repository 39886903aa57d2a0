// Package ledgertest is for tests that need a long log.
package ledgertest

import (
	"testing"

	"github.com/kms-enclave/kms-enclave/ledger"
)

// atOnce is how many operations wait for each other.
const atOnce = 2048

// Grow runs an operation n times, many at once. A log of more than ledger.Burst entries takes one
// that is Reserved, and leaves no allowance for others.
func Grow(t *testing.T, l *ledger.Ledger, op ledger.Op, n uint64) {
	t.Helper()
	for n > 0 {
		waiting := make([]*ledger.Submission, min(n, atOnce))
		for i := range waiting {
			waiting[i] = l.Start(t.Context(), op)
		}
		for _, s := range waiting {
			if err := s.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		n -= uint64(len(waiting))
	}
}
