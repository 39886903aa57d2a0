package enclave

import (
	"errors"
	"strconv"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

// shownAtOnce is how many entries one screen of the activity shows.
const shownAtOnce = 50

// maxSaved bounds the audit file that is saved from the dialog, in bytes; audit.export
// pages through longer ones.
const maxSaved = 64 << 20

// auditShow shows the log in the enclave's own words, where no app can change it.
func auditShow(c *call, _ *api.None) (outcome, error) {
	size, _, err := c.head()
	if err != nil {
		return outcome{}, err
	}
	end := size // of the page that is shown
	for {
		screen, err := c.activity(end, size)
		if err != nil {
			return outcome{}, err
		}
		answer, err := c.ask(screen)
		if err != nil && !errors.Is(err, prompt.ErrCancelled) {
			return outcome{}, err
		}
		switch {
		case err != nil || answer.Choice == prompt.ChoiceClose:
			c.closeDialog(prompt.ErrClosed)
			return outcome{Result: api.None{}}, nil
		case answer.Choice == prompt.ChoiceOlder:
			if screen.Older {
				end -= shownAtOnce
			}
		case answer.Choice == prompt.ChoiceNewest:
			end = size
		case answer.Choice == prompt.ChoiceExport:
			if err := c.saveAudit(); err != nil && !errors.Is(err, prompt.ErrCancelled) {
				return outcome{}, err
			}
		default:
			return outcome{}, prompt.ErrAnswer
		}
	}
}

// activity returns the page that ends before entry end, the newest entry first.
func (c *call) activity(end, size uint64) (screen prompt.Activity, err error) {
	from := end - min(end, shownAtOnce)
	screen = prompt.Activity{App: c.app(), Older: from > 0, Newest: end == size, Total: size, Entries: []prompt.Event{}}
	err = c.vault.Ledger.Read(c.ctx, func(tx *ledger.Tx) error {
		leaves, err := tx.Log(from, int(end-from))
		if err != nil {
			return err
		}
		screen.Entries = screen.Entries[:0]
		for i := range leaves {
			at := len(leaves) - 1 - i
			e, err := audit.ParseEntry(leaves[at])
			if err != nil {
				return &ledger.IntegrityError{What: "log entry " + strconv.FormatUint(from+uint64(at), 10)}
			}
			event, err := eventOf(tx, e)
			if err != nil {
				return err
			}
			screen.Entries = append(screen.Entries, event)
		}
		return nil
	})
	if err != nil {
		return prompt.Activity{}, err // it may be about to be written
	}
	return screen, nil
}

// eventOf adds what is known now of the key that an entry names.
func eventOf(tx *ledger.Tx, e audit.Entry) (prompt.Event, error) {
	event := prompt.Event{
		Seq: e.Seq, Time: e.Time, Method: e.Method, KID: e.KID, Origin: e.Origin, Outcome: e.Outcome, Details: e.Details,
	}
	if e.KID == "" {
		return event, nil
	}
	key, err := vault.ReadKey(tx, e.KID)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); damaged || errors.Is(err, vault.ErrNoKey) {
		return event, nil // the entry is all that is known of it
	}
	if err != nil {
		return event, err
	}
	event.Label, event.Purpose = key.Label, string(key.Purpose)
	return event, nil
}

// saveAudit hands the audit file to the user.
func (c *call) saveAudit() error {
	var file []byte
	for p := (api.ExportParams{}); ; {
		out, err := auditExport(c, &p)
		if err != nil {
			return err
		}
		page := out.Result.(api.ExportPage)
		file = append(file, page.Text...)
		if len(file) > maxSaved {
			return errorf(api.Unsupported, "the log is too long to be saved here; page through it with audit.export")
		}
		if p.Cursor = page.Next; p.Cursor == "" {
			break
		}
	}
	now := c.cfg.Now().Unix()
	_, err := c.ask(prompt.SaveFile{What: "audit", Name: fileName("activity", now, ".kmsaudit"), CreatedAt: now, File: file})
	return err
}
