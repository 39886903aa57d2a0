package enclavetest

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json/v2"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
)

// verify checks a signature with nothing but the public key, and with the
// standard library instead of the engine under test.
func verify(t *testing.T, k api.Key, message, signature []byte) bool {
	t.Helper()
	if len(signature) != 64 {
		t.Fatalf("signature of %d bytes, 64 wanted", len(signature))
	}
	if k.Alg == "EdDSA" {
		return ed25519.Verify(ed25519.PublicKey(k.PublicKey.Raw), message, signature)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k.PublicKey.Raw)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(message)
	return ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}

// openJWT checks a compact JWS and returns header and payload.
func openJWT(t *testing.T, k api.Key, token string) (header, payload map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token of %d parts", len(parts))
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			t.Fatal(err)
		}
	}
	if !verify(t, k, []byte(parts[0]+"."+parts[1]), raw[2]) {
		t.Error("the signature does not verify")
	}
	if err := json.Unmarshal(raw[0], &header); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw[1], &payload); err != nil {
		t.Fatal(err)
	}
	return header, payload
}

func testEveryMethod(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	c := o.Connect()
	var info api.Info
	c.Must("enclave.info", nil, &info)
	if info.Version != "1.2.3" || info.Protocol != api.Version || !slices.Contains(info.Algorithms, "ES256") {
		t.Errorf("info %+v", info)
	}
	var self api.SelfTest
	c.Must("enclave.selfTest", nil, &self)
	if !self.OK || len(self.Tests) == 0 || self.Wasm != "sha384-x" {
		t.Errorf("selfTest %+v", self)
	}
	status := c.CreateVault()
	if status.State != "unlocked" || status.Persistence != "device" || status.Lock != "none" || len(status.Slots) != 1 || status.Slots[0].Kind != "device" || status.Counts.Entries != 1 {
		t.Errorf("status of a new vault %+v", status)
	}
	for _, purpose := range []string{"vapid", "identity", "agreement", "signing"} {
		created := c.CreateKey(purpose, "")
		var got api.KeyResult
		c.Must("keys.get", map[string]any{"kid": created.KID}, &got)
		if got.Key.KID != created.KID || got.Key.State != "active" || got.Key.Purpose != purpose || got.Key.Uses != 0 || got.Key.LastUsedAt != 0 {
			t.Errorf("got %+v, created %+v", got.Key, created)
		}
	}
	var list api.KeyList
	c.Must("keys.list", nil, &list)
	if len(list.Keys) != 4 || list.Next != "" {
		t.Errorf("%d keys, next %q", len(list.Keys), list.Next)
	}
	var verdict api.AuditVerdict
	c.Must("audit.verify", nil, &verdict)
	if !verdict.Valid || verdict.Size != 5 {
		t.Errorf("verdict %+v", verdict)
	}
	if s := c.Status(); s.Counts.Keys != 4 || s.Counts.Entries != 5 {
		t.Errorf("counts %+v", s.Counts)
	}
	o.User.Say(nil)
	c.Must("vault.destroy", nil, nil)
	if s := c.Status(); s.State != "absent" {
		t.Errorf("after destroy: %s", s.State)
	}
}

