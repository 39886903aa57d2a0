package api

// Code is a stable word for what went wrong. Apps branch on it, never on the message.
type Code string

// The error codes.
const (
	InvalidRequest     Code = "invalid_request"     // the request is malformed; details.member names the member
	UnknownMethod      Code = "unknown_method"      // no such method in this release
	NotFound           Code = "not_found"           // no vault, or no such key
	Locked             Code = "locked"              // the vault must be unlocked first
	Denied             Code = "denied"              // policy forbids it for this key or caller
	Cancelled          Code = "cancelled"           // the user, or the app, called it off
	Expired            Code = "expired"             // nobody answered the dialog
	QuotaExceeded      Code = "quota_exceeded"      // more operations than the vault allows
	Exists             Code = "exists"              // there is one already
	Conflict           Code = "conflict"            // somebody else changed it; nothing was done
	Busy               Code = "busy"                // too many requests at once; nothing was done
	Interrupted        Code = "interrupted"         // the worker ended; the outcome is not known
	Timeout            Code = "timeout"             // it took too long; the outcome is not known
	Unsupported        Code = "unsupported"         // this browser, or this vault, cannot do it
	LaunchRefused      Code = "launch_refused"      // the enclave did not start as pinned
	StorageUnavailable Code = "storage_unavailable" // the browser refuses to store
	StorageFull        Code = "storage_full"        // the browser's quota is used up; nothing was done
	Integrity          Code = "integrity"           // something stored or served is not what was written
	Internal           Code = "internal"            // a defect of the enclave
)

// Codes lists every code, for documentation and generated types.
var Codes = []Code{
	InvalidRequest, UnknownMethod, NotFound, Locked, Denied, Cancelled, Expired, QuotaExceeded,
	Exists, Conflict, Busy, Interrupted, Timeout, Unsupported, LaunchRefused,
	StorageUnavailable, StorageFull, Integrity, Internal,
}

// Error is the error of a reply. Message says what was wrong and what to do,
// and never contains a secret or another account's data.
type Error struct {
	Code      Code              `json:"code"`
	Message   string            `json:"message"`
	Retryable bool              `json:"retryable"`
	Details   map[string]string `json:"details,omitzero"`
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Retryable reports whether trying again later can help.
func (c Code) Retryable() bool {
	switch c {
	case Busy, Conflict, Timeout, Interrupted:
		return true
	}
	return false
}
