package enginetest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

func (s *suite) deviceKey(t *testing.T) {
	key := s.deviceHandle(t)
	sealed := s.sealOne(t, key, nil, []byte("kept"))
	value := must(s.e.Export(key))(t)
	back := must(s.e.Import(value))(t)
	if got := must(s.openOne(t.Context(), back, nil, sealed))(t); string(got) != "kept" {
		t.Errorf("opened %q", got)
	}
	if must(s.e.Export(back))(t) == nil {
		t.Error("imported key exports as nothing")
	}
	_, err := s.openOne(t.Context(), s.deviceHandle(t), nil, sealed)
	wantErr(t, "another device key", err, keyengine.ErrOpen)
	for _, value := range []any{nil, 1, "key", []byte("0123456789abcdef0123456789abcdef"), key, struct{}{}} {
		_, err := s.e.Import(value)
		wantErr(t, "importing nonsense", err, keyengine.ErrHandle)
	}
	derived := must(s.e.DeriveAEAD(t.Context(), s.newSecret(t), nil, nil))(t)
	_, err = s.e.Export(derived)
	wantErr(t, "exporting a derived key", err, keyengine.ErrHandle)
}

func (s *suite) secrets(t *testing.T) {
	a := keyengine.Target{Key: s.deviceHandle(t), AAD: []byte("a")}
	b := keyengine.Target{Key: s.deviceHandle(t), AAD: []byte("b")}
	wrapped := must(s.e.GenerateSecrets(t.Context(), a, b))(t)
	if len(wrapped) != 2 {
		t.Fatalf("%d wrapped secrets, wanted 2", len(wrapped))
	}
	for _, w := range wrapped {
		if len(w) != keyengine.NonceSize+keyengine.SecretSize+keyengine.TagSize {
			t.Errorf("wrapped secret of %d bytes", len(w))
		}
	}
	if bytes.Equal(wrapped[0][:keyengine.NonceSize], wrapped[1][:keyengine.NonceSize]) {
		t.Error("one nonce for two targets")
	}
	fromA := must(s.e.UnwrapSecret(t.Context(), wrapped[0], a))(t)
	fromB := must(s.e.UnwrapSecret(t.Context(), wrapped[1], b))(t)
	s.derives(t, fromA, fromB)
	if none := must(s.e.GenerateSecrets(t.Context()))(t); len(none) != 0 {
		t.Errorf("%d wrapped secrets for no target", len(none))
	}

	for name, test := range map[string]struct {
		wrapped []byte
		under   keyengine.Target
	}{
		"another target's": {wrapped[1], a},
		"another key":      {wrapped[0], keyengine.Target{Key: b.Key, AAD: a.AAD}},
		"another aad":      {wrapped[0], keyengine.Target{Key: a.Key, AAD: b.AAD}},
		"changed":          {flipped(wrapped[0], 20), a},
		"cut off":          {wrapped[0][:59], a},
		"empty":            {nil, a},
		"secret too short": {s.sealOne(t, a.Key, a.AAD, make([]byte, 31)), a},
		"secret too long":  {s.sealOne(t, a.Key, a.AAD, make([]byte, 33)), a},
	} {
		_, err := s.e.UnwrapSecret(t.Context(), test.wrapped, test.under)
		wantErr(t, name, err, keyengine.ErrOpen)
	}
}

// derives checks that two handles of one secret derive the same keys, and
// different keys for a different salt or info, or from another secret.
func (s *suite) derives(t *testing.T, one, two keyengine.SecretKey) {
	derive := func(secret keyengine.SecretKey, salt, info string) keyengine.AEADKey {
		return must(s.e.DeriveAEAD(t.Context(), secret, []byte(salt), []byte(info)))(t)
	}
	sealed := s.sealOne(t, derive(one, "salt", "info"), nil, []byte("derived"))
	if got := must(s.openOne(t.Context(), derive(two, "salt", "info"), nil, sealed))(t); string(got) != "derived" {
		t.Errorf("opened %q", got)
	}
	for name, key := range map[string]keyengine.AEADKey{
		"salt":   derive(two, "other", "info"),
		"info":   derive(two, "salt", "other"),
		"secret": derive(s.newSecret(t), "salt", "info"),
		"order":  derive(two, "info", "salt"),
	} {
		_, err := s.openOne(t.Context(), key, nil, sealed)
		wantErr(t, "another "+name, err, keyengine.ErrOpen)
	}
	// A derived key wraps, too.
	kek := derive(one, "", "")
	g := s.generate(t, keyengine.ES256, kek, nil)
	key := must(s.e.UnwrapKey(t.Context(), keyengine.ES256, g.Wrapped, derive(two, "", ""), nil))(t)
	s.works(t, keyengine.ES256, g.Public, key)
}

