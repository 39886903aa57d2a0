// Package api is the contract between the enclave and the apps that embed it:
// every method's parameters and result, every error code, every limit.
//
// It is pure data. The enclave decodes requests into these types, and the
// SDK's TypeScript declarations are generated from them, so this package
// imports nothing of ours and contains no behaviour beyond encoding.
//
// A field's `check` tag says what the enclave enforces before a handler sees
// the value; the same tag is printed in the documentation, and in a result
// it says what to expect:
//
//	required     the member must be present and not empty (Bytes: present)
//	chars=N      at most N characters (strings)
//	max=N        at most N bytes (strings, Bytes) or at most the value N (numbers)
//	min=N        at least the value N (numbers), if present
//	bytes=N|M    exactly N or M bytes (Bytes), if present
//	enum=a|b     one of these, if present
//	kid          a key id: 43 characters of base64url, if present
//
// Times are integer seconds since 1970-01-01 UTC. Bytes are base64url without
// padding, in their one canonical form (RFC 4648 section 5).
package api

import "encoding/json/jsontext"

// Version is the protocol version: the "v" of every request.
const Version = 1

// Limits that hold for every app.
const (
	MaxMessage   = 1 << 20      // bytes of JSON text in a request or reply
	MaxPending   = 256          // requests the worker takes at once
	MaxAccount   = 128          // bytes of an account name
	MaxLabel     = 64           // characters of a label
	MaxContext   = 128          // bytes of a context
	MaxData      = 256 << 10    // bytes of data to sign
	MaxClaims    = 16 << 10     // bytes of JSON in jwt.sign's claims
	MaxDepth     = 32           // nesting of JSON in a request
	MaxJWTTTL    = 24 * 60 * 60 // seconds
	MaxVAPIDTTL  = 15 * 60      // seconds, without a lease
	MaxLeaseTTL  = 24 * 60 * 60 // seconds, with one that allows it
	MaxTokens    = 16           // of one call
	MaxKeys      = 10_000       // keys in one vault
	MaxPageKeys  = 500          // keys in one keys.list reply
	MaxPageAudit = 500          // entries in one audit.entries reply
	MaxReason    = 200          // characters of a reason
	MinIdle      = 60           // seconds until an idle vault locks, at least
	MaxIdle      = 24 * 60 * 60 // seconds until an idle vault locks, at most
	DefaultIdle  = 15 * 60      // seconds until an idle vault locks
)

// Request is the envelope of every call. ID is chosen by the caller, from 1 to
// 2^53-1, and is free again once the reply has come.
type Request struct {
	V      int            `json:"v"`
	ID     int64          `json:"id"`
	Method string         `json:"method"`
	Params jsontext.Value `json:"params,omitzero"`
}

// Reply answers one request: exactly one of Result and Error is set.
type Reply struct {
	ID     int64  `json:"id"`
	Result any    `json:"result,omitzero"`
	Error  *Error `json:"error,omitzero"`
}

// Event is a message that no request asked for.
type Event struct {
	Event string `json:"event" check:"enum=ready|locked|unlocked|alert|closed"`
	Data  any    `json:"data,omitzero"`
}

// None is the parameters of a method that has none, and the result of a method
// that only succeeds.
type None struct{}

// Info is the result of enclave.info.
type Info struct {
	Version     string   `json:"version"`
	Commit      string   `json:"commit"`
	Measurement string   `json:"measurement"` // SHA-384 of the loader, 96 hex digits, by the loader's own account
	Protocol    int      `json:"protocol"`
	Algorithms  []string `json:"algorithms"` // that this browser can do
}

// SelfTest is the result of enclave.selfTest. A page cannot vouch for itself:
// the result says that this code works, not that it is the right code.
type SelfTest struct {
	OK           bool     `json:"ok"`     // every available primitive gave its known answer
	Wasm         string   `json:"wasm"`   // "sha384-…" of the module that runs, hashed before it was compiled
	Loader       SelfSaid `json:"loader"` // what the loader says of itself: a claim, not a proof
	Tests        []Test   `json:"tests"`
	Milliseconds float64  `json:"milliseconds"`
}

