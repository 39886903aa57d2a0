package enclave

import (
	"cmp"
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/backup"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

func describeSave(c *call, _ *api.None) (prompt.Confirm, error) {
	if enabled, _ := c.vault.Recovery(); !enabled {
		return prompt.Confirm{}, vault.ErrNoPhrase
	}
	return prompt.Confirm{}, nil
}

// backupSave hands a file to the user, by way of the frame: the app never has it.
// It is in the log before it is handed out, and again, if that can be written, when the
// user has said that it was kept.
func backupSave(c *call, _ *api.None) (outcome, error) {
	c.progress("encrypting")
	saved, err := c.vault.Save(c.ctx, c.way, c.cfg.Origin, c.cfg.Account)
	if err != nil {
		return outcome{}, err
	}
	details := map[string]string{"epoch": strconv.FormatUint(saved.Epoch, 10), "keys": strconv.Itoa(saved.Keys)}
	err = c.logAs("backup.save", details)
	if err != nil {
		return outcome{}, err
	}
	_, err = c.askFor(prompt.ChoiceSaved, prompt.SaveFile{
		What: "backup", Name: fileName("keys", saved.CreatedAt, ".kmsbackup"),
		CreatedAt: saved.CreatedAt, Keys: saved.Keys, Damaged: saved.Damaged, File: saved.File,
	})
	if err == nil {
		_ = c.logAs("backup.kept", details) // the file is there, whatever becomes of this entry
	}
	return outcome{Result: api.Saved{CreatedAt: saved.CreatedAt, Epoch: saved.Epoch, Keys: saved.Keys, Damaged: saved.Damaged, Bytes: len(saved.File)}}, err
}

// fileName returns a name that sorts by date and says nothing of whose keys they are.
func fileName(what string, seconds int64, ending string) string {
	return what + "-" + time.Unix(seconds, 0).UTC().Format("2006-01-02") + ending
}

// backupRestore makes a vault of a file that the user picks, with the phrase that the
// user types. All of it is checked before anything is written.
func backupRestore(c *call, p *api.RestoreParams) (outcome, error) {
	if failure := checkSeen(p.Seen); failure != nil {
		return outcome{}, failure
	}
	creation := vault.Creation{Persistence: cmp.Or(p.Persistence, vault.PersistDevice), Idle: idleOf(p.IdleSeconds), From: &vault.Backup{}}
	err := c.vaults.Room(c.ctx, creation)
	if err != nil {
		return outcome{}, err
	}
	if creation.From, err = c.askBackup(p.Seen); err != nil {
		return outcome{}, err
	}
	facts := creation.From.Facts()
	if err := c.acceptBackup(facts, p.Lock, creation.Persistence); err != nil {
		return outcome{}, err
	}
	slot, err := c.newSlot(p.Lock, "", prompt.ForRestore)
	if err != nil {
		return outcome{}, err
	}
	creation.Slots = []vault.NewSlot{slot}
	c.progress("writing")
	out, err := c.create(creation, map[string]string{
		"persistence": creation.Persistence, "lock": p.Lock,
		"epoch": strconv.FormatUint(facts.Epoch, 10), "keys": strconv.Itoa(facts.Keys), "saved": strconv.FormatInt(facts.CreatedAt, 10),
		"from": facts.Origin, "logSize": strconv.FormatUint(facts.LogSize, 10), "logRoot": base64.RawURLEncoding.EncodeToString(facts.LogRoot), "logKey": facts.LogKey,
	})
	if err == nil {
		c.done(prompt.Done{What: c.row.Method, Keys: facts.Keys})
	}
	return out, err
}

// checkSeen checks what the app says it knows. It can make the enclave refuse more, never less.
func checkSeen(seen api.Lineage) *api.Error {
	if seen == (api.Lineage{}) {
		return nil
	}
	if b, err := base64.RawURLEncoding.Strict().DecodeString(seen.Vault); err != nil || len(b) != 16 {
		return invalid("/params/seen/vault", "the lineage.vault of an earlier vault.status wanted")
	}
	return nil
}

// askBackup asks for a file and for its phrase until they fit.
func (c *call) askBackup(seen api.Lineage) (*vault.Backup, error) {
	screen := prompt.PickFile{App: c.app(), MaxBytes: backup.MaxSize}
	for {
		answer, err := c.askFor(prompt.ChoiceFile, screen)
		if err != nil {
			return nil, err
		}
		file, problem := readBackup(answer.File, seen)
		if screen.Problem = problem; problem != nil {
			continue
		}
		opened, err := c.openBackup(file)
		if errors.Is(err, backup.ErrEdited) {
			screen.Problem = &prompt.Problem{Code: prompt.FileEdited}
			continue
		}
		return opened, err
	}
}

// readBackup reads a file as far as that goes without the phrase. A problem is for the user.
func readBackup(content []byte, seen api.Lineage) (*backup.File, *prompt.Problem) {
	file, err := backup.Parse(content)
	if newer, ok := errors.AsType[*backup.NewerError](err); ok {
		return nil, &prompt.Problem{Code: prompt.FileNewer, Number: newer.Version}
	}
	switch {
	case errors.Is(err, backup.ErrEmpty):
		return nil, &prompt.Problem{Code: prompt.FileEmpty}
	case errors.Is(err, backup.ErrForeign):
		return nil, &prompt.Problem{Code: prompt.FileForeign}
	case errors.Is(err, backup.ErrTruncated):
		return nil, &prompt.Problem{Code: prompt.FileTruncated}
	case errors.Is(err, backup.ErrTooLarge):
		return nil, &prompt.Problem{Code: prompt.FileTooLarge, Number: backup.MaxSize >> 20}
	case err != nil:
		return nil, &prompt.Problem{Code: prompt.FileEdited}
	}
	if seen == (api.Lineage{}) {
		return file, nil
	}
	switch {
	case base64.RawURLEncoding.EncodeToString(file.Vault[:]) != seen.Vault:
		return nil, &prompt.Problem{Code: prompt.FileOtherVault}
	case file.Epoch < seen.Epoch:
		return nil, &prompt.Problem{Code: prompt.FileOlder, Number: int(file.Epoch)}
	}
	return file, nil
}

// openBackup asks for the phrase until it is the file's. ErrEdited if the file is not
// what was saved.
func (c *call) openBackup(file *backup.File) (opened *vault.Backup, err error) {
	err = c.askPhrase(prompt.ForRestore, func(p *vault.Phrase) (*prompt.Problem, error) {
		cfg := c.vaultConfig()
		if opened, err = cfg.OpenBackup(c.ctx, file, p); errors.Is(err, vault.ErrOtherPhrase) {
			return &prompt.Problem{Code: prompt.FileOtherPhrase}, nil
		}
		return nil, err
	})
	return opened, err
}

// acceptBackup shows what the file holds, and what the app wants to make of it. A file
// that was made for another app takes a typed word: whoever runs this app will use its
// keys. So does a vault that anybody can open, or that ends with the tab.
func (c *call) acceptBackup(facts vault.Facts, lock, persistence string) error {
	screen := prompt.Restore{
		App: c.app(), CreatedAt: facts.CreatedAt, Epoch: facts.Epoch, Keys: facts.Keys,
		From: prompt.App{Origin: facts.Origin, Account: facts.Account}, Lock: lock, Persistence: persistence,
	}
	if facts.Origin != c.cfg.Origin || lock == vault.LockNone || persistence == vault.PersistSession {
		screen.Word = prompt.WordYes
	}
	for {
		answer, err := c.askFor(prompt.ChoiceConfirm, screen)
		if err != nil {
			return err
		}
		if answer.Word == screen.Word {
			return nil
		}
		screen.Problem = &prompt.Problem{Code: prompt.WordWrong}
	}
}
