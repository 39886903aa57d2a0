package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// What every relay token is measured by.
const (
	tokenType    = "kms-relay+jwt" // VAPID tokens, which push services see, are "JWT"
	tokenMaxLife = 24 * time.Hour
	tokenMaxSkew = time.Minute // that iat may lie in the future
	tokenMaxSize = 2048
	jtiSize      = 22 // 16 bytes
)

// scope is what a relay token allows.
type scope string

const (
	scopeRegister scope = "register"
	scopeSend     scope = "send"
)

// claimed is a token that was taken apart and says what it says: nothing of it may be believed.
type claimed struct {
	kid       string
	claims    tokenClaims
	input     string
	signature []byte
}

type tokenHeader struct {
	Algorithm string `json:"alg"`
	Kid       string `json:"kid"`
	Type      string `json:"typ"`
}

type tokenClaims struct {
	Audience string  `json:"aud"`
	Expires  int64   `json:"exp"`
	Issued   int64   `json:"iat"`
	ID       string  `json:"jti"`
	Scope    scope   `json:"scope"`
	Subject  *string `json:"sub,omitzero"` // one that is there and empty is not the same as none
}

// verified is a token that its user's key signed, made out to this relay, at this time. Only
// claimed.verify makes one.
type verified struct {
	kid     string
	scope   scope
	subject *string // the one subscription that it is for; nil for all
	expires time.Time
}

// bearer takes the token out of a request.
func bearer(h http.Header) (claimed, error) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return claimed{}, errUnauthorized.with("%d Authorization headers, wanted 1", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return claimed{}, errUnauthorized.with("the scheme is not Bearer")
	}
	return parseToken(token)
}

// parseToken takes the compact form apart, in its one spelling.
func parseToken(token string) (claimed, error) {
	parts := strings.Split(token, ".")
	if len(token) > tokenMaxSize || len(parts) != 3 {
		return claimed{}, errUnauthorized.with("not a token of three parts and at most %d bytes", tokenMaxSize)
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = decode(part); err != nil {
			return claimed{}, errUnauthorized.with("part %d of the token is not base64url", i+1)
		}
	}
	var header tokenHeader
	if err := decodeStrict(decoded[0], &header); err != nil || header.Algorithm != "ES256" || header.Type != tokenType || !isKid(header.Kid) {
		return claimed{}, errUnauthorized.with(`the token's header is not {"alg":"ES256","kid":…,"typ":%q}`, tokenType)
	}
	c := claimed{kid: header.Kid, input: parts[0] + "." + parts[1], signature: decoded[2]}
	if err := decodeStrict(decoded[1], &c.claims); err != nil {
		return claimed{}, errUnauthorized.with("the token's claims are not aud, exp, iat, jti, scope and perhaps sub")
	}
	return c, nil
}

// verify checks everything but what the token is used for.
func (c claimed) verify(public []byte, origin string, now time.Time) (verified, error) {
	if thumbprint(public) != c.kid {
		return verified{}, errUnauthorized.with("the token's kid is another key's")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public)
	if err != nil || len(c.signature) != 64 {
		return verified{}, errUnauthorized.with("the token's signature is not r‖s in 64 bytes")
	}
	digest := sha256.Sum256([]byte(c.input))
	if !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(c.signature[:32]), new(big.Int).SetBytes(c.signature[32:])) {
		return verified{}, errUnauthorized.with("the token's signature does not fit")
	}
	if err := c.claims.check(origin, now); err != nil {
		return verified{}, err
	}
	return verified{c.kid, c.claims.Scope, c.claims.Subject, time.Unix(c.claims.Expires, 0)}, nil
}

func (c *tokenClaims) check(origin string, now time.Time) error {
	at := now.Unix()
	switch {
	case c.Audience != origin:
		return errUnauthorized.with("the token's aud is another relay's, wanted %s", origin)
	case c.Expires <= at:
		return errUnauthorized.with("the token has expired")
	case c.Expires-at > int64(tokenMaxLife/time.Second):
		return errUnauthorized.with("the token expires more than %s from now", tokenMaxLife)
	case c.Issued <= 0:
		return errUnauthorized.with("the token has no iat")
	case c.Issued > at+int64(tokenMaxSkew/time.Second):
		return errUnauthorized.with("the token's iat lies in the future")
	case len(c.ID) != jtiSize || !isBase64url(c.ID):
		return errUnauthorized.with("the token's jti is not %d characters of base64url", jtiSize)
	case c.Scope != scopeRegister && c.Scope != scopeSend:
		return errUnauthorized.with("the token's scope is neither register nor send")
	case c.Subject != nil && !isSubscriptionID(*c.Subject):
		return errUnauthorized.with("the token's sub is not the id of a subscription")
	}
	return nil
}

// allows returns errForbidden unless the token is for that scope and subscription.
func (v verified) allows(s scope, subscription string) error {
	switch {
	case v.scope != s:
		return errForbidden.with("the token's scope is not %s", s)
	case v.subject != nil && *v.subject != subscription:
		return errForbidden.with("the token is for another subscription")
	}
	return nil
}

// allowsUser returns errForbidden unless the token is for everything of its user.
func (v verified) allowsUser() error {
	if v.scope != scopeRegister || v.subject != nil {
		return errForbidden.with("wanted a token of scope register without sub")
	}
	return nil
}

// thumbprint is the kid of an uncompressed P-256 point (RFC 7638 section 3.2).
func thumbprint(public []byte) string {
	if len(public) != 65 {
		return ""
	}
	digest := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + encode(public[1:33]) + `","y":"` + encode(public[33:]) + `"}`))
	return encode(digest[:])
}

func isKid(s string) bool            { return len(s) == 43 && isBase64url(s) }
func isSubscriptionID(s string) bool { return len(s) >= 1 && len(s) <= 64 && isBase64url(s) }

func isBase64url(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode takes base64url without padding, in its one form: Go's decoder skips line breaks.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("base64url with a line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// decodeStrict refuses members that are not known, names that appear twice and text that is not UTF-8.
func decodeStrict(b []byte, into any) error {
	return json.Unmarshal(b, into, json.RejectUnknownMembers(true))
}
