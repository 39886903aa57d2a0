package enginetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// foreign implements every kind of key, for no engine.
type foreign struct{}

func (foreign) Alg() keyengine.Alg { return keyengine.ES256 }
func (foreign) AEAD()              {}
func (foreign) Secret()            {}

// calls returns every method that takes a key, with these keys.
func (s *suite) calls(private keyengine.PrivateKey, agree keyengine.PrivateKey, aead keyengine.AEADKey, secret keyengine.SecretKey) map[string]func(context.Context) error {
	target := keyengine.Target{Key: aead}
	return map[string]func(context.Context) error{
		"GenerateKey": func(ctx context.Context) error {
			_, err := s.e.GenerateKey(ctx, keyengine.ES256, aead, func([]byte) []byte { return nil })
			return err
		},
		"UnwrapKey": func(ctx context.Context) error {
			_, err := s.e.UnwrapKey(ctx, keyengine.ES256, make([]byte, 166), aead, nil)
			return err
		},
		"Sign": func(ctx context.Context) error {
			_, err := s.e.Sign(ctx, private, nil)
			return err
		},
		"Agree": func(ctx context.Context) error {
			_, err := s.e.Agree(ctx, agree, append([]byte{9}, make([]byte, 31)...), nil, nil, 32)
			return err
		},
		"GenerateSecrets": func(ctx context.Context) error {
			_, err := s.e.GenerateSecrets(ctx, target)
			return err
		},
		"UnwrapSecret": func(ctx context.Context) error {
			_, err := s.e.UnwrapSecret(ctx, make([]byte, 60), target)
			return err
		},
		"RewrapSecret": func(ctx context.Context) error {
			_, err := s.e.RewrapSecret(ctx, make([]byte, 60), target)
			return err
		},
		"RewrapSecret to": func(ctx context.Context) error {
			_, err := s.e.RewrapSecret(ctx, make([]byte, 60), target, target)
			return err
		},
		"RewrapKeys": func(ctx context.Context) error {
			_, err := s.e.RewrapKeys(ctx, keyengine.RewrapOp{Alg: keyengine.ES256, Wrapped: make([]byte, 166), From: target, To: target})
			return err
		},
		"DeriveAEAD": func(ctx context.Context) error {
			_, err := s.e.DeriveAEAD(ctx, secret, nil, nil)
			return err
		},
		"Seal": func(ctx context.Context) error {
			_, err := s.e.Seal(ctx, keyengine.SealOp{Key: aead})
			return err
		},
		"Open": func(ctx context.Context) error {
			_, err := s.e.Open(ctx, keyengine.OpenOp{Key: aead, Sealed: make([]byte, 28)})
			return err
		},
	}
}

func (s *suite) foreignHandles(t *testing.T) {
	for name, call := range s.calls(foreign{}, foreign{}, foreign{}, foreign{}) {
		wantErr(t, name+" with a foreign handle", call(t.Context()), keyengine.ErrHandle)
	}
	for name, call := range s.calls(nil, nil, nil, nil) {
		wantErr(t, name+" without a handle", call(t.Context()), keyengine.ErrHandle)
	}
	for _, key := range []keyengine.AEADKey{foreign{}, nil} {
		_, err := s.e.Export(key)
		wantErr(t, "Export", err, keyengine.ErrHandle)
	}
	// One bad handle among good ones stops all.
	good := keyengine.SealOp{Key: s.deviceHandle(t)}
	_, err := s.e.Seal(t.Context(), good, keyengine.SealOp{Key: foreign{}})
	wantErr(t, "Seal with a good and a foreign handle", err, keyengine.ErrHandle)
}

func (s *suite) contextDone(t *testing.T) {
	_, private := s.newKey(t, keyengine.ES256)
	public, agree := s.newKey(t, keyengine.X25519)
	cause := errors.New("the cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	calls := s.calls(private, agree, s.deviceHandle(t), s.newSecret(t))
	calls["GenerateDeviceKey"] = func(ctx context.Context) error {
		_, err := s.e.GenerateDeviceKey(ctx)
		return err
	}
	calls["ImportSecret"] = func(ctx context.Context) error {
		_, err := s.e.ImportSecret(ctx, make([]byte, keyengine.SecretSize))
		return err
	}
	calls["Verify"] = func(ctx context.Context) error {
		_, err := s.e.Verify(ctx, keyengine.ES256, public, nil, nil)
		return err
	}
	for name, call := range calls {
		wantErr(t, name+" after the end", call(ctx), cause)
	}
	// Calls that end half-way leave the engine usable.
	var wg sync.WaitGroup
	for range 20 {
		half, stop := context.WithCancelCause(t.Context())
		wg.Go(func() { _, _ = s.e.Sign(half, private, nil) })
		wg.Go(func() { stop(cause) })
	}
	wg.Wait()
	must(s.e.Sign(t.Context(), private, nil))(t)
}

// concurrency lets many goroutines use one engine at once, and wants each to
// get its own answer.
func (s *suite) concurrency(t *testing.T) {
	public, key := s.newKey(t, keyengine.ES256)
	aead := s.deviceHandle(t)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			message := []byte{byte(i)}
			signature, err := s.e.Sign(t.Context(), key, message)
			if err != nil {
				t.Error(err)
				return
			}
			if ok, err := s.e.Verify(t.Context(), keyengine.ES256, public, message, signature); !ok || err != nil {
				t.Errorf("signature %d: %t, %v", i, ok, err)
			}
			sealed, err := s.e.Seal(t.Context(),
				keyengine.SealOp{Key: aead, Nonce: nonce(byte(i)), Plaintext: message},
				keyengine.SealOp{Key: aead, Nonce: nonce(byte(i + 64)), Plaintext: signature})
			if err != nil {
				t.Error(err)
				return
			}
			opened, err := s.openOne(t.Context(), aead, nil, sealed[0])
			if err != nil || opened[0] != byte(i) {
				t.Errorf("message %d opened as %x, %v", i, opened, err)
			}
		})
	}
	wg.Wait()
}
