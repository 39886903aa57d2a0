package vault

import (
	"context"
	"fmt"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
)

// The hierarchy of a vault's keys. Every arrow is HKDF-SHA-256 or AES-256-GCM
// wrapping, done by the engine on opaque handles:
//
//	device handle (AES, in the store) ─unwraps─> device secret
//	device secret + share ─HKDF─> device KEK ─unwraps─> vault key
//	device secret + share ─HKDF─> ledger KEK ─unwraps─> ledger key
//	vault key  ─HKDF─> one key per kind of record, the key that wraps application keys,
//	                   and one that wraps the ledger key again
//	ledger key ─HKDF─> the keys of root, log and uses, and the key that wraps the audit key
//
// The share is the salt of the two KEKs.
const (
	infoDeviceKEK = "kms-enclave/kek/device/v1"
	infoLedgerKEK = "kms-enclave/kek/ledger/v1"
	infoVaultKey  = "kms-enclave/vault-key/v1/"  // + what the key is for
	infoLedgerKey = "kms-enclave/ledger-key/v1/" // + what the key is for

	aadDevice = "kms-enclave/wrap/device-secret/v1"
	aadVault  = "kms-enclave/wrap/vault-key/v1"
	aadLedger = "kms-enclave/wrap/ledger-key/v1"
	aadAudit  = "kms-enclave/wrap/audit-key/v1"
)

// Kinds of sealed records.
const (
	kindKey    = "key"    // immutable: the wrapped application key and what it is
	kindMeta   = "meta"   // mutable: label, state
	kindUse    = "use"    // mutable: how often and when last
	kindCounts = "counts" // how many keys there are
)

var (
	vaultKinds = []string{kindKey, kindMeta, kindCounts}
	// Counting a use must work with the ledger key alone, as the log does.
	ledgerKinds = []string{ledger.KindRoot, ledger.KindLog, kindUse}
)

// kek is what opens the device slot and the ledger key.
type kek struct {
	device, ledger keyengine.AEADKey
}

func deriveKEK(ctx context.Context, e keyengine.Engine, secret keyengine.SecretKey, share Share) (k kek, err error) {
	if k.device, err = e.DeriveAEAD(ctx, secret, share[:], []byte(infoDeviceKEK)); err != nil {
		return k, err
	}
	k.ledger, err = e.DeriveAEAD(ctx, secret, share[:], []byte(infoLedgerKEK))
	return k, err
}

// keyring holds an unlocked vault's keys. It is the ledger's Sealer.
type keyring struct {
	engine  keyengine.Engine
	byKind  map[string]keyengine.AEADKey
	wrap    keyengine.AEADKey // of application keys
	wrapAud keyengine.AEADKey // of the audit key
}

func newKeyring(ctx context.Context, e keyengine.Engine, vaultKey, ledgerKey keyengine.SecretKey) (*keyring, error) {
	r := &keyring{engine: e, byKind: map[string]keyengine.AEADKey{}}
	var err error
	derive := func(from keyengine.SecretKey, info string) (key keyengine.AEADKey) {
		if err == nil {
			key, err = e.DeriveAEAD(ctx, from, nil, []byte(info))
		}
		return key
	}
	for _, kind := range vaultKinds {
		r.byKind[kind] = derive(vaultKey, infoVaultKey+kind)
	}
	for _, kind := range ledgerKinds {
		r.byKind[kind] = derive(ledgerKey, infoLedgerKey+kind)
	}
	r.wrap = derive(vaultKey, infoVaultKey+"wrap")
	r.wrapAud = derive(ledgerKey, infoLedgerKey+"wrap-audit")
	return r, err
}

// deriveLedgerWrap derives the key under which the vault key holds the ledger key.
func deriveLedgerWrap(ctx context.Context, e keyengine.Engine, vaultKey keyengine.SecretKey) (keyengine.AEADKey, error) {
	return e.DeriveAEAD(ctx, vaultKey, nil, []byte(infoVaultKey+"wrap-ledger"))
}

// Sealed implements ledger.Sealer.
func (r *keyring) Sealed(kind string) bool { return r.byKind[kind] != nil }

// Rewritten implements ledger.Sealer.
func (r *keyring) Rewritten(kind string) bool { return kind == kindUse }

// Seal implements ledger.Sealer.
func (r *keyring) Seal(ctx context.Context, items []ledger.Item) ([][]byte, error) {
	ops := make([]keyengine.SealOp, len(items))
	for i, it := range items {
		key := r.byKind[it.Name.Kind]
		if key == nil {
			return nil, fmt.Errorf("vault: no key for %s records", it.Name.Kind)
		}
		ops[i] = keyengine.SealOp{Key: key, Nonce: it.Nonce, AAD: it.AAD, Plaintext: it.Data}
	}
	return r.engine.Seal(ctx, ops...)
}

// Open implements ledger.Sealer.
func (r *keyring) Open(ctx context.Context, items []ledger.Item) ([][]byte, error) {
	ops := make([]keyengine.OpenOp, len(items))
	for i, it := range items {
		key := r.byKind[it.Name.Kind]
		if key == nil {
			return nil, fmt.Errorf("vault: no key for %s records", it.Name.Kind)
		}
		ops[i] = keyengine.OpenOp{Key: key, AAD: it.AAD, Sealed: it.Data}
	}
	return r.engine.Open(ctx, ops...)
}

// label binds a wrapped key to what it is and to the vault it belongs to.
func label(what string, instance []byte) []byte {
	return append(append([]byte(what), 0), instance...)
}
