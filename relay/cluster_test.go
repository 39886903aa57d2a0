package relay

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/kms-enclave/kms-enclave/internal/must"
)

// startCluster starts three nodes of NATS in this process, on loopback.
func startCluster(t *testing.T) (nodes []*server.Server, urls []string) {
	var ports []int
	for range 3 {
		l := must.Get[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		l.Close()
	}
	routes := ""
	for _, p := range ports {
		routes += fmt.Sprintf("nats://127.0.0.1:%d,", p)
	}
	for i, p := range ports {
		s := must.Get[*server.Server](t)(server.NewServer(&server.Options{
			ServerName: fmt.Sprint("node", i), Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: p}, Routes: server.RoutesFromStr(routes[:len(routes)-1]),
		}))
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		nodes = append(nodes, s)
	}
	for _, s := range nodes {
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a node does not start")
		}
		urls = append(urls, s.ClientURL())
	}
	eventually(t, "the cluster has a leader", func() bool {
		for _, s := range nodes {
			if s.JetStreamIsLeader() {
				return len(s.JetStreamClusterPeers()) == 3
			}
		}
		return false
	})
	return nodes, urls
}

// TestCluster: of three nodes the one that leads the stream is lost under load. Nothing that was accepted is lost, and each key stands
// for one message.
func TestCluster(t *testing.T) {
	t.Parallel()
	nodes, urls := startCluster(t)
	push := newPushService(t)
	c := testConfig(t, push)
	c.Data, c.NATS, c.Replicas = "", urls, 3
	g := &rig{t: t, config: c, log: new(bytes.Buffer)}
	g.open()
	t.Cleanup(g.close)
	u := newUser(t)
	g.register(u, "inbox", push, "/a")
	l := &load{t: t, token: u.token(t, scopeSend), accepted: map[string]string{}}
	l.base.Store(g.server.URL)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() { l.run(i) })
	}
	time.Sleep(500 * time.Millisecond)
	for _, s := range nodes {
		if s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, c.Stream) {
			s.Shutdown()
			break
		}
	}
	before := l.count()
	eventually(t, "messages are accepted again", func() bool { return l.count() > before+50 })
	l.stop.Store(true)
	all.Wait()
	eventually(t, "the queue is empty", func() bool { return g.state(u, "inbox").Queued == 0 })
	l.check(g, u, push, 2*defaultParallel)
	twoRelays(t, g, u)
}

// twoRelays: a second relay on the same cluster takes messages for a subscription that the first one registered, and receipts reach
// who listens at either.
func twoRelays(t *testing.T, first *rig, u *user) {
	second := &rig{t: t, config: first.config, log: new(bytes.Buffer)}
	second.open()
	t.Cleanup(second.close)
	streams := []*listener{first.listen(u, "inbox", ""), second.listen(u, "inbox", "")}
	for _, g := range []*rig{second, first} {
		id := g.send(u, "inbox", "x")
		for _, l := range streams {
			if r, _ := l.receipt(); r.Message != id || r.Outcome != outcomeSent {
				t.Errorf("%+v", r)
			}
		}
	}
	first.want(first.do("DELETE", "/v1/subscriptions/inbox", u.token(t, scopeRegister), ""), 204, "")
	second.want(second.do("POST", "/v1/subscriptions/inbox/messages", u.token(t, scopeSend), "x"), 404, "unknown-subscription")
	if left := second.of(u.kid); len(left) > 0 {
		t.Errorf("there is left %v", left)
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}