// SelfSaid is the loader's own account of itself.
type SelfSaid struct {
	Version     string `json:"version"`
	Commit      string `json:"commit"`
	Measurement string `json:"measurement"`
}

// Test is one known-answer test.
type Test struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitzero"` // why not; "not available here" where the browser lacks the algorithm
}

// CancelParams are the parameters of enclave.cancel.
type CancelParams struct {
	ID int64 `json:"id" check:"required,min=1"` // of the pending request to stop
}

// CancelResult is the result of enclave.cancel.
type CancelResult struct {
	Cancelled bool `json:"cancelled"` // false if no such request was pending
}

// CreateVaultParams are the parameters of vault.create. Unless lock is none, the
// user is asked for the secret, in the enclave's own dialog.
type CreateVaultParams struct {
	Persistence string `json:"persistence" check:"required,enum=device|session"`
	Lock        string `json:"lock" check:"required,enum=none|passphrase|passkey"`
	IdleSeconds int64  `json:"idleSeconds,omitzero" check:"min=60,max=86400"` // until the vault locks by itself, default 900; without meaning for lock none
}

// Status is the result of vault.status and of what changes a vault as a whole.
type Status struct {
	State       string   `json:"state" check:"enum=absent|locked|unlocked|lost"`
	Persistence string   `json:"persistence,omitzero" check:"enum=device|session"` // absent while there is no vault
	Durability  string   `json:"durability" check:"enum=persistent|best-effort|browser-session|memory"`
	Lock        string   `json:"lock,omitzero" check:"enum=none|passphrase|passkey"`
	IdleSeconds int64    `json:"idleSeconds,omitzero"`                                            // until the vault locks by itself; absent for lock none
	CreatedAt   int64    `json:"createdAt,omitzero"`                                              // seconds
	Slots       []Slot   `json:"slots"`                                                           // the ways in
	Recovery    Recovery `json:"recovery"`                                                        //
	Counts      Counts   `json:"counts"`                                                          //
	Lineage     Lineage  `json:"lineage,omitzero"`                                                // which vault, and which state of it, backups and restores are of
	Reason      string   `json:"reason,omitzero" check:"enum=marker-without-vault|share-missing"` // why it is lost
}

// Lineage names a vault through moves and restores. The SDK keeps the last one it
// saw and presents it again, so that an older backup file does not pass for the newest.
type Lineage struct {
	Vault string `json:"vault" check:"max=22"` // 16 random bytes, base64url; the same in a restored vault
	Epoch uint64 `json:"epoch"`                // from 1; grows when a key is rotated or revoked, or the vault key changes; 0 while locked
}

// Slot is one way to open a vault.
type Slot struct {
	ID        string `json:"id"`
	Kind      string `json:"kind" check:"enum=device|passphrase|passkey"`
	Label     string `json:"label"`
	CreatedAt int64  `json:"createdAt"` // seconds
}

// Recovery says whether a recovery phrase exists.
type Recovery struct {
	Enabled   bool  `json:"enabled"`
	CreatedAt int64 `json:"createdAt,omitzero"` // seconds
}

// AddSlotParams are the parameters of slots.add. There is at most one passphrase, and
// at most one device slot, with which the vault opens without asking.
type AddSlotParams struct {
	Kind  string `json:"kind" check:"required,enum=device|passphrase|passkey"`
	Label string `json:"label,omitzero" check:"chars=64"` // of a passkey, suggested: the user may choose another one. The others are named by their kind
}

// SlotParams name one way in.
type SlotParams struct {
	ID string `json:"id" check:"required,max=22"`
}

// SlotList is the result of slots.add, slots.remove and slots.change.
type SlotList struct {
	Slots []Slot `json:"slots"`
	Lock  string `json:"lock" check:"enum=none|passphrase|passkey"`
}

// Saved is the result of backup.save: what is in the file that the user saved. No
// page learns where, or whether the browser kept it.
type Saved struct {
	CreatedAt int64  `json:"createdAt"` // seconds
	Epoch     uint64 `json:"epoch"`
	Keys      int    `json:"keys"`
	Damaged   int    `json:"damaged,omitzero"` // keys that are not in it: what is stored of them is not what was written
	Bytes     int    `json:"bytes"`
}

