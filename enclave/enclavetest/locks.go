package enclavetest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
)

// testLock: what takes the vault is refused, what does not goes on, and the app is told.
func testLock(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.create("passkey")
	k := c.CreateKey("signing", "")
	c.signs(k)
	var status api.Status
	c.Must("vault.lock", nil, &status)
	if status.State != "locked" || len(status.Slots) != 1 || status.Counts.Keys != 1 || status.Lineage.Epoch != 0 || status.Lock != "passkey" {
		t.Errorf("status %+v", status)
	}
	expectEvent(t, c, `{"event":"locked","data":{"state":"locked","reason":"asked"}}`)
	c.Must("vault.lock", nil, nil) // it is
	c.Refused(api.Locked, "jwt.sign", map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60})
	c.Refused(api.Exists, "vault.create", goodParams()["vault.create"])
	c.Refused(api.Exists, "backup.restore", goodParams()["backup.restore"])
	for _, method := range []string{"enclave.info", "enclave.selfTest", "vault.status", "challenge.verify"} {
		if f := c.Try(method, goodParams()[method], nil); f != nil && f.Code != api.InvalidRequest {
			t.Errorf("%s: %v", method, f)
		}
	}
	var head api.Head
	c.Must("audit.head", nil, &head)
	if head.Size != 4 || head.Checkpoint == "" {
		t.Errorf("head %+v", head)
	}
	unlocked := len(c.Events())
	c.Must("vault.unlock", nil, nil)
	if events := c.Events(); len(events) != unlocked+1 || events[unlocked] != `{"event":"unlocked"}` {
		t.Errorf("events %q", events)
	}
	c.signs(k)
	if locks := c.logged("vault.lock"); len(locks) != 1 || locks[0].Details["why"] != "asked" {
		t.Errorf("logged %+v", locks)
	}
	var verdict api.AuditVerdict
	c.Must("audit.verify", nil, &verdict)
	if !verdict.Valid {
		t.Errorf("verdict %+v", verdict)
	}
}

// testLockedRefusals: the log goes on while the vault is locked, so that whoever opens it
// sees how often somebody has asked and been refused.
func testLockedRefusals(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.create("passkey")
	c.Must("vault.lock", nil, nil)
	const refused = 7
	for range refused {
		instead(o, cancels[prompt.Unlock])
		c.Refused(api.Cancelled, "vault.unlock", nil)
	}
	c.Close() // what is left is written
	c = o.Connect()
	var head api.Head
	c.Must("audit.head", nil, &head)
	if head.Size < 3 || head.Size > 4 {
		t.Errorf("%d entries for %d refusals of a locked vault; one or two more than 2 wanted", head.Size, refused)
	}
	o.User.On = nil
	c.Must("vault.unlock", nil, nil)
	total := 0
	for _, e := range c.logged("vault.unlock") {
		if e.Outcome == "ok" {
			continue
		}
		n, err := strconv.Atoi(e.Details["count"])
		if err != nil || e.Outcome != "cancelled" {
			t.Errorf("entry %+v", e)
		}
		total += n
	}
	if total != refused {
		t.Errorf("%d refusals in the log, %d happened", total, refused)
	}
}

// testLockedSession: a vault that lives in this worker has a lock like any other, and no
// other tab sees it.
func testLockedSession(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	var status api.Status
	c.Must("vault.create", map[string]any{"persistence": "session", "lock": "passphrase", "idleSeconds": 60}, &status)
	if status.Lock != "passphrase" || status.IdleSeconds != 60 || status.Durability != "memory" {
		t.Errorf("status %+v", status)
	}
	k := c.CreateKey("signing", "")
	c.Must("vault.lock", nil, nil)
	c.Refused(api.Locked, "keys.list", nil)
	o.Connect().state("absent")
	if left := dump(t, c.Device, aliceID); len(left) != 0 {
		t.Errorf("%d records on the device", len(left))
	}
	c.Must("vault.unlock", nil, nil)
	c.signs(k)
	c.Must("slots.add", map[string]any{"kind": "passkey"}, nil)
	c.Must("slots.remove", map[string]any{"id": c.slot("passphrase").ID}, nil)
	c.Must("vault.lock", nil, nil)
	c.Must("vault.unlock", nil, nil)
	c.signs(k)
}

