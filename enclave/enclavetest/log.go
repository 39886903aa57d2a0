package enclavetest

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
)

func testAudit(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	start := time.Now().Unix()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	v := c.CreateKey("vapid", "")
	var token api.Token
	c.Must("jwt.sign", map[string]any{"kid": k.KID, "audience": "https://api.example", "ttlSeconds": 60}, &token)
	c.Must("challenge.sign", map[string]any{"kid": k.KID, "context": "login", "data": ""}, nil)
	c.Must("token.vapid", map[string]any{"kid": v.KID, "endpoint": "https://push.example.net/x", "subject": "mailto:ops@example.net", "ttlSeconds": 60}, nil)
	c.Must("challenge.verify", map[string]any{"alg": "EdDSA", "publicKey": k.PublicKey.Raw, "context": "x", "data": "", "signature": b64(64)}, nil)

	var page api.Entries
	c.Must("audit.entries", nil, &page)
	want := []struct{ method, kid, detail string }{
		{"vault.create", "", "device"},
		{"keys.create", k.KID, "signing"},
		{"keys.create", v.KID, "vapid"},
		{"jwt.sign", k.KID, token.JTI},
		{"challenge.sign", k.KID, "login"},
		{"token.vapid", v.KID, "https://push.example.net"},
	}
	if len(page.Entries) != len(want) || page.Size != uint64(len(want)) || page.Next != 0 {
		t.Fatalf("%d entries of %d, next %d; %d wanted", len(page.Entries), page.Size, page.Next, len(want))
	}
	last := start
	for i, e := range page.Entries {
		if e.Seq != uint64(i) || e.Method != want[i].method || e.KID != want[i].kid || e.Origin != App || e.Outcome != "ok" || e.Time < last {
			t.Errorf("entry %d: %+v, %+v wanted", i, e, want[i])
		}
		found := false
		for _, d := range e.Details {
			found = found || d == want[i].detail
		}
		if !found {
			t.Errorf("entry %d: details %v, %q wanted", i, e.Details, want[i].detail)
		}
		last = e.Time
	}

	var head api.Head
	c.Must("audit.head", nil, &head)
	file := export(c)
	report, err := audit.VerifyFile(strings.NewReader(file))
	if err != nil || report.Checked != head.Size || report.Checked != uint64(len(want)) {
		t.Errorf("offline: %+v, %v\n%s", report, err, file)
	}
	if !strings.Contains(file, "\n"+head.Checkpoint+"\n") {
		t.Errorf("checkpoint %q is not that of the file\n%s", head.Checkpoint, file)
	}
}

// export joins the pages of audit.export.
func export(c *Client) string {
	var file strings.Builder
	cursor := ""
	for {
		params := map[string]any{}
		if cursor != "" {
			params["cursor"] = cursor
		}
		var page api.ExportPage
		c.Must("audit.export", params, &page)
		file.WriteString(page.Text)
		if cursor = page.Next; cursor == "" {
			return file.String()
		}
	}
}

