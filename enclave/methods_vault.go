package enclave

import (
	"errors"
	"fmt"
	"time"

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

// statusAfter is the status after something was done: if it cannot be had, that must not
// say that nothing was. What is damaged is said all the same.
func statusAfter(c *call) (outcome, error) {
	out, err := vaultStatus(c, nil)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); err != nil && !damaged {
		err = fmt.Errorf("%w: %v", vault.ErrChanged, err)
	}
	return out, err
}

func statusOf(r vault.Report) api.Status {
	s := api.Status{
		State: r.State, Reason: r.Reason, Persistence: r.Persistence, Lock: r.Lock, IdleSeconds: r.Idle, CreatedAt: r.CreatedAt,
		Durability: string(r.Durability), Slots: slotsOf(r.Slots), Counts: api.Counts{Keys: r.Keys, Entries: r.Entries},
		Recovery: api.Recovery{Enabled: r.Recovery, CreatedAt: r.RecoveryAt},
	}
	if r.Lineage != "" {
		s.Lineage = api.Lineage{Vault: r.Lineage, Epoch: r.Epoch}
	}
	return s
}

func slotsOf(slots []vault.Slot) []api.Slot {
	shown := make([]api.Slot, len(slots))
	for i, s := range slots {
		shown[i] = api.Slot(s)
	}
	return shown
}

func vaultCreate(c *call, p *api.CreateVaultParams) (outcome, error) {
	creation := vault.Creation{Persistence: p.Persistence, Idle: idleOf(p.IdleSeconds)}
	if err := c.vaults.Room(c.ctx, creation); err != nil {
		return outcome{}, err
	}
	slot, err := c.newSlot(p.Lock, "", prompt.ForVault)
	if err != nil {
		return outcome{}, err
	}
	creation.Slots = []vault.NewSlot{slot}
	return c.create(creation, map[string]string{"persistence": p.Persistence, "lock": p.Lock})
}

func idleOf(seconds int64) int64 {
	if seconds == 0 {
		return api.DefaultIdle
	}
	return seconds
}

// create makes a vault, and says so.
func (c *call) create(creation vault.Creation, details map[string]string) (outcome, error) {
	report, err := c.vaults.Create(c.ctx, creation, audit.Entry{
		Method: c.row.Method, Origin: c.cfg.Origin, Outcome: "ok", Details: details,
	})
	if err != nil {
		return outcome{}, err
	}
	c.watch(report.Lock, time.Duration(report.Idle)*time.Second)
	c.notify("unlocked", nil)
	return outcome{Result: statusOf(report)}, nil
}

// vaultUnlock asks for a way in until there is one. A vault that is unlocked stays so.
func vaultUnlock(c *call, p *api.None) (outcome, error) {
	v, err := c.vaults.Current(c.ctx)
	if err != nil || !v.Locked() {
		if err == nil && v.Lock() == vault.LockNone {
			err = vault.ErrNoLock
		}
		if err != nil {
			return outcome{}, err
		}
		return vaultStatus(c, p)
	}
	way, took, text, err := c.unlockBy(v, prompt.Unlock{App: c.app()})
	if err != nil {
		return outcome{}, err
	}
	c.vault, err = c.vaults.Unlock(c.ctx, v, way, audit.Entry{
		Method: c.row.Method, Origin: c.cfg.Origin, Outcome: "ok", Details: slotDetails(way.Slot),
	})
	if err != nil {
		return outcome{}, err
	}
	c.watch(c.vault.Lock(), c.vault.Idle())
	c.notify("unlocked", nil)
	c.afterUnlock(way, took, text)
	return statusAfter(c)
}

func slotDetails(s vault.Slot) map[string]string {
	details := map[string]string{"kind": s.Kind}
	if s.ID != "" {
		details["slot"] = s.ID
	}
	if s.Label != "" {
		details["label"] = s.Label
	}
	return details
}

