//go:build !js

package enclave_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave/enclavetest"
	"github.com/kms-enclave/kms-enclave/keyengine/native"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
	"github.com/kms-enclave/kms-enclave/vault"
)

// perVault counts what is read of each vault.
type perVault struct {
	store.Store
	mu    sync.Mutex
	reads map[string]int // records
}

func (s *perVault) note(vault string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads[vault] += n
}

func (s *perVault) Get(ctx context.Context, vault string, names ...store.Name) ([][]byte, error) {
	s.note(vault, len(names))
	return s.Store.Get(ctx, vault, names...)
}

func (s *perVault) Scan(ctx context.Context, vault string, r store.Range) ([]store.Record, error) {
	found, err := s.Store.Scan(ctx, vault, r)
	s.note(vault, len(found))
	return found, err
}

func (*perVault) Close() {}

// during returns how many records of which vaults something reads.
func (s *perVault) during(do func()) map[string]int {
	s.mu.Lock()
	s.reads = map[string]int{}
	s.mu.Unlock()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func profile(t *testing.T) (*enclavetest.Origin, *perVault) {
	s := &perVault{Store: memstore.New(), reads: map[string]int{}}
	o := enclavetest.NewOrigin(t, enclavetest.Platform{Engine: native.New(rand.Reader), Open: func(*testing.T, string) store.Store { return s }})
	o.User.Willing, o.User.Passphrase = true, "correct horse battery"
	return o, s
}

// TestManyKeys: a vault with as many keys as fit takes no more, lists every one once, signs without
// reading more than one with few keys does, and all of it fits into a backup and a mirror, and comes back.
func TestManyKeys(t *testing.T) {
	o, s := profile(t)
	c := o.Connect()
	c.Must("vault.create", map[string]any{"persistence": "device", "lock": "passphrase"}, nil)
	c.Must("recovery.enable", nil, nil)
	kid := c.CreateKey("signing", "").KID
	id := vault.ID(enclavetest.App, "alice")
	reopened := func() int {
		c.Close()
		c = o.Connect()
		c.Must("vault.unlock", nil, nil) // while it is locked the keys are counted by their names, so that reads them
		return s.during(func() { c.Sign(kid) })[id]
	}
	few := reopened()
	c.Many(api.MaxKeys-1, "keys.create", map[string]any{"purpose": "signing"})
	c.Refused(api.QuotaExceeded, "keys.create", map[string]any{"purpose": "signing"})
	many := reopened()
	if few == 0 || many > few+8 { // a page of the index on each level
		t.Errorf("the first signature reads %d records, %d with one key", many, few)
	}
	listed := map[string]bool{}
	for _, k := range c.Keys() {
		listed[k.KID] = true
	}
	if len(listed) != api.MaxKeys {
		t.Errorf("%d keys are listed", len(listed))
	}
	var saved api.Saved
	c.Must("backup.save", nil, &saved)
	size := 0
	var offers []map[string]any
	for after, more := "", true; more; {
		params := map[string]any{}
		if after != "" {
			params["after"] = after
		}
		var page api.MirrorRecords
		c.Must("mirror.records", params, &page)
		for _, r := range page.Records {
			size, after = size+len(r.Value)+len(r.Name), r.Name
		}
		offers = append(offers, map[string]any{"first": len(offers) == 0, "records": page.Records})
		more = page.More
	}
	t.Logf("%d keys: %d KiB of records, %d KiB in a backup; %d records read for the first signature, %d with one key", len(listed), size>>10, saved.Bytes>>10, many, few)
	if saved.Keys != api.MaxKeys || size > vault.MaxMirror*9/10 {
		t.Errorf("%d keys are in the backup; a mirror takes %d bytes of %d", saved.Keys, size, vault.MaxMirror)
	}
	c.Close()
	if err := s.Commit(t.Context(), store.Batch{Vault: id, Expect: store.Record{Name: store.Name{Kind: "none", ID: "-"}}, Clear: true}); err != nil {
		t.Fatal(err)
	}
	c = o.Connect()
	for _, offer := range offers {
		c.Must("mirror.offer", offer, nil)
	}
	c.Must("mirror.restore", nil, nil)
	c.Sign(kid)
	if n := c.Status().Counts.Keys; n != api.MaxKeys {
		t.Errorf("%d keys came back", n)
	}
}

// TestManyVaults: what happens in one of many vaults of an origin reads and changes nothing of the others.
func TestManyVaults(t *testing.T) {
	o, s := profile(t)
	const vaults = 1000
	clients := make([]*enclavetest.Client, vaults)
	kids := make([]string, vaults)
	for i := range clients {
		c := o.ConnectAs(enclavetest.App, fmt.Sprint("account ", i))
		c.CreateVault()
		kids[i] = c.CreateKey("signing", "").KID
		clients[i] = c
	}
	for _, at := range []int{0, vaults / 2, vaults - 1} {
		id := vault.ID(enclavetest.App, fmt.Sprint("account ", at))
		read := s.during(func() {
			clients[at].Close()
			clients[at] = o.ConnectAs(enclavetest.App, fmt.Sprint("account ", at))
			clients[at].Sign(kids[at])
			clients[at].Refused(api.NotFound, "keys.get", map[string]any{"kid": kids[(at+1)%vaults]})
		})
		if len(read) != 1 || read[id] == 0 || read[id] > 40 {
			t.Errorf("account %d read %v", at, read)
		}
	}
	clients[1].Must("vault.destroy", nil, nil)
	for _, at := range []int{0, 2, vaults - 1} {
		clients[at].Sign(kids[at])
	}
}