// testAuditPages: a log of several pages and batches, read, verified and
// exported while it grows.
func testAuditPages(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	const n = 1200
	replies := make(chan []byte, n)
	for i := range n {
		for i-len(replies) >= 200 { // stay below the limit of pending requests
			time.Sleep(time.Millisecond)
		}
		c.Enclave.Handle([]byte(`{"v":1,"id":`+itoa(i+1)+`,"method":"challenge.sign","params":{"kid":"`+k.KID+`","context":"x","data":""}}`), func(b []byte) { replies <- b })
	}
	for range n {
		if r := string(<-replies); !strings.Contains(r, "signature") {
			t.Fatal(r)
		}
	}
	seen, from := 0, uint64(0)
	for {
		var page api.Entries
		c.Must("audit.entries", map[string]any{"from": from, "limit": 333}, &page)
		for i, e := range page.Entries {
			if e.Seq != from+uint64(i) {
				t.Fatalf("entry %d where %d is wanted", e.Seq, from+uint64(i))
			}
		}
		seen += len(page.Entries)
		if from = page.Next; from == 0 {
			break
		}
	}
	if seen != n+2 {
		t.Errorf("%d entries in pages, %d wanted", seen, n+2)
	}
	var verdict api.AuditVerdict
	c.Must("audit.verify", nil, &verdict)
	if !verdict.Valid || verdict.Size != n+2 {
		t.Errorf("verdict %+v", verdict)
	}
	var first api.ExportPage
	c.Must("audit.export", nil, &first)
	c.Must("challenge.sign", map[string]any{"kid": k.KID, "context": "x", "data": ""}, nil)
	var file strings.Builder
	file.WriteString(first.Text)
	for cursor := first.Next; cursor != ""; {
		var page api.ExportPage
		c.Must("audit.export", map[string]any{"cursor": cursor}, &page)
		file.WriteString(page.Text)
		cursor = page.Next
	}
	if report, err := audit.VerifyFile(strings.NewReader(file.String())); err != nil || report.Checked != n+2 {
		t.Errorf("a file begun before the log grew: %+v, %v", report, err)
	}
	var beyond api.Entries
	c.Must("audit.entries", map[string]any{"from": 1 << 40}, &beyond)
	if len(beyond.Entries) != 0 {
		t.Errorf("%d entries beyond the end", len(beyond.Entries))
	}
}

// testAuditLongEntries: a log of the longest entries that an app can cause is
// read and exported to its end, in pages that fit a reply.
func testAuditLongEntries(t *testing.T, p Platform) {
	c := NewOrigin(t, p).Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	const n = 600
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() {
			for range n / 60 {
				if f := c.Try("jwt.sign", map[string]any{"kid": k.KID, "audience": strings.Repeat(`"`, 512), "ttlSeconds": 60}, nil); f != nil {
					t.Error(f)
				}
			}
		})
	}
	wg.Wait()
	if report, err := audit.VerifyFile(strings.NewReader(export(c))); err != nil || report.Checked != n+2 {
		t.Errorf("the exported file: %+v, %v", report, err)
	}
	seen := 0
	for from := uint64(0); ; {
		var page api.Entries
		c.Must("audit.entries", map[string]any{"from": from, "limit": 500}, &page)
		seen += len(page.Entries)
		if from = page.Next; from == 0 {
			break
		}
	}
	if seen != n+2 {
		t.Errorf("%d entries in pages, %d wanted", seen, n+2)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// testRefusalsAreLogged: refusals that matter are leaves, aggregated.
func testRefusalsAreLogged(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	c := o.Connect()
	c.CreateVault()
	k := c.CreateKey("vapid", "")
	for range 50 {
		c.Refused(api.Denied, "jwt.sign", map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60})
	}
	deadline := time.Now().Add(5 * time.Second)
	for c.Status().Counts.Entries < 3 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	var page api.Entries
	c.Must("audit.entries", map[string]any{"from": 2}, &page)
	if len(page.Entries) != 1 {
		t.Fatalf("%d leaves for 50 refusals, 1 wanted at first", len(page.Entries))
	}
	if e := page.Entries[0]; e.Method != "jwt.sign" || e.Outcome != "denied" || e.Details["count"] == "" {
		t.Errorf("leaf %+v", e)
	}
	// What comes soon after that waits, but not beyond the end.
	c.Refused(api.Denied, "jwt.sign", map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60})
	c.Close()
	c = o.Connect()
	c.Must("audit.entries", map[string]any{"from": 2}, &page)
	total := 0
	for _, e := range page.Entries {
		n, err := strconv.Atoi(e.Details["count"])
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if len(page.Entries) != 2 || total != 51 {
		t.Errorf("%d leaves for %d of 51 refusals", len(page.Entries), total)
	}
}