// unlockBy returns the way in that the user has opened; of a passphrase also how long
// that took, and its text.
func (c *call) unlockBy(v *vault.Vault, screen prompt.Unlock) (way *vault.Way, took time.Duration, text string, err error) {
	screen.Phrase, _ = v.Recovery()
	for {
		if screen.Proof, err = c.proofOf(v); err != nil {
			return nil, 0, "", err
		}
		answer, err := c.ask(screen)
		if err != nil {
			return nil, 0, "", err
		}
		if answer.Choice == prompt.ChoicePhrase && screen.Phrase {
			way, err := c.unlockByPhrase(v)
			return way, 0, "", err
		}
		began := time.Now()
		way, problem, err := c.tryWay(v, answer, screen.Proof.Challenge)
		if problem == nil || err != nil {
			return way, time.Since(began), answer.Text, err
		}
		if err := c.wrong(problem); err != nil {
			return nil, 0, "", err
		}
		screen.Problem = problem
	}
}

func (c *call) unlockByPhrase(v *vault.Vault) (way *vault.Way, err error) {
	err = c.askPhrase(prompt.ForUnlock, func(p *vault.Phrase) (*prompt.Problem, error) {
		if way, err = v.Phrase(c.ctx, p); errors.Is(err, vault.ErrWrongSecret) {
			return &prompt.Problem{Code: prompt.PhraseOther}, c.outdated(v)
		}
		return nil, err
	})
	return way, err
}

// afterUnlock mends the passphrase slot: who came by the phrase may have forgotten
// the passphrase; and one that costs too little on this machine is made to cost more.
// The vault is open whatever becomes of it: if another tab was faster, storage is full
// or the user has gone, the next time will do.
func (c *call) afterUnlock(way *vault.Way, took time.Duration, text string) {
	old := c.passphraseSlot()
	switch {
	case old == nil:
	case way.Slot.ID == "":
		_ = c.replaceForgotten(way, old)
	case way.Slot.Kind == vault.KindPassphrase:
		_ = c.raise(way, old, took, text)
	}
}

func (c *call) raise(way *vault.Way, old *vault.Slot, took time.Duration, text string) error {
	has, _ := c.vault.Strength()
	params, weak := c.cfg.Strength.Raised(has, took)
	if !weak {
		return nil
	}
	c.progress("encrypting")
	cfg := c.vaultConfig()
	slot, err := cfg.PassphraseSlot(text, params)
	if err != nil {
		return err
	}
	return c.change(vault.Change{Way: way, Add: &slot, Remove: old.ID, Same: true}, "slots.raise", nil)
}

func (c *call) passphraseSlot() *vault.Slot {
	for _, s := range c.vault.Slots() {
		if s.Kind == vault.KindPassphrase {
			return &s
		}
	}
	return nil
}

func (c *call) replaceForgotten(way *vault.Way, old *vault.Slot) error {
	slot, err := c.newPassphrase(prompt.ForForgot)
	if err != nil {
		return err
	}
	return c.change(vault.Change{Way: way, Add: &slot, Remove: old.ID}, "slots.change", slotDetails(*old))
}

func vaultLock(c *call, p *api.None) (outcome, error) {
	if err := c.lockVault(c.ctx, "asked"); err != nil {
		return outcome{}, err
	}
	return statusAfter(c)
}

// describeDestroy shows what would be deleted, and remembers which vault that is. A
// vault whose storage is damaged can be destroyed, too, and one that nobody can
// unlock any more: that is the way out. So what proves that the user is there is
// the word and the wait.
func describeDestroy(c *call, _ *api.None) (request prompt.Confirm, err error) {
	if c.anchor, err = c.vaults.Anchor(c.ctx); err != nil {
		return request, err
	}
	fact := &prompt.VaultFact{State: prompt.Unreadable, Keys: -1}
	report, err := c.vaults.Report(c.ctx)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); damaged {
		fact.State = prompt.Damaged
	}
	if err == nil {
		fact.State, fact.Reason = report.State, report.Reason
		if report.State != vault.Lost {
			fact.Keys = report.Keys
		}
	}
	return prompt.Confirm{Vault: fact, Word: prompt.Word, WaitMs: prompt.Wait.Milliseconds()}, nil
}

func vaultDestroy(c *call, _ *api.None) (outcome, error) {
	if err := c.vaults.Destroy(c.ctx, c.anchor); err != nil {
		return outcome{}, err
	}
	c.idle.stop()
	c.notify("locked", lockedEvent{State: vault.Absent, Reason: "destroyed"})
	return outcome{Result: api.None{}}, nil
}