// RestoreParams are the parameters of backup.restore.
type RestoreParams struct {
	Persistence string  `json:"persistence,omitzero" check:"enum=device|session"` // default device
	Lock        string  `json:"lock" check:"required,enum=none|passphrase|passkey"`
	IdleSeconds int64   `json:"idleSeconds,omitzero" check:"min=60,max=86400"` // as in vault.create
	Seen        Lineage `json:"seen,omitzero"`                                 // the newest that the app knows of the vault that was here; a file of another vault, or of an earlier epoch, is refused
}

// MirrorRecord is one stored record of a vault, sealed as it is. An app keeps it and
// cannot read it.
type MirrorRecord struct {
	Name  string `json:"name"` // kind "/" id
	Value Bytes  `json:"value"`
}

// MirrorChange is what happened to the stored records from one commit to another. It
// brings any state that is at least From, and not yet To, to To.
type MirrorChange struct {
	From    int64          `json:"from"` // number of a commit; 0 is before the first
	To      int64          `json:"to"`
	Put     []MirrorRecord `json:"put"`
	Removed []string       `json:"removed"` // names
}

// MirrorChanges is the result of mirror.changes: what the commits of this worker wrote
// since the last call. The SDK keeps a mirror of them in the app's own storage.
type MirrorChanges struct {
	Vault   string         `json:"vault"`  // which vault; another one has other records altogether
	Commit  int64          `json:"commit"` // number of its newest commit, this worker's or another tab's
	Opens   bool           `json:"opens"`  // whether a passphrase, a passkey or a phrase opens a mirror of it; if not, none is to be kept
	Changes []MirrorChange `json:"changes"`
	More    bool           `json:"more"` // call again
}

// MirrorRecordsParams are the parameters of mirror.records.
type MirrorRecordsParams struct {
	After string `json:"after,omitzero" check:"max=161"` // the last name of the page before; none for the first page
}

// MirrorRecords is the result of mirror.records: a page of all stored records, in order of
// name. What commits write between two pages is told by mirror.changes.
type MirrorRecords struct {
	Vault   string         `json:"vault"`
	Commit  int64          `json:"commit"` // number of the newest commit before the page was read
	Records []MirrorRecord `json:"records"`
	More    bool           `json:"more"` // there is another page
}

// MirrorOfferParams are the parameters of mirror.offer: records of a mirror, for mirror.restore.
type MirrorOfferParams struct {
	First   bool           `json:"first"` // they begin a new mirror; without it they belong to the one before
	Records []MirrorRecord `json:"records"`
}

// MirrorRestoreParams are the parameters of mirror.restore: what the app knows of the vault
// that is lost. Where it says less, the user is told so, and asked for a word.
type MirrorRestoreParams struct {
	Seen  Lineage `json:"seen,omitzero"`                   // the newest that was seen; a mirror of another vault is refused, an older one is said in words
	Since Bytes   `json:"since,omitzero" check:"max=2048"` // of the last audit.consistent
}

// Counts are how many of each thing a vault holds.
type Counts struct {
	Keys    int    `json:"keys"`
	Entries uint64 `json:"entries"` // of the audit log
}

// CreateKeyParams are the parameters of keys.create. The algorithm follows
// from the purpose: vapid is ES256, identity EdDSA, agreement X25519, signing
// EdDSA unless Alg asks for ES256.
type CreateKeyParams struct {
	Purpose string `json:"purpose" check:"required,enum=vapid|identity|agreement|signing"`
	Alg     string `json:"alg,omitzero" check:"enum=ES256|EdDSA|X25519"`
	Label   string `json:"label,omitzero" check:"chars=64"`
}

// KeyParams name one key.
type KeyParams struct {
	KID string `json:"kid" check:"required,kid"`
}

// ListKeysParams are the parameters of keys.list.
type ListKeysParams struct {
	After string `json:"after,omitzero" check:"kid"`           // the previous page's next
	Limit int    `json:"limit,omitzero" check:"min=1,max=500"` // default 100
}