func (s *suite) sealOpen(t *testing.T) {
	key, other := s.deviceHandle(t), s.deviceHandle(t)
	plaintexts := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte("x"), 70_000), []byte("four")}
	var seals []keyengine.SealOp
	for i, p := range plaintexts {
		seals = append(seals, keyengine.SealOp{Key: key, Nonce: nonce(byte(i + 1)), AAD: []byte{byte(i)}, Plaintext: p})
	}
	seals[3].Key, seals[3].AAD = other, nil
	sealed := must(s.e.Seal(t.Context(), seals...))(t)
	opens := make([]keyengine.OpenOp, len(sealed))
	for i, b := range sealed {
		if len(b) != keyengine.NonceSize+len(plaintexts[i])+keyengine.TagSize || !bytes.HasPrefix(b, seals[i].Nonce[:]) {
			t.Fatalf("op %d: %d bytes sealed", i, len(b))
		}
		opens[i] = keyengine.OpenOp{Key: seals[i].Key, AAD: seals[i].AAD, Sealed: b}
	}
	opens[3].AAD = []byte{} // the same as none
	opened := must(s.e.Open(t.Context(), opens...))(t)
	for i, p := range opened {
		if !bytes.Equal(p, plaintexts[i]) || p == nil {
			t.Errorf("op %d: opened %d bytes", i, len(p))
		}
	}
	for i := range opens {
		s.failsAt(t, opens, i, key)
	}
	if none := must(s.e.Seal(t.Context()))(t); len(none) != 0 {
		t.Errorf("sealed %d of nothing", len(none))
	}
	if none := must(s.e.Open(t.Context()))(t); len(none) != 0 {
		t.Errorf("opened %d of nothing", len(none))
	}
}

// failsAt spoils op i in several ways, alone and among the others.
func (s *suite) failsAt(t *testing.T, good []keyengine.OpenOp, i int, key keyengine.AEADKey) {
	op := good[i]
	wrongKey := key
	if op.Key == key {
		wrongKey = s.deviceHandle(t)
	}
	for name, bad := range map[string]keyengine.OpenOp{
		"nonce":     {Key: op.Key, AAD: op.AAD, Sealed: flipped(op.Sealed, 0)},
		"body":      {Key: op.Key, AAD: op.AAD, Sealed: flipped(op.Sealed, keyengine.NonceSize)},
		"tag":       {Key: op.Key, AAD: op.AAD, Sealed: flipped(op.Sealed, -1)},
		"aad":       {Key: op.Key, AAD: []byte("other"), Sealed: op.Sealed},
		"key":       {Key: wrongKey, AAD: op.AAD, Sealed: op.Sealed},
		"cut off":   {Key: op.Key, AAD: op.AAD, Sealed: op.Sealed[:len(op.Sealed)-1]},
		"too short": {Key: op.Key, AAD: op.AAD, Sealed: op.Sealed[:keyengine.NonceSize+keyengine.TagSize-1]},
		"empty":     {Key: op.Key, AAD: op.AAD},
	} {
		ops := append([]keyengine.OpenOp(nil), good...)
		ops[i] = bad
		s.wantIndex(t, name, i, ops)
		s.wantIndex(t, name, 0, []keyengine.OpenOp{bad})
	}
}

func (s *suite) wantIndex(t *testing.T, name string, index int, ops []keyengine.OpenOp) {
	t.Helper()
	opened, err := s.e.Open(t.Context(), ops...)
	wantErr(t, name, err, keyengine.ErrOpen)
	if at, ok := errors.AsType[*keyengine.OpenError](err); !ok || at.Index != index {
		t.Errorf("%s: error %#v, wanted index %d", name, err, index)
	}
	if opened != nil {
		t.Errorf("%s: something opened", name)
	}
}
