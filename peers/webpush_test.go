package peers

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/v2"
	"io"
	"net/http"
	"os/exec"
	"testing"
	"time"

	peer "github.com/SherClockHolmes/webpush-go"
	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/webpush"
)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// subscription is one, with the private key that only its user agent has.
type subscription struct {
	webpush.Subscription
	private *ecdh.PrivateKey
	*webpush.Receiver
}

const endpoint = "https://push.example.net/secret"

func newSubscription(t testing.TB) subscription {
	private := must.Get[*ecdh.PrivateKey](t)(ecdh.P256().GenerateKey(rand.Reader))
	auth := make([]byte, webpush.AuthSize)
	rand.Read(auth)
	r := must.Get[*webpush.Receiver](t)(webpush.NewReceiver(private, auth))
	return subscription{webpush.Subscription{Endpoint: endpoint, P256DH: r.Keys().Public(), Auth: auth}, private, r}
}

// messages are what is sent, the longest that fits among them.
func messages() [][]byte {
	return [][]byte{[]byte("message"), {0}, {2, 0, 2}, bytes.Repeat([]byte{0xa5}, 1000), make([]byte, webpush.MaxMessage)}
}

// request is one to npm's web-push: an operation of webpush.mjs and what it takes.
type request = map[string]any

// js asks npm's web-push, and wants as many answers.
func js[A any](t *testing.T, requests []request) []A {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "webpush.mjs")
	cmd.Stdin = bytes.NewReader(must.Get[[]byte](t)(json.Marshal(requests)))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node webpush.mjs: %v (make tools-for-tests installs what it needs)\n%s", err, stderr.Bytes())
	}
	var answers []A
	if err := json.Unmarshal(out, &answers, json.MatchCaseInsensitiveNames(true)); err != nil || len(answers) != len(requests) {
		t.Fatalf("%d answers to %d requests, %v: %s", len(answers), len(requests), err, out)
	}
	return answers
}

// checkRequest is what a push service and a user agent do with a request.
func checkRequest(t *testing.T, s subscription, authorization string, body, message []byte) {
	t.Helper()
	if got, err := s.Decrypt(body); err != nil || !bytes.Equal(got, message) {
		t.Errorf("%d bytes come as %d, %v", len(message), len(got), err)
	}
	token, public, err := webpush.ParseAuthorization(authorization)
	if err != nil {
		t.Fatalf("%s: %v", authorization, err)
	}
	claims := must.Get[webpush.Claims](t)(webpush.VerifyToken(token, public))
	if err := claims.Check("https://push.example.net", time.Now()); err != nil {
		t.Errorf("%+v: %v", claims, err)
	}
}

// TestFromWebPush takes what npm's web-push sends.
func TestFromWebPush(t *testing.T) {
	var to []subscription
	var requests []request
	for _, message := range messages() {
		s := newSubscription(t)
		to = append(to, s)
		requests = append(requests, request{"operation": "request", "subscription": s.Subscription, "message": encode(message)})
	}
	for i, got := range js[struct{ Authorization, Encoding, Body string }](t, requests) {
		if got.Encoding != "aes128gcm" {
			t.Errorf("content encoding %q", got.Encoding)
		}
		checkRequest(t, to[i], got.Authorization, must.Get[[]byte](t)(base64.RawURLEncoding.DecodeString(got.Body)), messages()[i])
	}
}

// TestToWebPush has its decryption take ours.
func TestToWebPush(t *testing.T) {
	var wanted []string
	var requests []request
	for _, message := range messages() {
		s := newSubscription(t)
		keys := must.Get[*webpush.Keys](t)(webpush.NewKeys(s.P256DH, s.Auth))
		for _, size := range []int{0, webpush.MaxMessage} {
			body := must.Get[[]byte](t)(keys.Encrypt(message, size))
			wanted = append(wanted, encode(message))
			requests = append(requests, request{"operation": "decrypt", "privateKey": encode(s.private.Bytes()), "auth": encode(s.Auth), "body": encode(body)})
		}
	}
	for i, got := range js[struct{ Message string }](t, requests) {
		if got.Message != wanted[i] {
			t.Errorf("message %d of %d characters comes as %q", i, len(wanted[i]), got.Message)
		}
	}
}

// TestTokenElsewhere has a JWT library take ours.
func TestTokenElsewhere(t *testing.T) {
	public, token := ourToken(t)
	got := js[struct {
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
	}](t, []request{{"operation": "verify", "token": token, "publicKey": encode(public), "audience": "https://push.example.net"}})[0]
	if got.Subject != "mailto:ops@example.net" || got.Expires < time.Now().Unix() {
		t.Errorf("%+v", got)
	}
}

func ourToken(t testing.TB) (public []byte, token string) {
	key := must.Get[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	claims := webpush.Claims{Audience: must.Get[string](t)(webpush.Audience(endpoint)), Expires: time.Now().Add(time.Hour), Subject: "mailto:ops@example.net"}
	token = must.Get[string](t)(webpush.SignToken(claims, webpush.ES256(key)))
	return must.Get[[]byte](t)(key.PublicKey.Bytes()), token
}

// captured keeps a request that webpush-go would send.
type captured struct{ request *http.Request }

func (c *captured) Do(r *http.Request) (*http.Response, error) {
	c.request = r
	return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}, nil
}

// TestFromWebPushGo takes what webpush-go sends.
func TestFromWebPushGo(t *testing.T) {
	private, public, err := peer.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range messages() {
		s := newSubscription(t)
		var sent captured
		to := &peer.Subscription{Endpoint: s.Endpoint, Keys: peer.Keys{P256dh: encode(s.P256DH), Auth: encode(s.Auth)}}
		_, err := peer.SendNotificationWithContext(t.Context(), message, to, &peer.Options{
			HTTPClient: &sent, Subscriber: "ops@example.net", VAPIDPublicKey: public, VAPIDPrivateKey: private, TTL: 60,
		})
		if err != nil {
			t.Fatal(err)
		}
		checkRequest(t, s, sent.request.Header.Get("Authorization"), must.Get[[]byte](t)(io.ReadAll(sent.request.Body)), message)
	}
}
