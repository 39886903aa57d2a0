package vault

import (
	"context"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"fmt"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// Every slot but the device's, and the recovery phrase, is a public key: what the
// user knows or holds gives the private one, and the vault key is wrapped under a
// key that HPKE (RFC 9180) exports for it. So the vault key can be changed, and
// wrapped for every way in that stays, while the user brings only one of them; and
// nothing of the old vault key leads to the new one.
//
//	passphrase  ikm = HKDF-SHA-256(Argon2id(passphrase, salt), salt = share, infoPassphrase)
//	passkey     ikm = HKDF-SHA-256(PRF(salt),                  salt = share, infoPasskey)
//	recovery    ikm = HKDF-SHA-256(BIP-39 seed,                no salt,      infoRecovery)
//
//	private key = DeriveKeyPair(ikm)                                    MLKEM768-X25519
//	exported    = Export(exportKEK, 32) of base mode with info = label(aadVault, instance)
//	KEK         = HKDF-SHA-256(exported, no salt, infoKEK), 32 bytes
//
// In a backup file, info is label(aadBackup, lineage) instead: see backup.go.
//
// The private key and what HPKE exports pass through the memory of the WebAssembly
// module, as the passphrase does. The vault key does not.
const (
	infoPassphrase = "kms-enclave/slot/passphrase/v1"
	infoPasskey    = "kms-enclave/slot/passkey/v1"
	infoRecovery   = "kms-enclave/slot/recovery/v1"

	exportKEK = "kms-enclave/kek/v1"
	infoKEK   = "kms-enclave/kek/slot/v1"
)

var (
	kem  = hpke.MLKEM768X25519()
	kdf  = hpke.HKDFSHA256()
	none = hpke.ExportOnly()
)

// keyPair derives a slot's key pair. Of the recovery phrase salt is nil.
func keyPair(secret, salt []byte, info string) (hpke.PrivateKey, error) {
	ikm, err := hkdf.Key(sha256.New, secret, salt, info, 32)
	if err != nil {
		return nil, err
	}
	return kem.DeriveKeyPair(ikm)
}

// exporter is either end of an HPKE context.
type exporter interface {
	Export(context string, length int) ([]byte, error)
}

// encapsulate makes a new KEK for a recipient, whose Enc it sets.
func (r *recipient) encapsulate(ctx context.Context, e keyengine.Engine, info []byte) (keyengine.AEADKey, error) {
	public, err := kem.NewPublicKey(r.Public)
	if err != nil {
		return nil, fmt.Errorf("vault: public key of a slot: %w", err)
	}
	enc, sender, err := hpke.NewSender(public, kdf, none, info)
	if err != nil {
		return nil, err
	}
	r.Enc = enc
	return exportedKEK(ctx, e, sender)
}

// decapsulate returns the KEK that was encapsulated.
func (r *recipient) decapsulate(ctx context.Context, e keyengine.Engine, private hpke.PrivateKey, info []byte) (keyengine.AEADKey, error) {
	opened, err := hpke.NewRecipient(r.Enc, private, kdf, none, info)
	if err != nil {
		return nil, keyengine.ErrOpen
	}
	return exportedKEK(ctx, e, opened)
}

func exportedKEK(ctx context.Context, e keyengine.Engine, from exporter) (keyengine.AEADKey, error) {
	ikm, err := from.Export(exportKEK, 32)
	if err != nil {
		return nil, err
	}
	secret, err := e.ImportSecret(ctx, ikm)
	clear(ikm)
	if err != nil {
		return nil, err
	}
	return e.DeriveAEAD(ctx, secret, nil, []byte(infoKEK))
}
