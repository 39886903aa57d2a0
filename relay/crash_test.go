package relay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json/v2"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/must"
)

// childConfig is the variable that makes the test's binary a relay, for tests that kill one.
const childConfig = "KMS_RELAY_TEST_CHILD"

func TestMain(m *testing.M) {
	if file := os.Getenv(childConfig); file != "" {
		if err := runChild(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// The tests wait for the disk and for seconds to pass, not for the processor.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// runChild serves until it is killed, and prints where.
func runChild(file string) error {
	c, err := ReadConfig(file)
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r, err := Open(context.Background(), c, NewLog(os.Stderr, "text"))
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return r.Serve(context.Background(), l)
}

// child is a relay in a process of its own.
type child struct {
	cmd  *exec.Cmd
	base string
}

func startChild(t *testing.T, file string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childConfig+"="+file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out := must.Get[interface{ Read([]byte) (int, error) }](t)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child does not start: %v\n%s", err, stderr.String())
	}
	return &child{cmd, "http://" + strings.TrimSpace(line)}
}

// kill ends it as a power cut would, as far as a process can tell.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// load posts messages, each under a key of its own, until it is told to stop, and notes what was accepted.
type load struct {
	t        *testing.T
	token    string
	base     atomic.Value // of the relay that is up
	stop     atomic.Bool
	mu       sync.Mutex
	accepted map[string]string // id by message
}

func (l *load) run(worker int) {
	client := &http.Client{Timeout: 5 * time.Second}
	for n := 0; !l.stop.Load(); n++ {
		message := fmt.Sprintf("%d-%d", worker, n)
		for !l.stop.Load() {
			if l.post(client, message) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// post reports whether a message was accepted; after an error the client cannot know, and posts the same again.
func (l *load) post(client *http.Client, message string) bool {
	q, err := http.NewRequest("POST", l.base.Load().(string)+"/v1/subscriptions/inbox/messages", strings.NewReader(message))
	if err != nil {
		l.t.Error(err)
		return true
	}
	q.Header.Set("Authorization", "Bearer "+l.token)
	q.Header.Set("Idempotency-Key", message)
	response, err := client.Do(q)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	var body struct {
		ID string `json:"id"`
	}
	if err := json.UnmarshalRead(response.Body, &body); err != nil || response.StatusCode != http.StatusAccepted {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted[message] = body.ID
	return true
}

// TestCrash kills a relay under load, several times at random instants. Nothing that was accepted is lost; each key stands for
// one message; and what arrives twice was in flight at a kill.
func TestCrash(t *testing.T) {
	t.Parallel()
	const workers, kills, parallel = 8, 4, 4
	push := newPushService(t)
	c := testConfig(t, push)
	c.AttemptTime = Duration(5 * time.Second) // one whose answer does not come in time is repeated, too
	c.Services[len(c.Services)-1].Parallel = parallel
	file := t.TempDir() + "/relay.json"
	if err := os.WriteFile(file, must.Get[[]byte](t)(c.JSON()), 0o600); err != nil {
		t.Fatal(err)
	}
	u := newUser(t)
	l := &load{t: t, token: u.token(t, scopeSend), accepted: map[string]string{}}
	running := startChild(t, file)
	l.base.Store(running.base)
	(&rig{t: t, server: serverAt(running.base)}).register(u, "inbox", push, "/a")
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { l.run(i) })
	}
	for range kills {
		time.Sleep(time.Duration(300+rand.IntN(500)) * time.Millisecond)
		running.kill()
		running = startChild(t, file)
		l.base.Store(running.base)
	}
	time.Sleep(300 * time.Millisecond)
	l.stop.Store(true)
	all.Wait()
	running.kill()
	g := &rig{t: t, config: c, log: new(bytes.Buffer)}
	g.open()
	t.Cleanup(g.close)
	eventually(t, "the queue is empty", func() bool { return g.state(u, "inbox").Queued == 0 })
	l.check(g, u, push, (kills+1)*parallel)
}

// check compares what was accepted with what arrived.
func (l *load) check(g *rig, u *user, push *pushService, inFlight int) {
	l.t.Helper()
	times := map[string]int{}
	for _, m := range push.messages("/a") {
		times[m]++
	}
	repeated := 0
	for message := range l.accepted {
		if times[message] == 0 {
			l.t.Errorf("%s was accepted and is lost", message)
		}
	}
	for _, n := range times {
		repeated += n - 1
	}
	if repeated > inFlight {
		l.t.Errorf("%d of %d arrived again, at most %d were in flight", repeated, len(times), inFlight)
	}
	receipts := g.receipts(u, "inbox")
	for message, id := range l.accepted {
		if receipts[id].Outcome != outcomeSent {
			l.t.Errorf("%s: receipt %+v", message, receipts[id])
		}
	}
	if len(receipts) != len(times) {
		l.t.Errorf("%d messages were queued for %d keys", len(receipts), len(times))
	}
	if s := g.state(u, "inbox"); s.Sent != int64(len(receipts)) || s.Failed != 0 {
		l.t.Errorf("%+v, %d receipts", s, len(receipts))
	}
	l.t.Logf("%d accepted, %d arrived, %d of them again", len(l.accepted), len(times), repeated)
}
