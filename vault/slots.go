package vault

import (
	"bytes"
	"context"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/kms-enclave/kms-enclave/bip39"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/passphrase"
)

// Kinds of ways in. Locks have the same names.
const (
	KindDevice     = "device" // opens without asking
	KindPassphrase = "passphrase"
	KindPasskey    = "passkey"
)

// LockNone: the vault is open whenever it exists. A vault has this lock exactly
// as long as it has a device slot.
const LockNone = "none"

// MaxSlots is how many ways in a vault has at most.
const MaxSlots = 10

// Errors about ways in.
var (
	// ErrWrongSecret: the secret is not the one of this slot.
	ErrWrongSecret = errors.New("vault: the secret does not open it")
	// ErrNoSlot: there is no such way in.
	ErrNoSlot = errors.New("vault: no such way in")
	// ErrLastSlot: the last way in stays.
	ErrLastSlot = errors.New("vault: the last way in cannot be removed")
	// ErrSlotExists: there is one of this kind already, or this very passkey.
	ErrSlotExists = errors.New("vault: there is such a way in already")
	// ErrManySlots: there are MaxSlots.
	ErrManySlots = errors.New("vault: too many ways in")
	// ErrNoPhrase: the vault has no recovery phrase.
	ErrNoPhrase = errors.New("vault: there is no recovery phrase")
)

// Slot is one way in, without its secrets.
type Slot struct {
	ID, Kind, Label string
	CreatedAt       int64 // seconds
}

func (s *slot) show() Slot { return Slot{s.ID, s.Kind, s.Label, s.CreatedAt} }

// NewSlot is a way in that has not been added yet.
type NewSlot struct {
	slot   slot
	secret []byte // nil for a device slot
}

// newSlot returns what every new slot has, whatever its kind.
func (cfg *Config) newSlot(kind, label string) (NewSlot, error) {
	id, err := cfg.random(16)
	return NewSlot{slot: slot{ID: encodeID(id), Kind: kind, Label: label, CreatedAt: cfg.Now().Unix()}}, err
}

func (cfg *Config) random(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(cfg.Rand, b)
	return b, err
}

// DeviceSlot returns a way in that asks for nothing.
func (cfg *Config) DeviceSlot() (NewSlot, error) { return cfg.newSlot(KindDevice, "") }

// PassphraseSlot returns a way in by a passphrase, which must be normalised. It takes as long as p costs.
func (cfg *Config) PassphraseSlot(text string, p passphrase.Params) (NewSlot, error) {
	n, err := cfg.newSlot(KindPassphrase, "")
	if err != nil {
		return n, err
	}
	if n.slot.Salt, err = cfg.random(16); err != nil {
		return n, err
	}
	n.slot.Argon = &p
	n.secret, err = passphrase.Derive(text, n.slot.Salt, p)
	return n, err
}

// PasskeySlot returns a way in by the output of a passkey's PRF for salt.
func (cfg *Config) PasskeySlot(label string, key Passkey, salt, prf []byte) (NewSlot, error) {
	n, err := cfg.newSlot(KindPasskey, label)
	n.slot.Salt, n.slot.Passkey, n.secret = salt, &key, prf
	return n, err
}

// recipientFor sets the public half of a slot's key pair. A device slot has none.
func (n *NewSlot) recipientFor(share Share) error {
	if n.slot.Kind == KindDevice {
		return nil
	}
	key, err := n.slot.keyPair(n.secret, share)
	if err != nil {
		return err
	}
	n.slot.Sealed = &recipient{Public: key.PublicKey().Bytes()}
	return nil
}

func (s *slot) keyPair(secret []byte, share Share) (hpke.PrivateKey, error) {
	info := infoPassphrase
	if s.Kind == KindPasskey {
		info = infoPasskey
	}
	return keyPair(secret, share[:], info)
}

// Phrase is what a recovery phrase gives: the key pair that the vault key is sealed
// to, and the key that authenticates backups.
type Phrase struct {
	private hpke.PrivateKey
	mac     []byte
	id      []byte
	seed    []byte
}

const infoBackupMAC = "kms-enclave/recovery/backup-mac/v1"

// OpenPhrase derives the keys of a phrase.
func OpenPhrase(words bip39.Phrase) (*Phrase, error) {
	seed := words.Seed()
	private, err := keyPair(seed, nil, infoRecovery)
	if err != nil {
		return nil, err
	}
	mac, err := macKey(seed)
	if err != nil {
		return nil, err
	}
	return &Phrase{private: private, mac: mac, id: phraseID(private.PublicKey().Bytes()), seed: seed}, nil
}

