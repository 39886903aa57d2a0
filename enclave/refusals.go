package enclave

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/lease"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/vault"
)

// Refusals that matter are leaves of the log, too, but an app must not be able
// to fill the disk with them: they are counted, and written at most once per
// refusalInterval, one leaf per method and code.
const (
	refusalInterval = time.Minute
	refusalsLast    = time.Second // for writing them when the enclave closes
	maxRefusalKinds = 64
)

type refusal struct {
	method string
	code   api.Code
	lease  string // that it was asked for under, if there is such a lease
}

type refusals struct {
	enclave *Enclave

	mu      sync.Mutex
	counts  map[refusal]int
	waiting bool // a flush is scheduled or under way
	flushed bool // something has been written already: wait the interval
}

func (r *refusals) init(e *Enclave) {
	r.enclave = e
	r.counts = map[refusal]int{}
}

// note counts a refused call. Only decisions count, not malformed requests,
// faults, or calls that the app itself took back.
func (r *refusals) note(row *Row, code api.Code, lease string) {
	switch code {
	case api.Denied, api.QuotaExceeded, api.Cancelled, api.Expired:
	default:
		return
	}
	if code == api.Cancelled && !row.Asks() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := refusal{row.Method, code, lease}
	if r.counts[key] == 0 && len(r.counts) >= maxRefusalKinds {
		return
	}
	r.counts[key]++
	if r.waiting || r.enclave.ctx.Err() != nil {
		return
	}
	r.waiting = true
	wait := time.Duration(0)
	if r.flushed {
		wait = refusalInterval
	}
	r.enclave.running.Go(func() { r.flush(wait) })
}

// flush writes what was counted, after a while.
func (r *refusals) flush(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		r.write(r.enclave.ctx, machineTime)
	case <-r.enclave.ctx.Done():
	}
}

// last writes what is left when the enclave closes. A page that goes away gives
// no time for it: see docs/threat-model.md.
func (r *refusals) last() { r.write(context.Background(), refusalsLast) }

// write writes the counts, also while the vault is locked. Without a vault there is no
// log to write to, and they are dropped.
func (r *refusals) write(ctx context.Context, most time.Duration) {
	r.mu.Lock()
	counts := r.counts
	r.counts, r.waiting, r.flushed = map[refusal]int{}, false, true
	r.mu.Unlock()
	if len(counts) == 0 {
		return
	}
	ctx, cancel := r.enclave.deadlines.WithTimeout(ctx, most, errTimeout)
	defer cancel()
	v, err := r.enclave.vaults.Current(ctx)
	if err != nil {
		return
	}
	for key, n := range counts {
		// A refusal that cannot be written must not fail anybody's call.
		op := ledger.Op{Reserved: true, Entry: audit.Entry{
			Method: key.method, Lease: key.lease, Origin: r.enclave.cfg.Origin, Outcome: string(key.code),
			Details: map[string]string{"count": strconv.Itoa(n)},
		}}
		if key.lease != "" {
			op.Apply = vault.ChangeLeases(func(b *lease.Book, _ int64) error {
				b.Refuse(key.lease, n)
				return nil
			})
		}
		_ = v.Ledger.Submit(ctx, op)
	}
}
