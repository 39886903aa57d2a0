package vault

import (
	"context"
	"encoding/binary"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/lease"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/store"
)

// Purpose is what a key is for. A key signs only its purpose's kind of thing.
type Purpose string

// The purposes.
const (
	VAPID     Purpose = "vapid"
	Identity  Purpose = "identity"
	Agreement Purpose = "agreement"
	Signing   Purpose = "signing"
)

// Algorithm returns the algorithm of a new key: wanted if the purpose allows
// it, the purpose's own if wanted is empty.
func (p Purpose) Algorithm(wanted keyengine.Alg) (keyengine.Alg, error) {
	var allowed []keyengine.Alg
	switch p {
	case VAPID:
		allowed = []keyengine.Alg{keyengine.ES256} // RFC 8292 section 2
	case Identity:
		allowed = []keyengine.Alg{keyengine.EdDSA}
	case Agreement:
		allowed = []keyengine.Alg{keyengine.X25519}
	case Signing:
		allowed = []keyengine.Alg{keyengine.EdDSA, keyengine.ES256}
	default:
		return "", fmt.Errorf("purpose %q is not known", p)
	}
	if wanted == "" {
		return allowed[0], nil
	}
	for _, alg := range allowed {
		if alg == wanted {
			return alg, nil
		}
	}
	return "", fmt.Errorf("a key for %s cannot be %s, only %s", p, wanted, join(allowed))
}

func join(algs []keyengine.Alg) string {
	var s strings.Builder
	s.WriteString(string(algs[0]))
	for _, a := range algs[1:] {
		s.WriteString(" or " + string(a))
	}
	return s.String()
}

// State of a key.
type State string

// The states. Only an active key makes signatures or agreements.
const (
	Active  State = "active"
	Retired State = "retired"
	Revoked State = "revoked"
)

// KeyRecord is the immutable part of an application key. All of it but
// Wrapped is the additional data under which the private key is wrapped. Wrapped is
// deleted when the key is retired or revoked: what is left is a tombstone.
type KeyRecord struct {
	Format    int           `json:"format"`
	KID       string        `json:"kid"`
	Alg       keyengine.Alg `json:"alg"`
	Purpose   Purpose       `json:"purpose"`
	CreatedAt int64         `json:"createdAt"` // seconds
	Public    []byte        `json:"public"`    // raw
	Wrapped   []byte        `json:"wrapped,omitzero"`
}

// KeyMeta is the mutable part, in a record of its own, so that changing it never
// touches the wrapped key.
type KeyMeta struct {
	Label       string `json:"label"`
	State       State  `json:"state"`
	Predecessor string `json:"predecessor,omitzero"` // the kid that this key replaced
	Successor   string `json:"successor,omitzero"`   // the kid that replaced this key
	EndedAt     int64  `json:"endedAt,omitzero"`     // seconds; when it was retired or revoked
	Reason      string `json:"reason,omitzero"`      // of revoking it, in the app's words
}

// KeyUse is what changes with every use, in a third record: 16 bytes, uses:u64 ‖
// lastUsedAt:i64, big-endian; no record before the first use. With the key's end comes a
// byte 1, by which a lease knows it while the vault is locked.
type KeyUse struct {
	Uses       uint64
	LastUsedAt int64 // seconds; 0 if never used
	Ended      bool
}

// Key is an application key as the vault shows it: never the private half.
type Key struct {
	KeyRecord
	KeyMeta
	KeyUse
}

// Errors about keys.
var (
	ErrNoKey     = errors.New("vault: no such key")
	ErrInactive  = errors.New("vault: the key is not active")
	ErrKeyExists = errors.New("vault: the key exists already")
	ErrManyKeys  = errors.New("vault: too many keys")
	ErrRevoked   = errors.New("vault: the key is revoked already")
	ErrUnusable  = errors.New("vault: the key is what was written, and this browser does not take it")
)

const keyFormat = 1

func keyName(kid string) store.Name  { return store.Name{Kind: kindKey, ID: kid} }
func metaName(kid string) store.Name { return store.Name{Kind: kindMeta, ID: kid} }
func useName(kid string) store.Name  { return store.Name{Kind: kindUse, ID: kid} }

var countsName = store.Name{Kind: kindCounts, ID: "-"}

// counts is the record that says how many keys there ought to be, so that a
// dropped one is noticed when keys are listed, and which state of the vault this is
// for a backup: the epoch grows whenever an older one would bring back what has ended.
type counts struct {
	Keys  int    `json:"keys"`
	Epoch uint64 `json:"epoch,omitzero"`
}

