package native

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// newPrivate makes a key from fresh randomness. The standard library's own
// generators ignore the reader they are given.
func (e *Engine) newPrivate(alg keyengine.Alg) (*privateKey, error) {
	k := &privateKey{alg: alg}
	if alg == keyengine.ES256 {
		var err error
		k.es256, err = e.newES256()
		return k, err
	}
	seed, err := e.newSeed()
	if err != nil {
		return nil, err
	}
	switch alg {
	case keyengine.EdDSA:
		k.eddsa = ed25519.NewKeyFromSeed(seed)
	case keyengine.X25519:
		k.x25519, err = ecdh.X25519().NewPrivateKey(seed)
	default:
		err = fmt.Errorf("algorithm %q: %w", alg, keyengine.ErrUnsupported)
	}
	return k, err
}

// newSeed draws a private key on Curve25519. None begins with a zero byte, because
// WebKitGTK does not import those.
func (e *Engine) newSeed() ([]byte, error) {
	for range 12 {
		seed, err := e.random.draw(32)
		if err != nil || seed[0] != 0 {
			return seed, err
		}
	}
	return nil, errors.New("randomness: twelve draws gave no key on Curve25519")
}

// newES256 generates by rejection sampling (FIPS 186-5 appendix A.2.2). A draw
// is out of range once in 2³²; twelve in a row mean a broken source.
func (e *Engine) newES256() (*ecdsa.PrivateKey, error) {
	for range 12 {
		d, err := e.random.draw(32)
		if err != nil {
			return nil, err
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("randomness: twelve draws gave no ES256 key")
}

// public returns the raw public key.
func (k *privateKey) public() ([]byte, error) {
	switch k.alg {
	case keyengine.ES256:
		return k.es256.PublicKey.Bytes()
	case keyengine.EdDSA:
		return bytes.Clone(k.eddsa.Public().(ed25519.PublicKey)), nil
	}
	return k.x25519.PublicKey().Bytes(), nil
}

func (k *privateKey) pkcs8() ([]byte, error) {
	switch k.alg {
	case keyengine.ES256:
		return x509.MarshalPKCS8PrivateKey(k.es256)
	case keyengine.EdDSA:
		return x509.MarshalPKCS8PrivateKey(k.eddsa)
	}
	return x509.MarshalPKCS8PrivateKey(k.x25519)
}

var errPKCS8 = errors.New("not a PKCS #8 key")

// parsePKCS8 takes alg's one form (see the package comment). Its errors say
// nothing of what it was given.
func parsePKCS8(alg keyengine.Alg, der []byte) (*privateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errPKCS8
	}
	k := &privateKey{alg: alg}
	ok := false
	switch alg {
	case keyengine.ES256:
		k.es256, ok = parsed.(*ecdsa.PrivateKey)
		ok = ok && k.es256.Curve == elliptic.P256()
	case keyengine.EdDSA:
		k.eddsa, ok = parsed.(ed25519.PrivateKey)
	case keyengine.X25519:
		k.x25519, ok = parsed.(*ecdh.PrivateKey)
		ok = ok && k.x25519.Curve() == ecdh.X25519()
	}
	if !ok {
		return nil, errPKCS8
	}
	if again, err := k.pkcs8(); err != nil || !bytes.Equal(again, der) {
		return nil, errPKCS8
	}
	return k, nil
}
