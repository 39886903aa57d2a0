//go:build js && wasm

package enclave_test

import (
	"crypto/rand"
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/enclave/enclavetest"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/ledger/ledgertest"
	"github.com/kms-enclave/kms-enclave/vault"
)

var (
	entries = flag.Uint64("entries", 3000, "entries of the log in TestLongLog")
	samples = flag.Int("samples", 20, "signatures of each kind in TestLongLog")
)

// TestLongLog: with a long log, in a browser, one still signs, opens the vault and reads the log's
// end. How long that takes, beside a vault with a short one and in turn with it, is what it
// prints; make bench has it with a million entries.
func TestLongLog(t *testing.T) {
	platform := browser(t)
	o := enclavetest.NewOrigin(t, platform)
	var later time.Duration // than now
	o.Now = func() time.Time { return time.Now().Add(later) }
	type logged struct {
		account, kid string
		c            *enclavetest.Client
		signed       []time.Duration
		opened       []time.Duration
	}
	short, long := &logged{account: "short"}, &logged{account: "long"}
	both := []*logged{short, long}
	for _, l := range both {
		l.c = o.ConnectAs(enclavetest.App, l.account)
		l.c.CreateVault()
		l.kid = l.c.CreateKey("signing", "").KID
	}
	sign := func(l *logged) { l.c.Sign(l.kid) }
	for range *samples { // the browser's compilers come to rest
		sign(short)
		sign(long)
	}

	m := vault.NewManager(vault.ManagerConfig{
		Config: vault.Config{Engine: platform.Engine, Rand: rand.Reader, Now: time.Now},
		Device: long.c.Device, ID: vault.ID(enclavetest.App, long.account), Share: o.Share, Marker: true,
	})
	defer m.Close()
	v, err := m.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	op := ledger.Op{Reserved: true, Entry: audit.Entry{Method: "jwt.sign", Origin: enclavetest.App, Outcome: "ok", KID: long.kid}}
	ledgertest.Grow(t, v.Ledger, op, *entries)
	t.Logf("%d entries in %v", *entries, time.Since(began).Round(time.Millisecond))

	later = (ledger.Burst/ledger.RefillPerSecond + 1) * time.Second // the allowance is there again, for the signatures below

	timed := func(do func(l *logged), of func(l *logged) *[]time.Duration, n int) {
		for range n {
			for _, l := range both {
				began := time.Now()
				do(l)
				*of(l) = append(*of(l), time.Since(began))
			}
		}
	}
	timed(sign, func(l *logged) *[]time.Duration { return &l.signed }, *samples)
	timed(func(l *logged) {
		l.c.Close()
		l.c = o.ConnectAs(enclavetest.App, l.account)
		sign(l)
	}, func(l *logged) *[]time.Duration { return &l.opened }, max(*samples/10, 1))

	median := func(times []time.Duration) time.Duration { return slices.Sorted(slices.Values(times))[len(times)/2] }
	tell := func(what string, a, b []time.Duration) {
		t.Logf("%s: p50 %v, %v with a short log: %.2f×", what, median(b).Round(10*time.Microsecond), median(a).Round(10*time.Microsecond), float64(median(b))/float64(median(a)))
	}
	tell("jwt.sign", short.signed, long.signed)
	tell("a new worker's vault, to its first signature", short.opened, long.opened)
	began = time.Now()
	var verdict api.AuditVerdict
	long.c.Must("audit.verify", nil, &verdict)
	t.Logf("audit.verify of %d entries in %v", verdict.Size, time.Since(began).Round(time.Millisecond))
	if !verdict.Valid || verdict.Size < *entries {
		t.Errorf("%+v", verdict)
	}
	var page api.Entries
	long.c.Must("audit.entries", map[string]any{"from": *entries - 100, "limit": 50}, &page)
	if status := long.c.Status(); status.Counts.Entries < *entries || len(page.Entries) != 50 {
		t.Errorf("%d entries, and a page of %d", status.Counts.Entries, len(page.Entries))
	}
}
