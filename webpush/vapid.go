package webpush

import (
	"crypto/ecdsa"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jws"
)

// MaxLife is how far in the future a token may expire (RFC 8292 section 2).
const MaxLife = 24 * time.Hour

// ErrToken means that a token, or the header that carries one, is malformed, not signed by the key that
// it is sent with, or for another time or push service.
var ErrToken = errors.New("webpush: VAPID token is not valid")

// Claims are what a token says (RFC 8292 section 2).
type Claims struct {
	Audience string // origin of the push service
	Expires  time.Time
	Subject  string // mailto: or https: of whoever sends; may be empty
}

// claims is their form in the token.
type claims struct {
	Audience string `json:"aud"`
	Expires  int64  `json:"exp"` // seconds
	Subject  string `json:"sub,omitzero"`
}

// ErrEndpoint means that an endpoint is no https URL whose host is a name or an IPv4 address.
var ErrEndpoint = errors.New("webpush: endpoint is not an https URL of a push service")

// Audience returns the origin of an endpoint, which tokens for it are made out to: scheme and
// host in lower case, and the port unless it is the scheme's own (RFC 6454 section 6.1). ErrEndpoint if
// there is none.
func Audience(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" {
		return "", ErrEndpoint
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || strings.HasSuffix(u.Host, ":") || strings.HasPrefix(port, "0") {
		return "", ErrEndpoint
	}
	if port == "" || port == "443" {
		return "https://" + host, nil
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", ErrEndpoint
	}
	return "https://" + host + ":" + port, nil
}

// jwtHeader is the one header that tokens have.
const jwtHeader = `{"typ":"JWT","alg":"ES256"}`

// SignToken makes a token. sign returns the ES256 signature of its argument, r‖s in 64 bytes
// (RFC 7518 section 3.4).
func SignToken(c Claims, sign func(input []byte) ([]byte, error)) (string, error) {
	payload, err := json.Marshal(claims{c.Audience, c.Expires.Unix(), c.Subject})
	if err != nil {
		return "", err
	}
	input := jws.Encode([]byte(jwtHeader)) + "." + jws.Encode(payload)
	signature, err := sign([]byte(input))
	if err != nil {
		return "", err
	}
	if len(signature) != jws.SignatureSize {
		return "", fmt.Errorf("signature of %d bytes, wanted r‖s in %d: %w", len(signature), jws.SignatureSize, ErrToken)
	}
	return input + "." + jws.Encode(signature), nil
}

// ES256 returns what signs with a key, for SignToken and other JWS (RFC 7518 section 3.4).
func ES256(key *ecdsa.PrivateKey) func(input []byte) ([]byte, error) {
	return func(input []byte) ([]byte, error) { return jws.SignES256(key, input) }
}

// VerifyToken returns what a token says if public, an uncompressed point, has signed it, whatever
// it says. ErrToken otherwise. See Claims.Check.
func VerifyToken(token string, public []byte) (Claims, error) {
	parsed, err := jws.Parse(token)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", err, ErrToken)
	}
	var header struct {
		Algorithm string         `json:"alg"`
		Critical  jsontext.Value `json:"crit"` // RFC 7515 section 4.1.11: nothing critical is understood
	}
	if err := json.Unmarshal(parsed.Header, &header); err != nil || header.Algorithm != "ES256" || header.Critical != nil {
		return Claims{}, fmt.Errorf("header: %w", ErrToken)
	}
	if !parsed.VerifyES256(public) {
		return Claims{}, fmt.Errorf("key or signature: %w", ErrToken)
	}
	var c claims
	if err := json.Unmarshal(parsed.Payload, &c); err != nil {
		return Claims{}, fmt.Errorf("claims: %w", ErrToken)
	}
	return Claims{c.Audience, time.Unix(c.Expires, 0), c.Subject}, nil
}

// Check returns ErrToken unless a push service of that origin takes a token at that time.
func (c Claims) Check(origin string, now time.Time) error {
	switch {
	case c.Audience != origin:
		return fmt.Errorf("for %q, wanted %q: %w", c.Audience, origin, ErrToken)
	case !now.Before(c.Expires):
		return fmt.Errorf("expired at %s: %w", c.Expires.UTC().Format(time.RFC3339), ErrToken)
	case c.Expires.Sub(now) > MaxLife:
		return fmt.Errorf("expires at %s, more than %s from now: %w", c.Expires.UTC().Format(time.RFC3339), MaxLife, ErrToken)
	}
	return nil
}

// Authorization returns the header's value of a token and the public key that signed it
// (RFC 8292 section 3).
func Authorization(token string, public []byte) string {
	return "vapid t=" + token + ", k=" + jws.Encode(public)
}

// ParseAuthorization takes such a value apart: parameters in any order, as tokens or in quotes, others
// ignored unless they have a comma in quotes, names and scheme in any case (RFC 9110 section 11.4).
// ErrToken if it is none.
func ParseAuthorization(value string) (token string, public []byte, err error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	if !strings.EqualFold(scheme, "vapid") {
		return "", nil, fmt.Errorf("scheme is not vapid: %w", ErrToken)
	}
	seen := map[string]string{}
	for parameter := range strings.SplitSeq(rest, ",") {
		name, v, ok := strings.Cut(strings.TrimSpace(parameter), "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := seen[name]; !ok || twice {
			return "", nil, fmt.Errorf("parameters: %w", ErrToken)
		}
		v = strings.TrimSpace(v)
		if inner, quoted := strings.CutPrefix(v, `"`); quoted {
			v, ok = strings.CutSuffix(inner, `"`)
		}
		if !ok || strings.Contains(v, `"`) {
			return "", nil, fmt.Errorf("parameters: %w", ErrToken)
		}
		seen[name] = v
	}
	if public, err = jws.Decode(seen["k"]); err != nil || len(public) != PublicSize || seen["t"] == "" {
		return "", nil, fmt.Errorf("parameters t and k: %w", ErrToken)
	}
	return seen["t"], public, nil
}
