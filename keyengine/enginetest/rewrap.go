package enginetest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

func (s *suite) importSecret(t *testing.T) {
	ikm := bytes.Repeat([]byte{0x0b}, keyengine.SecretSize)
	kept := bytes.Clone(ikm)
	one := must(s.e.ImportSecret(t.Context(), ikm))(t)
	if !bytes.Equal(ikm, kept) {
		t.Error("the caller's bytes were changed")
	}
	two := must(s.e.ImportSecret(t.Context(), ikm))(t)
	clear(ikm) // the handle has a copy
	s.derives(t, one, two)

	// The standard library opens what is sealed with what HKDF makes of these bytes.
	derived := must(s.e.DeriveAEAD(t.Context(), one, []byte("salt"), []byte("info")))(t)
	known := must(hkdf.Key(sha256.New, kept, []byte("salt"), "info", 32))(t)
	sealed := s.sealOne(t, derived, []byte("aad"), []byte("plaintext"))
	gcm := must(cipher.NewGCM(must(aes.NewCipher(known))(t)))(t)
	opened := must(gcm.Open(nil, sealed[:keyengine.NonceSize], sealed[keyengine.NonceSize:], []byte("aad")))(t)
	if string(opened) != "plaintext" {
		t.Errorf("opened %q", opened)
	}

	for _, size := range []int{0, 1, 16, 31, 33, 64} {
		if _, err := s.e.ImportSecret(t.Context(), make([]byte, size)); err == nil {
			t.Errorf("imported a secret of %d bytes", size)
		}
	}
}

func (s *suite) rewrapSecret(t *testing.T) {
	a := keyengine.Target{Key: s.deviceHandle(t), AAD: []byte("a")}
	b := keyengine.Target{Key: s.deviceHandle(t), AAD: []byte("b")}
	imported := must(s.e.ImportSecret(t.Context(), bytes.Repeat([]byte{7}, keyengine.SecretSize)))(t)
	c := keyengine.Target{Key: must(s.e.DeriveAEAD(t.Context(), imported, []byte("share"), []byte("slot")))(t)}
	wrapped := must(s.e.GenerateSecrets(t.Context(), a))(t)[0]
	again := must(s.e.RewrapSecret(t.Context(), wrapped, a, b, c, a))(t)
	if len(again) != 3 {
		t.Fatalf("%d wrapped secrets, wanted 3", len(again))
	}
	original := must(s.e.UnwrapSecret(t.Context(), wrapped, a))(t)
	for i, under := range []keyengine.Target{b, c, a} {
		if len(again[i]) != len(wrapped) || bytes.Equal(again[i][:keyengine.NonceSize], wrapped[:keyengine.NonceSize]) {
			t.Errorf("target %d: %d bytes, or the nonce of before", i, len(again[i]))
		}
		s.derives(t, original, must(s.e.UnwrapSecret(t.Context(), again[i], under))(t))
	}
	// What was rewrapped can be rewrapped.
	back := must(s.e.RewrapSecret(t.Context(), again[1], c, a))(t)[0]
	s.derives(t, original, must(s.e.UnwrapSecret(t.Context(), back, a))(t))
	if none := must(s.e.RewrapSecret(t.Context(), wrapped, a))(t); len(none) != 0 {
		t.Errorf("%d wrapped secrets for no target", len(none))
	}

	for name, test := range map[string]struct {
		wrapped []byte
		from    keyengine.Target
	}{
		"another target's": {again[0], a},
		"another key":      {wrapped, keyengine.Target{Key: b.Key, AAD: a.AAD}},
		"another aad":      {wrapped, keyengine.Target{Key: a.Key, AAD: b.AAD}},
		"changed nonce":    {flipped(wrapped, 0), a},
		"changed":          {flipped(wrapped, 20), a},
		"changed tag":      {flipped(wrapped, -1), a},
		"cut off":          {wrapped[:59], a},
		"empty":            {nil, a},
		"a key":            {s.generate(t, keyengine.EdDSA, a.Key, a.AAD).Wrapped, a},
		"secret too short": {s.sealOne(t, a.Key, a.AAD, make([]byte, 31)), a},
		"16 bytes":         {s.sealOne(t, a.Key, a.AAD, make([]byte, 16)), a},
	} {
		out, err := s.e.RewrapSecret(t.Context(), test.wrapped, test.from, b)
		wantErr(t, name, err, keyengine.ErrOpen)
		if out != nil {
			t.Errorf("%s: something was wrapped", name)
		}
	}
	_, err := s.e.RewrapSecret(t.Context(), wrapped, a, b, keyengine.Target{Key: foreign{}})
	wantErr(t, "a good and a foreign target", err, keyengine.ErrHandle)
}