// Key is one application key. The private half has no representation here.
type Key struct {
	KID        string    `json:"kid"` // RFC 7638 thumbprint (SHA-256) of the public JWK
	Alg        string    `json:"alg" check:"enum=ES256|EdDSA|X25519"`
	Purpose    string    `json:"purpose" check:"enum=vapid|identity|agreement|signing"`
	Label      string    `json:"label"`
	CreatedAt  int64     `json:"createdAt"`           // seconds
	LastUsedAt int64     `json:"lastUsedAt,omitzero"` // seconds; absent if never used
	Uses       uint64    `json:"uses"`
	State      string    `json:"state" check:"enum=active|retired|revoked"` // only an active key signs or agrees
	PublicKey  PublicKey `json:"publicKey"`

	Predecessor string `json:"predecessor,omitzero"` // kid of the key that this one replaced
	Successor   string `json:"successor,omitzero"`   // kid of the key that replaced this one
	EndedAt     int64  `json:"endedAt,omitzero"`     // seconds; when it was retired or revoked. Its private half was deleted then
	Reason      string `json:"reason,omitzero"`      // why it was revoked, in the app's words
}

// PublicKey is a public key in its two usual forms.
type PublicKey struct {
	JWK JWK   `json:"jwk"` // RFC 7517, RFC 8037
	Raw Bytes `json:"raw"` // 65 bytes (uncompressed point) for ES256, else 32
}

// JWK is a public JSON Web Key. Its members are exactly the ones that RFC 7638
// hashes for the thumbprint.
type JWK struct {
	CRV string `json:"crv"`
	KTY string `json:"kty"`
	X   string `json:"x"`
	Y   string `json:"y,omitzero"` // P-256 only
}

// KeyResult is the result of keys.create, keys.get and keys.revoke.
type KeyResult struct {
	Key Key `json:"key"`
}

// Rotated is the result of keys.rotate.
type Rotated struct {
	Key     Key `json:"key"`     // the new one
	Retired Key `json:"retired"` // the old one: it verifies, and never signs again
}

// RevokeParams are the parameters of keys.revoke.
type RevokeParams struct {
	KID    string `json:"kid" check:"required,kid"`
	Reason string `json:"reason,omitzero" check:"chars=200"` // shown to the user, and kept
}

// KeyList is the result of keys.list, in order of kid.
type KeyList struct {
	Keys []Key  `json:"keys"`
	Next string `json:"next,omitzero"` // give it as after for the next page
}

// SignJWTParams are the parameters of jwt.sign. Claims may not contain a
// registered claim (iss, sub, aud, exp, nbf, iat, jti), in whatever letter case.
type SignJWTParams struct {
	KID        string                    `json:"kid" check:"required,kid"`
	Audience   string                    `json:"audience" check:"required,max=512"`
	Subject    string                    `json:"subject,omitzero" check:"max=512"`
	TTLSeconds int64                     `json:"ttlSeconds" check:"required,min=1,max=86400"`
	Claims     map[string]jsontext.Value `json:"claims,omitzero"`
}

// Token is the result of jwt.sign and token.relay.
type Token struct {
	Token string `json:"token"` // JWS compact serialisation
	Exp   int64  `json:"exp"`   // seconds
	JTI   string `json:"jti"`   // 128 random bits, base64url
}

// SignChallengeParams are the parameters of challenge.sign.
type SignChallengeParams struct {
	KID     string `json:"kid" check:"required,kid"`
	Context string `json:"context" check:"required,max=128"`
	Data    Bytes  `json:"data" check:"required,max=262144"`
}

// Signature is the result of challenge.sign.
type Signature struct {
	Signature Bytes `json:"signature"` // 64 bytes
}

// VerifyChallengeParams are the parameters of challenge.verify. No vault is needed.
type VerifyChallengeParams struct {
	Alg       string `json:"alg" check:"required,enum=ES256|EdDSA"`
	PublicKey Bytes  `json:"publicKey" check:"required,bytes=32|65"`
	Context   string `json:"context" check:"required,max=128"`
	Data      Bytes  `json:"data" check:"required,max=262144"`
	Signature Bytes  `json:"signature" check:"required,max=128"`
}

