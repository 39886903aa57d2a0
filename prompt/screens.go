package prompt

// Screen is one of the types of this file. Its JSON, with the member "kind"
// added, is what the frame draws; web/screens says how.
type Screen interface {
	// Kind names the screen.
	Kind() string
}

// Answer is what the user did with a screen. Which members are there depends on
// the screen and on Choice; each screen says which choices it has.
type Answer struct {
	Choice  string        `json:"choice"`
	Text    string        `json:"text,omitzero"`    // a passphrase (normalised), a phrase, or words, as the choice says
	Word    string        `json:"word,omitzero"`    // typed to confirm
	Label   string        `json:"label,omitzero"`   // the user's own name for a way in
	Slot    string        `json:"slot,omitzero"`    // a way in
	Passkey *Assertion    `json:"passkey,omitzero"` // an existing passkey was used
	Created *Registration `json:"created,omitzero"` // a new passkey was made
	File    []byte        `json:"-"`                // the file that was picked
}

// Choices.
const (
	ChoiceConfirm    = "confirm"    // Word, if one was asked for
	ChoicePassphrase = "passphrase" // Text
	ChoicePasskey    = "passkey"    // Passkey, or Created and Label
	ChoicePhrase     = "phrase"     // on Unlock: the user wants to use it; on Phrase: Text
	ChoiceWords      = "words"      // Text: what was asked for, with single spaces
	ChoiceBack       = "back"
	ChoiceNext       = "next"
	ChoiceLater      = "later"
	ChoiceFile       = "file" // File
	ChoiceSaved      = "saved"
	ChoiceOlder      = "older" // of Activity: the next page
	ChoiceNewest     = "newest"
	ChoiceExport     = "export"
	ChoiceClose      = "close"
	ChoiceAdd        = "add"    // of Methods: Text is the kind
	ChoiceChange     = "change" // of Methods: Slot
	ChoiceRemove     = "remove" // of Methods: Slot
	ChoiceRecovery   = "recovery"
)

// App says who asks.
type App struct {
	Origin  string `json:"origin"`  // the enclave's word
	Account string `json:"account"` // as the app calls it: not the enclave's word
}

// Problem says why a screen is shown again. The frame has a sentence for each.
type Problem struct {
	Code   string `json:"code"`
	Number int    `json:"number,omitzero"` // what the code says
	Text   string `json:"text,omitzero"`   // a word that the user typed
}

// Codes of problems.
const (
	WrongPassphrase = "wrong-passphrase"
	WrongPasskey    = "wrong-passkey"   // it did not answer as the one that was registered
	PasskeyWithout  = "passkey-no-prf"  // made, but cannot encrypt: nothing was kept of it
	PasskeyKnown    = "passkey-known"   // registered already; the frame says so by itself
	ShortPassphrase = "short"           // Number: characters wanted at least
	LongPassphrase  = "long"            // Number: bytes allowed at most
	OddPassphrase   = "odd"             // characters that have no fixed meaning (unassigned, control, surrogates)
	WordUnknown     = "word-unknown"    // Number, Text: not on the list
	WordCount       = "word-count"      // Number: how many there are
	PhraseChecksum  = "phrase-checksum" // all words are known, but they are no phrase: order, or another word
	PhraseOther     = "phrase-other"    // a phrase, but not this vault's
	WordsWrong      = "words-wrong"     // what was asked back is not what was shown; Number: the first of them
	WordWrong       = "word-wrong"      // the word to confirm with
	FileForeign     = "file-foreign"    // not a backup file
	FileTruncated   = "file-truncated"
	FileEdited      = "file-edited" // what it holds is not what was saved
	FileNewer       = "file-newer"  // Number: its version
	FileOlder       = "file-older"  // an older state than was seen; Number: its epoch
	FileOtherVault  = "file-other-vault"
	FileOtherPhrase = "file-other-phrase" // sealed with another phrase than the one typed
	FileTooLarge    = "file-too-large"    // Number: MiB allowed at most
	FileEmpty       = "file-empty"
)

// Proof is what shows that the user is there: one of these, now.
type Proof struct {
	Passphrase bool         `json:"passphrase"`
	Passkeys   []Credential `json:"passkeys,omitzero"`
	Challenge  []byte       `json:"challenge,omitzero"` // for the passkeys; 32 random bytes
}

