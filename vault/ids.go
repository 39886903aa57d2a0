package vault

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/kms-enclave/kms-enclave/ledger"
)

// ShareSize is the length of a share in bytes.
const ShareSize = 32

// Share is held by the app and handed in at launch. It salts every
// key-encryption key except recovery's, so that nothing in the enclave's
// storage opens from the enclave's storage alone. It opens nothing either.
type Share [ShareSize]byte

// ID names the vault of one account of one app. It is computed here, from the
// origin that the browser attests, and is never sent:
//
//	base64url(SHA-256("kms-enclave/vault-id/v1" ‖ 0 ‖ u32be(len(origin)) ‖ origin ‖ account))
func ID(origin, account string) string {
	b := append([]byte("kms-enclave/vault-id/v1"), 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(origin)))
	b = append(append(b, origin...), account...)
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// shareID recognises a share without revealing it:
// HKDF-SHA-256(ikm = share, no salt, "kms-enclave/share-id/v1"), 16 bytes.
func shareID(share Share) ([]byte, error) {
	return hkdf.Key(sha256.New, share[:], nil, "kms-enclave/share-id/v1", 16)
}

// tombstone is what a destroyed vault leaves behind, in a record of its own: the
// format byte 1, then
//
//	HKDF-SHA-256(ikm = share, no salt, "kms-enclave/destroyed/v1" ‖ 0 ‖ instance), 32 bytes
//
// It opens nothing. It can be made only with the share, and says that this one
// vault was destroyed, so putting it back later makes no other loss look wanted.
func tombstone(share Share, instance []byte) ([]byte, error) {
	mac, err := hkdf.Key(sha256.New, share[:], nil, string(label("kms-enclave/destroyed/v1", instance)), 32)
	return ledger.EncodePlain(mac), err
}