// Verdict is the result of challenge.verify.
type Verdict struct {
	Valid bool `json:"valid"`
}

// AgreeParams are the parameters of key.agree.
type AgreeParams struct {
	KID       string `json:"kid" check:"required,kid"`
	PublicKey Bytes  `json:"publicKey" check:"required,bytes=32"` // the peer's
	Context   string `json:"context" check:"required,max=128"`
}

// Agreed is the result of key.agree.
type Agreed struct {
	Secret Bytes `json:"secret"` // 32 bytes, for this context only
}

// VAPIDParams are the parameters of token.vapid (RFC 8292): of a key, while the vault is unlocked, or of
// a lease, also while it is locked.
type VAPIDParams struct {
	KID        string `json:"kid,omitzero" check:"kid"`                    // without a lease; with one it follows from that
	Lease      string `json:"lease,omitzero" check:"max=22"`               //
	Endpoint   string `json:"endpoint" check:"required,max=2048"`          // of the push subscription; the token's aud is its origin
	Subject    string `json:"subject" check:"required,max=256"`            // mailto: or https: URI that the push service can reach
	TTLSeconds int64  `json:"ttlSeconds" check:"required,min=1,max=86400"` // without a lease at most 900; with one what it allows, and not beyond its end
	Count      int    `json:"count,omitzero" check:"min=1,max=16"`         // how many, with a lease; default 1
}

// PushTokens is the result of token.vapid: a token, and the others if more were asked for.
type PushTokens struct {
	Token string  `json:"token"` // JWS compact serialisation
	Exp   int64   `json:"exp"`   // seconds
	JTI   string  `json:"jti"`   // 128 random bits, base64url
	More  []Token `json:"more,omitzero"`
}

// RelayTokenParams are the parameters of token.relay: a token for the relay of a lease, which the relay checks by
// the lease's public key.
type RelayTokenParams struct {
	Lease        string `json:"lease" check:"required,max=22"`
	Scope        string `json:"scope" check:"required,enum=register|send"`   // register: all that its user may do; send: give it messages
	Subscription string `json:"subscription,omitzero" check:"max=64"`        // for this one only; without it for all of the user's
	TTLSeconds   int64  `json:"ttlSeconds" check:"required,min=1,max=86400"` // at most what the lease allows a token, and not beyond its end
}

// GrantLeaseParams are the parameters of lease.grant: what a relay is to be allowed. The user sees all of it.
type GrantLeaseParams struct {
	KID          string `json:"kid" check:"required,kid"`                         // a key for vapid, which serves this relay only
	Relay        string `json:"relay" check:"required,max=512"`                   // origin: https, or http on this device
	Endpoint     string `json:"endpoint" check:"required,max=2048"`               // of the push subscription; the lease holds for its push service
	LifeSeconds  int64  `json:"lifeSeconds,omitzero" check:"min=300,max=2592000"` // default 43200: twelve hours
	TokenSeconds int64  `json:"tokenSeconds,omitzero" check:"min=60,max=86400"`   // longest life of a token, default 900
	PerHour      int    `json:"perHour,omitzero" check:"min=1,max=240"`           // default 60; how many tokens all leases of the vault may have given within an hour for this one to give more
	PerDay       int    `json:"perDay,omitzero" check:"min=1,max=2000"`           // default 500
}

// RenewLeaseParams are the parameters of lease.renew.
type RenewLeaseParams struct {
	Lease       string `json:"lease" check:"required,max=22"`
	LifeSeconds int64  `json:"lifeSeconds,omitzero" check:"min=300,max=2592000"` // from now, default 43200; not beyond the lease's until
}

// LeaseParams name one lease.
type LeaseParams struct {
	Lease string `json:"lease" check:"required,max=22"`
}

// LeaseResult is the result of lease.grant, lease.renew and lease.revoke.
type LeaseResult struct {
	Lease Lease `json:"lease"`
}

// LeaseList is the result of lease.list, in the order in which they were granted.
type LeaseList struct {
	Leases   []Lease `json:"leases"`
	LastHour int     `json:"lastHour"` // tokens that all of them gave within the last hour, at most five minutes more
	LastDay  int     `json:"lastDay"`
}