func testJWT(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	for _, alg := range []string{"EdDSA", "ES256"} {
		k := c.CreateKey("signing", alg)
		before := time.Now().Unix()
		var signed api.Token
		c.Must("jwt.sign", map[string]any{
			"kid": k.KID, "audience": "https://api.example", "subject": "alice", "ttlSeconds": 300,
			"claims": map[string]any{"scope": "read", "nested": map[string]any{"n": nil, "list": []int{1, 2}}, "é\"\\": "<&>"},
		}, &signed)
		header, payload := openJWT(t, k, signed.Token)
		if header["alg"] != alg || header["kid"] != k.KID || header["typ"] != "JWT" || len(header) != 3 {
			t.Errorf("header %v", header)
		}
		iat, exp := payload["iat"].(float64), payload["exp"].(float64)
		if int64(iat) < before || exp-iat != 300 || int64(exp) != signed.Exp || payload["jti"] != signed.JTI || len(signed.JTI) != 22 {
			t.Errorf("payload %v, token %+v", payload, signed)
		}
		if payload["aud"] != "https://api.example" || payload["sub"] != "alice" || payload["scope"] != "read" || payload["é\"\\"] != "<&>" || len(payload) != 8 {
			t.Errorf("payload %v", payload)
		}
		var again api.Token
		c.Must("jwt.sign", map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 1}, &again)
		if again.JTI == signed.JTI {
			t.Error("two tokens with one jti")
		}
		var got api.KeyResult
		c.Must("keys.get", map[string]any{"kid": k.KID}, &got)
		if got.Key.Uses != 2 || got.Key.LastUsedAt < before {
			t.Errorf("after two signatures: uses %d, last at %d", got.Key.Uses, got.Key.LastUsedAt)
		}
	}
}

func testReservedClaims(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	sign := func(claims map[string]any) map[string]any {
		return map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60, "claims": claims}
	}
	for _, name := range []string{
		"iss", "sub", "aud", "exp", "nbf", "iat", "jti",
		// What verifiers take for one of those: Go's encoding/json folds as
		// strings.EqualFold does (U+017F is an s), others compare upper case.
		"EXP", "Iss", "i\u017fs", "\u017fub", "aUd", "e_x-p", "\u0131at", "jt\u0130", "i\u00df", "i\u1e9e",
	} {
		failure := c.Refused(api.InvalidRequest, "jwt.sign", sign(map[string]any{name: 1}))
		if failure.Details["member"] != "/params/claims/"+name {
			t.Errorf("%s: %v", name, failure.Details)
		}
	}
	for _, pair := range [][2]string{{"scope", "Scope"}, {"kid", "\u212aid"}, {"role", "ro_le"}, {"a/b", "A/b"}} {
		failure := c.Refused(api.InvalidRequest, "jwt.sign", sign(map[string]any{pair[0]: 1, pair[1]: 2}))
		got := failure.Details["member"]
		if escape := strings.NewReplacer("/", "~1").Replace; got != "/params/claims/"+escape(pair[0]) && got != "/params/claims/"+escape(pair[1]) {
			t.Errorf("%q: %v", pair, failure.Details)
		}
	}
	if uses := get(c, k.KID).Uses; uses != 0 {
		t.Errorf("refused calls count as %d uses", uses)
	}
}

func get(c *Client, kid string) api.Key {
	var got api.KeyResult
	c.Must("keys.get", map[string]any{"kid": kid}, &got)
	return got.Key
}

func testVAPID(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	k := c.CreateKey("vapid", "")
	for endpoint, audience := range map[string]string{
		"https://push.example.net/send/abc?x=1": "https://push.example.net",
		"https://PUSH.example.net:443/x":        "https://push.example.net",
		"https://push.example.net:8443/x":       "https://push.example.net:8443",
	} {
		var signed api.Token
		c.Must("token.vapid", map[string]any{"kid": k.KID, "endpoint": endpoint, "subject": "mailto:ops@example.net", "ttlSeconds": 900}, &signed)
		header, payload := openJWT(t, k, signed.Token)
		if header["alg"] != "ES256" || header["typ"] != "JWT" || payload["aud"] != audience || payload["sub"] != "mailto:ops@example.net" {
			t.Errorf("%s: header %v, payload %v", endpoint, header, payload)
		}
	}
	c.Must("token.vapid", map[string]any{"kid": k.KID, "endpoint": "https://push.example.net/", "subject": "https://example.net/contact", "ttlSeconds": 1}, nil)
}

