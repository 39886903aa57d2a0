package enclave

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/bip39"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

// What the user chooses or brings: new ways in, and the recovery phrase.

// newSlot has the user make a way in of a kind. What for is one of package prompt's
// words; the label is suggested for a passkey, of which there may be several.
func (c *call) newSlot(kind, label, what string) (vault.NewSlot, error) {
	cfg := c.vaultConfig()
	switch kind {
	case vault.LockNone, vault.KindDevice:
		return cfg.DeviceSlot()
	case vault.KindPassphrase:
		return c.newPassphrase(what)
	}
	return c.newPasskey(label, what)
}

// suggested is how many words a suggested passphrase has: 66 bits, beside what
// Argon2id adds.
const suggested = 6

func (c *call) newPassphrase(what string) (n vault.NewSlot, err error) {
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
		return cfg.PassphraseSlot(answer.Text, c.cfg.Strength.New())
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
		screen.Label = strings.TrimSpace(answer.Label)
		key, err := c.checkRegistration(c.ctx, answer.Created, screen.Challenge)
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

// askPhrase asks for the recovery phrase until accept takes it. A problem that
// accept returns is shown; whoever gives up cancels.
func (c *call) askPhrase(what string, accept func(*vault.Phrase) (*prompt.Problem, error)) error {
	screen := prompt.Phrase{App: c.app(), For: what}
	for {
		answer, err := c.askFor(prompt.ChoicePhrase, screen)
		if err != nil {
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
