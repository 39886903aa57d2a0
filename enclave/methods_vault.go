package enclave

import (
	"context"
	"errors"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

func vaultStatus(c *call, _ *api.None) (outcome, error) {
	report, err := c.vaults.Report(c.ctx)
	if err != nil {
		return outcome{}, err
	}
	return outcome{Result: statusOf(report)}, nil
}

func statusOf(r vault.Report) api.Status {
	s := api.Status{
		State: r.State, Reason: r.Reason, Persistence: r.Persistence, Lock: r.Lock, CreatedAt: r.CreatedAt,
		Durability: string(r.Durability), Counts: api.Counts{Keys: r.Keys, Entries: r.Entries},
	}
	for _, slot := range r.Slots {
		s.Slots = append(s.Slots, api.Slot(slot))
	}
	return s
}

func vaultCreate(c *call, p *api.CreateVaultParams) (outcome, error) {
	if p.Lock != vault.LockNone {
		return outcome{}, errorf(api.Unsupported, "lock %q: this release makes vaults with lock \"none\" only", p.Lock)
	}
	report, err := c.vaults.Create(c.ctx, p.Persistence, audit.Entry{
		Method: c.row.Method, Origin: c.cfg.Origin, Outcome: "ok",
		Details: map[string]string{"persistence": p.Persistence, "lock": p.Lock},
	})
	if err != nil {
		return outcome{}, err
	}
	c.notify("unlocked", nil)
	return outcome{Result: statusOf(report)}, nil
}

// askDestroy shows what would be deleted, and remembers which vault that is. A
// vault whose storage is damaged can be destroyed, too: that is the way out.
func askDestroy(c *call) (show func(context.Context) error, err error) {
	if c.anchor, err = c.vaults.Anchor(c.ctx); err != nil {
		return nil, err
	}
	request := prompt.Destroy{Origin: c.cfg.Origin, Account: c.cfg.Account, State: prompt.Unreadable, Keys: -1}
	report, err := c.vaults.Report(c.ctx)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); damaged {
		request.State = prompt.Damaged
	}
	if err == nil {
		request.State, request.Reason = report.State, report.Reason
		if report.State == vault.Unlocked {
			request.Keys = report.Keys
		}
	}
	return func(ctx context.Context) error { return c.cfg.Prompter.Destroy(ctx, request) }, nil
}

func vaultDestroy(c *call, _ *api.None) (outcome, error) {
	if err := c.vaults.Destroy(c.ctx, c.anchor); err != nil {
		return outcome{}, err
	}
	c.notify("locked", map[string]string{"state": vault.Absent})
	return outcome{Result: api.None{}}, nil
}
