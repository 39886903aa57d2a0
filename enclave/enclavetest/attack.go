package enclavetest

import (
	"bytes"
	"encoding/json/v2"
	"errors"
	"fmt"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/vault"
)

// testWithoutShareNothingOpens tries everything wrapped that lies in storage,
// straight at the engine and with the stored handle: what an unpinned page in the
// same partition could do. With the app's share it opens, so it is the share that
// is missing.
func testWithoutShareNothingOpens(t *testing.T, p Platform) {
	o := NewOrigin(t, p)
	c := o.Connect()
	c.CreateVault()
	k := c.CreateKey("signing", "")
	c.Close()
	right := o.Share
	almost := right
	almost[31] ^= 1
	for _, share := range [][32]byte{{}, {1}, almost} {
		for what, err := range openFromStorage(t, o, share) {
			if !errors.Is(err, keyengine.ErrOpen) {
				t.Errorf("the %s without the share: %v, %v wanted", what, err, keyengine.ErrOpen)
			}
		}
		o.Share = share
		d := o.Connect()
		if s := d.Status(); s.State != "lost" {
			t.Errorf("with another share the vault is %s", s.State)
		}
		d.Refused(api.NotFound, "jwt.sign", map[string]any{"kid": k.KID, "audience": "a", "ttlSeconds": 60})
	}
	for what, err := range openFromStorage(t, o, right) {
		if err != nil {
			t.Errorf("the %s with the share: %v; the attempts above prove nothing", what, err)
		}
	}
}

// openFromStorage tries what docs/storage.md says that a share and the enclave's
// storage open, and returns what came of each attempt.
func openFromStorage(t *testing.T, o *Origin, share [32]byte) map[string]error {
	t.Helper()
	id, engine := vault.ID(App, "alice"), o.platform.Engine
	device := o.platform.Open(t, o.name)
	stored, err := device.Get(ctx, id, store.Name{Kind: "vault", ID: "-"})
	if err != nil || len(stored[0]) == 0 {
		t.Fatalf("no header: %v", err)
	}
	var header struct {
		Instance, Device []byte
		Slots            []struct{ VaultKey []byte }
		LedgerKey        struct{ Device []byte }
	}
	text, _, _ := bytes.Cut(stored[0][1:], []byte("\n"))
	if err := json.Unmarshal(text, &header, json.MatchCaseInsensitiveNames(true)); err != nil || len(header.Slots) == 0 {
		t.Fatalf("header %s: %v", stored[0], err)
	}
	value, err := device.Handle(ctx, id, store.Name{Kind: "device", ID: "-"})
	if err != nil {
		t.Fatal(err)
	}
	handle, err := engine.Import(value)
	if err != nil {
		t.Fatal(err)
	}
	under := func(key keyengine.AEADKey, what string) keyengine.Target {
		return keyengine.Target{Key: key, AAD: append([]byte("kms-enclave/wrap/"+what+"/v1\x00"), header.Instance...)}
	}
	// The handle is there, so this much opens without a share.
	secret, err := engine.UnwrapSecret(ctx, header.Device, under(handle, "device-secret"))
	if err != nil {
		t.Fatal(err)
	}
	attempts := map[string]error{}
	try := func(what, kek, wrapped string, value []byte) {
		key, err := engine.DeriveAEAD(ctx, secret, share[:], []byte("kms-enclave/kek/"+kek+"/v1"))
		if err != nil {
			t.Fatal(err)
		}
		_, attempts[what] = engine.UnwrapSecret(ctx, value, under(key, wrapped))
	}
	for i, slot := range header.Slots {
		try(fmt.Sprint("vault key of slot ", i), "device", "vault-key", slot.VaultKey)
	}
	try("ledger key", "ledger", "ledger-key", header.LedgerKey.Device)
	return attempts
}
