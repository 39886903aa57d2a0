package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
)

// The hierarchy of a vault's keys. Every arrow is HKDF-SHA-256 or AES-256-GCM
// wrapping, done by the engine on opaque handles:
//
//	device handle (AES, in the store) ─unwraps─> device secret
//	device secret + share ─HKDF─> ledger KEK ─unwraps─> ledger key
//	ledger key ─HKDF─> the keys of root, log, uses and leases, and the key that wraps the audit key
//
//	a way in (see seal.go), or device secret + share ─HKDF─> device KEK ─unwraps─> vault key
//	vault key  ─HKDF─> one key per kind of record, the key that wraps application keys, the
//	                   one that vouches for the header, one that wraps the ledger key again,
//	                   and one for a backup's contents
//
// The upper half works while the vault is locked: the log goes on. The share is
// the salt of the two KEKs.
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
	kindKey      = "key"       // immutable: the wrapped application key and what it is
	kindMeta     = "meta"      // mutable: label, state
	kindUse      = "use"       // mutable: how often and when last
	kindCounts   = "counts"    // how many keys there are, and the epoch
	kindRecovery = "recovery"  // what authenticates backups
	kindLeases   = "leases"    // mutable: what relays are allowed (see lease.go)
	kindLeaseKey = "lease-key" // one lease's copy of its key; the AES handle has the same name
)

var (
	vaultKinds = []string{kindKey, kindMeta, kindCounts, kindRecovery}
	// Counting a use, and leases, must work with the ledger key alone, as the log does.
	ledgerKinds = []string{ledger.KindRoot, ledger.KindLog, kindUse, kindLeases, kindLeaseKey}
)

// ErrLocked: it takes a way in first.
var ErrLocked = errors.New("vault: locked")

// kek is what opens the device slot and the ledger key.
type kek struct {
	device, ledger keyengine.AEADKey
}

func deriveKEK(ctx context.Context, e keyengine.Engine, secret keyengine.SecretKey, share Share) (kek, error) {
	keys, err := deriveAll(ctx, e, secret, share[:], infoDeviceKEK, infoLedgerKEK)
	return kek{keys[0], keys[1]}, err
}

// deriveAll derives a key for each info, at once: a browser takes longer to answer
// than to derive.
func deriveAll(ctx context.Context, e keyengine.Engine, secret keyengine.SecretKey, salt []byte, infos ...string) ([]keyengine.AEADKey, error) {
	keys, errs := make([]keyengine.AEADKey, len(infos)), make([]error, len(infos))
	var running sync.WaitGroup
	for i, info := range infos {
		running.Go(func() { keys[i], errs[i] = e.DeriveAEAD(ctx, secret, salt, []byte(info)) })
	}
	running.Wait()
	return keys, errors.Join(errs...)
}

// keyring holds a vault's keys. It is the ledger's Sealer, and is never changed.
type keyring struct {
	engine  keyengine.Engine
	byKind  map[string]keyengine.AEADKey
	wrapAud keyengine.AEADKey // of the audit key

	// Only while unlocked:
	vaultKey keyengine.SecretKey
	wrap     keyengine.AEADKey // of application keys
	vouch    keyengine.AEADKey // for the header
}

// newKeyring returns the keys that work while the vault is locked.
func newKeyring(ctx context.Context, e keyengine.Engine, ledgerKey keyengine.SecretKey) (*keyring, error) {
	r := &keyring{engine: e, byKind: map[string]keyengine.AEADKey{}}
	keys, err := deriveAll(ctx, e, ledgerKey, nil, infosOf(infoLedgerKey, append(slices.Clone(ledgerKinds), "wrap-audit"))...)
	for i, kind := range ledgerKinds {
		r.byKind[kind] = keys[i]
	}
	r.wrapAud = keys[len(ledgerKinds)]
	return r, err
}

func infosOf(prefix string, what []string) []string {
	infos := make([]string, len(what))
	for i, w := range what {
		infos[i] = prefix + w
	}
	return infos
}

// with returns the keyring of the same vault when it is unlocked, or when its vault
// key has changed.
func (r *keyring) with(ctx context.Context, vaultKey keyengine.SecretKey) (*keyring, error) {
	full := *r
	full.byKind, full.vaultKey = maps.Clone(r.byKind), vaultKey
	keys, err := deriveAll(ctx, r.engine, vaultKey, nil, infosOf(infoVaultKey, append(slices.Clone(vaultKinds), "wrap", "header"))...)
	for i, kind := range vaultKinds {
		full.byKind[kind] = keys[i]
	}
	full.wrap, full.vouch = keys[len(vaultKinds)], keys[len(vaultKinds)+1]
	return &full, err
}

// derive derives a key from the vault key, for what its info says.
func (r *keyring) derive(ctx context.Context, what string) (keyengine.AEADKey, error) {
	return r.engine.DeriveAEAD(ctx, r.vaultKey, nil, []byte(infoVaultKey+what))
}

func (r *keyring) locked() bool { return r.vaultKey == nil }

// Sealed implements ledger.Sealer.
func (r *keyring) Sealed(kind string) bool {
	return slices.Contains(vaultKinds, kind) || slices.Contains(ledgerKinds, kind)
}

// Rewritten implements ledger.Sealer.
func (r *keyring) Rewritten(kind string) bool { return kind == kindUse }

// Seal implements ledger.Sealer. ErrLocked if a record takes the vault key.
func (r *keyring) Seal(ctx context.Context, items []ledger.Item) ([][]byte, error) {
	ops := make([]keyengine.SealOp, len(items))
	for i, it := range items {
		key := r.byKind[it.Name.Kind]
		if key == nil {
			return nil, ErrLocked
		}
		ops[i] = keyengine.SealOp{Key: key, Nonce: it.Nonce, AAD: it.AAD, Plaintext: it.Data}
	}
	return r.engine.Seal(ctx, ops...)
}

// Open implements ledger.Sealer. ErrLocked if a record takes the vault key.
func (r *keyring) Open(ctx context.Context, items []ledger.Item) ([][]byte, error) {
	ops := make([]keyengine.OpenOp, len(items))
	for i, it := range items {
		key := r.byKind[it.Name.Kind]
		if key == nil {
			return nil, ErrLocked
		}
		ops[i] = keyengine.OpenOp{Key: key, AAD: it.AAD, Sealed: it.Data}
	}
	return r.engine.Open(ctx, ops...)
}

// label binds a wrapped key to what it is and to the vault it belongs to.
func label(what string, instance []byte) []byte {
	return append(append([]byte(what), 0), instance...)
}