// hammer has a tab sign until it is stopped, and returns how many were answered. Whoever
// is refused is told why.
func hammer(c *Client, kid string, workers int) (stop func() (signed int)) {
	end := make(chan struct{})
	var mu sync.Mutex
	var wg sync.WaitGroup
	signed := 0
	for range workers {
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				f := c.Try("challenge.sign", map[string]any{"kid": kid, "context": "x", "data": ""}, nil)
				mu.Lock()
				if f == nil {
					signed++
				}
				mu.Unlock()
				if f == nil {
					continue
				}
				switch f.Code {
				case api.Locked, api.Interrupted, api.Conflict:
					time.Sleep(time.Millisecond)
				default:
					c.t.Errorf("while the vault changes: %v", f)
					return
				}
			}
		})
	}
	return func() int {
		close(end)
		wg.Wait()
		return signed
	}
}

// check compares what was answered with what is counted and logged.
func (c *Client) check(kid string, signed int) {
	c.t.Helper()
	uses, leaves := get(c, kid).Uses, len(c.succeeded("challenge.sign"))
	if signed == 0 || uses < uint64(signed) || uses != uint64(leaves) {
		c.t.Errorf("%d signatures answered, %d uses counted, %d logged", signed, uses, leaves)
	}
	var verdict api.AuditVerdict
	c.Must("audit.verify", nil, &verdict)
	if !verdict.Valid {
		c.t.Errorf("verdict %+v", verdict)
	}
}

// testLockUnderLoad: locking while calls are on their way loses nothing that was answered.
func testLockUnderLoad(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.create("passkey")
	k := c.CreateKey("signing", "")
	stop := hammer(c, k.KID, 8)
	for range 10 {
		time.Sleep(3 * time.Millisecond)
		c.Must("vault.lock", nil, nil)
		c.Must("vault.unlock", nil, nil)
	}
	time.Sleep(20 * time.Millisecond)
	c.check(k.KID, stop())
}

// testChangeUnderLoad: neither does a change of the ways in, in this tab or in another one,
// and no call that waits behind it damages what it has left.
func testChangeUnderLoad(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	other := o.Connect()
	stops := []func() int{hammer(c, k.KID, 8), hammer(other, k.KID, 2)}
	for range 6 {
		// A change may find that another tab was faster; then nothing was done.
		for range 20 {
			f := c.Try("slots.add", map[string]any{"kind": "passkey"}, nil)
			if f == nil {
				break
			}
			if f.Code != api.Conflict && f.Code != api.Interrupted {
				t.Fatal(f)
			}
		}
		id := c.slot("passkey").ID
		for range 20 {
			f := c.Try("slots.remove", map[string]any{"id": id}, nil)
			if f == nil {
				break
			}
			if f.Code != api.Conflict && f.Code != api.Interrupted {
				t.Fatal(f)
			}
		}
	}
	time.Sleep(20 * time.Millisecond)
	signed := 0
	for _, stop := range stops {
		signed += stop()
	}
	for which, tab := range []*Client{o.Connect(), other, c} {
		t.Run(fmt.Sprint("tab ", which), func(*testing.T) {
			_ = tab.Try("vault.status", nil, nil) // it may have to look again
			_ = tab.Try("keys.list", nil, nil)
			tab.check(k.KID, signed)
		})
	}
}

// testBehindAChange: calls that wait behind a change of the ways in are done by nobody, or
// by the vault as it is then; they do not write to what it was.
func testBehindAChange(t *testing.T, p Platform) {
	o := willing(t, p)
	var s *hooked
	o.Wrap = func(inner store.Store) store.Store { s = &hooked{Store: inner}; return s }
	c := o.Connect()
	o.Wrap = nil
	c.CreateVault()
	k := c.CreateKey("signing", "")
	const waiting = 20
	replies := make(chan string, waiting)
	signed := 0
	for round := range 5 {
		c.Must("slots.add", map[string]any{"kind": "passkey"}, nil)
		id := c.slot("passkey").ID
		var once sync.Once
		s.set(func(op string, landed bool) {
			if op != "commit" || landed {
				return
			}
			once.Do(func() { // the change is about to be written
				for i := range waiting {
					c.Enclave.Handle([]byte(`{"v":1,"id":`+itoa(9000+i)+`,"method":"challenge.sign","params":{"kid":"`+k.KID+`","context":"x","data":""}}`), func(b []byte) { replies <- string(b) })
				}
				time.Sleep(20 * time.Millisecond)
			})
		})
		c.Must("slots.remove", map[string]any{"id": id}, nil)
		s.set(nil)
		for range waiting {
			r := <-replies
			if strings.Contains(r, `"signature"`) {
				signed++
			} else if !strings.Contains(r, `"conflict"`) && !strings.Contains(r, `"interrupted"`) {
				t.Errorf("round %d: %s", round, r)
			}
		}
		for _, tab := range []*Client{c, o.Connect()} {
			tab.signs(k)
			if uses := get(tab, k.KID).Uses; uses < uint64(signed) {
				t.Errorf("round %d: %d uses, %d signatures answered", round, uses, signed)
			}
		}
	}
}
