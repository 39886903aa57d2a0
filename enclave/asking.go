package enclave

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/bip39"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

// The dialog of a call: one for all its screens. Between two of them machines have
// dialogTime; the user takes the time it takes.

// ask shows a screen and waits for the answer.
func (c *call) ask(screen prompt.Screen) (prompt.Answer, error) {
	if err := c.openDialog(); err != nil {
		return prompt.Answer{}, err
	}
	c.bounds()
	c.idle.hold()
	answer, err := c.dialog.Ask(c.whole, screen)
	c.idle.release(c.cfg.Now())
	c.bound(dialogTime)
	return answer, err
}

func (c *call) openDialog() (err error) {
	if c.dialog == nil {
		c.dialog, err = c.cfg.Prompter.Open(c.whole)
	}
	return err
}

// progress shows what is being done, in a dialog that is open.
func (c *call) progress(what string) {
	if c.dialog != nil {
		c.dialog.Progress(prompt.Progress{What: what})
	}
}

// closeDialog ends the dialog, if there is one; err is what became of the call.
func (c *call) closeDialog(err error) {
	if c.dialog != nil {
		c.dialog.Close(err)
		c.dialog = nil
		c.tellTries()
	}
}

func (c *call) app() prompt.App { return prompt.App{Origin: c.cfg.Origin, Account: c.cfg.Account} }

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
		if problem == nil {
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
	if c.untold == tellEvery {
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
	_ = v.Ledger.Submit(ctx, ledger.Op{Reserved: true, Entry: audit.Entry{
		Method: c.row.Method, Origin: c.cfg.Origin, Outcome: string(api.Denied),
		Details: map[string]string{"tries": strconv.Itoa(c.untold)},
	}})
	c.untold = 0
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

// expect returns ErrAnswer unless the user chose that.
func expect(answer prompt.Answer, choice string) error {
	if answer.Choice != choice {
		return prompt.ErrAnswer
	}
	return nil
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

func (e *Enclave) random(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(e.cfg.Rand, b)
	return b, err
}

// tryWay opens a slot with what the user brought. A problem is for the user, to try again.
func (c *call) tryWay(v *vault.Vault, answer prompt.Answer, challenge []byte) (*vault.Way, *prompt.Problem, error) {
	var way *vault.Way
	var err error
	wrong := prompt.WrongPassphrase
	switch answer.Choice {
	case prompt.ChoicePassphrase:
		if passphrase.Check(answer.Text) != nil && len(answer.Text) > passphrase.MaxBytes {
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
		return nil, &prompt.Problem{Code: wrong}, nil
	}
	return way, nil, err
}

func (c *call) tryPasskey(v *vault.Vault, a *prompt.Assertion, challenge []byte) (*vault.Way, error) {
	if a == nil {
		return nil, prompt.ErrAnswer
	}
	for _, key := range v.Passkeys() {
		if string(key.Credential) != string(a.ID) {
			continue
		}
		if err := c.checkAssertion(a, key.Passkey, challenge); err != nil {
			return nil, err
		}
		return v.Passkey(c.ctx, a.ID, a.PRF)
	}
	return nil, vault.ErrNoSlot
}

// newSlot has the user make a way in of a kind. What for is one of package prompt's
// words; the label is suggested for a passkey, of which there may be several.
func (c *call) newSlot(kind, label, what string) (vault.NewSlot, error) {
	cfg := c.vaultConfig()
	switch kind {
	case vault.LockNone, vault.KindDevice:
		return cfg.DeviceSlot("This browser")
	case vault.KindPassphrase:
		return c.newPassphrase("Passphrase", what)
	}
	return c.newPasskey(orElse(label, "Passkey"), what)
}

func orElse(label, other string) string {
	if label = strings.TrimSpace(label); label != "" {
		return label
	}
	return other
}

// suggested is how many words a suggested passphrase has: 66 bits, beside what
// Argon2id adds.
const suggested = 6

func (c *call) newPassphrase(label, what string) (n vault.NewSlot, err error) {
	screen := prompt.NewPassphrase{App: c.app(), For: what, MinChars: passphrase.MinChars, MaxBytes: passphrase.MaxBytes}
	for {
		words, err := bip39.Words(c.cfg.Rand, suggested)
		if err != nil {
			return n, err
		}
		screen.Suggestion = strings.Join(words, " ")
		answer, err := c.ask(screen)
		if err != nil {
			return n, err
		}
		if answer.Choice == prompt.ChoiceLater && what == prompt.ForForgot {
			return n, errLater
		}
		if err := expect(answer, prompt.ChoicePassphrase); err != nil {
			return n, err
		}
		if screen.Problem = passphraseProblem(answer.Text); screen.Problem != nil {
			continue
		}
		c.progress("encrypting")
		cfg := c.vaultConfig()
		return cfg.PassphraseSlot(label, answer.Text, c.cfg.Strength.New())
	}
}

// errLater: the user wants to do it another time.
var errLater = errors.New("enclave: later")

func passphraseProblem(text string) *prompt.Problem {
	err := passphrase.Check(text)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, passphrase.ErrShort):
		return &prompt.Problem{Code: prompt.ShortPassphrase, Number: passphrase.MinChars}
	case errors.Is(err, passphrase.ErrLong):
		return &prompt.Problem{Code: prompt.LongPassphrase, Number: passphrase.MaxBytes}
	}
	return &prompt.Problem{Code: prompt.OddPassphrase}
}

func (c *call) newPasskey(label, what string) (n vault.NewSlot, err error) {
	screen := prompt.NewPasskey{App: c.app(), For: what, Label: label}
	if c.vault != nil {
		for _, k := range c.vault.Passkeys() {
			screen.Known = append(screen.Known, k.Credential)
		}
	}
	for {
		for _, b := range []*[]byte{&screen.Challenge, &screen.User, &screen.Salt} {
			if *b, err = c.random(32); err != nil {
				return n, err
			}
		}
		answer, err := c.ask(screen)
		if err != nil {
			return n, err
		}
		if answer.Choice != prompt.ChoicePasskey || answer.Created == nil || utf8.RuneCountInString(answer.Label) > api.MaxLabel {
			return n, prompt.ErrAnswer
		}
		screen.Label = orElse(answer.Label, label)
		key, err := c.checkRegistration(answer.Created, screen.Challenge)
		switch {
		case errors.Is(err, errNoPRF):
			screen.Problem = &prompt.Problem{Code: prompt.PasskeyWithout}
		case errors.Is(err, errAssertion):
			screen.Problem = &prompt.Problem{Code: prompt.WrongPasskey}
		case err != nil:
			return n, err
		default:
			cfg := c.vaultConfig()
			return cfg.PasskeySlot(screen.Label, key, screen.Salt, answer.Created.PRF)
		}
	}
}

func (e *Enclave) vaultConfig() vault.Config {
	return vault.Config{Engine: e.cfg.Engine, Rand: e.cfg.Rand, Now: e.cfg.Now}
}

// askPhrase asks for the recovery phrase until accept takes it. A problem that
// accept returns is shown; whoever gives up cancels.
func (c *call) askPhrase(what string, accept func(*vault.Phrase) (*prompt.Problem, error)) error {
	screen := prompt.Phrase{App: c.app(), For: what}
	for {
		answer, err := c.ask(screen)
		if err != nil {
			return err
		}
		if err := expect(answer, prompt.ChoicePhrase); err != nil {
			return err
		}
		words, err := bip39.Parse(answer.Text)
		if err != nil {
			screen.Problem = phraseProblem(err, answer.Text)
			continue
		}
		c.progress("checking")
		phrase, err := vault.OpenPhrase(words)
		if err != nil {
			return err
		}
		if screen.Problem, err = accept(phrase); err != nil || screen.Problem == nil {
			return err
		}
	}
}

func phraseProblem(err error, text string) *prompt.Problem {
	if e, ok := errors.AsType[*bip39.WordError](err); ok {
		return &prompt.Problem{Code: prompt.WordUnknown, Number: e.Number, Text: e.Word}
	}
	if e, ok := errors.AsType[*bip39.CountError](err); ok {
		return &prompt.Problem{Code: prompt.WordCount, Number: e.Count}
	}
	if errors.Is(err, bip39.ErrLong) {
		return &prompt.Problem{Code: prompt.WordCount, Number: len(strings.Fields(text))}
	}
	return &prompt.Problem{Code: prompt.PhraseChecksum}
}
