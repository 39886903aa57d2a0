package enclave

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/bip39"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

func describeEnable(c *call, _ *api.None) (prompt.Confirm, error) {
	enabled, _ := c.vault.Recovery()
	return prompt.Confirm{Enabled: enabled}, nil
}

// recoveryEnable shows a new phrase and asks words of it back. Only then is it the
// vault's; until then the one before, if there was one, still is.
func recoveryEnable(c *call, _ *api.None) (outcome, error) {
	words, err := bip39.New(c.cfg.Rand)
	if err != nil {
		return outcome{}, err
	}
	if err := c.teach(words.Words()); err != nil {
		return outcome{}, err
	}
	phrase, err := vault.OpenPhrase(words)
	if err != nil {
		return outcome{}, err
	}
	if err := c.change(vault.Change{Way: c.way, Phrase: phrase}, "recovery.enable", nil); err != nil {
		return outcome{}, err
	}
	return c.recoveryDone("recovery.enable")
}

func (c *call) recoveryDone(method string) (outcome, error) {
	c.done(prompt.Done{What: method})
	enabled, since := c.vault.Recovery()
	return outcome{Result: api.Recovery{Enabled: enabled, CreatedAt: since}}, nil
}

// logAs commits the leaf of what the handler has done, or is about to hand out.
func (c *call) logAs(method string, details map[string]string) error {
	return c.logWith(method, details, nil)
}

// logWith does so together with a change; apply may be nil.
func (c *call) logWith(method string, details map[string]string, apply func(*ledger.Tx) error) error {
	return c.vault.Ledger.Submit(c.ctx, ledger.Op{Reserved: true, Urgent: true, Apply: apply, Entry: audit.Entry{
		Method: method, Origin: c.cfg.Origin, Outcome: "ok", Details: details,
	}})
}

// done tells the user that it is done. What comes of that screen changes nothing.
func (c *call) done(screen prompt.Done) { _, _ = c.ask(screen) }

// askedBack is how many words of a new phrase the user is asked for.
const askedBack = 3

// teach shows the words until the user knows some of them.
func (c *call) teach(words []string) error {
	for {
		if _, err := c.ask(prompt.ShowPhrase{Words: words}); err != nil {
			return err
		}
		known, err := c.quiz(words)
		if known || err != nil {
			return err
		}
	}
}

// quiz asks words back; false if the user wants to see them once more.
func (c *call) quiz(words []string) (known bool, err error) {
	positions, err := pick(c.cfg.Rand, len(words), askedBack)
	if err != nil {
		return false, err
	}
	screen := prompt.AskWords{Positions: positions}
	for {
		answer, err := c.ask(screen)
		if err != nil || answer.Choice == prompt.ChoiceBack {
			return false, err
		}
		if err := expect(answer, prompt.ChoiceWords); err != nil {
			return false, err
		}
		got := strings.Fields(strings.ToLower(answer.Text))
		wrong := slices.IndexFunc(positions, func(p int) bool {
			at := slices.Index(positions, p)
			return at >= len(got) || got[at] != words[p-1]
		})
		if wrong < 0 && len(got) == len(positions) {
			return true, nil
		}
		screen.Problem = &prompt.Problem{Code: prompt.WordsWrong, Number: positions[max(wrong, 0)]}
	}
}

// pick returns k different numbers from 1 to n, in order, each set as likely as any other.
func pick(random io.Reader, n, k int) ([]int, error) {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	for i := range k {
		j, err := below(random, n-i)
		if err != nil {
			return nil, err
		}
		numbers[i], numbers[i+j] = numbers[i+j], numbers[i]
	}
	slices.Sort(numbers[:k])
	return numbers[:k], nil
}

// below returns a random number below n ≤ 256, each as likely as any other.
func below(random io.Reader, n int) (int, error) {
	var b [1]byte
	for {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, fmt.Errorf("randomness: %w", err)
		}
		if int(b[0]) < 256-256%n {
			return int(b[0]) % n, nil
		}
	}
}

func describeCheck(c *call, _ *api.None) (prompt.Confirm, error) {
	if enabled, _ := c.vault.Recovery(); !enabled {
		return prompt.Confirm{}, vault.ErrNoPhrase
	}
	return prompt.Confirm{}, nil
}

// recoveryCheck has the user prove that the phrase is still at hand.
func recoveryCheck(c *call, _ *api.None) (outcome, error) {
	var way *vault.Way
	err := c.askPhrase(prompt.ForCheck, func(p *vault.Phrase) (*prompt.Problem, error) {
		var err error
		way, err = c.vault.Phrase(c.ctx, p)
		if errors.Is(err, vault.ErrWrongSecret) {
			return &prompt.Problem{Code: prompt.PhraseOther}, c.outdated(c.vault)
		}
		return nil, err
	})
	if err != nil {
		return outcome{}, err
	}
	if err := c.logWith(c.row.Method, nil, c.vault.KeepMark(way)); err != nil {
		return outcome{}, err
	}
	return c.recoveryDone("recovery.check")
}