// aad is the immutable metadata in its one encoding: the record without Wrapped.
func (k KeyRecord) aad() ([]byte, error) {
	k.Wrapped = nil
	return json.Marshal(k, json.Deterministic(true))
}

// NewKey generates a key and returns what has to be committed to make it exist.
// Until the Apply has run as part of an operation nothing is stored.
func (v *Vault) NewKey(ctx context.Context, purpose Purpose, alg keyengine.Alg, label string, maxKeys int) (*Key, func(*ledger.Tx) error, error) {
	record := KeyRecord{Format: keyFormat, Alg: alg, Purpose: purpose, CreatedAt: v.cfg.Now().Unix()}
	var aadErr error
	generated, err := v.cfg.Engine.GenerateKey(ctx, alg, v.ring.wrap, func(public []byte) []byte {
		jwk, err := NewJWK(alg, public)
		record.KID, record.Public = jwk.Thumbprint(), public
		aad, err2 := record.aad()
		aadErr = errors.Join(err, err2)
		return aad
	})
	if err = errors.Join(err, aadErr); err != nil {
		return nil, nil, err
	}
	record.Wrapped = generated.Wrapped
	key := &Key{KeyRecord: record, Label: label, State: Active}
	return key, func(tx *ledger.Tx) error { return putNewKey(tx, key, maxKeys) }, nil
}

func putNewKey(tx *ledger.Tx, key *Key, maxKeys int) error {
	existing, err := tx.Get(keyName(key.KID))
	if err != nil {
		return err
	}
	if existing != nil {
		return ErrKeyExists
	}
	n, err := readCounts(tx)
	if err != nil {
		return err
	}
	if n.Keys >= maxKeys {
		return ErrManyKeys
	}
	n.Keys++
	return putKey(tx, key, n)
}

// putKey stores a key, and the counts as they are then.
func putKey(tx *ledger.Tx, key *Key, n counts) error {
	return errors.Join(
		putJSON(tx, keyName(key.KID), key.KeyRecord),
		putJSON(tx, metaName(key.KID), key.KeyMeta),
		putJSON(tx, countsName, n))
}

// Rotate returns what has to be committed to put a new key of the same kind in the
// place of an active one: the new key, and the Apply, which fills in the retired
// one. ErrInactive if the old one is not active.
func (v *Vault) Rotate(ctx context.Context, kid string, maxKeys int) (key, retired *Key, apply func(*ledger.Tx) error, err error) {
	old, err := v.Key(ctx, kid)
	if err != nil {
		return nil, nil, nil, err
	}
	if old.State != Active {
		return nil, nil, nil, ErrInactive
	}
	key, put, err := v.NewKey(ctx, old.Purpose, old.Alg, old.Label, maxKeys)
	if err != nil {
		return nil, nil, nil, err
	}
	key.Predecessor = kid
	return key, old, func(tx *ledger.Tx) error {
		now, err := ReadKey(tx, kid)
		if err != nil {
			return err
		}
		if now.State != Active {
			return ErrInactive
		}
		now.State, now.Successor = Retired, key.KID
		if err := end(tx, now, lease.KeyRetired); err != nil {
			return err
		}
		*old = *now
		return put(tx)
	}, nil
}

// Revoke returns the Apply that revokes a key, active or retired, and fills in the
// tombstone. ErrRevoked if it is revoked.
func Revoke(kid, reason string, tombstone *Key) func(*ledger.Tx) error {
	return revoke(kid, reason, lease.KeyRevoked, tombstone)
}

// revoke is Revoke; why is what its leases end for.
func revoke(kid, reason string, why lease.Why, tombstone *Key) func(*ledger.Tx) error {
	return func(tx *ledger.Tx) error {
		key, err := ReadKey(tx, kid)
		if err != nil {
			return err
		}
		if key.State == Revoked {
			return ErrRevoked
		}
		key.State, key.Reason = Revoked, reason
		if err := end(tx, key, why); err != nil {
			return err
		}
		*tombstone = *key
		return nil
	}
}

// end deletes a key's private half, for good, and the copies that its leases have, and stores what it has become.
func end(tx *ledger.Tx, key *Key, why lease.Why) error {
	if err := endLeases(tx, key.KID, why); err != nil {
		return err
	}
	key.Wrapped, key.EndedAt, key.Ended = nil, tx.Now(), true
	tx.Put(useName(key.KID), encodeUse(key.KeyUse))
	n, err := readCounts(tx)
	if err != nil {
		return err
	}
	n.Epoch++
	return putKey(tx, key, n)
}