// Credential is a passkey that may answer.
type Credential struct {
	Slot  string `json:"slot"`
	Label string `json:"label"`
	ID    []byte `json:"id"`   // WebAuthn credential id
	Salt  []byte `json:"salt"` // PRF input, 32 bytes
}

// Assertion is what a passkey answered (WebAuthn Level 3 section 6.3.3).
type Assertion struct {
	ID                []byte `json:"id"`
	ClientDataJSON    []byte `json:"clientDataJSON"`
	AuthenticatorData []byte `json:"authenticatorData"`
	Signature         []byte `json:"signature"`
	PRF               []byte `json:"prf"` // 32 bytes; empty if the authenticator gave none
}

// Registration is a new passkey. The PRF output comes with it, or with the assertion
// of one further use, which some authenticators take: then PRF is empty, and Used has
// it. Both are empty if the authenticator has no PRF.
type Registration struct {
	ID                []byte `json:"id"`
	ClientDataJSON    []byte `json:"clientDataJSON"`
	AuthenticatorData []byte `json:"authenticatorData"`
	PublicKey         []byte `json:"publicKey"` // SubjectPublicKeyInfo, DER
	Algorithm         int    `json:"algorithm"` // COSE: -7 (ES256) or -8 (EdDSA)
	PRF               []byte `json:"prf"`

	// Used answers the challenge of the screen, too.
	Used *Assertion `json:"used,omitzero"`
}

// Confirm shows what is about to happen. Choices: ChoiceConfirm if Proof is empty;
// else ChoicePassphrase or ChoicePasskey; Word with each, if one is asked for.
type Confirm struct {
	App     App        `json:"app"`
	Action  string     `json:"action"`          // the method
	Key     *KeyFact   `json:"key,omitzero"`    // of keys.rotate and keys.revoke
	Slot    *SlotFact  `json:"slot,omitzero"`   // of slots.*
	Vault   *VaultFact `json:"vault,omitzero"`  // of vault.destroy
	Lease   *LeaseFact `json:"lease,omitzero"`  // of lease.*
	Reason  string     `json:"reason,omitzero"` // of keys.revoke, in the app's words
	Enabled bool       `json:"enabled"`         // of recovery.enable: there is a phrase already, which this one replaces
	Word    string     `json:"word,omitzero"`   // to type
	WaitMs  int64      `json:"waitMs,omitzero"` // until it can be confirmed
	Proof   Proof      `json:"proof"`
	Problem *Problem   `json:"problem,omitzero"`
}

// KeyFact is what a dialog says of a key.
type KeyFact struct {
	KID        string `json:"kid"`
	Label      string `json:"label"` // the app's words
	Purpose    string `json:"purpose"`
	CreatedAt  int64  `json:"createdAt"`  // seconds
	LastUsedAt int64  `json:"lastUsedAt"` // seconds; 0 if never used
	Uses       uint64 `json:"uses"`
}

// SlotFact is what a dialog says of a way in.
type SlotFact struct {
	ID        string `json:"id,omitzero"` // empty if it is to be made
	Kind      string `json:"kind"`        // "device", "passphrase" or "passkey"
	Label     string `json:"label"`
	CreatedAt int64  `json:"createdAt,omitzero"` // seconds
	Last      bool   `json:"last,omitzero"`      // the only one, which stays
}

// LeaseFact is what a dialog says of a lease: as it is, or as it would be with the user's yes.
type LeaseFact struct {
	Relay        string `json:"relay"`        // origin
	Service      string `json:"service"`      // origin of the push service
	GrantedAt    int64  `json:"grantedAt"`    // seconds
	ExpiresAt    int64  `json:"expiresAt"`    // seconds
	TokenSeconds int64  `json:"tokenSeconds"` // longest life of a token
	PerHour      int    `json:"perHour"`      // tokens, of all leases together
	PerDay       int    `json:"perDay"`
	Tokens       uint64 `json:"tokens"`     // given so far
	LastUsedAt   int64  `json:"lastUsedAt"` // seconds; 0 if never used
}

