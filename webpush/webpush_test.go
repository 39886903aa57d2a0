package webpush

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json/v2"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jws"
	"github.com/kms-enclave/kms-enclave/internal/must"
)

func b64(t testing.TB, s string) []byte { return must.Get[[]byte](t)(jws.Decode(s)) }

// receiverOf is a subscription of a test: its private key and authentication secret.
func receiverOf(t testing.TB, private, auth string) *Receiver {
	return must.Get[*Receiver](t)(NewReceiver(must.Get[*ecdh.PrivateKey](t)(ecdh.P256().NewPrivateKey(b64(t, private))), b64(t, auth)))
}

// TestRFC8291 is the example of RFC 8291 section 5 and appendix A.
func TestRFC8291(t *testing.T) {
	const body = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_" +
		"yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	const message = "When I grow up, I want to be a watermelon"
	r := receiverOf(t, "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94", "BTBZMqHH6r4Tts7J_aSIgg")
	if got := jws.Encode(r.Keys().Public()); got != "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4" {
		t.Errorf("public key %s", got)
	}
	sender := must.Get[*ecdh.PrivateKey](t)(ecdh.P256().NewPrivateKey(b64(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")))
	got := must.Get[[]byte](t)(r.Keys().encrypt([]byte(message), 0, sender, [saltSize]byte(b64(t, "DGv6ra1nlYgDCS1FRnbzlw"))))
	if jws.Encode(got) != body {
		t.Errorf("body\n%s, wanted\n%s", jws.Encode(got), body)
	}
	if got := must.Get[[]byte](t)(r.Decrypt(b64(t, body))); string(got) != message {
		t.Errorf("message %q", got)
	}
}

// TestEncrypt wants every length to come back, and padded messages to look alike.
func TestEncrypt(t *testing.T) {
	r := must.Get[*Receiver](t)(GenerateReceiver())
	keys := must.Get[*Keys](t)(NewKeys(r.Keys().Public(), r.Keys().Auth()))
	for _, n := range []int{0, 1, 2, 15, 16, 17, 1000, MaxMessage - 1, MaxMessage} {
		message := bytes.Repeat([]byte{2}, n) // the delimiter, to confuse
		body := must.Get[[]byte](t)(keys.Encrypt(message, 0))
		if got := must.Get[[]byte](t)(r.Decrypt(body)); !bytes.Equal(got, message) {
			t.Errorf("%d bytes come back as %d", n, len(got))
		}
		if again := must.Get[[]byte](t)(keys.Encrypt(message, 0)); bytes.Equal(again[:headerSize], body[:headerSize]) {
			t.Error("salt and key were used twice")
		}
		padded := must.Get[[]byte](t)(keys.Encrypt(message, MaxMessage))
		if got := must.Get[[]byte](t)(r.Decrypt(padded)); !bytes.Equal(got, message) || len(padded) != MaxBody {
			t.Errorf("%d bytes padded come back as %d, the body has %d", n, len(got), len(padded))
		}
	}
	for _, test := range []struct{ message, size int }{{MaxMessage + 1, 0}, {MaxMessage + 1, MaxMessage}, {2, 1}, {1, MaxMessage + 1}, {1, -1}} {
		if _, err := keys.Encrypt(make([]byte, test.message), test.size); !errors.Is(err, ErrTooLong) {
			t.Errorf("%d bytes padded to %d: %v", test.message, test.size, err)
		}
	}
}

func TestKeys(t *testing.T) {
	r := must.Get[*Receiver](t)(GenerateReceiver())
	public, auth := r.Keys().Public(), r.Keys().Auth()
	off := bytes.Clone(public)
	off[64] ^= 1
	for _, test := range []struct{ public, auth []byte }{
		{nil, auth},
		{public[:64], auth},
		{append(bytes.Clone(public), 0), auth},
		{off, auth},
		{make([]byte, 65), auth},
		{public, nil},
		{public, auth[:15]},
		{public, append(bytes.Clone(auth), 0)},
	} {
		if _, err := NewKeys(test.public, test.auth); !errors.Is(err, ErrKeys) {
			t.Errorf("keys of %d and %d bytes: %v", len(test.public), len(test.auth), err)
		}
	}
}

func TestNewReceiver(t *testing.T) {
	p256 := must.Get[*ecdh.PrivateKey](t)(ecdh.P256().GenerateKey(rand.Reader))
	p384 := must.Get[*ecdh.PrivateKey](t)(ecdh.P384().GenerateKey(rand.Reader))
	for _, test := range []struct {
		private *ecdh.PrivateKey
		auth    int
	}{{p384, AuthSize}, {p256, AuthSize - 1}, {p256, AuthSize + 1}, {p256, 0}} {
		if _, err := NewReceiver(test.private, make([]byte, test.auth)); !errors.Is(err, ErrKeys) {
			t.Errorf("auth of %d bytes: %v", test.auth, err)
		}
	}
}

// TestDecryptRefuses flips every bit of a body, and cuts it everywhere.
func TestDecryptRefuses(t *testing.T) {
	r := must.Get[*Receiver](t)(GenerateReceiver())
	body := must.Get[[]byte](t)(r.Keys().Encrypt([]byte("message"), 20))
	for i := range body {
		for bit := range 8 {
			changed := bytes.Clone(body)
			changed[i] ^= 1 << bit
			got, err := r.Decrypt(changed)
			// The record size says only where a second record would begin: RFC 8188 binds it to nothing.
			if sized := i >= saltSize && i < saltSize+4 && err == nil && string(got) == "message"; !sized && !errors.Is(err, ErrDecrypt) {
				t.Errorf("bit %d of byte %d: %q, %v", bit, i, got, err)
			}
		}
		if _, err := r.Decrypt(body[:i]); !errors.Is(err, ErrDecrypt) {
			t.Errorf("the first %d bytes: %v", i, err)
		}
	}
	for _, padding := range [][]byte{nil, {0}, {0, 0, 0}, {1}, {'m', 1}, {'m', 3, 0}, {'m'}} {
		if got, err := r.Decrypt(sealed(t, r, padding)); !errors.Is(err, ErrDecrypt) {
			t.Errorf("record %x: %q, %v", padding, got, err)
		}
	}
	if got, err := r.Decrypt(sealed(t, r, []byte{'m', 2, 0})); err != nil || string(got) != "m" {
		t.Errorf("%q, %v", got, err)
	}
	other := must.Get[*Receiver](t)(GenerateReceiver())
	if _, err := other.Decrypt(body); !errors.Is(err, ErrDecrypt) {
		t.Errorf("somebody else: %v", err)
	}
}

// sealed returns a body with a record as it is given.
func sealed(t *testing.T, r *Receiver, record []byte) []byte {
	sender := must.Get[*ecdh.PrivateKey](t)(ecdh.P256().GenerateKey(rand.Reader))
	shared := must.Get[[]byte](t)(sender.ECDH(r.private.PublicKey()))
	public := sender.PublicKey().Bytes()
	aead, nonce, err := contentKey(shared, r.auth[:], make([]byte, saltSize), r.private.PublicKey().Bytes(), public)
	if err != nil {
		t.Fatal(err)
	}
	header := append(append(make([]byte, saltSize), 0, 0, 16, 0, PublicSize), public...)
	return aead.Seal(header, nonce, record, nil)
}

const (
	exampleToken = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0." +
		"i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA"
	exampleKey = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
)

// TestRFC8292 is the example of RFC 8292 section 2.4.
func TestRFC8292(t *testing.T) {
	token, public, err := ParseAuthorization("vapid t=" + exampleToken + ",k=" + exampleKey)
	if err != nil || token != exampleToken || jws.Encode(public) != exampleKey {
		t.Fatal(token, public, err)
	}
	claims := must.Get[Claims](t)(VerifyToken(token, public))
	if claims.Audience != "https://push.example.net" || claims.Expires.Unix() != 1453523768 || claims.Subject != "mailto:push@example.com" {
		t.Errorf("%+v", claims)
	}
	for _, test := range []struct {
		origin string
		now    int64
		ok     bool
	}{
		{"https://push.example.net", 1453523767, true},
		{"https://push.example.net", 1453523768, false},
		{"https://push.example.net", 1453523768 - 24*3600, true},
		{"https://push.example.net", 1453523768 - 24*3600 - 1, false},
		{"https://push.example.com", 1453523767, false},
	} {
		if err := claims.Check(test.origin, time.Unix(test.now, 0)); (err == nil) != test.ok || err != nil && !errors.Is(err, ErrToken) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// signer signs as the enclave does.
func signer(t testing.TB) (public []byte, sign func([]byte) ([]byte, error)) {
	key := must.Get[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return must.Get[[]byte](t)(key.PublicKey.Bytes()), ES256(key)
}

func TestToken(t *testing.T) {
	public, sign := signer(t)
	wanted := Claims{"https://push.example.net", time.Unix(2_000_000_000, 0), "https://example.com/contact"}
	token := must.Get[string](t)(SignToken(wanted, sign))
	if got := must.Get[Claims](t)(VerifyToken(token, public)); got != wanted {
		t.Errorf("%+v", got)
	}
	parsed, key, err := ParseAuthorization(Authorization(token, public))
	if err != nil || parsed != token || !bytes.Equal(key, public) {
		t.Errorf("%s, %x, %v", parsed, key, err)
	}
	for i := range token {
		changed := []byte(token)
		changed[i] ^= 1
		if got, err := VerifyToken(string(changed), public); !errors.Is(err, ErrToken) {
			t.Fatalf("with character %d changed: %+v, %v", i, got, err)
		}
	}
	other, _ := signer(t)
	header, payload, _ := strings.Cut(token, ".")
	for name, test := range map[string]struct {
		token  string
		public []byte
	}{
		"another key": {token, other}, "no key": {token, nil}, "no token": {"", public},
		"alg none":   {jws.Encode([]byte(`{"alg":"none"}`)) + "." + payload, public},
		"crit":       {jws.Encode([]byte(`{"alg":"ES256","crit":["x"]}`)) + "." + payload, public},
		"line break": {token[:len(token)-3] + "\n" + token[len(token)-3:], public},
		"padding":    {header + "=." + payload, public}, "four parts": {token + ".", public},
	} {
		if got, err := VerifyToken(test.token, test.public); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := SignToken(wanted, func([]byte) ([]byte, error) { return make([]byte, 70), nil }); !errors.Is(err, ErrToken) {
		t.Error(err)
	}
	if _, err := SignToken(wanted, func([]byte) ([]byte, error) { return nil, io.EOF }); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestParseAuthorization(t *testing.T) {
	for _, good := range []string{
		"vapid t=" + exampleToken + ", k=" + exampleKey,
		"Vapid k=" + exampleKey + " , T=" + exampleToken,
		` vapid t="` + exampleToken + `",k="` + exampleKey + `",x=y`,
	} {
		if token, public, err := ParseAuthorization(good); err != nil || token != exampleToken || jws.Encode(public) != exampleKey {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "vapid", "vapid ", "Bearer " + exampleToken, "vapid t=" + exampleToken, "vapid k=" + exampleKey, "vapid t=,k=" + exampleKey,
		"vapid t=a,t=b,k=" + exampleKey, "vapid t=a,k=AAAA", "vapid t=a;k=" + exampleKey, "vapid t=a,k=" + exampleKey[:9] + "\n" + exampleKey[9:], `vapid t="a,k=` + exampleKey, `vapid t=""a,k=` + exampleKey, "vapid t=a, k=" + exampleKey + "=",
	} {
		if token, _, err := ParseAuthorization(bad); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %s, %v", bad, token, err)
		}
	}
}

func TestAudience(t *testing.T) {
	for endpoint, wanted := range map[string]string{
		"https://push.example.net/a/b?c=d":                "https://push.example.net",
		"https://PUSH.example.net:443/":                   "https://push.example.net",
		"https://push.example.net:8443/":                  "https://push.example.net:8443",
		"https://[2001:db8::1]/x":                         "",
		"https://push.example.net:/":                      "",
		"https://push.example.net:0443/":                  "",
		"https://push.example.net:99999/":                 "",
		"https://b\u00fccher.example/":                    "",
		"http://push.example.net/":                        "",
		"https:///x":                                      "",
		"https://user@push.example.net/":                  "",
		"push.example.net":                                "",
		"":                                                "",
		"https://push.example.net:port/":                  "",
		"https://updates.push.services.mozilla.com/wpush": "https://updates.push.services.mozilla.com",
	} {
		if got, err := Audience(endpoint); got != wanted || (err != nil) != (wanted == "") {
			t.Errorf("%s: %q, %v", endpoint, got, err)
		}
	}
}

// TestSubscription reads what browsers give.
func TestSubscription(t *testing.T) {
	r := must.Get[*Receiver](t)(GenerateReceiver())
	s := Subscription{"https://push.example.net/x", r.Keys().Public(), r.Keys().Auth()}
	text := must.Get[[]byte](t)(json.Marshal(s))
	for _, form := range []string{string(text), strings.Replace(string(text), `{`, `{"expirationTime":null,`, 1), strings.Replace(string(text), jws.Encode(s.Auth), jws.Encode(s.Auth)+"==", 1)} {
		var got Subscription
		if err := json.Unmarshal([]byte(form), &got); err != nil || got.Endpoint != s.Endpoint || !bytes.Equal(got.P256DH, s.P256DH) || !bytes.Equal(got.Auth, s.Auth) {
			t.Errorf("%s: %+v, %v", form, got, err)
		}
	}
	for _, bad := range []string{`{}`, `[]`, `{"endpoint":"http://push.example.net/"}`, strings.Replace(string(text), jws.Encode(s.Auth), "%", 1)} {
		if err := json.Unmarshal([]byte(bad), new(Subscription)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// service is a push service that answers in one way, and a client that trusts it.
func service(t *testing.T, answer http.HandlerFunc) (endpoint string, c *Client) {
	s := httptest.NewTLSServer(answer)
	t.Cleanup(s.Close)
	return s.URL + "/secret", &Client{Transport: s.Client().Transport}
}

func TestSend(t *testing.T) {
	var got *http.Request
	var body []byte
	endpoint, c := service(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Location", "https://push.example.net/m/1")
		w.Header().Set("TTL", "60")
		w.WriteHeader(http.StatusCreated)
	})
	receipt := must.Get[Receipt](t)(c.Send(t.Context(), endpoint, Request{Body: []byte("body"), Authorization: "vapid t=a, k=b", TTL: 90*time.Second + time.Millisecond, Urgency: High, Topic: "up_date-1"}))
	if receipt != (Receipt{"https://push.example.net/m/1", time.Minute}) {
		t.Errorf("%+v", receipt)
	}
	for name, wanted := range map[string]string{
		"TTL": "90", "Urgency": "high", "Topic": "up_date-1", "Authorization": "vapid t=a, k=b", "Content-Encoding": "aes128gcm", "Content-Type": "application/octet-stream",
	} {
		if value := got.Header.Get(name); value != wanted {
			t.Errorf("%s: %q, wanted %q", name, value, wanted)
		}
	}
	if got.Method != http.MethodPost || string(body) != "body" {
		t.Errorf("%s %q", got.Method, body)
	}
	must.Get[Receipt](t)(c.Send(t.Context(), endpoint, Request{}))
	if _, coded := got.Header["Content-Encoding"]; coded || got.Header.Get("TTL") != "0" || len(body) != 0 {
		t.Errorf("without a body: %v", got.Header)
	}
	for _, bad := range []Request{{TTL: -1}, {Body: make([]byte, MaxBody+1)}, {Topic: "a b"}, {Topic: strings.Repeat("a", 33)}, {Urgency: "now"}} {
		if _, err := c.Send(t.Context(), endpoint, bad); err == nil {
			t.Errorf("%+v was sent", bad)
		}
	}
}

func TestServiceErrors(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		status     int
		retryAfter string
		wanted     error
		wait       time.Duration
	}{
		{404, "", ErrGone, 0},
		{410, "", ErrGone, 0},
		{401, "", ErrUnauthorized, 0},
		{403, "", ErrUnauthorized, 0},
		{413, "", ErrTooLarge, 0},
		{429, "7", ErrTooMany, 7 * time.Second},
		{429, now.Add(time.Minute).Format(http.TimeFormat), ErrTooMany, time.Minute},
		{429, now.Add(-time.Minute).Format(http.TimeFormat), ErrTooMany, 0},
		{429, "-1", ErrTooMany, 0},
		{429, "soon", ErrTooMany, 0},
		{503, "99999999", ErrUnavailable, maxRetryAfter},
		{503, "2147483648", ErrUnavailable, maxRetryAfter},
		{429, strings.Repeat("9", 30), ErrTooMany, maxRetryAfter},
		{500, "", ErrUnavailable, 0},
		{400, "", ErrRefused, 0},
		{301, "", ErrRefused, 0},
	} {
		followed := false
		endpoint, c := service(t, func(w http.ResponseWriter, r *http.Request) {
			followed = followed || r.URL.Path != "/secret"
			w.Header().Set("Retry-After", test.retryAfter)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte("no\x1b[2J\n" + strings.Repeat("x", 1<<20)))
		})
		c.Now = func() time.Time { return now }
		_, err := c.Send(t.Context(), endpoint, Request{Body: []byte("body")})
		failure, ok := errors.AsType[*ServiceError](err)
		if !ok || !errors.Is(err, test.wanted) || failure.Status != test.status || failure.RetryAfter != test.wait || followed {
			t.Errorf("%+v: %v, %+v", test, err, failure)
			continue
		}
		if len(failure.Reason) != maxReason || !strings.HasPrefix(failure.Reason, "no.[2J.x") || strings.Contains(err.Error(), "secret") {
			t.Errorf("reason %q of %d bytes, %v", failure.Reason[:10], len(failure.Reason), err)
		}
	}
}

// TestSendFails wants no endpoint, which is a secret, in an error.
func TestSendFails(t *testing.T) {
	endpoint, c := service(t, func(http.ResponseWriter, *http.Request) {})
	gone := httptest.NewTLSServer(nil)
	gone.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		ctx      context.Context
		endpoint string
	}{{t.Context(), gone.URL + "/secret"}, {ended, endpoint}} {
		if _, err := c.Send(test.ctx, test.endpoint, Request{}); err == nil || errors.Is(err, ErrEndpoint) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
	for _, bad := range []string{"", "://secret", "nothing://secret", "http://push.example.net/secret", strings.Replace(endpoint, "https", "http", 1)} {
		if _, err := c.Send(t.Context(), bad, Request{}); !errors.Is(err, ErrEndpoint) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestSwitchedProtocols is answered with a connection instead of an answer, on which nothing comes.
func TestSwitchedProtocols(t *testing.T) {
	stay := make(chan struct{})
	endpoint, c := service(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		<-stay
		conn.Close()
	})
	t.Cleanup(func() { close(stay) }) // before the server is closed
	_, err := c.Send(t.Context(), endpoint, Request{})
	if failure, ok := errors.AsType[*ServiceError](err); !ok || failure.Status != http.StatusSwitchingProtocols || !errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
}

func FuzzDecrypt(f *testing.F) {
	r := receiverOf(f, "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94", "BTBZMqHH6r4Tts7J_aSIgg")
	body, err := r.Keys().Encrypt([]byte("message"), 10)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, err := r.Decrypt(body); (err == nil) == (got == nil) || err != nil && !errors.Is(err, ErrDecrypt) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("vapid t=" + exampleToken + ", k=" + exampleKey)
	f.Add(`vapid t="a", k="b"`)
	f.Fuzz(func(t *testing.T, value string) {
		token, public, err := ParseAuthorization(value)
		if err != nil {
			if !errors.Is(err, ErrToken) {
				t.Error(err)
			}
			return
		}
		if claims, err := VerifyToken(token, public); err != nil && !errors.Is(err, ErrToken) {
			t.Error(claims, err)
		}
	})
}

func BenchmarkEncrypt(b *testing.B) {
	r := must.Get[*Receiver](b)(GenerateReceiver())
	message := make([]byte, 200)
	for b.Loop() {
		if _, err := r.Keys().Encrypt(message, 0); err != nil {
			b.Fatal(err)
		}
	}
}