// Lease is what a relay is allowed, and what it was given. Times are seconds.
type Lease struct {
	ID           string `json:"id"`
	KID          string `json:"kid"`
	Relay        string `json:"relay"`   // origin
	Service      string `json:"service"` // origin of the push service
	State        string `json:"state" check:"enum=running|expired|ended"`
	GrantedAt    int64  `json:"grantedAt"`
	ExpiresAt    int64  `json:"expiresAt"`
	Until        int64  `json:"until"`            // it cannot be renewed beyond this
	EndedAt      int64  `json:"endedAt,omitzero"` // if it was ended before it expired
	Reason       string `json:"reason,omitzero" check:"enum=revoked|key-retired|key-revoked|moved"`
	TokenSeconds int64  `json:"tokenSeconds"`
	PerHour      int    `json:"perHour"`
	PerDay       int    `json:"perDay"`
	PushTokens   uint64 `json:"pushTokens"`  // given so far
	RelayTokens  uint64 `json:"relayTokens"` // given so far
	Refused      uint64 `json:"refused"`     // calls that were refused; counted within a minute
	LastUsedAt   int64  `json:"lastUsedAt,omitzero"`
}

// Head is the result of audit.head.
type Head struct {
	Size       uint64 `json:"size"`
	Root       Bytes  `json:"root"`       // RFC 6962 tree head, 32 bytes
	Checkpoint string `json:"checkpoint"` // C2SP signed checkpoint
}

// EntriesParams are the parameters of audit.entries.
type EntriesParams struct {
	From  uint64 `json:"from,omitzero"`                        // first sequence number, default 0
	Limit int    `json:"limit,omitzero" check:"min=1,max=500"` // default 100
}

// Entries is one page of the audit log, in order.
type Entries struct {
	Entries []Entry `json:"entries"`
	Next    uint64  `json:"next,omitzero"` // give it as from for the next page; absent at the end
	Size    uint64  `json:"size"`          // of the whole log
}

// Entry is one leaf of the audit log.
type Entry struct {
	Seq     uint64            `json:"seq"`
	Time    int64             `json:"time"` // seconds; never decreases
	Method  string            `json:"method"`
	KID     string            `json:"kid,omitzero"`
	Lease   string            `json:"lease,omitzero"`
	Origin  string            `json:"origin"`
	Outcome string            `json:"outcome"` // "ok" or an error code
	Details map[string]string `json:"details,omitzero"`
}

// AuditVerdict is the result of audit.verify.
type AuditVerdict struct {
	Valid    bool   `json:"valid"`
	Size     uint64 `json:"size"`
	Root     Bytes  `json:"root"`
	FirstBad *int64 `json:"firstBad,omitzero"` // sequence number of the first bad entry
	Reason   string `json:"reason,omitzero"`
}

// ConsistentParams are the parameters of audit.consistent.
type ConsistentParams struct {
	Since Bytes `json:"since,omitzero" check:"max=2048"` // what an earlier call returned; without it there is nothing to compare with
}

// Consistency is the result of audit.consistent.
type Consistency struct {
	Consistent bool   `json:"consistent"`       // the log is the earlier one, with or without further entries
	Reason     string `json:"reason,omitzero"`  // why not: "taken-back" or "replaced"
	Earlier    uint64 `json:"earlier,omitzero"` // entries then
	Size       uint64 `json:"size"`             // entries now
	Since      Bytes  `json:"since"`            // for the next call; it tells nothing but the log's size and hashes
}

// Values of Consistency.Reason.
const (
	TakenBack = "taken-back" // there are fewer entries now
	Replaced  = "replaced"   // the first entries are not those that there were
)

// ExportParams are the parameters of audit.export.
type ExportParams struct {
	Cursor string `json:"cursor,omitzero" check:"max=64"` // the previous page's next
}

// ExportPage is one page of the audit file. The file is the concatenation of
// every page's text; `enclave audit verify` checks it.
type ExportPage struct {
	Text string `json:"text"`
	Next string `json:"next,omitzero"` // absent at the end
}