// phraseID recognises a phrase by its public key, 16 bytes.
func phraseID(public []byte) []byte {
	sum := sha256.Sum256(append([]byte("kms-enclave/recovery/id/v1\x00"), public...))
	return sum[:16]
}

func (p *Phrase) seal(now int64) *sealed {
	return &sealed{Public: p.private.PublicKey().Bytes(), CreatedAt: now, Phrase: p.id}
}

// Way is a way in that the user has opened: the key under which the vault key
// lies there. It is good for the vault that gave it, until its ways in change.
type Way struct {
	Slot   Slot // without ID if it is the recovery phrase
	under  keyengine.Target
	sealed []byte // the vault key
	mark   []byte // see marks.go; nil of the device's
}

// Passphrase opens the vault's passphrase slot. It takes as long as the slot's
// parameters cost. ErrWrongSecret, ErrNoSlot.
func (v *Vault) Passphrase(ctx context.Context, text string) (*Way, error) {
	s := v.header.byKind(KindPassphrase)
	if s == nil {
		return nil, ErrNoSlot
	}
	secret, err := passphrase.Derive(text, s.Salt, *s.Argon)
	if err != nil {
		return nil, err
	}
	return v.way(ctx, s, secret)
}

// Passkey opens the slot of a credential with the output of its PRF. ErrWrongSecret, ErrNoSlot.
func (v *Vault) Passkey(ctx context.Context, credential, prf []byte) (*Way, error) {
	s := v.header.byCredential(credential)
	if s == nil {
		return nil, ErrNoSlot
	}
	return v.way(ctx, s, prf)
}

func (v *Vault) way(ctx context.Context, s *slot, secret []byte) (*Way, error) {
	private, err := s.keyPair(secret, v.share)
	if err != nil {
		return nil, err
	}
	// The header is authentic, so this tells a wrong secret from damage.
	if !bytes.Equal(private.PublicKey().Bytes(), s.Sealed.Public) {
		return nil, ErrWrongSecret
	}
	return v.openWay(ctx, s.show(), s.Sealed, private, s.VaultKey, secret)
}

// Phrase opens the vault with its recovery phrase. ErrWrongSecret, ErrNoPhrase.
func (v *Vault) Phrase(ctx context.Context, p *Phrase) (*Way, error) {
	r := v.header.Recovery
	if r == nil {
		return nil, ErrNoPhrase
	}
	if !bytes.Equal(p.private.PublicKey().Bytes(), r.Public) {
		return nil, ErrWrongSecret
	}
	return v.openWay(ctx, Slot{Kind: "recovery", CreatedAt: r.CreatedAt}, &r.recipient, p.private, r.VaultKey, p.seed)
}

func (v *Vault) openWay(ctx context.Context, shown Slot, r *recipient, private hpke.PrivateKey, vaultKey, secret []byte) (*Way, error) {
	aad := label(aadVault, v.header.Instance)
	kek, err := r.decapsulate(ctx, v.cfg.Engine, private, aad)
	if err == nil {
		w := &Way{Slot: shown, under: keyengine.Target{Key: kek, AAD: aad}, sealed: vaultKey}
		if w.mark, err = markOf(secret, v.share, v.home); err != nil {
			return nil, err
		}
		_, err = v.cfg.Engine.UnwrapSecret(ctx, w.sealed, w.under)
		if err == nil {
			return w, nil
		}
	}
	if errors.Is(err, keyengine.ErrOpen) {
		return nil, &ledger.IntegrityError{What: "slot of kind " + shown.Kind}
	}
	return nil, err
}

// Device opens the device slot, which asks nobody. ErrNoSlot if there is none.
func (v *Vault) Device() (*Way, error) {
	s := v.header.byKind(KindDevice)
	if s == nil {
		return nil, ErrNoSlot
	}
	return &Way{Slot: s.show(), under: keyengine.Target{Key: v.keks.device, AAD: label(aadVault, v.header.Instance)}, sealed: s.VaultKey}, nil
}

// PasskeyFact is what an authenticator is asked for.
type PasskeyFact struct {
	Slot
	Passkey
	Salt []byte
}

// Passkeys returns the passkeys that open the vault.
func (v *Vault) Passkeys() []PasskeyFact {
	var keys []PasskeyFact
	for _, s := range v.header.Slots {
		if s.Passkey != nil {
			keys = append(keys, PasskeyFact{s.show(), *s.Passkey, s.Salt})
		}
	}
	return keys
}

// Strength returns what the passphrase slot costs; false if there is none.
func (v *Vault) Strength() (passphrase.Params, bool) {
	s := v.header.byKind(KindPassphrase)
	if s == nil {
		return passphrase.Params{}, false
	}
	return *s.Argon, true
}