// VaultFact is what a dialog says of a vault.
type VaultFact struct {
	State  string `json:"state"`  // "unlocked", "locked", "lost", Damaged or Unreadable
	Reason string `json:"reason"` // why it is lost, as vault.status says; the two reasons mean opposite things for what is deleted
	Keys   int    `json:"keys"`   // how many keys die; -1 if that cannot be read
}

// States of a vault that does not open, beside package vault's.
const (
	Damaged    = "damaged"    // it is there, but not as it was written
	Unreadable = "unreadable" // nobody knows: storage does not answer
)

// Unlock asks for a way in. Choices: ChoicePassphrase, ChoicePasskey, ChoicePhrase.
type Unlock struct {
	App     App      `json:"app"`
	Proof   Proof    `json:"proof"`
	Phrase  bool     `json:"phrase"`          // there is a recovery phrase
	Return  bool     `json:"return,omitzero"` // the vault is lost, and comes back from the app's copy
	Problem *Problem `json:"problem,omitzero"`
}

// Return shows what came back from the app's copy, before anything is written. Choice:
// ChoiceConfirm, with Word if one is asked for.
type Return struct {
	App     App      `json:"app"`
	At      int64    `json:"at"` // of the newest entry in its log, in seconds
	Keys    int      `json:"keys"`
	Damaged int      `json:"damaged,omitzero"` // keys that are damaged in it
	Entries uint64   `json:"entries"`          // in the log
	Missing uint64   `json:"missing,omitzero"` // newest entries that were seen here and are not in it
	Older   bool     `json:"older,omitzero"`   // it is not the newest state that was seen here
	Unknown bool     `json:"unknown,omitzero"` // the app does not say what it has seen
	Gap     bool     `json:"gap,omitzero"`     // its log cannot be read from end to end
	Deleted bool     `json:"deleted,omitzero"` // the user deleted this vault here
	Lock    string   `json:"lock"`             // "none", "passphrase" or "passkey": how it opens
	Word    string   `json:"word,omitzero"`    // to type, if it is any of these
	Problem *Problem `json:"problem,omitzero"`
}

// What a new secret is for.
const (
	ForVault   = "vault"   // a new vault; the dialog says what one is
	ForSlot    = "slot"    // one more way in
	ForChange  = "change"  // in place of the passphrase before
	ForForgot  = "forgot"  // the vault was opened with the phrase; ChoiceLater keeps the old one
	ForRestore = "restore" // a vault that comes back
	ForUnlock  = "unlock"  // of Phrase: open the vault here
	ForCheck   = "check"   // of Phrase: see whether the user still has it
)

// NewPassphrase asks for a passphrase, twice. Choices: ChoicePassphrase, and
// ChoiceLater where For says so.
type NewPassphrase struct {
	App        App      `json:"app"`
	For        string   `json:"for"`
	Suggestion string   `json:"suggestion"` // six random words, 66 bits
	MinChars   int      `json:"minChars"`
	MaxBytes   int      `json:"maxBytes"`
	Problem    *Problem `json:"problem,omitzero"`
}

// NewPasskey has a passkey made. Choice: ChoicePasskey with Created and Label.
type NewPasskey struct {
	App       App      `json:"app"`
	For       string   `json:"for"`
	Label     string   `json:"label"`     // the app's suggestion, ≤ 64 characters; it may be empty, and so may what the user makes of it
	Challenge []byte   `json:"challenge"` // 32 random bytes
	User      []byte   `json:"user"`      // WebAuthn user handle, random, 32 bytes
	Salt      []byte   `json:"salt"`      // PRF input, 32 bytes
	Known     [][]byte `json:"known"`     // credential ids not to register again
	Problem   *Problem `json:"problem,omitzero"`
}

// ShowPhrase shows a recovery phrase, once. Choice: ChoiceNext.
type ShowPhrase struct {
	Words []string `json:"words"`
}

// AskWords asks words of the phrase back. Choices: ChoiceWords (Text: those words, in order of Positions), ChoiceBack.
type AskWords struct {
	Positions []int    `json:"positions"` // from 1
	Problem   *Problem `json:"problem,omitzero"`
}

// Phrase asks for the whole phrase. Choice: ChoicePhrase.
type Phrase struct {
	App     App      `json:"app"`
	For     string   `json:"for"`
	Problem *Problem `json:"problem,omitzero"`
}

