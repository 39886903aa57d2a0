package relay

import (
	"crypto/sha256"
	"encoding/json/v2"
	"net/http"
	"strings"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jws"
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
	jws.Compact
	kid    string
	claims tokenClaims
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
	if len(token) > tokenMaxSize {
		return claimed{}, errUnauthorized.with("the token has more than %d bytes", tokenMaxSize)
	}
	parsed, err := jws.Parse(token)
	if err != nil {
		return claimed{}, errUnauthorized.with("the token: %v", err)
	}
	var header tokenHeader
	if err := decodeStrict(parsed.Header, &header); err != nil || header.Algorithm != "ES256" || header.Type != tokenType || !isKid(header.Kid) {
		return claimed{}, errUnauthorized.with(`the token's header is not {"alg":"ES256","kid":…,"typ":%q}`, tokenType)
	}
	c := claimed{Compact: parsed, kid: header.Kid}
	if err := decodeStrict(parsed.Payload, &c.claims); err != nil {
		return claimed{}, errUnauthorized.with("the token's claims are not aud, exp, iat, jti, scope and perhaps sub")
	}
	return c, nil
}

// verify checks everything but what the token is used for.
func (c claimed) verify(public []byte, origin string, now time.Time) (verified, error) {
	if thumbprint(public) != c.kid {
		return verified{}, errUnauthorized.with("the token's kid is another key's")
	}
	if !c.VerifyES256(public) {
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
	case len(c.ID) != jtiSize || !jws.IsBase64url(c.ID):
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
	digest := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + jws.Encode(public[1:33]) + `","y":"` + jws.Encode(public[33:]) + `"}`))
	return jws.Encode(digest[:])
}

func isKid(s string) bool            { return len(s) == 43 && jws.IsBase64url(s) }
func isSubscriptionID(s string) bool { return len(s) >= 1 && len(s) <= 64 && jws.IsBase64url(s) }

// decodeStrict refuses members that are not known, names that appear twice and text that is not UTF-8.
func decodeStrict(b []byte, into any) error {
	return json.Unmarshal(b, into, json.RejectUnknownMembers(true))
}
