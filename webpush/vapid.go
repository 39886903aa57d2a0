package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const signatureSize = 64 // r‖s

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
	input := encode([]byte(jwtHeader)) + "." + encode(payload)
	signature, err := sign([]byte(input))
	if err != nil {
		return "", err
	}
	if len(signature) != signatureSize {
		return "", fmt.Errorf("signature of %d bytes, wanted r‖s in %d: %w", len(signature), signatureSize, ErrToken)
	}
	return input + "." + encode(signature), nil
}

// ES256 returns what signs with a key, for SignToken and other JWS (RFC 7518 section 3.4).
func ES256(key *ecdsa.PrivateKey) func(input []byte) ([]byte, error) {
	return func(input []byte) ([]byte, error) {
		digest := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			return nil, err
		}
		signature := make([]byte, signatureSize)
		r.FillBytes(signature[:signatureSize/2])
		s.FillBytes(signature[signatureSize/2:])
		return signature, nil
	}
}

// VerifyToken returns what a token says if public, an uncompressed point, has signed it, whatever
// it says. ErrToken otherwise. See Claims.Check.
func VerifyToken(token string, public []byte) (Claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}, fmt.Errorf("%d parts, wanted 3: %w", len(parts), ErrToken)
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = decode(part); err != nil {
			return Claims{}, fmt.Errorf("part %d: %w", i+1, ErrToken)
		}
	}
	var header struct {
		Algorithm string         `json:"alg"`
		Critical  jsontext.Value `json:"crit"` // RFC 7515 section 4.1.11: nothing critical is understood
	}
	if err := json.Unmarshal(decoded[0], &header); err != nil || header.Algorithm != "ES256" || header.Critical != nil {
		return Claims{}, fmt.Errorf("header: %w", ErrToken)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public)
	if err != nil || len(decoded[2]) != signatureSize {
		return Claims{}, fmt.Errorf("key or signature: %w", ErrToken)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(decoded[2][:32]), new(big.Int).SetBytes(decoded[2][32:])
	if !ecdsa.Verify(key, digest[:], r, s) {
		return Claims{}, fmt.Errorf("signature: %w", ErrToken)
	}
	var c claims
	if err := json.Unmarshal(decoded[1], &c); err != nil {
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
	return "vapid t=" + token + ", k=" + encode(public)
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
	if public, err = decode(seen["k"]); err != nil || len(public) != PublicSize || seen["t"] == "" {
		return "", nil, fmt.Errorf("parameters t and k: %w", ErrToken)
	}
	return seen["t"], public, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode takes base64url without padding, in its one form: Go's decoder skips line breaks.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(strings.IndexAny(s, "\r\n"))
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
