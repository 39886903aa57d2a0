package peers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	peer "github.com/SherClockHolmes/webpush-go"
	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/webpush"
)

// taken is a push service that takes everything.
type taken struct{}

func (taken) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}, nil
}

func (taken) Do(r *http.Request) (*http.Response, error) { return taken{}.RoundTrip(r) }

// BenchmarkSend is one message each time, from keys as they are stored to the request: a fresh key pair, a
// body padded to the full record, and a token that is signed anew, because webpush-go keeps none.
func BenchmarkSend(b *testing.B) {
	s := newSubscription(b)
	message := make([]byte, 200)
	b.Run("ours", func(b *testing.B) {
		key := must.Get[*ecdsa.PrivateKey](b)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		public := must.Get[[]byte](b)(key.PublicKey.Bytes())
		c := webpush.Client{Transport: taken{}}
		for b.Loop() {
			keys := must.Get[*webpush.Keys](b)(webpush.NewKeys(s.P256DH, s.Auth))
			body := must.Get[[]byte](b)(keys.Encrypt(message, webpush.MaxMessage))
			audience := must.Get[string](b)(webpush.Audience(s.Endpoint))
			token := must.Get[string](b)(webpush.SignToken(webpush.Claims{Audience: audience, Expires: time.Now().Add(time.Hour), Subject: "mailto:ops@example.net"}, webpush.ES256(key)))
			must.Get[webpush.Receipt](b)(c.Send(b.Context(), s.Endpoint, webpush.Request{Body: body, Authorization: webpush.Authorization(token, public), TTL: time.Minute}))
		}
	})
	b.Run("webpush-go", func(b *testing.B) {
		private, public, err := peer.GenerateVAPIDKeys()
		if err != nil {
			b.Fatal(err)
		}
		to := &peer.Subscription{Endpoint: s.Endpoint, Keys: peer.Keys{P256dh: encode(s.P256DH), Auth: encode(s.Auth)}}
		options := &peer.Options{HTTPClient: taken{}, Subscriber: "ops@example.net", VAPIDPublicKey: public, VAPIDPrivateKey: private, TTL: 60}
		for b.Loop() {
			must.Get[*http.Response](b)(peer.SendNotificationWithContext(b.Context(), message, to, options))
		}
	})
}
