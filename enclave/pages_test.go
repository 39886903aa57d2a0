//go:build !js

package enclave

import (
	"bytes"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
)

// TestPagesFit: whatever entries a log holds, a page of it fits a reply, and no
// page is empty.
func TestPagesFit(t *testing.T) {
	const origin = "https://app.example"
	empty, err := audit.Entry{Method: "m", Origin: origin, Outcome: "ok", Details: map[string]string{"d": ""}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	room := (audit.MaxEntry - len(empty)) / 2 // a quotation mark takes two bytes in an entry
	leaf, err := audit.Entry{Method: "m", Origin: origin, Outcome: "ok", Details: map[string]string{"d": string(bytes.Repeat([]byte(`"`), room))}}.Encode()
	if err != nil || len(leaf) < audit.MaxEntry-1 {
		t.Fatalf("an entry of %d bytes: %v", len(leaf), err)
	}
	leaves := make([][]byte, ledger.PageSize)
	for i := range leaves {
		leaves[i] = leaf
	}
	for len(leaves) > 0 {
		page := fitting(leaves)
		if len(page) == 0 {
			t.Fatal("an empty page")
		}
		text, err := audit.AppendEntries(nil, page)
		if err != nil {
			t.Fatal(err)
		}
		if reply := encodeReply(api.Reply{ID: maxID, Result: exportPage(text, 1<<52, 1<<53)}); !bytes.Contains(reply, []byte(`"result"`)) {
			t.Fatalf("a page of %d entries is answered %.200s", len(page), reply)
		}
		leaves = leaves[len(page):]
	}
	if got := fitting([][]byte{make([]byte, 2*maxPage)}); len(got) != 1 {
		t.Error("an entry that is larger than a page is never read")
	}
}
