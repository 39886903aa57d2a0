//go:build kmstest

package vectors

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave/enclavetest"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// TestTokens verifies what jwt.sign and token.vapid return with somebody else's
// library, which has nothing but the public key.
func TestTokens(t *testing.T) {
	c := enclavetest.NewOrigin(t, enclavetest.Platform{
		Engine: newEngine(t),
		Open:   func(*testing.T, string) store.Store { return memstore.New() },
	}).Connect()
	c.CreateVault()
	for _, test := range []struct {
		purpose, alg, method, audience, subject string
		params                                  map[string]any
	}{
		{"signing", "EdDSA", "jwt.sign", "https://api.example", "alice", map[string]any{"audience": "https://api.example", "subject": "alice"}},
		{"signing", "ES256", "jwt.sign", "https://api.example", "alice", map[string]any{"audience": "https://api.example", "subject": "alice", "claims": map[string]any{"scope": []string{"read", "<&>"}}}},
		{"vapid", "ES256", "token.vapid", "https://push.example.net", "mailto:ops@example.net", map[string]any{"endpoint": "https://push.example.net/send/1", "subject": "mailto:ops@example.net"}},
	} {
		t.Run(test.method+"/"+test.alg, func(t *testing.T) {
			key := c.CreateKey(test.purpose, test.alg)
			test.params["kid"], test.params["ttlSeconds"] = key.KID, 300
			var signed api.Token
			c.Must(test.method, test.params, &signed)
			parser := jwt.NewParser(
				jwt.WithValidMethods([]string{test.alg}), jwt.WithAudience(test.audience), jwt.WithSubject(test.subject),
				jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(), jwt.WithLeeway(time.Minute))
			byKey := func(token *jwt.Token) (any, error) {
				if token.Header["kid"] != key.KID || token.Header["typ"] != "JWT" {
					return nil, fmt.Errorf("header %v", token.Header)
				}
				return publicKey(t, key), nil
			}
			token, err := parser.Parse(signed.Token, byKey)
			if err != nil || !token.Valid {
				t.Fatalf("%s: %v", signed.Token, err)
			}
			if exp, err := token.Claims.GetExpirationTime(); err != nil || exp.Unix() != signed.Exp {
				t.Errorf("exp %v (%v), %d wanted", exp, err, signed.Exp)
			}
			other := c.CreateKey(test.purpose, test.alg)
			if _, err := parser.Parse(signed.Token, func(*jwt.Token) (any, error) { return publicKey(t, other), nil }); err == nil {
				t.Error("verifies by another key")
			}
		})
	}
}

// TestNoOtherRegisteredClaims: a verifier that matches claims by encoding/json,
// which minds no letter case and takes the last, finds in every token the
// registered claims that the enclave set. An app gets no token in which it finds others.
func TestNoOtherRegisteredClaims(t *testing.T) {
	c := enclavetest.NewOrigin(t, enclavetest.Platform{
		Engine: newEngine(t),
		Open:   func(*testing.T, string) store.Store { return memstore.New() },
	}).Connect()
	c.CreateVault()
	key := c.CreateKey("signing", "")
	spellings := map[string]any{
		"ISS": "https://trusted.example", "i\u017fs": "https://trusted.example", "Sub": "root", "\u017fub": "root", "AUD": "https://bank.example",
		"Exp": 9999999999, "nBf": 1, "IAT": 1, "JTI": "replayed", "scope": "read",
	}
	for name, value := range spellings {
		params := map[string]any{"kid": key.KID, "audience": "https://api.example", "ttlSeconds": 60, "claims": map[string]any{name: value}}
		var signed api.Token
		if failure := c.Try("jwt.sign", params, &signed); failure != nil {
			if name == "scope" {
				t.Errorf("%s: %v", name, failure)
			}
			continue
		}
		var found jwt.RegisteredClaims
		_, err := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithAudience("https://api.example"), jwt.WithExpirationRequired()).
			ParseWithClaims(signed.Token, &found, func(*jwt.Token) (any, error) { return publicKey(t, key), nil })
		if err != nil || found.Issuer != "" || found.Subject != "" || found.NotBefore != nil || found.ID != signed.JTI || found.ExpiresAt.Unix() != signed.Exp || found.IssuedAt.Unix() != signed.Exp-60 {
			t.Errorf("%s: a verifier finds %+v (%v), the enclave says %+v", name, found, err, signed)
		}
	}
}

func publicKey(t *testing.T, key api.Key) crypto.PublicKey {
	t.Helper()
	if key.Alg == "EdDSA" {
		return ed25519.PublicKey(key.PublicKey.Raw)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), key.PublicKey.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return public
}
