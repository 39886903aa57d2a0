package vault

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json/v2"
	"errors"
	"fmt"

	"github.com/kms-enclave/kms-enclave/backup"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// What a backup file holds is in package backup's keeping: the vault key, wrapped
// for the recovery phrase as in the header, and the contents below, sealed under a key
// that the vault key gives, with everything before them as additional data. Only the
// phrase opens it, and only whoever has the phrase, or has had the unlocked vault since the
// phrase was made, can have made it.
const (
	infoBackup = "backup"
	aadBackup  = "kms-enclave/wrap/backup/v1"
)

// contents is the sealed body, as JSON.
type contents struct {
	Origin   string      `json:"origin"`   // of the app that the vault was made for
	Account  string      `json:"account"`  //
	Keys     []backupKey `json:"keys"`     // in order of kid
	Log      logHead     `json:"log"`      // of the vault when it was saved; the log itself stays behind
	Verifier string      `json:"verifier"` // of that log's checkpoints
}

type backupKey struct {
	KeyRecord
	Meta       KeyMeta `json:"meta"`
	Uses       uint64  `json:"uses,omitzero"`
	LastUsedAt int64   `json:"lastUsedAt,omitzero"`
}

// logHead is an RFC 6962 tree head.
type logHead struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
}

// maxEpoch is far more than a vault's user can bring about, and far from where numbers end.
const maxEpoch = 1 << 32

// Errors about backups, beside package backup's.
var (
	// ErrOtherPhrase: the file was sealed for another phrase.
	ErrOtherPhrase = errors.New("vault: the backup is sealed for another phrase")
	// ErrContents: the file is authentic, and yet makes no sense to this release.
	ErrContents = errors.New("vault: the backup's contents cannot be used")
)

// macKey derives the key that authenticates backups from a phrase's seed.
func macKey(seed []byte) ([]byte, error) { return hkdf.Key(sha256.New, seed, nil, infoBackupMAC, 32) }

// Saved is a backup that has been made.
type Saved struct {
	File      []byte
	CreatedAt int64 // seconds
	Epoch     uint64
	Keys      int
	Damaged   int // keys that are not in it, because what is stored of them is not what was written
}

