package enclave

import (
	"io"
	"time"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
)

// Release is the loader's own account of the release it belongs to.
type Release struct {
	Version     string // semantic version, or "dev"
	Commit      string // 40 hex digits, or "unknown"
	Measurement string // SHA-384 of the loader, 96 hex digits
	Wasm        string // SHA-384 of the module that runs, "sha384-" and base64
}

// Config is everything an Enclave is given. All fields are required.
type Config struct {
	Engine   keyengine.Engine
	Device   store.Store // for vaults with persistence "device"
	Session  store.Store // for vaults with persistence "session"
	Prompter prompt.Prompter
	Strength passphrase.Strength
	Now      func() time.Time
	Rand     io.Reader
	Release  Release

	Self    string   // the enclave's own origin, to which passkeys are bound
	Origin  string   // of the app: event.origin of the handshake
	Account string   // at most api.MaxAccount bytes
	Share   [32]byte // held by the app, handed in at launch
	Marker  bool     // the SDK remembers that a vault was made

	// Notify sends an event to the app: the JSON text {"event":…,"data":…}.
	Notify func(event []byte)
}
