package enclavetest

import (
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
)

// seen asks for what to keep of the log, and compares the log with what was kept.
func seen(c *Client, kept api.Consistency) (now api.Consistency) {
	c.t.Helper()
	params := map[string]any{}
	if kept.Since != nil {
		params["since"] = kept.Since
	}
	c.Must("audit.consistent", params, &now)
	return now
}

// testConsistent: a log that continues the one that was seen is told from one that was
// taken back and from one that was replaced, however far back it is.
func testConsistent(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	c := o.Connect()
	c.CreateVault()
	first := seen(c, api.Consistency{})
	if first.Size != 1 || !first.Consistent || first.Earlier != 0 || len(first.Since) == 0 {
		t.Fatalf("with nothing kept: %+v", first)
	}
	k := c.CreateKey("signing", "")
	second := seen(c, first)
	if !second.Consistent || second.Earlier != 1 || second.Size != 2 || second.Reason != "" {
		t.Errorf("after one more entry: %+v", second)
	}
	if again := seen(c, second); !again.Consistent || again.Size != 2 || string(again.Since) != string(second.Since) {
		t.Errorf("without further entries: %+v", again)
	}

	before := dump(t, c.Device, aliceID)
	sign := func(c *Client) {
		c.Must("jwt.sign", map[string]any{"kid": k.KID, "audience": "https://api.example", "ttlSeconds": 60}, nil)
	}
	sign(c)
	sign(c)
	kept := seen(c, second)
	overwrite(t, c.Device, before)
	c.Close()
	c = o.Connect()
	if now := seen(c, kept); now.Consistent || now.Reason != api.TakenBack || now.Earlier != 4 || now.Size != 2 {
		t.Errorf("after a rollback: %+v", now)
	}
	if now := seen(c, second); !now.Consistent {
		t.Errorf("after a rollback, to what was kept: %+v", now)
	}
	for range 3 {
		sign(c)
	}
	if now := seen(c, kept); now.Consistent || now.Reason != api.Replaced || now.Earlier != 4 || now.Size != 5 {
		t.Errorf("after a rollback and other entries: %+v", now)
	}
	for _, bad := range []string{"AAAA", "!", b64(9), b64(2049)} {
		c.Refused(api.InvalidRequest, "audit.consistent", map[string]any{"since": bad})
	}
}

// testConsistentAcrossPages: what was seen long ago is compared, too.
func testConsistentAcrossPages(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	first := seen(c, api.Consistency{})
	k := c.CreateKey("signing", "")
	c.signMany(k.KID, 1100)
	if now := seen(c, first); !now.Consistent || now.Earlier != 1 || now.Size != 1102 {
		t.Errorf("1,101 entries later: %+v", now)
	}
}

// signMany makes signatures, many at a time.
func (c *Client) signMany(kid string, n int) {
	c.t.Helper()
	c.Many(n, "jwt.sign", map[string]any{"kid": kid, "audience": "https://api.example", "ttlSeconds": 60})
}

// Many makes the same call n times, many at a time.
func (c *Client) Many(n int, method string, params any) {
	c.t.Helper()
	failures := make(chan *api.Error)
	const workers = 50
	for w := range workers {
		go func() {
			var failure *api.Error
			for i := w; i < n && failure == nil; i += workers {
				failure = c.Try(method, params, nil)
			}
			failures <- failure
		}()
	}
	for range workers {
		if failure := <-failures; failure != nil {
			c.t.Errorf("one of %d calls of %s: %v", n, method, failure)
		}
	}
}
