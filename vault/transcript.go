package vault

import (
	"crypto/sha256"
	"encoding/binary"
)

// ChallengeInput returns what a challenge signature covers:
//
//	"kms-enclave/challenge/v1" ‖ 0 ‖ u32be(len(context)) ‖ context ‖ data
func ChallengeInput(context string, data []byte) []byte {
	return append(framed("kms-enclave/challenge/v1", context), data...)
}

// AgreeParams returns the HKDF salt and info of key.agree: the SHA-256 of both
// raw public keys, sorted, and
//
//	"kms-enclave/agree/v1" ‖ 0 ‖ u32be(len(context)) ‖ context
func AgreeParams(ours, peer []byte, context string) (salt, info []byte) {
	first, second := ours, peer
	if string(first) > string(second) {
		first, second = second, first
	}
	sum := sha256.Sum256(append(append([]byte{}, first...), second...))
	return sum[:], framed("kms-enclave/agree/v1", context)
}

// framed returns label ‖ 0 ‖ u32be(len(context)) ‖ context.
func framed(label, context string) []byte {
	b := make([]byte, 0, len(label)+5+len(context))
	b = append(append(b, label...), 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(context)))
	return append(b, context...)
}