// SaveFile has the user save a file: a backup, or the audit log for an auditor. Choice: ChoiceSaved once the
// user has asked the browser to save it; no page learns whether it did.
type SaveFile struct {
	What      string `json:"what"` // "backup" or "audit"
	Name      string `json:"name"`
	CreatedAt int64  `json:"createdAt"`
	Keys      int    `json:"keys"`
	Damaged   int    `json:"damaged,omitzero"` // keys that are damaged in storage, and not in the file
	File      []byte `json:"-"`
}

// PickFile asks for a backup file. Choice: ChoiceFile.
type PickFile struct {
	App      App      `json:"app"`
	MaxBytes int      `json:"maxBytes"`
	Problem  *Problem `json:"problem,omitzero"`
}

// Restore shows what a file holds before anything is written. Choice:
// ChoiceConfirm, with Word if one is asked for.
type Restore struct {
	App         App      `json:"app"`
	CreatedAt   int64    `json:"createdAt"` // of the backup
	Epoch       uint64   `json:"epoch"`
	Keys        int      `json:"keys"`
	From        App      `json:"from"`          // the app and account that the backup was made for
	Lock        string   `json:"lock"`          // "none", "passphrase" or "passkey": what the restored vault will have, as the app chose
	Persistence string   `json:"persistence"`   // "device" or "session": where it will be, as the app chose
	Word        string   `json:"word,omitzero"` // to type, if From is another app than this one, Lock is "none" or Persistence is "session"
	Problem     *Problem `json:"problem,omitzero"`
}

// Activity shows a page of the audit log, newest first. Choices: ChoiceOlder,
// ChoiceNewest, ChoiceExport, ChoiceClose.
type Activity struct {
	App     App     `json:"app"`
	Entries []Event `json:"entries"`
	Older   bool    `json:"older"`  // there are older ones
	Newest  bool    `json:"newest"` // this is the first page
	Total   uint64  `json:"total"`
}

// Event is one entry of the log.
type Event struct {
	Seq     uint64            `json:"seq"`
	Time    int64             `json:"time"` // seconds
	Method  string            `json:"method"`
	KID     string            `json:"kid,omitzero"`
	Label   string            `json:"label,omitzero"`   // of the key now, in the app's words
	Purpose string            `json:"purpose,omitzero"` // of the key
	Origin  string            `json:"origin"`
	Outcome string            `json:"outcome"` // "ok" or an error code
	Details map[string]string `json:"details,omitzero"`
}

// Methods shows the ways in. Choices: ChoiceAdd (Text: "passphrase", "passkey" or "device"), ChoiceChange and
// ChoiceRemove (Slot), ChoiceRecovery, ChoiceClose.
type Methods struct {
	App        App        `json:"app"`
	Slots      []SlotFact `json:"slots"`
	Lock       string     `json:"lock"` // "none" while the device opens it by itself
	Recovery   bool       `json:"recovery"`
	RecoveryAt int64      `json:"recoveryAt,omitzero"` // seconds
}

// Done says what has been done, where that deserves a screen. Choice: ChoiceClose.
type Done struct {
	What string `json:"what"` // the method
	Keys int    `json:"keys,omitzero"`
}

// Progress is not a question: something is being done.
type Progress struct {
	What string `json:"what"` // "checking", "encrypting", "rewrapping" or "writing"
}

// Kind implements Screen.
func (Confirm) Kind() string       { return "confirm" }
func (Unlock) Kind() string        { return "unlock" }
func (Return) Kind() string        { return "return" }
func (NewPassphrase) Kind() string { return "new-passphrase" }
func (NewPasskey) Kind() string    { return "new-passkey" }
func (ShowPhrase) Kind() string    { return "show-phrase" }
func (AskWords) Kind() string      { return "ask-words" }
func (Phrase) Kind() string        { return "phrase" }
func (SaveFile) Kind() string      { return "save-file" }
func (PickFile) Kind() string      { return "pick-file" }
func (Restore) Kind() string       { return "restore" }
func (Activity) Kind() string      { return "activity" }
func (Methods) Kind() string       { return "methods" }
func (Done) Kind() string          { return "done" }