func testVAPIDRefusals(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	k := c.CreateKey("vapid", "")
	good := map[string]any{"kid": k.KID, "endpoint": "https://push.example.net/", "subject": "mailto:ops@example.net", "ttlSeconds": 60}
	for _, endpoint := range []string{
		"http://push.example.net/", "push.example.net", "https://", "https:push.example.net", "https://user@push.example.net/", "https://u:p@push.example.net/",
		"https://push.example.net:/", "https://püsh.example/", "https://push example.net/", "https://[::1]/", "javascript:alert(1)", "https://-x.example/",
	} {
		if f := c.Refused(api.InvalidRequest, "token.vapid", with(good, "endpoint", endpoint)); f.Details["member"] != "/params/endpoint" {
			t.Errorf("%s: %v", endpoint, f)
		}
	}
	for _, subject := range []string{
		"ops@example.net", "mailto:mailto:ops@example.net", "mailto:", "mailto:ops", "mailto:@example.net", "mailto:ops@localhost", "mailto:ops@example.invalid",
		"mailto:a b@example.net", "mailto:ops@example.net,x@example.net", "http://example.net", "https://localhost", "https://localhost:8080/x", "https://127.0.0.1/",
		"https://foo.invalid/", "https://user@example.net/", "https://x.local/", "tel:+1", "mailto:ops@example.net?subject=x", "mailto:.a@example.net", "https://example.net/ x",
	} {
		if f := c.Refused(api.InvalidRequest, "token.vapid", with(good, "subject", subject)); f.Details["member"] != "/params/subject" {
			t.Errorf("%s: %v", subject, f)
		}
	}
}

func testChallenge(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	for _, k := range []api.Key{c.CreateKey("signing", "ES256"), c.CreateKey("signing", ""), c.CreateKey("identity", "")} {
		data := []byte("nonce 42")
		var signed api.Signature
		c.Must("challenge.sign", map[string]any{"kid": k.KID, "context": "login", "data": api.Bytes(data)}, &signed)
		message := append([]byte("kms-enclave/challenge/v1\x00"), binary.BigEndian.AppendUint32(nil, 5)...)
		if !verify(t, k, append(append(message, "login"...), data...), signed.Signature) {
			t.Errorf("%s: what was signed is not what the protocol says", k.Alg)
		}
		check := map[string]any{"alg": k.Alg, "publicKey": k.PublicKey.Raw, "context": "login", "data": api.Bytes(data), "signature": signed.Signature}
		expectVerdict(t, c, check, true)
		expectVerdict(t, c, with(check, "context", "logi"), false)
		expectVerdict(t, c, with(check, "data", api.Bytes("nonce 43")), false)
		flipped := slices.Clone(signed.Signature)
		flipped[7] ^= 1
		expectVerdict(t, c, with(check, "signature", flipped), false)
		expectVerdict(t, c, with(check, "signature", flipped[:63]), false)
	}
	big := make([]byte, api.MaxData)
	_, _ = rand.Read(big)
	for _, alg := range []string{"ES256", "EdDSA"} {
		k := c.CreateKey("signing", alg)
		var signed api.Signature
		f := c.Try("challenge.sign", map[string]any{"kid": k.KID, "context": "file", "data": api.Bytes(big)}, &signed)
		if f != nil && f.Code == api.Unsupported && alg == "EdDSA" && p.ShortEdDSA {
			continue // its process would die of it
		}
		if f != nil || p.ShortEdDSA && alg == "EdDSA" {
			t.Fatalf("%s of %d bytes: %v", alg, len(big), f)
		}
		expectVerdict(t, c, map[string]any{"alg": alg, "publicKey": k.PublicKey.Raw, "context": "file", "data": api.Bytes(big), "signature": signed.Signature}, true)
	}
	// Not a point on the curve.
	c.Refused(api.InvalidRequest, "challenge.verify", map[string]any{"alg": "ES256", "publicKey": b64(65), "context": "x", "data": "", "signature": b64(64)})
}

func expectVerdict(t *testing.T, c *Client, params map[string]any, want bool) {
	t.Helper()
	var verdict api.Verdict
	c.Must("challenge.verify", params, &verdict)
	if verdict.Valid != want {
		t.Errorf("valid %t, %t wanted", verdict.Valid, want)
	}
}