// Save makes a backup file of the vault as it is. way is what the user has opened
// for this. ErrNoPhrase.
func (v *Vault) Save(ctx context.Context, way *Way, origin, account string) (*Saved, error) {
	r := v.header.Recovery
	if r == nil {
		return nil, ErrNoPhrase
	}
	var c contents
	var n counts
	var mac recoveryRecord
	err := v.Ledger.Read(ctx, func(tx *ledger.Tx) (err error) {
		c, n, mac, err = v.snapshot(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.Origin, c.Account = origin, account
	if c.Verifier, err = v.AuditVerifier(); err != nil {
		return nil, err
	}
	file := &backup.File{
		CreatedAt: v.cfg.Now().Unix(), Epoch: n.Epoch, Keys: uint32(len(c.Keys)),
		Vault: [16]byte(v.header.Lineage), Phrase: [16]byte(r.Phrase),
	}
	if err := v.sealFile(ctx, file, way, c); err != nil {
		return nil, err
	}
	encoded, err := backup.Encode(file, mac.MAC)
	if err != nil {
		return nil, err
	}
	return &Saved{File: encoded, CreatedAt: file.CreatedAt, Epoch: n.Epoch, Keys: len(c.Keys), Damaged: n.Keys - len(c.Keys)}, nil
}

// snapshot reads what a backup holds, in one look at the vault.
func (v *Vault) snapshot(tx *ledger.Tx) (c contents, n counts, mac recoveryRecord, err error) {
	if n, err = readCounts(tx); err != nil {
		return c, n, mac, err
	}
	raw, err := tx.Get(recoveryName)
	if err != nil {
		return c, n, mac, err
	}
	if raw == nil {
		return c, n, mac, &ledger.IntegrityError{What: "recovery record: missing"}
	}
	if err := unmarshal(raw, recoveryName, &mac); err != nil {
		return c, n, mac, err
	}
	root := tx.Head()
	c.Log = logHead{Size: tx.Size(), Root: root[:]}
	var damaged int
	c.Keys, damaged, err = backupKeys(tx)
	if err == nil && len(c.Keys)+damaged != n.Keys {
		err = &ledger.IntegrityError{What: fmt.Sprintf("list of keys: %d of %d", len(c.Keys)+damaged, n.Keys)}
	}
	return c, n, mac, err
}

// backupKeys returns the keys that are whole, and how many are not.
func backupKeys(tx *ledger.Tx) (keys []backupKey, damaged int, err error) {
	records, _, err := tx.All(kindKey)
	if err != nil {
		return nil, 0, err
	}
	stored, broken, err := tx.All(kindMeta)
	if err != nil {
		return nil, 0, err
	}
	metas := map[string]store.Record{}
	for _, r := range stored {
		metas[r.ID] = r
	}
	for _, r := range records {
		meta, whole := metas[r.ID]
		if !whole {
			continue
		}
		key, err := readBackupKey(tx, r, meta)
		if err != nil {
			return nil, 0, err
		}
		keys = append(keys, key)
	}
	return keys, len(stored) + len(broken) - len(keys), nil
}

func readBackupKey(tx *ledger.Tx, record, meta store.Record) (key backupKey, err error) {
	err = errors.Join(unmarshal(record.Value, record.Name, &key.KeyRecord), unmarshal(meta.Value, meta.Name, &key.Meta))
	if err != nil {
		return key, err
	}
	use, err := readUse(tx, record.ID)
	if _, damaged := errors.AsType[*ledger.IntegrityError](err); damaged {
		err = nil // how often it was used is not known; the key is whole
	}
	key.Uses, key.LastUsedAt = use.Uses, use.LastUsedAt
	return key, err
}

func (v *Vault) sealFile(ctx context.Context, file *backup.File, way *Way, c contents) error {
	e := v.cfg.Engine
	to := recipient{Public: v.header.Recovery.Public}
	aad := label(aadBackup, file.Vault[:])
	kek, err := to.encapsulate(ctx, e, aad)
	if err != nil {
		return err
	}
	wrapped, err := e.RewrapSecret(ctx, way.sealed, way.under, keyengine.Target{Key: kek, AAD: aad})
	if err != nil {
		return err
	}
	file.Enc, file.Wrapped = to.Enc, wrapped[0]
	key, err := v.ring.derive(ctx, infoBackup)
	if err != nil {
		return err
	}
	body, err := json.Marshal(c, json.Deterministic(true))
	if err != nil {
		return err
	}
	nonce, err := v.cfg.random(keyengine.NonceSize)
	if err != nil {
		return err
	}
	sealed, err := e.Seal(ctx, keyengine.SealOp{Key: key, Nonce: [keyengine.NonceSize]byte(nonce), AAD: file.AAD(), Plaintext: body})
	if err != nil {
		return err
	}
	file.Body = sealed[0]
	return nil
}

// Backup is a backup file that has been opened: everything in it is authentic, and
// every key's name is its own.
type Backup struct {
	engine   keyengine.Engine
	file     *backup.File
	phrase   *Phrase
	ring     *keyring // of the vault that was saved
	contents contents
}

// OpenBackup opens a file with a phrase. ErrOtherPhrase, backup.ErrEdited, ErrContents.
func (cfg *Config) OpenBackup(ctx context.Context, file *backup.File, phrase *Phrase) (*Backup, error) {
	if !hmac.Equal(file.Phrase[:], phrase.id) {
		return nil, ErrOtherPhrase
	}
	if err := file.Authenticate(phrase.mac); err != nil {
		return nil, err
	}
	b := &Backup{engine: cfg.Engine, file: file, phrase: phrase}
	err := b.open(ctx)
	if errors.Is(err, keyengine.ErrOpen) {
		return nil, fmt.Errorf("%w: authentic, but does not open", ErrContents)
	}
	return b, err
}

func (b *Backup) open(ctx context.Context) error {
	aad := label(aadBackup, b.file.Vault[:])
	kek, err := (&recipient{Enc: b.file.Enc}).decapsulate(ctx, b.engine, b.phrase.private, aad)
	if err != nil {
		return err
	}
	vaultKey, err := b.engine.UnwrapSecret(ctx, b.file.Wrapped, keyengine.Target{Key: kek, AAD: aad})
	if err != nil {
		return err
	}
	if b.ring, err = (&keyring{engine: b.engine, byKind: map[string]keyengine.AEADKey{}}).with(ctx, vaultKey); err != nil {
		return err
	}
	key, err := b.ring.derive(ctx, infoBackup)
	if err != nil {
		return err
	}
	opened, err := b.engine.Open(ctx, keyengine.OpenOp{Key: key, AAD: b.file.AAD(), Sealed: b.file.Body})
	if err != nil {
		return err
	}
	if b.contents, err = parseContents(opened[0]); err != nil {
		return err
	}
	if len(b.contents.Keys) != int(b.file.Keys) {
		return fmt.Errorf("%w: %d keys, %d announced", ErrContents, len(b.contents.Keys), b.file.Keys)
	}
	if b.file.Epoch > maxEpoch {
		return fmt.Errorf("%w: epoch %d", ErrContents, b.file.Epoch)
	}
	return nil
}

// parseContents reads the sealed body of a backup. Every key's name must be that of
// its public half, and they must be in order, each once.
func parseContents(body []byte) (c contents, err error) {
	if err := json.Unmarshal(body, &c, json.RejectUnknownMembers(true)); err != nil {
		return c, fmt.Errorf("%w: %w", ErrContents, err)
	}
	last := ""
	for _, k := range c.Keys {
		jwk, err := NewJWK(k.Alg, k.Public)
		if err != nil || jwk.Thumbprint() != k.KID || k.KID <= last || k.Format != keyFormat {
			return c, fmt.Errorf("%w: key %q is not what it says", ErrContents, k.KID)
		}
		if (k.Meta.State == Active) != (len(k.Wrapped) > 0) {
			return c, fmt.Errorf("%w: key %q is %s, with %d bytes of private key", ErrContents, k.KID, k.Meta.State, len(k.Wrapped))
		}
		last = k.KID
	}
	return c, nil
}

// Facts is what a user is shown of a backup before it is restored.
type Facts struct {
	Origin, Account string // it was made for
	CreatedAt       int64  // seconds
	Epoch           uint64
	Keys            int
	Lineage         string
	LogSize         uint64 // entries of the log that was left behind
	LogRoot         []byte
	LogKey          string // that signs the old log's heads: a note verifier key
}

// Facts returns what is known of the backup.
func (b *Backup) Facts() Facts {
	return Facts{
		Origin: b.contents.Origin, Account: b.contents.Account, CreatedAt: b.file.CreatedAt, Epoch: b.file.Epoch,
		Keys: len(b.contents.Keys), Lineage: encodeID(b.file.Vault[:]), LogSize: b.contents.Log.Size, LogRoot: bytes.Clone(b.contents.Log.Root),
		LogKey: b.contents.Verifier,
	}
}

// records returns what a new vault starts with: the keys, wrapped anew under its own
// vault key, and what authenticates its backups.
func (b *Backup) records(ctx context.Context, ring *keyring) ([]store.Record, error) {
	keys := make([]KeyRecord, len(b.contents.Keys))
	for i := range keys {
		keys[i] = b.contents.Keys[i].KeyRecord
	}
	if err := rewrapKeys(ctx, b.engine, keys, b.ring.wrap, ring.wrap); err != nil {
		if _, damaged := errors.AsType[*ledger.IntegrityError](err); damaged {
			return nil, fmt.Errorf("%w: a key does not open", ErrContents)
		}
		return nil, err
	}
	var records []store.Record
	var failed error
	put := func(name store.Name, v any) {
		value, err := json.Marshal(v, json.Deterministic(true))
		failed = errors.Join(failed, err)
		records = append(records, store.Record{Name: name, Value: value})
	}
	for i, k := range b.contents.Keys {
		put(keyName(k.KID), keys[i])
		put(metaName(k.KID), k.Meta)
		if k.Uses > 0 {
			records = append(records, store.Record{Name: useName(k.KID), Value: encodeUse(KeyUse{k.Uses, k.LastUsedAt, len(k.Wrapped) == 0})})
		}
	}
	put(countsName, counts{Keys: len(keys), Epoch: b.file.Epoch})
	put(recoveryName, recoveryRecord{MAC: b.phrase.mac})
	return records, failed
}
