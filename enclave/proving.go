package enclave

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

// What shows that the user is there, and what becomes of whoever guesses.

// confirm shows what is about to happen, and has the user prove to be there.
func (c *call) confirm(params any) error {
	request, err := c.row.describe(c, params)
	if err != nil {
		return err
	}
	request.App, request.Action = c.app(), c.row.Method
	c.way, err = c.prove(request)
	return err
}

// prove asks until the user has proved to be there, or gives up. A vault without a
// lock, and one that does not open, have nothing to prove with but a typed word.
func (c *call) prove(request prompt.Confirm) (*vault.Way, error) {
	device, err := c.device()
	if err != nil {
		return nil, err
	}
	proves := c.vault != nil && device == nil
	if !proves && request.Word == "" {
		request.Word = prompt.WordYes
	}
	for {
		if proves {
			if request.Proof, err = c.proof(); err != nil {
				return nil, err
			}
		}
		answer, err := c.ask(request)
		if err != nil {
			return nil, err
		}
		if answer.Word != request.Word {
			request.Problem = &prompt.Problem{Code: prompt.WordWrong}
			continue
		}
		if !proves {
			return device, expect(answer, prompt.ChoiceConfirm)
		}
		way, problem, err := c.tryWay(c.vault, answer, request.Proof.Challenge)
		if problem == nil || err != nil {
			return way, err
		}
		if err := c.wrong(problem); err != nil {
			return nil, err
		}
		request.Problem = problem
	}
}

// Whoever guesses waits, from the tenth wrong passphrase in a dialog on: a second, and
// twice as long after each further one, up to half a minute. The log is told of every few.
const (
	freeTries = 10
	mostPause = 30 * time.Second
	tellEvery = 5
)

// wrong counts a wrong secret. A few at once are a leaf of the log, and so are those
// that are left when the dialog ends. A passkey cannot be guessed, and needs no pause.
func (c *call) wrong(problem *prompt.Problem) error {
	c.untold++
	if c.untold >= tellEvery {
		c.tellTries()
	}
	if problem.Code != prompt.WrongPassphrase {
		return nil
	}
	if c.tries++; c.tries < freeTries {
		return nil
	}
	pause := time.NewTimer(min(time.Second<<min(c.tries-freeTries, 10), mostPause))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// tellTries writes how many wrong secrets there were into the log, where the vault's
// owner finds it. Without a log there is nothing to tell.
func (c *call) tellTries() {
	if c.untold == 0 {
		return
	}
	ctx, cancel := c.deadlines.WithTimeout(c.Enclave.ctx, machineTime, errTimeout)
	defer cancel()
	v, err := c.vaults.Current(ctx)
	if err != nil {
		return
	}
	err = v.Ledger.Submit(ctx, ledger.Op{Reserved: true, Entry: audit.Entry{
		Method: c.row.Method, Origin: c.cfg.Origin, Outcome: string(api.Denied),
		Details: map[string]string{"tries": strconv.Itoa(c.untold)},
	}})
	if err == nil {
		c.untold = 0
	}
}

// device returns the way in that asks nobody, if the vault has one.
func (c *call) device() (*vault.Way, error) {
	if c.vault == nil {
		return nil, nil
	}
	way, err := c.vault.Device()
	if errors.Is(err, vault.ErrNoSlot) {
		return nil, nil
	}
	return way, err
}

// proof returns what opens the vault now, with a challenge for its passkeys.
func (c *call) proof() (p prompt.Proof, err error) { return c.proofOf(c.vault) }

func (e *Enclave) proofOf(v *vault.Vault) (p prompt.Proof, err error) {
	for _, s := range v.Slots() {
		p.Passphrase = p.Passphrase || s.Kind == vault.KindPassphrase
	}
	for _, k := range v.Passkeys() {
		p.Passkeys = append(p.Passkeys, prompt.Credential{Slot: k.ID, Label: k.Label, ID: k.Credential, Salt: k.Salt})
	}
	if len(p.Passkeys) > 0 {
		p.Challenge, err = e.random(32)
	}
	return p, err
}

// tryWay opens a slot with what the user brought. A problem is for the user, to try again.
func (c *call) tryWay(v *vault.Vault, answer prompt.Answer, challenge []byte) (*vault.Way, *prompt.Problem, error) {
	var way *vault.Way
	var err error
	wrong := prompt.WrongPassphrase
	switch answer.Choice {
	case prompt.ChoicePassphrase:
		if len(answer.Text) > passphrase.MaxBytes {
			return nil, &prompt.Problem{Code: prompt.LongPassphrase, Number: passphrase.MaxBytes}, nil
		}
		c.progress("checking")
		way, err = v.Passphrase(c.ctx, answer.Text)
	case prompt.ChoicePasskey:
		wrong = prompt.WrongPasskey
		way, err = c.tryPasskey(v, answer.Passkey, challenge)
	default:
		return nil, nil, prompt.ErrAnswer
	}
	if errors.Is(err, vault.ErrWrongSecret) || errors.Is(err, vault.ErrNoSlot) || errors.Is(err, errAssertion) {
		return nil, &prompt.Problem{Code: wrong}, c.outdated(v)
	}
	return way, nil, err
}

// outdated returns an error if another tab has changed the ways into v since it was
// read: a secret that does not open it may be the right one now.
func (c *call) outdated(v *vault.Vault) error {
	if v.Ledger == nil { // it comes from a mirror, which is nobody else's
		return nil
	}
	err := v.Ledger.Read(c.ctx, func(*ledger.Tx) error { return nil })
	if !ledger.IsOver(err) {
		return nil
	}
	c.vaults.Forget(c.ctx, v)
	return err
}

func (c *call) tryPasskey(v *vault.Vault, a *prompt.Assertion, challenge []byte) (*vault.Way, error) {
	if a == nil {
		return nil, prompt.ErrAnswer
	}
	for _, key := range v.Passkeys() {
		if string(key.Credential) != string(a.ID) {
			continue
		}
		if err := c.checkAssertion(c.ctx, a, key.Passkey, challenge); err != nil {
			return nil, err
		}
		return v.Passkey(c.ctx, a.ID, a.PRF)
	}
	return nil, vault.ErrNoSlot
}