// rewrapKeys takes one key of each algorithm through several wrappings. Each
// time it still does its work, and its PKCS #8 has not changed by a byte, so
// that the other engine opens it, too.
func (s *suite) rewrapKeys(t *testing.T) {
	oldKEK, newKEK := s.deviceHandle(t), s.deviceHandle(t)
	var ops []keyengine.RewrapOp
	var publics, ders [][]byte
	for i, alg := range allAlgorithms {
		from := keyengine.Target{Key: oldKEK, AAD: fmt.Append(nil, "old ", i)}
		to := keyengine.Target{Key: newKEK, AAD: fmt.Append(nil, "new ", i)}
		g := s.generate(t, alg, from.Key, from.AAD)
		ops = append(ops, keyengine.RewrapOp{Alg: alg, Wrapped: g.Wrapped, From: from, To: to})
		publics = append(publics, g.Public)
		ders = append(ders, must(s.openOne(t.Context(), from.Key, from.AAD, g.Wrapped))(t))
	}
	ops[2].To.AAD = nil
	first := slices.Clone(ops)
	for range 3 {
		wrapped := must(s.e.RewrapKeys(t.Context(), ops...))(t)
		if len(wrapped) != len(ops) {
			t.Fatalf("%d keys, wanted %d", len(wrapped), len(ops))
		}
		for i := range ops {
			op := &ops[i]
			key := must(s.e.UnwrapKey(t.Context(), op.Alg, wrapped[i], op.To.Key, op.To.AAD))(t)
			s.works(t, op.Alg, publics[i], key)
			if der := must(s.openOne(t.Context(), op.To.Key, op.To.AAD, wrapped[i]))(t); !bytes.Equal(der, ders[i]) {
				t.Errorf("%s: PKCS #8 has changed", op.Alg)
			}
			_, err := s.e.UnwrapKey(t.Context(), op.Alg, wrapped[i], op.From.Key, op.From.AAD)
			wantErr(t, "the key of before", err, keyengine.ErrOpen)
			if bytes.Equal(wrapped[i][:keyengine.NonceSize], op.Wrapped[:keyengine.NonceSize]) {
				t.Errorf("%s: the nonce of before", op.Alg)
			}
			op.Wrapped, op.From, op.To = wrapped[i], op.To, op.From
		}
	}
	s.doesNotRewrap(t, first)
	if none := must(s.e.RewrapKeys(t.Context()))(t); len(none) != 0 {
		t.Errorf("%d keys of none", len(none))
	}
}

