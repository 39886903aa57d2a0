package enclave

import (
	"errors"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

func vaultStatus(c *call, _ *api.None) (outcome, error) {
	report, err := c.vaults.Report(c.ctx)
	if errors.Is(err, ledger.ErrGone) || errors.Is(err, ledger.ErrReplaced) || errors.Is(err, ledger.ErrClosed) {
		// Another tab destroyed the vault since this one looked: look again.
		if v, current := c.vaults.Current(c.ctx); current == nil {
			c.vaults.Forget(v)
		}
		report, err = c.vaults.Report(c.ctx)
	}
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
	if p.Lock != "none" {
		return outcome{}, errorf(api.Unsupported, "lock %q: this release makes vaults with lock \"none\" only", p.Lock)
	}
	err := c.vaults.Create(c.ctx, p.Persistence, p.Lock, audit.Entry{
		Method: c.row.Method, Origin: c.cfg.Origin, Outcome: "ok",
		Details: map[string]string{"persistence": p.Persistence, "lock": p.Lock},
	})
	if err != nil {
		return outcome{}, err
	}
	c.notify("unlocked", nil)
	return vaultStatus(c, &api.None{})
}

// askDestroy shows what would be deleted. A vault whose storage is damaged can
// be destroyed, too: that is the way out.
func askDestroy(c *call) error {
	request := prompt.Destroy{Origin: c.cfg.Origin, Account: c.cfg.Account, State: "unreadable", Keys: -1}
	report, err := c.vaults.Report(c.ctx)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); damaged {
		request.State = "damaged"
	}
	if err == nil {
		request.State, request.Reason = report.State, report.Reason
		if report.State == "unlocked" {
			request.Keys = report.Keys
		}
	}
	return c.cfg.Prompter.Destroy(c.ctx, request)
}

func vaultDestroy(c *call, _ *api.None) (outcome, error) {
	if err := c.vaults.Destroy(c.ctx); err != nil {
		return outcome{}, err
	}
	c.notify("locked", map[string]string{"state": "absent"})
	return outcome{Result: api.None{}}, nil
}