func testAgree(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	a, b := c.CreateKey("agreement", ""), c.CreateKey("agreement", "")
	secret := func(ours api.Key, peer api.Bytes, context string) api.Bytes {
		var agreed api.Agreed
		c.Must("key.agree", map[string]any{"kid": ours.KID, "publicKey": peer, "context": context}, &agreed)
		return agreed.Secret
	}
	one, two := secret(a, b.PublicKey.Raw, "chat"), secret(b, a.PublicKey.Raw, "chat")
	if len(one) != 32 || string(one) != string(two) {
		t.Errorf("the two sides differ: %x, %x", one, two)
	}
	if other := secret(a, b.PublicKey.Raw, "file"); string(other) == string(one) {
		t.Error("two contexts share a secret")
	}
	outside, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := secret(a, outside.PublicKey().Bytes(), "chat"), agreeOutside(t, outside, a.PublicKey.Raw, "chat"); string(got) != string(want) {
		t.Errorf("secret %x, the protocol says %x", got, want)
	}
}

// agreeOutside is key.agree as the protocol describes it, by the peer.
func agreeOutside(t *testing.T, private *ecdh.PrivateKey, peer []byte, context string) []byte {
	public, err := ecdh.X25519().NewPublicKey(peer)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := private.ECDH(public)
	if err != nil {
		t.Fatal(err)
	}
	keys := [][]byte{private.PublicKey().Bytes(), peer}
	slices.SortFunc(keys, func(a, b []byte) int { return strings.Compare(string(a), string(b)) })
	salt := sha256.Sum256(slices.Concat(keys...))
	info := append([]byte("kms-enclave/agree/v1\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(context)))...)
	secret, err := hkdf.Key(sha256.New, shared, salt[:], string(info)+context, 32)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// smallOrder are the points of RFC 7748's curve whose multiples by a clamped
// scalar are zero.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func testPurposeSeparation(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	uses := map[string][]string{
		"jwt.sign":       {"signing"},
		"challenge.sign": {"signing", "identity"},
		"key.agree":      {"agreement"},
		"token.vapid":    {"vapid"},
	}
	peer, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, purpose := range []string{"vapid", "identity", "agreement", "signing"} {
		k := c.CreateKey(purpose, "")
		allowed := uint64(0)
		for method, purposes := range uses {
			params := with(goodParams()[method], "kid", k.KID)
			if method == "key.agree" {
				params["publicKey"] = api.Bytes(peer.PublicKey().Bytes())
			}
			if slices.Contains(purposes, purpose) {
				c.Must(method, params, nil)
				allowed++
				continue
			}
			c.Refused(api.Denied, method, params)
		}
		if got := get(c, k.KID).Uses; got != allowed {
			t.Errorf("%s: %d uses counted, %d happened", purpose, got, allowed)
		}
	}
}

// testConcurrentSigners: what signs is an argument, not a state. Many calls with
// many keys at once are each signed with the key that was asked for.
func testConcurrentSigners(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	var keys []api.Key
	for range 3 {
		keys = append(keys, c.CreateKey("signing", "EdDSA"), c.CreateKey("signing", "ES256"), c.CreateKey("identity", ""))
	}
	var wg sync.WaitGroup
	for n := range 90 {
		k := keys[n%len(keys)]
		wg.Go(func() {
			data := fmt.Sprint("challenge ", n)
			var signed api.Signature
			if f := c.Try("challenge.sign", map[string]any{"kid": k.KID, "context": "x", "data": api.Bytes(data)}, &signed); f != nil {
				t.Error(f)
				return
			}
			if len(signed.Signature) != 64 || !verify(t, k, []byte("kms-enclave/challenge/v1\x00\x00\x00\x00\x01x"+data), signed.Signature) {
				t.Errorf("challenge %d is not signed with the key that was asked for", n)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if uses := get(c, k.KID).Uses; uses != 10 {
			t.Errorf("%d uses counted, 10 happened", uses)
		}
	}
}