// Key returns one key. ErrNoKey if there is none.
func (v *Vault) Key(ctx context.Context, kid string) (key *Key, err error) {
	err = v.Ledger.Read(ctx, func(tx *ledger.Tx) (err error) {
		key, err = ReadKey(tx, kid)
		return err
	})
	if err != nil {
		return nil, err // it may be about to be written
	}
	return key, nil
}

// Use returns the Apply that counts one use of a key, and fails with
// ErrInactive if the key may not be used any more.
func Use(kid string) func(*ledger.Tx) error {
	return func(tx *ledger.Tx) error {
		meta, err := readMeta(tx, kid)
		if err != nil {
			return err
		}
		if meta.State != Active {
			return ErrInactive
		}
		use, err := readUse(tx, kid)
		if err != nil {
			return err
		}
		tx.Put(useName(kid), encodeUse(KeyUse{Uses: use.Uses + 1, LastUsedAt: tx.Now()}))
		return nil
	}
}

const useSize = 16

func encodeUse(u KeyUse) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, useSize+1), u.Uses)
	b = binary.BigEndian.AppendUint64(b, uint64(u.LastUsedAt))
	if u.Ended {
		b = append(b, 1)
	}
	return b
}

func readUse(tx *ledger.Tx, kid string) (u KeyUse, err error) {
	raw, err := tx.Get(useName(kid))
	switch {
	case err != nil || raw == nil:
		return u, err
	case len(raw) != useSize && (len(raw) != useSize+1 || raw[useSize] != 1):
		return u, &ledger.IntegrityError{What: fmt.Sprintf("use record %s (%d bytes)", kid, len(raw))}
	}
	return KeyUse{binary.BigEndian.Uint64(raw), int64(binary.BigEndian.Uint64(raw[8:])), len(raw) > useSize}, nil
}

// ReadKey returns one key as the transaction sees it.
func ReadKey(tx *ledger.Tx, kid string) (*Key, error) {
	raw, err := tx.Get(keyName(kid))
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, ErrNoKey
	}
	k := new(Key)
	if err := unmarshal(raw, keyName(kid), &k.KeyRecord); err != nil {
		return nil, err
	}
	if k.KeyMeta, err = readMeta(tx, kid); err != nil {
		return nil, err
	}
	k.KeyUse, err = readUse(tx, kid)
	return k, err
}

// ListKeys returns up to limit keys in order of kid, those after the given one.
// more says that there are further keys. That no key is missing, on whatever
// page, is checked each time.
func ListKeys(tx *ledger.Tx, after string, limit int) (keys []*Key, more bool, err error) {
	kids, err := tx.Names(kindMeta)
	if err != nil {
		return nil, false, err
	}
	n, err := readCounts(tx)
	if err != nil {
		return nil, false, err
	}
	if n.Keys != len(kids) {
		return nil, false, &ledger.IntegrityError{What: "list of keys: " + strconv.Itoa(len(kids)) + " of " + strconv.Itoa(n.Keys)}
	}
	at, found := slices.BinarySearch(kids, after)
	if found {
		at++
	}
	kids = kids[at:]
	for _, kid := range kids[:min(limit, len(kids))] {
		k, err := ReadKey(tx, kid)
		if err != nil {
			return nil, false, err
		}
		keys = append(keys, k)
	}
	return keys, len(kids) > limit, nil
}

// CountKeys returns how many keys the vault holds, whatever their state, and its
// epoch. While it is locked the keys are counted by their names, and the epoch is 0.
func (v *Vault) CountKeys(tx *ledger.Tx) (keys int, epoch uint64, err error) {
	if v.Locked() {
		kids, err := tx.Names(kindMeta)
		return len(kids), 0, err
	}
	n, err := readCounts(tx)
	return n.Keys, n.Epoch, err
}

func readCounts(tx *ledger.Tx) (n counts, err error) {
	raw, err := tx.Get(countsName)
	if err != nil || raw == nil {
		return n, err
	}
	err = unmarshal(raw, countsName, &n)
	return n, err
}

func readMeta(tx *ledger.Tx, kid string) (m KeyMeta, err error) {
	raw, err := tx.Get(metaName(kid))
	if err != nil {
		return m, err
	}
	if raw == nil {
		return m, ErrNoKey
	}
	err = unmarshal(raw, metaName(kid), &m)
	return m, err
}

func putJSON(tx *ledger.Tx, name store.Name, v any) error {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err == nil {
		tx.Put(name, b)
	}
	return err
}

// unmarshal reads a record that opened, so a failure means a defect or a newer
// writer; either way nothing is touched.
func unmarshal(b []byte, name store.Name, v any) error {
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		return &ledger.IntegrityError{What: name.Kind + " record " + name.ID + " (" + err.Error() + ")"}
	}
	return nil
}