func (s *suite) doesNotRewrap(t *testing.T, good []keyengine.RewrapOp) {
	other := s.deviceHandle(t)
	for i := range good {
		for name, spoil := range map[string]func(*keyengine.RewrapOp){
			"changed nonce":   func(op *keyengine.RewrapOp) { op.Wrapped = flipped(op.Wrapped, 0) },
			"changed":         func(op *keyengine.RewrapOp) { op.Wrapped = flipped(op.Wrapped, 20) },
			"changed tag":     func(op *keyengine.RewrapOp) { op.Wrapped = flipped(op.Wrapped, -1) },
			"cut off":         func(op *keyengine.RewrapOp) { op.Wrapped = op.Wrapped[:len(op.Wrapped)-1] },
			"longer":          func(op *keyengine.RewrapOp) { op.Wrapped = append(bytes.Clone(op.Wrapped), 0) },
			"empty":           func(op *keyengine.RewrapOp) { op.Wrapped = nil },
			"another aad":     func(op *keyengine.RewrapOp) { op.From.AAD = flipped(op.From.AAD, 0) },
			"no aad":          func(op *keyengine.RewrapOp) { op.From.AAD = nil },
			"another key":     func(op *keyengine.RewrapOp) { op.From.Key = other },
			"sealed nonsense": func(op *keyengine.RewrapOp) { op.Wrapped = s.sealOne(t, op.From.Key, op.From.AAD, []byte("no key")) },
		} {
			ops := slices.Clone(good)
			spoil(&ops[i])
			out, err := s.e.RewrapKeys(t.Context(), ops...)
			wantRewrapError(t, name, out, err, i)
		}
		for name, spoil := range map[string]func(*keyengine.RewrapOp){
			"foreign from": func(op *keyengine.RewrapOp) { op.From.Key = foreign{} },
			"no to":        func(op *keyengine.RewrapOp) { op.To.Key = nil },
		} {
			ops := slices.Clone(good)
			spoil(&ops[i])
			_, err := s.e.RewrapKeys(t.Context(), ops...)
			wantErr(t, name, err, keyengine.ErrHandle)
		}
	}
	ops := slices.Clone(good)
	ops[1].Alg = "RS256"
	_, err := s.e.RewrapKeys(t.Context(), ops...)
	wantErr(t, "unknown algorithm", err, keyengine.ErrUnsupported)
}

func wantRewrapError(t *testing.T, name string, out [][]byte, err error, index int) {
	t.Helper()
	wantErr(t, name, err, keyengine.ErrOpen)
	if at, ok := errors.AsType[*keyengine.OpenError](err); !ok || at.Index != index {
		t.Errorf("%s: error %#v, wanted index %d", name, err, index)
	}
	if out != nil {
		t.Errorf("%s: something was wrapped", name)
	}
}

// rewrapMany rewraps as many keys as a large vault has, and finds the one that
// does not open among them.
func (s *suite) rewrapMany(t *testing.T) {
	const keys = 10_000
	from := keyengine.Target{Key: s.deviceHandle(t), AAD: []byte("from")}
	to := keyengine.Target{Key: s.deviceHandle(t)}
	ops := make([]keyengine.RewrapOp, keys)
	generated := map[keyengine.Alg]keyengine.Generated{}
	for _, alg := range allAlgorithms {
		generated[alg] = s.generate(t, alg, from.Key, from.AAD)
	}
	for i := range ops {
		alg := allAlgorithms[i%len(allAlgorithms)]
		ops[i] = keyengine.RewrapOp{Alg: alg, Wrapped: generated[alg].Wrapped, From: from, To: to}
		ops[i].To.AAD = fmt.Append(nil, i)
	}
	for _, n := range []int{1000, keys} {
		start := time.Now()
		must(s.e.RewrapKeys(t.Context(), ops[:n]...))(t)
		t.Logf("%d keys rewrapped in %v", n, time.Since(start).Round(time.Millisecond))
	}
	wrapped := must(s.e.RewrapKeys(t.Context(), ops...))(t)
	nonces := map[string]bool{}
	for i, w := range wrapped {
		nonces[string(w[:keyengine.NonceSize])] = true
		if i%499 != 0 { // some of each algorithm, on both sides of a boundary of 250
			continue
		}
		key := must(s.e.UnwrapKey(t.Context(), ops[i].Alg, w, to.Key, ops[i].To.AAD))(t)
		if ops[i].Alg == keyengine.X25519 {
			continue // rewrapKeys lets it agree
		}
		signature := must(s.e.Sign(t.Context(), key, ops[i].To.AAD))(t)
		if !must(s.e.Verify(t.Context(), ops[i].Alg, generated[ops[i].Alg].Public, ops[i].To.AAD, signature))(t) {
			t.Errorf("key %d does not sign", i)
		}
	}
	if len(nonces) != keys {
		t.Errorf("%d nonces for %d keys", len(nonces), keys)
	}
	for _, i := range []int{0, 249, 250, 5678, keys - 1} {
		bad := slices.Clone(ops)
		bad[i].Wrapped = flipped(bad[i].Wrapped, -1)
		out, err := s.e.RewrapKeys(t.Context(), bad...)
		wantRewrapError(t, fmt.Sprint("key ", i), out, err, i)
	}
}
