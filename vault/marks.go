package vault

import (
	"cmp"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json/v2"
	"errors"

	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// A way in opens a vault; it does not say who made the vault. The vault key is wrapped for a
// public key, and an app that has the header can wrap one of its own for it. So every way in
// but the device's leaves a mark in the vault:
//
//	HKDF-SHA-256(ikm = its secret, salt = share, "kms-enclave/mark/v1" ‖ 0 ‖ vault id), 32 bytes
//
// sealed under the vault key, as a record of kind recovery under the slot's id. The secret is
// Argon2id's output, the passkey's PRF or the phrase's seed. Only who knows the secret, or has
// had the vault open, can make it: a vault from a mirror has to show the mark of the way that
// opened it, and that it is of this app and account (see return.go).
const infoMark = "kms-enclave/mark/v1"

type markRecord struct {
	Mark []byte `json:"mark"`
}

func markOf(secret []byte, share Share, home string) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, share[:], infoMark+"\x00"+home, 32)
}

// markName names the record of a slot's mark; an empty id is the phrase.
func markName(slot string) store.Name {
	return store.Name{Kind: kindRecovery, ID: cmp.Or(slot, "phrase")}
}

// putMark records the mark of a way in, from its secret.
func (v *Vault) putMark(tx *ledger.Tx, slot string, secret []byte) error {
	mark, err := markOf(secret, v.share, v.home)
	if err != nil {
		return err
	}
	return putJSON(tx, markName(slot), markRecord{Mark: mark})
}

// KeepMark returns what records the mark of a way in that has opened the vault, if it is
// not there, or damaged: vaults of earlier releases have none. It fails for nothing that is
// stored, because that must not keep a user out.
func (v *Vault) KeepMark(way *Way) func(tx *ledger.Tx) error {
	return func(tx *ledger.Tx) error {
		name := markName(way.Slot.ID)
		raw, err := tx.Get(name)
		_, damaged := errors.AsType[*ledger.IntegrityError](err)
		if way.mark == nil || raw != nil || err != nil && !damaged {
			return nil
		}
		return putJSON(tx, name, markRecord{Mark: way.mark})
	}
}

// checkMark makes sure that whoever made the vault knew the way in, or had it open.
func checkMark(tx *ledger.Tx, way *Way) error {
	name := markName(way.Slot.ID)
	raw, err := tx.Get(name)
	if err != nil {
		return err
	}
	var found markRecord
	if raw != nil {
		if err := unmarshal(raw, name, &found); err != nil {
			return err
		}
	}
	if len(way.mark) == 0 || !hmac.Equal(found.Mark, way.mark) {
		return &ledger.IntegrityError{What: "mark of the way in"}
	}
	return nil
}

// marks returns the records of the marks that a new vault starts with.
func (b *builder) marks(home string, c Creation) (records []store.Record) {
	add := func(slot string, secret []byte) {
		value := do(b, func() ([]byte, error) {
			mark, err := markOf(secret, b.share, home)
			if err != nil {
				return nil, err
			}
			return json.Marshal(markRecord{Mark: mark}, json.Deterministic(true))
		})
		records = append(records, store.Record{Name: markName(slot), Value: value})
	}
	for _, n := range c.Slots {
		if n.secret != nil {
			add(n.slot.ID, n.secret)
		}
	}
	if c.From != nil {
		add("", c.From.phrase.seed)
	}
	return records
}
