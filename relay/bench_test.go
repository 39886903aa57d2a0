package relay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/webpush"
)

// BenchmarkEndToEnd is how many messages a second come in over HTTP, are on disk, go out over TLS and HTTP/2 to a push service that
// takes everything, and have their receipts. Clients, relay and push service are all in this process.
func BenchmarkEndToEnd(b *testing.B) {
	const subscriptions, clients = 100, 256
	push := newPushService(b)
	push.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		w.WriteHeader(http.StatusCreated)
	})
	g := newRig(b, push, func(c *Config) {
		c.Services[len(c.Services)-1].Parallel = 256
		c.AttemptTime = Duration(20 * time.Second)
		c.Limits.Queued = 1 << 30
	})
	u := newUser(b)
	for i := range subscriptions {
		g.register(u, fmt.Sprint(i), push, fmt.Sprint("/", i))
	}
	token := u.token(b, scopeSend)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients}}
	body := strings.Repeat("x", 200)
	var next atomic.Int64
	b.ResetTimer()
	started := time.Now()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				q, _ := http.NewRequest("POST", g.server.URL+"/v1/subscriptions/"+fmt.Sprint(n%subscriptions)+"/messages", strings.NewReader(body))
				q.Header.Set("Authorization", "Bearer "+token)
				q.Header.Set("Idempotency-Key", fmt.Sprint(n))
				response, err := client.Do(q)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != http.StatusAccepted {
					b.Error(response.Status)
				}
			}
		})
	}
	all.Wait()
	accepted := time.Since(started)
	sent := func() (n int64) {
		for i := range subscriptions {
			t, _ := g.relay.subs.tally(context.Background(), subscriptionKey{u.kid, fmt.Sprint(i)})
			n += t.Sent
		}
		return n
	}
	for sent() < int64(b.N) {
		time.Sleep(10 * time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/time.Since(started).Seconds(), "messages/s")
	b.ReportMetric(float64(b.N)/accepted.Seconds(), "accepted/s")
}

// BenchmarkStart opens a relay that has 100,000 subscriptions with four tokens each, and says how much memory the process has then.
func BenchmarkStart(b *testing.B) {
	const count = 100_000
	g := &rig{t: b, config: testConfig(b, nil), log: new(bytes.Buffer)}
	g.open()
	u := newUser(b)
	fill(b, g, u, count)
	g.close()
	debug.FreeOSMemory()
	for b.Loop() {
		g.open()
		b.StopTimer()
		if s := g.state(u, fmt.Sprint(count-1)); s.State != "active" {
			b.Errorf("%+v", s)
		}
		b.ReportMetric(residentMB(b), "MB")
		g.close()
		b.StartTimer()
	}
}

// fill writes subscriptions as registering them does, without the HTTP.
func fill(b *testing.B, g *rig, u *user, count int) {
	token := u.vapid(b, "https://fcm.googleapis.com", 20*time.Hour)
	receiver := must.Get[*webpush.Receiver](b)(webpush.GenerateReceiver())
	var all sync.WaitGroup
	for worker := range 300 {
		all.Go(func() {
			for i := worker; i < count; i += 300 {
				s := &subscription{
					Push:      webpush.Subscription{Endpoint: "https://fcm.googleapis.com/fcm/send/" + strings.Repeat("x", 150) + fmt.Sprint(i), P256DH: receiver.Keys().Public(), Auth: receiver.Keys().Auth()},
					PublicKey: u.public, Service: g.relay.services[0].token, Tokens: []stashed{{token, 1}, {token, 2}, {token, 3}, {token, 4}},
				}
				if err := g.relay.subs.put(context.Background(), subscriptionKey{u.kid, fmt.Sprint(i)}, nil, s); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func residentMB(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	if err != nil || found == nil {
		b.Skip("no /proc here")
	}
	return must.Get[float64](b)(strconv.ParseFloat(string(found[1]), 64)) / 1024
}
