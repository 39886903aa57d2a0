package enclave

import (
	"io"

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
	defer c.bound(dialogTime)
	c.idle.hold()
	defer func() { c.idle.release(c.cfg.Now()) }() // also if it panics
	return c.dialog.Ask(c.whole, screen)
}

// askFor is ask for a screen that has one answer, besides a no; ErrAnswer for another one.
func (c *call) askFor(choice string, screen prompt.Screen) (prompt.Answer, error) {
	answer, err := c.ask(screen)
	if err == nil {
		err = expect(answer, choice)
	}
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

// expect returns ErrAnswer unless the user chose that.
func expect(answer prompt.Answer, choice string) error {
	if answer.Choice != choice {
		return prompt.ErrAnswer
	}
	return nil
}

func (e *Enclave) random(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(e.cfg.Rand, b)
	return b, err
}

func (e *Enclave) vaultConfig() vault.Config {
	return vault.Config{Engine: e.cfg.Engine, Rand: e.cfg.Rand, Now: e.cfg.Now}
}
